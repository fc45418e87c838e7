"""Files of models and numbers, met where things go wrong.

Wrappers, foreign names and values, web pages in place of weights; a machine without git, home, room
or leave to write. Numbers in docstrings are those of the reports from the field.
"""

import os
import resource
import subprocess
import threading
import urllib.request
import warnings
from io import BytesIO
from pathlib import Path
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from larp_edu import files, machine
from larp_edu.files import (
    cache_folder,
    config_dict,
    fingerprint,
    load_tensors,
    load_weights,
    save_model,
    save_tensors,
    write_bytes,
)
from larp_edu.generator import ARConfig, ARTransformer
from larp_edu.i3d import fetch, i3d_detector
from larp_edu.nested import NestedTokenizer
from larp_edu.pretrained import load_generator, load_tokenizer, save_released
from larp_edu.tokenizer import LARPTokenizer, TokenizerConfig

TINY = dict(
    frames=4,
    size=16,
    patch=(4, 8, 8),
    n_tokens=4,
    dim=16,
    heads=2,
    encoder_depth=1,
    decoder_depth=1,
    codes=8,
    code_dim=4,
    prior_dim=8,
    prior_depth=1,
    prior_heads=2,
)
NAN = float('nan')


def tokenizer(**more):
    torch.manual_seed(0)
    return LARPTokenizer(TokenizerConfig(**TINY | more)).eval()


def generator():
    torch.manual_seed(0)
    return ARTransformer(ARConfig(4, 8, 3, dim=16, depth=1, heads=2)).eval()


def says(error, f, *words):
    "`f` fails with `error` in one line that has all the words."
    with pytest.raises(error) as e:
        f()
    text = str(e.value)
    assert '\n' not in text and all(word in text for word in words), text


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(a[k].equal(b[k]) for k in a)


# ---- wrapped models, report 28


def distributed(model):
    "DistributedDataParallel needs a group of processes, if only of one."
    if not torch.distributed.is_initialized():
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
    return nn.parallel.DistributedDataParallel(model)


def compiled_average(model):
    return torch.compile(AveragedModel(model))


WRAPPERS = [torch.compile, nn.DataParallel, AveragedModel, compiled_average, distributed]


@pytest.mark.parametrize('wrap', WRAPPERS)
def test_a_wrapped_model_is_saved_as_itself(wrap, tmp_path):
    "Report 28: no loader took such a file."
    plain = tokenizer()
    wrapped = wrap(tokenizer())
    try:
        save_model(tmp_path / 'model.safetensors', wrapped, step=3)
        back = load_tokenizer(tmp_path / 'model.safetensors')
        assert same(back, plain) and back.card['step'] == 3
        assert fingerprint(wrapped) == fingerprint(plain)
        assert config_dict(wrapped) == config_dict(plain)
        save_released(wrapped, tmp_path / 'released')
        assert same(load_tokenizer(tmp_path / 'released'), plain)
        load_weights(wrapped, plain.state_dict(), 'memory')
    finally:
        if wrap is distributed:
            torch.distributed.destroy_process_group()


def test_a_compiled_part_is_saved_under_its_own_name(tmp_path):
    "Report 28, the same for a part of a model."
    model = tokenizer()
    mark = fingerprint(model)
    model.encoder = torch.compile(model.encoder)
    save_model(tmp_path / 'model.safetensors', model)
    assert same(load_tokenizer(tmp_path / 'model.safetensors'), tokenizer())
    assert fingerprint(model) == mark
    other = {k: v + 1 for k, v in tokenizer().state_dict().items()}
    load_weights(model, other, 'memory')
    assert fingerprint(model) != mark


def test_a_part_called_module_is_no_wrapper(tmp_path):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(2, 2)

    save_model(tmp_path / 'outer.safetensors', Outer())
    tensors, meta = load_tensors(tmp_path / 'outer.safetensors')
    assert meta['kind'] == 'Outer' and set(tensors) == {'module.weight', 'module.bias'}


def test_half_does_not_make_infinities(tmp_path):
    "Report 30, the same kind: 70,000 is infinite in fp16."
    model = generator()
    model.norm.weight.data[0] = 70_000
    says(ValueError, lambda: save_model(tmp_path / 'm.safetensors', model, True), 'norm.weight')
    assert not (tmp_path / 'm.safetensors').exists()


