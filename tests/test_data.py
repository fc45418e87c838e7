"""Folders and lists as people have them: what is found in them, in which part, under which number.

Numbers in docstrings are those of the reports that each test answers."""

import io
import json
import os
import shutil
import sys
import warnings
from dataclasses import asdict, replace
from pathlib import Path
import av
import numpy as np
import pytest
import torch
from larp_edu import loading
from larp_edu.cli import main
from larp_edu.datasets import (
    UCF101,
    Films,
    JoinedClips,
    Kinetics,
    ShardFolder,
    open_data,
    open_films,
    open_parts,
    prepare_shards,
    read_kinetics_list,
    split_word,
)
from larp_edu.demo import demo_clips, notes_on_own_clips, write_page, write_pictures
from larp_edu.evaluation import evaluate
from larp_edu.files import save_model
from larp_edu.generator import ARTransformer, generator_presets
from larp_edu.judge import toy_detector
from larp_edu.loading import VideoFolder, common_films, find_videos, held_out, printable
from larp_edu.shapeworld import ShapeWorld
from larp_edu.shards import Shards
from larp_edu.story import OWN_CLIPS
from larp_edu.tokenizer import LARPTokenizer, tokenizer_presets

SMALL = dict(size=16, frames=8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    "Indexes are kept in a folder of each test."
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))


def film(path, seed=0, frames=10):
    "Write a film of 16 x 16 pixels whose pictures depend on the seed."
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = np.random.default_rng(seed).integers(0, 255, (frames, 16, 16, 3), np.uint8)
    kind = {'.mkv': 'matroska', '.avi': 'avi'}.get(path.suffix.lower(), 'mp4')
    with open(path, 'wb') as file, av.open(file, 'w', format=kind) as out:
        stream = out.add_stream('mpeg4', rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = 'yuv420p'
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
        out.mux(stream.encode())
    return path


def films(root, *names):
    "A different film under each name."
    for seed, name in enumerate(names):
        film(root / name, seed)
    return root


def names_of(data):
    return [name for name, *_ in data.clips]


def said(caught):
    return '\n'.join(str(w.message) for w in caught)


# --- what is found in a folder


def test_hidden_and_system_folders_are_no_classes(tmp_path):
    "Report 17."
    hidden = '.Trash-1000/files .ipynb_checkpoints @eaDir __MACOSX $RECYCLE.BIN lost+found'.split()
    hidden += ['System Volume Information', 'a/.thumbnails', 'b/@eaDir/x.mp4', '#recycle']
    films(tmp_path, 'a/0.mp4', 'b/0.mp4', *(f'{folder}/1.mp4' for folder in hidden))
    assert [name for _, name in find_videos(tmp_path)] == ['a', 'b']
    assert VideoFolder(tmp_path, **SMALL).class_names == ['a', 'b']
    assert Kinetics(tmp_path / 'a', **SMALL).clip_count == 1


def test_ucf101_with_a_deleted_copy(tmp_path):
    "Report 17."
    name = 'v_Archery_g08_c01.avi'
    films(tmp_path, f'Archery/{name}', f'.Trash-1000/files/{name}')
    assert names_of(UCF101(tmp_path, **SMALL)) == [f'Archery/{name}']
    assert split_word(tmp_path)[0] == 'ucf101'


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    "Report 17, the other way round: nothing is left out without a word."
    films(tmp_path, 'a/0.mp4', 'b/0.mp4')
    scan = os.scandir

    def scandir(path):
        if str(path).endswith('/b'):
            raise PermissionError(13, 'Permission denied', str(path))
        return scan(path)

    monkeypatch.setattr(os, 'scandir', scandir)
    with pytest.warns(UserWarning, match=r'/b: left out \(Permission denied\)'):
        assert [name for _, name in find_videos(tmp_path)] == ['a']


# --- parts of a folder


@pytest.mark.parametrize(
    'train, val',
    [('train', 'val'), ('Training', 'validation'), ('train', 'valid'), ('train', 'test')],
)
def test_parts_are_seen_as_such(tmp_path, train, val):
    "Reports 19 and 21: each part is itself, and the classes have the same numbers in both."
    films(tmp_path, f'{train}/Archery/0.mp4', f'{train}/Rowing/1.mp4', f'{val}/Rowing/2.mp4')
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'README.md').touch()
    for word in (f'folder:{tmp_path}', f'kinetics:{tmp_path}', tmp_path):
        parts = open_parts(word, **SMALL)
        assert [part.class_names for part in parts] == [['Archery', 'Rowing']] * 2
        found = [part.clips for part in parts]
        assert [[label for _, label, _ in clips] for clips in found] == [[0, 1], [1]]
        assert [names_of(part) for part in parts] == [
            [f'{train}/Archery/0.mp4', f'{train}/Rowing/1.mp4'],
            [f'{val}/Rowing/2.mp4'],
        ]
    parts = demo_clips(tmp_path, replace(tokenizer_presets['toy'], size=16, frames=8))
    assert [names_of(part) for part in parts] == [
        names_of(part) for part in open_parts(word, **SMALL)
    ]
    shards = open_films(f'folder:{tmp_path}', 16, split='val')
    assert (names_of(shards), shards.labels().tolist()) == ([f'{val}/Rowing/2.mp4'], [1])


