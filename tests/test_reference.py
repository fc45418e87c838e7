"""The reference outputs of the public implementation: what lies there, and how it was reduced."""

import re
import sys
from pathlib import Path
import pytest
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tools'))
import reduce_reference

FOLDER = ROOT / 'reference'
PACKED = sorted(FOLDER.glob('*.safetensors.xz'))


def test_the_folder_is_small_and_every_file_is_explained():
    files = [p for p in FOLDER.iterdir() if p.name != 'README.md']
    assert sum(p.stat().st_size for p in FOLDER.iterdir()) <= reduce_reference.LIMIT
    patterns = re.findall(r'`(\w[\w.*]*)`', (FOLDER / 'README.md').read_text())
    stems = [p.name.split('.')[0] for p in files]
    known = [re.compile(pattern.split('.')[0].replace('*', r'\w*') + '$') for pattern in patterns]
    assert [s for s in stems if not any(k.match(s) for k in known)] == []


def test_every_file_of_the_tool_is_there():
    names = [*reduce_reference.WEIGHTS, *reduce_reference.OUTPUTS]
    assert [p.name.split('.')[0] for p in PACKED] == sorted(names)


@pytest.mark.parametrize('path', PACKED, ids=lambda p: p.name.split('.')[0])
def test_kept_numbers_and_statistics_fit_together(path):
    tensors = reduce_reference.unpack(path.read_bytes())
    thinned = [name.removesuffix('/shape') for name in tensors if name.endswith('/shape')]
    for name in thinned:
        *shape, step = tensors[f'{name}/shape'].tolist()
        mean, rms, largest = tensors[f'{name}/whole'].tolist()
        count = torch.Size(shape).numel()
        assert tensors[name].shape == (-(-count // step),)
        assert count % step
        assert tensors[name].abs().max() <= largest
        assert abs(mean) <= rms * (1 + 1e-9) and rms <= largest
    if 'weights' in path.name:
        assert thinned == []


def test_packing_loses_no_bit():
    tensors = {
        'floats': torch.randn(7, 9),
        'odd': torch.tensor([0.0, -0.0, float('inf'), float('-inf'), 1e-42, -3.4e38]),
        'doubles': torch.randn(5, dtype=torch.float64),
        'codes': torch.arange(-3, 9),
    }
    again = reduce_reference.unpack(reduce_reference.pack(tensors))
    for name, tensor in tensors.items():
        assert again[name].dtype == tensor.dtype
        assert again[name].numpy().tobytes() == tensor.numpy().tobytes()


def test_a_large_output_is_thinned_and_an_input_is_not():
    large = torch.randn(4, 300)
    kept = reduce_reference.reduce_outputs(
        {'logits': large, 'video': large, 'small': large[0, :9], 'gone': large}, ('gone',)
    )
    *shape, step = kept['logits/shape'].tolist()
    assert shape == [4, 300] and 'gone' not in kept
    assert kept['logits'].equal(large.flatten()[::step])
    assert kept['video'].equal(large) and kept['small'].equal(large[0, :9])


def test_a_whole_folder_is_reduced(tmp_path, monkeypatch):
    full, small = tmp_path / 'full', tmp_path / 'small'
    weights, outputs = {'w': torch.randn(3, 4)}, {'y': torch.randn(999)}
    (full / 'hub/tokenizer').mkdir(parents=True)
    save_file(weights, full / 'tokenizer_weights.safetensors')
    save_file(weights, full / 'hub/tokenizer/model.safetensors')
    (full / 'hub/tokenizer/config.json').write_text('{"dim": 4}')
    save_file(outputs, full / 'tokenizer_io.safetensors')
    monkeypatch.setattr(reduce_reference, 'WEIGHTS', {'tokenizer_weights': 'tokenizer'})
    monkeypatch.setattr(reduce_reference, 'OUTPUTS', {'tokenizer_io': ()})
    monkeypatch.setattr(reduce_reference, 'TEXTS', [])
    reduce_reference.reduce_folder(full, small)
    found = reduce_reference.unpack((small / 'tokenizer_weights.safetensors.xz').read_bytes())
    assert found['w'].equal(weights['w'])
    assert sorted(p.name for p in small.iterdir()) == [
        'configs.json',
        'tokenizer_io.safetensors.xz',
        'tokenizer_weights.safetensors.xz',
    ]