# ---- names and numbers of others, reports 29 and 30


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'model.', 'module.model.'])
def test_a_prefix_is_named(prefix, tmp_path):
    "Report 29, in files of `save_model`, of the released layout, and with other entries beside."
    model = generator()
    save_model(tmp_path / 'own.safetensors', model)
    save_released(model, tmp_path / 'released')
    for path in (tmp_path / 'own.safetensors', tmp_path / 'released/model.safetensors'):
        tensors, meta = load_tensors(path)
        tensors = {prefix + name: tensor for name, tensor in tensors.items()}
        save_tensors(path, tensors | {'n_averaged': torch.tensor(3)}, meta)
        where = path if path.name == 'own.safetensors' else path.parent
        says(ValueError, lambda: load_generator(where), str(path), repr(prefix), 'lacks')


def test_a_foreign_file_has_no_prefix():
    says(ValueError, lambda: load_weights(generator(), {'a.b': torch.ones(1)}, 'x'), 'x lacks')
    with pytest.raises(ValueError) as e:
        load_weights(generator(), {'a.b': torch.ones(1)}, 'x')
    assert 'begin with' not in str(e.value)


ODD = {
    'int8': lambda t: t.to(torch.int8),
    'bool': lambda t: t > 0,
    'int64': lambda t: t.long(),
    'complex': lambda t: t.to(torch.complex64),
    'nan': lambda t: torch.full_like(t, NAN),
    'inf': lambda t: torch.full_like(t, float('inf')),
    'fp64 beyond fp32': lambda t: torch.full_like(t, 1e300, dtype=torch.float64),
}


@pytest.mark.parametrize('odd', ODD)
@pytest.mark.parametrize('layout', ['own', 'released'])
def test_weights_are_finite_floats(odd, layout, tmp_path):
    "Report 30."
    model = tokenizer()
    if layout == 'own':
        path = where = tmp_path / 'model.safetensors'
        save_model(path, model)
    else:
        path, where = tmp_path / 'model.safetensors', tmp_path
        save_released(model, tmp_path)
    tensors, meta = load_tensors(path)
    name = next(k for k in tensors if k.endswith('to_code.weight') or 'in_linear.weight' in k)
    save_tensors(path, tensors | {name: ODD[odd](tensors[name])}, meta)
    says(ValueError, lambda: load_tokenizer(where), name, str(path))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_load(dtype, tmp_path):
    model = generator()
    tensors = {k: v.to(dtype) for k, v in model.state_dict().items()}
    load_weights(generator(), tensors, 'memory')


def test_counters_stay_whole_numbers():
    "Report 30: buffers of integers are possible, and are not made of floats."
    norm = nn.BatchNorm1d(3)
    load_weights(norm, norm.state_dict(), 'memory')
    odd = norm.state_dict() | {'num_batches_tracked': torch.tensor(1.5)}
    says(ValueError, lambda: load_weights(norm, odd, 'x'), 'num_batches_tracked', 'whole numbers')


def test_nothing_is_copied_from_a_file_that_does_not_fit():
    model, last = generator(), 'out.weight'
    before = {k: v.clone() for k, v in model.state_dict().items()}
    tensors = {k: v + 1 for k, v in before.items()} | {last: torch.full_like(before[last], NAN)}
    says(ValueError, lambda: load_weights(model, tensors, 'x'), last)
    assert all(v.equal(before[k]) for k, v in model.state_dict().items())


def test_a_config_that_cannot_be_names_the_file(tmp_path):
    path = tmp_path / 'model.safetensors'
    save_tensors(path, {}, dict(kind='LARPTokenizer', config=TINY | dict(heads=0)))
    says(ValueError, lambda: load_tokenizer(path), str(path), 'heads is 0')


# ---- what lies in place of weights


STAND_INS = {
    'a web page': b'\n<!DOCTYPE html>\n<html><body>Sign in</body></html>',
    'a web page ': b'<HTML><head><title>404</title></head></HTML>',
    'a Git LFS pointer': b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7\nsize 173\n',
    'a pickle': b'\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00.',
    'not a whole safetensors file (0 bytes)': b'',
    # headers of 128 and 60 bytes, whose first byte is that of a pickle or a web page
    'not a whole safetensors file (9 bytes)': b'\x80\0\0\0\0\0\0\0{',
    'not a whole safetensors file (9 bytes) ': b'<\0\0\0\0\0\0\0{',
}


@pytest.mark.parametrize('what', STAND_INS)
def test_what_lies_in_place_of_weights_is_named(what, tmp_path):
    save_released(generator(), tmp_path / 'folder')
    for path in (tmp_path / 'own.safetensors', tmp_path / 'folder/model.safetensors'):
        path.write_bytes(STAND_INS[what])
        where = path if path.name == 'own.safetensors' else path.parent
        says(ValueError, lambda: load_generator(where), str(path), what.strip())