def test_val_comes_before_test(tmp_path):
    "Report 21."
    films(tmp_path, *(f'{part}/{name}/0.mp4' for part in ('test', 'train', 'val') for name in 'ab'))
    parts = [VideoFolder(tmp_path, **SMALL, split=split) for split in ('train', 'val')]
    assert [names_of(part) for part in parts] == [
        ['train/a/0.mp4', 'train/b/0.mp4'],
        ['val/a/0.mp4', 'val/b/0.mp4'],
    ]
    assert not any(part.overlap for part in parts)


def test_parts_without_classes(tmp_path):
    "Report 21."
    films(tmp_path, 'train/0.mp4', 'train/1.mp4', 'test/2.mp4')
    parts = [VideoFolder(tmp_path, **SMALL, split=split) for split in ('train', 'val')]
    assert [names_of(part) for part in parts] == [['train/0.mp4', 'train/1.mp4'], ['test/2.mp4']]
    assert parts[0].class_names == ['clips']


@pytest.mark.parametrize('names', ['archery test', 'archery val', 'archery test val', 'train bus'])
def test_a_class_called_test_is_a_class(tmp_path, names):
    "Report 21."
    films(tmp_path, *(f'{name}/{k}.mp4' for name in names.split() for k in range(5)))
    assert split_word(tmp_path)[0] == 'folder'
    for part in open_parts(tmp_path, **SMALL):
        assert part.class_names == sorted(names.split())


def test_a_class_called_test_in_a_listed_folder(tmp_path):
    "Report 21."
    films(tmp_path, 'k/archery/aB-1_000010_000020.mp4', 'k/test/cD_2_000010_000020.mp4')
    assert Kinetics(tmp_path / 'k', **SMALL).class_names == ['archery', 'test']
    (tmp_path / 'train.csv').write_text(
        'label,youtube_id,time_start,time_end\narchery,aB-1,10,20\ntest,cD_2,10,20\n'
    )
    listed = Kinetics(tmp_path / 'k', **SMALL, listed=tmp_path / 'train.csv')
    assert (listed.missing, listed.labels().tolist()) == (0, [0, 1])


def test_unclear_parts_are_refused(tmp_path):
    "Report 21."
    films(tmp_path, 'x/train/a/0.mp4', 'x/val/a/1.mp4', 'x/bus/2.mp4')
    films(tmp_path, 'y/train/a/0.mp4', 'y/val/a/1.mp4', 'y/validation/a/2.mp4')
    films(tmp_path, 'z/train/a/0.mp4', 'z/train/b/0.mp4')
    for kind in ('folder:', ''):
        with pytest.raises(ValueError, match='x holds the parts train and val and beside them bus'):
            open_data(f'{kind}{tmp_path}/x', **SMALL)
        with pytest.raises(ValueError, match='y holds val and validation, expected one'):
            open_data(f'{kind}{tmp_path}/y', **SMALL)
        assert open_data(f'{kind}{tmp_path}/z', **SMALL).class_names == ['a', 'b']
        with pytest.raises(ValueError, match='z holds train but no folder val'):
            open_data(f'{kind}{tmp_path}/z', **SMALL, split='val')
    with pytest.raises(ValueError, match='z holds train but no folder val'):
        open_films(f'folder:{tmp_path}/z', 16, split='val')


# --- lists

UCF = 'v_HandstandPushups_g08_c01.avi', 'v_Archery_g09_c01.avi', 'v_Archery_g10_c01.AVI'
UCF_LINES = [
    'HandstandPushups/v_HandStandPushups_g08_c01.avi 37',
    'Archery/v_archery_g09_c01.avi 3',
    'Archery/v_Archery_g10_c01.avi 3',
]


def as_utf8(text):
    return text.encode()


def with_mark(text):
    return text.encode('utf-8-sig')


def as_utf16(text):
    return text.encode('utf-16')


def with_backslashes(text):
    return text.replace('/', '\\').replace('\n', '\r\n').encode('utf-8-sig')


def bare(text):
    return '\n'.join(line.split('/')[1] for line in text.split('\n')).encode('utf-8-sig')


@pytest.mark.parametrize('write', [as_utf8, with_mark, as_utf16, with_backslashes, bare])
def test_ucf_lists(tmp_path, write):
    "Report 18."
    root = films(tmp_path / 'ucf', *(f'{name.split("_")[1]}/{name}' for name in UCF))
    listed = tmp_path / 'trainlist01.txt'
    listed.write_bytes(write('\n'.join(UCF_LINES)))
    with warnings.catch_warnings(record=True) as caught:
        data = UCF101(root, **SMALL, listed=listed)
    assert (len(data), data.missing, said(caught)) == (3, 0, '')


def test_names_of_a_list_that_are_missing_are_counted(tmp_path):
    "Report 18."
    root = films(tmp_path / 'ucf', *(f'{name.split("_")[1]}/{name}' for name in UCF[:2]))
    listed = tmp_path / 'trainlist01.txt'
    listed.write_text('\n'.join(UCF_LINES))
    with pytest.warns(UserWarning, match='2 of 3 names in .*trainlist01.txt .* v_Archery_g10_c01'):
        assert UCF101(root, **SMALL, listed=listed).missing == 1
    listed.write_text('\n'.join(line.replace('_g', '_g2') for line in UCF_LINES))
    with pytest.raises(ValueError, match='none of the 3 names in .*trainlist01.txt'):
        UCF101(root, **SMALL, listed=listed)
    for data in (b'\xff\xfe\x00', 'v_Archery_g09_c01.avi'.encode('utf-16-le'), b'\x89PNG\0'):
        listed.write_bytes(data)
        with pytest.raises(ValueError, match='trainlist01.txt is no text'):
            UCF101(root, **SMALL, listed=listed)


ROWS = [('yoga', 'aB-1'), ('juggling', 'cD_2')]
KINETICS_LINES = [f'{label},{key},10,20,train' for label, key in ROWS]


@pytest.mark.parametrize('write', [as_utf8, with_mark, as_utf16])
@pytest.mark.parametrize('head', ['label,youtube_id,time_start', 'Label, YouTube_ID,Time_Start'])
def test_kinetics_lists(tmp_path, write, head):
    "Report 18."
    root = films(tmp_path / 'k', 'aB-1_000010_000020.mp4', 'deep/CD_2_000010_000020.MP4')
    listed = tmp_path / 'train.csv'
    listed.write_bytes(write('\r\n'.join([f'{head},time_end,split', *KINETICS_LINES])))
    assert list(read_kinetics_list(listed).values()) == ['yoga', 'juggling']
    with warnings.catch_warnings(record=True) as caught:
        data = Kinetics(root, **SMALL, listed=listed)
    assert (len(data), data.missing, said(caught)) == (2, 0, '')
    assert data.class_names == ['juggling', 'yoga']
    (root / 'aB-1_000010_000020.mp4').unlink()
    with pytest.warns(UserWarning, match='1 of 2 names in .*train.csv .*missing: aB-1_000010'):
        Kinetics(root, **SMALL, listed=listed)


@pytest.mark.parametrize(
    'text, said',
    [
        ('', 'has columns'),
        ('a,b\n', 'has columns'),
        ('{head}\nx\n', 'line 2'),
        ('{head}\n' + 'x' * 200_000, 'csv'),
    ]
    + [('{head}\nyoga,a,inf,20', 'line 2'), ('{head}\n\nyoga,a,b,c', 'line 3')],
)
def test_lists_that_are_none(tmp_path, text, said):
    listed = tmp_path / 'train.csv'
    listed.write_text(text.format(head='label,youtube_id,time_start,time_end'))
    with pytest.raises(ValueError, match=f'train.csv.*{said}'):
        read_kinetics_list(listed)


def test_a_second_suffix_is_no_part_of_the_name(tmp_path):
    "Report 40."
    films(tmp_path, 'k/aB-1_000010_000020.mp4.mkv', 'k/cD_2_000010_000020.mkv.mp4')
    (tmp_path / 'train.csv').write_text(
        '\n'.join(['label,youtube_id,time_start,time_end,split', *KINETICS_LINES])
    )
    assert Kinetics(tmp_path / 'k', **SMALL, listed=tmp_path / 'train.csv').missing == 0
    films(tmp_path, 'ucf/v_Archery_g08_c01.avi.mp4', 'ucf/v_Archery_g01_c01.mp4.mkv')
    with pytest.warns(UserWarning, match='not the .avi files'):
        parts = open_parts(tmp_path / 'ucf', **SMALL)
    assert [len(part) for part in parts] == [1, 1]


# --- numbers of the classes


def test_a_class_missing_in_one_part(tmp_path):
    "Report 19: for every kind of data that knows its parts."
    train, val = ('abseiling', 'juggling', 'yoga'), ('juggling', 'yoga', 'zumba')
    films(tmp_path, *[f'train/{k}/{k}.mp4' for k in train], *[f'val/{k}/{k}2.mp4' for k in val])
    for kind in ('kinetics', 'folder'):
        train, val = open_parts(f'{kind}:{tmp_path}', **SMALL)
        assert train.class_names == val.class_names == ['abseiling', 'juggling', 'yoga', 'zumba']
        assert (train.labels().tolist(), val.labels().tolist()) == ([0, 1, 2], [1, 2, 3])
    for split in ('train', 'val'):
        prepare_shards(
            open_films(f'folder:{tmp_path}', 16, split=split), tmp_path / 'shards' / split
        )
    shards = [ShardFolder(tmp_path / 'shards' / s, 16, 8, split=s) for s in ('train', 'val')]
    assert [part.labels().tolist() for part in shards] == [[0, 1, 2], [1, 2, 3]]