@pytest.mark.parametrize('what', ['a web page', 'a Git LFS pointer'])
def test_the_same_for_i3d_and_a_config(what, tmp_path):
    path = tmp_path / 'i3d_torchscript.pt'
    path.write_bytes(STAND_INS[what])
    says(ValueError, lambda: i3d_detector(path), str(path), what)
    save_released(generator(), tmp_path / 'folder')
    (tmp_path / 'folder/config.json').write_bytes(STAND_INS[what])
    says(ValueError, lambda: load_generator(tmp_path / 'folder'), 'config.json', what)


# ---- the released layout, number 13 from reading


@pytest.mark.parametrize('room', [4, 5, 32])
def test_a_prior_may_have_room_for_more_tokens(room, tmp_path):
    "From reading, 13: the public code runs it; the room behind the last token is never used."
    import json

    model = tokenizer()
    save_released(model, tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text())
    config['prior_model']['args']['max_seq_len'] = room
    (tmp_path / 'config.json').write_text(json.dumps(config))
    weights = load_file(tmp_path / 'model.safetensors')
    rest = torch.randn(1, room - 4, 8)
    weights['prior_model.pos_emb'] = torch.cat([weights['prior_model.pos_emb'], rest], 1)
    save_file(weights, tmp_path / 'model.safetensors')
    back = load_tokenizer(tmp_path)
    clip = torch.rand(2, 3, 4, 16, 16)
    assert same(back, model) and back.encode(clip).equal(model.encode(clip))
    # less room than tokens stays an error
    config['prior_model']['args']['max_seq_len'] = 3
    (tmp_path / 'config.json').write_text(json.dumps(config))
    says(ValueError, lambda: load_tokenizer(tmp_path), 'max_seq_len is 3')


def test_a_released_config_that_cannot_be_names_its_file(tmp_path):
    import json

    save_released(tokenizer(), tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text())
    config['bottleneck_token_num'] = config['prior_model']['args']['max_seq_len'] = 1
    (tmp_path / 'config.json').write_text(json.dumps(config))
    says(ValueError, lambda: load_tokenizer(tmp_path), 'config.json', 'n_tokens 1')


# ---- a machine that lacks something, report 32


@pytest.fixture
def clone(monkeypatch, tmp_path):
    "The package looks as if it lay in a clone."
    (tmp_path / 'clone/larp_edu').mkdir(parents=True)
    (tmp_path / 'clone/.git').mkdir()
    monkeypatch.setattr(machine, '__file__', str(tmp_path / 'clone/larp_edu/machine.py'))


def test_no_git_program(clone, monkeypatch):
    "Report 32: FileNotFoundError at the end of an evaluation."
    monkeypatch.setenv('PATH', '/nonexistent')
    assert machine.provenance()['commit'] is None


@pytest.mark.parametrize('problem', [PermissionError, FileNotFoundError, 'timeout', 'refused'])
def test_git_that_does_not_answer(clone, problem, monkeypatch):
    def run(words, **kw):
        if problem == 'timeout':
            raise subprocess.TimeoutExpired(words, kw['timeout'])
        if problem == 'refused':  # a folder of somebody else: `safe.directory`
            return subprocess.CompletedProcess(words, 128, '', 'fatal: dubious ownership')
        raise problem(words[0])

    monkeypatch.setattr(subprocess, 'run', run)
    assert machine.provenance()['commit'] is None


def test_outside_of_a_clone(clone, monkeypatch, tmp_path):
    (tmp_path / 'clone/.git').rmdir()
    assert machine.provenance()['commit'] is None


def test_a_hidden_proc_is_no_reason_to_stop(monkeypatch):
    def read_text(self, **kw):
        raise PermissionError(self)

    monkeypatch.setattr(Path, 'read_text', read_text)
    assert isinstance(machine.hardware()['processor'], str)


def homeless():
    raise RuntimeError('Could not determine home directory.')


def test_no_home_is_said_once_and_work_goes_on(monkeypatch, tmp_path):
    "Report 32, the same kind: a user whom the system does not know."
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.setattr(Path, 'home', homeless)
    monkeypatch.setattr(files.tempfile, 'tempdir', str(tmp_path))
    files._homeless_cache.cache_clear()
    try:
        with pytest.warns(UserWarning, match='XDG_CACHE_HOME'):
            folder = cache_folder('weights')
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert cache_folder('index').parent == folder.parent
        assert folder.is_relative_to(tmp_path)
        write_bytes(folder / 'file', b'123')
    finally:
        files._homeless_cache.cache_clear()