def test_lists_of_different_classes(tmp_path):
    "Report 19: numbers that would differ between two lists are refused, or said by the caller."
    root = films(
        tmp_path / 'k', 'train/yoga/aB-1_000010_000020.mp4', 'val/zumba/x_000010_000020.mp4'
    )
    head = 'label,youtube_id,time_start,time_end,split'
    (tmp_path / 'train.csv').write_text(f'{head}\nyoga,aB-1,10,20,train\n')
    (tmp_path / 'val.csv').write_text(f'{head}\nzumba,x,10,20,val\n')
    for split, other in (('train', 'zumba'), ('val', 'yoga')):
        options = dict(SMALL, split=split, listed=tmp_path / f'{split}.csv')
        with pytest.raises(ValueError, match=f'{split}.csv does not know the class {other}.*names'):
            Kinetics(root, **options)
        data = Kinetics(root, **options, class_names=['zumba', 'yoga'])
        assert data.labels().tolist() == [['zumba', 'yoga'].index(data.clips[0][0].split('/')[1])]
        with pytest.raises(ValueError, match=f'class .* of .*{split}.csv is not in class_names'):
            Kinetics(root, **options, class_names=['dancing'])


def test_classes_that_differ_in_capitals(tmp_path):
    "Reports 18 and 19: two spellings of a folder make two classes, and that is said."
    films(tmp_path, 'train/HandStand/0.mp4', 'val/Handstand/1.mp4')
    for kind in ('kinetics', 'folder'):
        with pytest.warns(UserWarning, match='HandStand and Handstand are two classes'):
            open_data(f'{kind}:{tmp_path}', **SMALL)


def test_parts_that_number_classes_otherwise_are_refused(tmp_path, monkeypatch):
    "Report 19."
    films(tmp_path, 'train/a/0.mp4', 'val/b/1.mp4')
    monkeypatch.setattr(Kinetics, '_names', lambda self, root, base, folders, *a: sorted(folders))
    with pytest.raises(ValueError, match='other numbers'):
        open_parts(f'kinetics:{tmp_path}', **SMALL)


# --- data by one word


def test_ucf101_of_another_format_keeps_its_official_split(tmp_path):
    "Report 20."
    for group in (1, 8):
        film(tmp_path / f'v_Archery_g{group:02}_c01.mp4', group)
    with pytest.warns(UserWarning, match='1 of 1 films are not the .avi files'):
        assert names_of(open_data(tmp_path, **SMALL, split='val')) == ['v_Archery_g01_c01.mp4']


def test_films_that_are_not_of_ucf101(tmp_path):
    "Report 20: neither passed over nor split by chance without a word."
    films(tmp_path, 'Archery/v_Archery_g08_c01.avi', 'Archery/holiday.mp4')
    with pytest.raises(ValueError, match='say ucf101:.* or folder:'):
        open_data(tmp_path, **SMALL)
    with pytest.warns(
        UserWarning, match='1 films left out; the first: Archery.holiday.mp4: its name'
    ):
        data = open_data(f'ucf101:{tmp_path}', **SMALL)
    assert list(data.skipped) == ['Archery/holiday.mp4']


def test_windows_and_flip_of_a_folder(tmp_path):
    "Report 20 and from reading 1: what is asked for is done."
    film(tmp_path / 'a/0.mp4', frames=40)
    data = open_data(tmp_path, **SMALL, window='all', flip=True)
    assert [start for _, start in data.places] == [0, 8, 16, 24]
    plain = open_data(tmp_path, **SMALL, window='all')
    mirrored = [not data[0, k][0].equal(plain[0, k][0]) for k in range(20)]
    assert any(mirrored) and not all(mirrored)
    k = mirrored.index(True)
    assert data[0, k][0].equal(plain[0, k][0].flip(-1))


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    "Files of an untrained tokenizer and of generators of classes and of frames, all tiny."
    folder = tmp_path_factory.mktemp('models')
    torch.manual_seed(0)
    shape = dict(size=16, frames=8, patch=(4, 8, 8), n_tokens=4, dim=32, heads=2, codes=16)
    shape |= dict(encoder_depth=1, decoder_depth=1, prior_dim=16, prior_depth=1, prior_heads=1)
    save_model(
        folder / 'tok.safetensors', LARPTokenizer(replace(tokenizer_presets['toy'], **shape))
    )
    config = replace(
        generator_presets['toy'], n_tokens=4, codes=16, dim=32, depth=1, heads=2, classes=101
    )
    for name, classes in (('classes', 101), ('frames', 0)):
        model = ARTransformer(replace(config, classes=classes))
        save_model(folder / f'{name}.safetensors', model)
    return folder


@pytest.fixture(scope='module')
def kinds(tmp_path_factory):
    "Every kind of data, small, by its word."
    os.environ['XDG_CACHE_HOME'] = str(tmp_path_factory.mktemp('cache'))
    root = tmp_path_factory.mktemp('kinds')
    plain = films(root / 'own', *(f'{"ab"[k % 2]}/{k}.mp4' for k in range(10)))
    parts = films(root / 'parts', *(f'{"train" if k < 8 else "test"}/a/{k}.mp4' for k in range(10)))
    k600 = films(root / 'k', *(f'{"train" if k < 8 else "val"}/yoga/{k}.mkv' for k in range(10)))
    ucf = films(root / 'ucf', *(f'Archery/v_Archery_g{g:02}_c01.avi' for g in range(1, 16)))
    prepare_shards(open_films(f'folder:{plain}', 16), root / 'shards')
    return dict(
        shapeworld='shapeworld',
        shapeworld101='shapeworld101',
        folder=f'folder:{plain}',
        parts=f'folder:{parts}',
        kinetics=f'kinetics:{k600}',
        ucf101=f'ucf101:{ucf}',
        shards=f'shards:{root / "shards"}',
    )


KINDS = dict(shapeworld=12, shapeworld101=12, folder=8, parts=8, kinetics=8, ucf101=8, shards=10)


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_of_data_is_measured(kinds, models, kind, tmp_path):
    "Report 20: both protocols with each word that `open_data` takes."
    toy = toy_detector()
    tok = models / 'tok.safetensors'
    by_class = evaluate(tok, kinds[kind], tmp_path / 'c', toy, models / 'classes.safetensors', n=12)
    options = dict(split='train', n=12, cond_frames=4)
    frames = evaluate(
        tok, kinds[kind], tmp_path / 'f', toy, models / 'frames.safetensors', **options
    )
    assert list(by_class) == ['reconstruction', 'generation'] and list(frames) == ['prediction']
    scores = by_class['reconstruction']
    assert scores['header']['n'] == KINDS[kind]
    assert all(np.isfinite(scores[name]) for name in ('rfvd', 'psnr', 'nll'))
    assert np.isfinite(by_class['generation']['gfvd'])
    assert np.isfinite(frames['prediction']['fvd'])
    assert frames['prediction']['header']['size'] == 16  # nothing is enlarged


def test_the_command_measures_a_folder(kinds, models, tmp_path, capsys):
    "Report 20, from the terminal."
    words = f'evaluate --tokenizer {models}/tok.safetensors --data {kinds["folder"]} --detector toy'
    main([*words.split(), '--out', str(tmp_path / 'o'), '--split', 'val'])
    assert 'psnr' in json.loads(capsys.readouterr().out)['reconstruction']


def test_the_command_gives_the_frames_of_the_training(models, tmp_path, capsys):
    "Reading C: always five were given, of the training part, and both sides were enlarged to 64."
    words = f'evaluate --tokenizer {models}/tok.safetensors --data shapeworld --detector toy --n 12'
    words = [*words.split(), '--out', str(tmp_path / 'o'), '--generator']
    with pytest.raises(SystemExit, match='clips of 8 frames: give cond_frames'):
        main([*words, f'{models}/frames.safetensors'])
    assert not (tmp_path / 'o').exists()
    model = ARTransformer.load(models / 'frames.safetensors')
    save_model(tmp_path / 'own.safetensors', model, recipe=dict(given=3))
    with pytest.raises(SystemExit, match='cond_frames is 4, but the generator was trained with 3'):
        main([*words, f'{tmp_path}/own.safetensors', '--cond-frames', '4'])
    main([*words, f'{tmp_path}/own.safetensors'])
    assert 'fvd' in json.loads(capsys.readouterr().out)['prediction']
    header = json.loads((tmp_path / 'o/prediction.json').read_text())['header']
    assert (header['about']['cond_frames'], header['size']) == (3, 16)
    assert header['data'].startswith('ShapeWorld val')


def test_the_seed_chooses_the_windows_of_films(models, kinds, tmp_path):
    "Reading C: two seeds gave the same rFVD. A world of another seed would be another world."
    tok, toy = models / 'tok.safetensors', toy_detector()

    def described(kind, seed):
        out = tmp_path / f'{kind} {seed}'
        n = 12 if kind == 'shapeworld' else None
        scores = evaluate(tok, kinds[kind], out, toy, n=n, seed=seed)['reconstruction']
        return scores['psnr'], scores['header']['data']

    first, other = described('ucf101', 1), described('ucf101', 2)
    assert first[0] != other[0] and first[1].endswith('seed 1') and other[1].endswith('seed 2')
    assert described('shapeworld', 1) == described('shapeworld', 2)


def test_a_list_says_what_is_missing(models, tmp_path):
    "Reading C: a score on films of Kinetics never lost its warning, since no list could be given."
    root = films(tmp_path / 'k', *(f'val/yoga/a{k}_000010_000020.mp4' for k in range(9)))
    listed = tmp_path / 'val.csv'
    rows = [f'yoga,a{k},10,20,val' for k in range(9)]
    listed.write_text('\n'.join(['label,youtube_id,time_start,time_end,split', *rows]))
    tok, toy = models / 'tok.safetensors', toy_detector()
    for options, warns in ((dict(), True), (dict(listed=listed), False)):
        out = tmp_path / str(warns)
        scores = evaluate(tok, f'kinetics:{root}', out, toy, split='val', **options)
        said = scores['reconstruction']['made'].get('warning', '')
        assert ('no list of clips' in said) == warns
    with pytest.raises(ValueError, match='a list is for ucf101 and kinetics, not for shapeworld'):
        evaluate(tok, 'shapeworld', tmp_path / 'x', toy, listed=listed)