def test_a_home_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    "A file stands where the cache folder should be: nobody can write there, not even root."
    (tmp_path / 'cache').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    says(OSError, lambda: fetch('http://localhost:9/x', quiet=True), 'XDG_CACHE_HOME', '/cache/')


class Answer(BytesIO):
    "What a server says."

    status, headers = 200, {'ETag': '"1"', 'Content-Length': '3'}


# ---- names, room and leave to write, report 36


NAMES = ['x' * 255, 'x' * 243 + '.safetensors', 'ü' * 127, '漢' * 85, '🎬' * 63, '\udcff' * 255]


@pytest.mark.parametrize('name', NAMES)
def test_every_legal_name_can_be_written(name, tmp_path):
    "Report 36: 255 bytes are legal, the temporary name was longer."
    if len(os.fsencode(name)) > os.pathconf(tmp_path, 'PC_NAME_MAX'):
        pytest.skip('this file system allows less')
    write_bytes(tmp_path / name, b'123')
    assert (tmp_path / name).read_bytes() == b'123'
    write_bytes(tmp_path / name, b'45')
    assert [os.fsencode(p.name) for p in tmp_path.iterdir()] == [os.fsencode(name)]


def test_long_names_of_tensors_and_films(tmp_path):
    from larp_edu.video import write_video

    save_model(tmp_path / ('x' * 243 + '.safetensors'), generator())
    write_video(tmp_path / ('x' * 251 + '.mp4'), torch.rand(3, 4, 16, 16), fps=8)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize('name', NAMES)
def test_every_legal_name_can_be_fetched(name, monkeypatch, tmp_path):
    "Report 36, the same kind: a download has a lock, a part, a mark and a checksum beside it."
    monkeypatch.setattr(urllib.request, 'urlopen', lambda *args, **kw: Answer(b'123'))
    assert fetch('http://x/y', tmp_path / name, quiet=True).read_bytes() == b'123'
    assert fetch('http://x/y', tmp_path / name, quiet=True).read_bytes() == b'123'


def test_a_temporary_name_for_each_writer(tmp_path):
    "Also for two files of one beginning, and two machines whose processes have the same number."
    seen, both = [], threading.Barrier(2)

    def write(name):
        with files._temporary_name(tmp_path / name) as part:
            part.write_text(name)
            both.wait(10)
            seen.append(part)
            both.wait(10)

    threads = [threading.Thread(target=write, args=['x' * 200 + end]) for end in 'ab']
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(seen)) == 2
    assert {p.read_text()[-1] for p in tmp_path.iterdir()} == {'a', 'b'}
    with files._temporary_name(tmp_path / 'c') as one, files._temporary_name(tmp_path / 'c') as two:
        one.touch()
        two.touch()
        assert one != two


WRITERS = {
    'bytes': lambda path: write_bytes(path, bytes(100_000)),
    'tensors': lambda path: save_tensors(path, {'a': torch.zeros(100_000)}, {}),
    'model': lambda path: save_model(path, nn.Linear(300, 300)),
}


@pytest.mark.parametrize('writer', WRITERS)
def test_a_full_disk_names_the_file_and_keeps_the_old_one(writer, tmp_path):
    path = tmp_path / 'file'
    path.write_text('old')
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        says(OSError, lambda: WRITERS[writer](path), 'could not write', str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in tmp_path.iterdir()] == ['file'] and path.read_text() == 'old'


@pytest.mark.parametrize('writer', WRITERS)
def test_no_leave_to_write_names_the_file(writer, monkeypatch, tmp_path):
    def mkdir(*args, **kw):
        raise OSError('read only')  # without an error number, so without a text of the system

    says_so = 'could not write', str(tmp_path / 'new/file')
    (tmp_path / 'new').write_text('a file stands in the way')
    says(OSError, lambda: WRITERS[writer](tmp_path / 'new/file'), *says_so)
    monkeypatch.setattr(Path, 'mkdir', mkdir)
    says(OSError, lambda: WRITERS[writer](tmp_path / 'new/file'), *says_so, 'read only')


def test_nested_models_load_by_their_class(tmp_path):
    torch.manual_seed(0)
    model = NestedTokenizer(TokenizerConfig(**TINY))
    save_model(tmp_path / 'nested.safetensors', torch.compile(model))
    assert type(load_tokenizer(tmp_path / 'nested.safetensors')) is NestedTokenizer