def test_unknown_classes_are_refused_before_the_work(kinds, models, tmp_path):
    "Report 20: a generator of other classes, and films without one."
    small = ARTransformer(
        replace(generator_presets['toy'], n_tokens=4, codes=16, dim=32, depth=1, heads=2, classes=1)
    )
    save_model(tmp_path / 'one.safetensors', small)
    tok = models / 'tok.safetensors'
    for data in (kinds['folder'], 'shapeworld'):
        with pytest.raises(ValueError, match='in the data, the generator knows 1'):
            evaluate(tok, data, tmp_path / 'o', toy_detector(), tmp_path / 'one.safetensors')
    films(tmp_path, 'k/train/0.mp4', 'k/val/1.mp4')
    word = f'kinetics:{tmp_path / "k"}'
    with pytest.raises(ValueError, match='classes -1..-1 in the data'):
        evaluate(tok, word, tmp_path / 'o', toy_detector(), models / 'classes.safetensors')
    assert not list((tmp_path / 'o').glob('*'))


# --- films that are in both parts


def test_the_same_names_in_both_parts(tmp_path):
    "Report 39: names count without folder of the part, suffix and case."
    films(tmp_path, *(f'train/yoga/{k}a.mp4' for k in range(5)))
    films(tmp_path / 'more', *(f'val/yoga/{k}A.mkv' for k in range(3, 9)))
    shutil.move(tmp_path / 'more/val', tmp_path / 'val')
    for kind in ('kinetics', 'folder'):
        with pytest.warns(UserWarning) as caught:
            open_parts(f'{kind}:{tmp_path}', **SMALL)
        assert len(caught) == 1
        assert said(caught).startswith('2 of 6 films for validation are known from training: ')
        assert '2 by name;' in said(caught)
        assert 'val/yoga/3A.mkv' in said(caught)


@pytest.mark.parametrize('copy', [shutil.copy, os.link, os.symlink])
def test_equal_copies_in_both_parts(tmp_path, copy):
    "Report 39: copies, hard links and links under other names."
    films(tmp_path, *(f'train/yoga/{k}.mp4' for k in range(5)), 'val/yoga/new.mp4')
    for k in range(2):
        copy(tmp_path / f'train/yoga/{k}.mp4', tmp_path / f'val/yoga/other{k}.mp4')
    for kind in ('kinetics', 'folder'):
        with pytest.warns(UserWarning, match='2 of 3 films .* training: 2 as an equal copy'):
            open_parts(f'{kind}:{tmp_path}', **SMALL)


def test_equal_copies_in_one_folder_and_in_its_shards(tmp_path):
    "Report 39: where a share is held out, too."
    root = films(tmp_path / 'own', *(f'a/{k}.mp4' for k in range(20)))
    for k in range(20):
        shutil.copy(root / f'a/{k}.mp4', root / f'a/{k}-copy.mp4')
    prepare_shards(open_films(f'folder:{root}', 16), tmp_path / 'shards')
    for word in (root, tmp_path / 'shards'):
        with pytest.warns(UserWarning, match='as an equal copy'):
            open_parts(word, **SMALL)
    parts = [VideoFolder(root, **SMALL, split=split) for split in ('train', 'val')]
    assert set(common_films(*parts).values()) == {'as an equal copy'}
    assert any('are known from training' in note for note in notes_on_own_clips(*parts))


def test_films_of_one_size_are_not_all_read(tmp_path, monkeypatch):
    "Report 39: sizes first, then beginnings; only what is still alike is read as a whole."
    paths = [tmp_path / f'{part}/a/{k}.avi' for part in ('train', 'val') for k in range(3)]
    for k, path in enumerate(paths):
        film(path, k)
        path.write_bytes(path.read_bytes().ljust(20_000, b'\0'))
    shutil.copy(paths[0], paths[3])
    whole = []
    monkeypatch.setattr(loading, 'sha256_of', lambda path: whole.append(path) or path.read_bytes())
    parts = [Kinetics(tmp_path, **SMALL, split=split) for split in ('train', 'val')]
    assert len(common_films(*parts)) == 3  # by name, too
    assert sorted(whole) == [paths[0], paths[3]]
    paths[3].unlink()
    assert len(common_films(*parts)) == 3  # a film that has gone since is nobody's copy


def test_shards_of_ucf101_hold_out_other_clips_of_a_recording(tmp_path):
    "Report 39, the same kind: one clip in twenty is held out, whatever recording it was cut from."
    films(tmp_path / 'films', *[f'v_Archery_g08_c0{k}.avi' for k in (1, 2, 3, 4)])
    prepare_shards(open_films(f'ucf101:{tmp_path}/films', 32, 4), tmp_path / 'shards')
    with pytest.warns(UserWarning, match='1 of 1 films .* 1 from the same recording'):
        open_parts(tmp_path / 'shards', 32, 4)


def test_the_official_test_set_of_shards_can_be_held_out(tmp_path):
    "Reading C: training lost one clip in twenty, whose recordings it saw."
    films(tmp_path / 'films', *[f'v_Archery_g{g:02}_c0{k}.avi' for g in (1, 8, 9) for k in (1, 2)])
    words = []
    for split in ('train', 'val'):
        data = open_films(f'ucf101:{tmp_path}/films', 32, 4, split=split)
        prepare_shards(data, tmp_path / split)
        words.append(f'shards:{tmp_path / split}')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        train, held = open_parts(words[0], 32, 4, val=words[1])
    assert (len(train), len(held), held.split) == (4, 2, 'val')
    with pytest.raises(ValueError, match='these shards hold the train part, not val'):
        open_parts(words[0], 32, 4, val=words[0])


def test_separate_parts_are_silent(tmp_path):
    "Report 39: no false alarm, not for numbered films of several classes either."
    films(tmp_path, *(f'{name}/{k}.mp4' for name in 'ab' for k in range(10)))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        open_parts(tmp_path, **SMALL)
        open_parts('shapeworld', **SMALL)


def test_a_class_too_small_to_be_split_is_said(tmp_path):
    "Report 39: training on such a folder said nothing."
    films(tmp_path, *(f'a/{k}.mp4' for k in range(10)), 'b/only.mp4')
    with pytest.warns(
        UserWarning, match='1 of 2 films for validation are known from training: 1 by name'
    ):
        open_parts(tmp_path, **SMALL)


# --- names

ODD = [
    'a:b',
    'cost $5 or $x_',
    '$x_$',
    '[x]',
    '*?',
    'a b\tc',
    '%d',
    '"quoted" & <b>',
    "it's",
    '-n',
    '~',
    'späť',
    'x' * 250,
    'caf\udce9',  # a byte that is not UTF-8
    'a\nb',
    'a\\b',
    '#1',
]


@pytest.mark.parametrize('name', ODD, ids=range(len(ODD)))
def test_odd_names(tmp_path, name):
    "Report 23: names of films, of classes and of the folder itself, of any characters and bytes."
    root = tmp_path / name
    films(root, f'{name}/{name}.mp4', *(f'{name}/{k}.mp4' for k in range(9)))
    for word in (f'folder:{root}', root):
        train, val = open_parts(word, **SMALL)
        assert (train.clip_count, val.clip_count) == (9, 1)
        assert train.class_names == [name]
        train[0], val[0], train.describe()
    own = open_films(f'folder:{root}', 16)
    assert own.clip_count == 10
    prepare_shards(own, tmp_path / 'shards')
    assert names_of(ShardFolder(tmp_path / 'shards', frames=8)) == names_of(own)


@pytest.mark.parametrize('name', ODD, ids=range(len(ODD)))
def test_odd_names_in_pictures_and_pages(tmp_path, name):
    "Report 23: after a training, the report must not fail for a name."
    clips = torch.rand(1, 3, 8, 16, 16)
    label = torch.tensor([0])
    film = write_pictures(tmp_path, 'scratch', [name], clips, label, clips, clips, label)
    assert (tmp_path / 'scratch.png').stat().st_size
    report = dict(data=name, seed=0, hardware={}, minutes=0.0, training_minutes=0.0)
    report |= dict(notes=[f'Not readable: {name}'], baselines={}, recipe=asdict(OWN_CLIPS))
    tier = dict(measured={}, recipe='', film=film, criteria=[])
    write_page(report | dict(tiers=dict(scratch=tier)), tmp_path)
    page = (tmp_path / 'index.html').read_text(encoding='utf-8')
    assert name.split('<')[0].split('"')[0].split("'")[0].split('\udce9')[0] in page


def test_unreadable_films_of_any_name_are_named(tmp_path):
    "Report 23: a warning and a note can be printed, whatever the name."
    name = 'caf\udce9'
    films(tmp_path, *(f'{name}/{k}.mp4' for k in range(9)))
    (tmp_path / name / f'{name}.mp4').write_bytes(b'no film')
    with pytest.warns(UserWarning) as caught:
        parts = demo_clips(tmp_path, replace(OWN_CLIPS.tokenizer, size=16, frames=8))
        Films(tmp_path, [f'{name}/{name}.mp4', f'{name}/1.mp4'], [0, 0], **SMALL)
    notes = '\n'.join(notes_on_own_clips(*parts))
    for text in (said(caught), notes):
        assert 'caf\\udce9.mp4' in text
        text.encode('utf-8')


def test_shards_of_films_of_any_name_can_be_announced(tmp_path, capfdbinary, monkeypatch):
    "Report 23: `larp prepare` prints what it leaves out, also where output must be UTF-8."
    films(tmp_path / 'own', 'a/0.mp4')
    (tmp_path / 'own/a/caf\udce9.mp4').write_bytes(b'no film')
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(sys.stdout.buffer, 'utf-8', 'strict'))
    out = tmp_path / 'out\udce9'
    with pytest.warns(UserWarning, match='1 of 2 films left out'):
        main(['prepare', '--data', f'folder:{tmp_path}/own', '--out', str(out), '--size', '16'])
    sys.stdout.flush()
    said = capfdbinary.readouterr().out.decode('utf-8')
    assert 'left out: a/caf\\udce9.mp4' in said and 'out\\udce9, 1 films left out' in said


def test_printable():
    assert printable('späť') == 'späť'
    assert printable(Path('caf\udce9.mp4')) == 'caf\\udce9.mp4'


def test_held_out_takes_any_bytes():
    "Report 23."
    paths = [Path(f'caf\udce9{k}.mp4') for k in range(10)]
    assert len(held_out(paths, 0.1)) == 1


def test_a_folder_called_like_a_word(tmp_path, monkeypatch):
    "A folder `shards:old` is a folder; where a word could mean two, both are named."
    monkeypatch.chdir(tmp_path)
    films(tmp_path, 'folder:clips/0.mp4', 'a:b/0.mp4')
    assert split_word('folder:clips') == ('folder', Path('folder:clips'))
    assert split_word('a:b') == ('folder', Path('a:b'))
    films(tmp_path, 'clips/0.mp4')
    with pytest.raises(ValueError, match=r'folder:\./clips or \./folder:clips'):
        split_word('folder:clips')
    assert split_word('./folder:clips') == ('folder', Path('folder:clips'))
    assert split_word('folder:./clips') == ('folder', Path('clips'))


PROTOCOLS = 'http:x.mp4', 'concat:a.mp4', 'pipe:0.mp4', 'file:a.mp4', 'a:b.mp4', 'data:x.mp4'


@pytest.mark.parametrize('name', PROTOCOLS)
def test_names_that_ffmpeg_takes_for_addresses(tmp_path, name, monkeypatch):
    "Report 23: seen from inside the folder, such a name has nothing before it."
    monkeypatch.chdir(tmp_path)
    films(tmp_path, name)
    assert len(VideoFolder('.', **SMALL)) == 1
    assert len(VideoFolder('.', **SMALL, cache=0)[0][0]) == 3
    assert len(Films('.', [name], [0], **SMALL)[0][0]) == 3


# --- shards from elsewhere


@pytest.fixture
def shards(tmp_path):
    prepare_shards(
        open_films(f'folder:{films(tmp_path / "own", "a/0.mp4")}', 16), tmp_path / 'shards'
    )
    return tmp_path / 'shards'


@pytest.mark.parametrize(
    'name',
    ['../x.tar', '/etc/passwd', 'a/../../x.tar', '..', '', '..\\x.tar', 'C:\\x.tar', 7, None],
)
def test_names_that_lead_out_of_the_folder(shards, name):
    "From reading 14."
    (shards.parent / 'x.json').write_bytes((shards / 'shard-00000.json').read_bytes())
    (shards.parent / 'x.tar').write_bytes((shards / 'shard-00000.tar').read_bytes())
    manifest = json.loads((shards / 'manifest.json').read_text())
    (shards / 'manifest.json').write_text(json.dumps(manifest | dict(shards=[name])))
    with pytest.raises(ValueError, match='manifest.json: .*expected the name of a file in') as e:
        Shards(shards)
    assert '\n' not in str(e.value)


@pytest.mark.parametrize('key', ['shards', 'about', 'size', 'quality', 'clips', 'skipped'])
def test_a_manifest_that_lacks_something(shards, key):
    "From reading 14: what comes from elsewhere may be damaged in any way."
    manifest = json.loads((shards / 'manifest.json').read_text())
    del manifest[key]
    (shards / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=f'manifest.json .*{key}'):
        ShardFolder(shards, frames=8)


@pytest.mark.parametrize(
    'change',
    [dict(offsets=[0]), dict(offsets='x'), dict(offsets=[5, 0]), dict(offsets=[-1, 5])]
    + [dict(start=-1), dict(start=None), dict(label='a'), dict(file=3)],
)
def test_a_table_with_wrong_rows(shards, change):
    "From reading 14."
    path = shards / 'shard-00000.json'
    table = json.loads(path.read_text())
    table['clips'][0] |= change
    path.write_text(json.dumps(table))
    with pytest.raises(ValueError, match='shard-00000.json') as e:
        Shards(shards)
    assert '\n' not in str(e.value)


def test_world_parts_are_left_alone():
    "A world drawn by code has no films that could be in both parts."
    train, val = open_parts('shapeworld', **SMALL)
    assert isinstance(train, ShapeWorld) and common_films(train, val) == {}


def test_joined_clips_replace_a_film_that_is_lost(tmp_path):
    "The film's own data set gives another of its films, as it does alone."
    for name in 'ab':
        for k in range(3):
            film(tmp_path / name / 'train' / 'x' / f'{k}.mp4', seed=k)
    parts = [VideoFolder(tmp_path / name, **SMALL, cache=0, max_failed=0.4) for name in 'ab']
    joined = JoinedClips(parts)
    lost = len(parts[0]) + 1
    (tmp_path / 'b' / joined.clip_name(lost)).unlink()
    with pytest.warns(UserWarning, match='left out'):
        clip, label = joined[lost, 7]
    assert clip.equal(parts[1][2, 7][0]) and label == -1
    assert [len(part.failed) for part in parts] == [0, 1]
