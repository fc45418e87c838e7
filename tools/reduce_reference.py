"""Make reference/ from the full outputs of the public implementation.

    python tools/reduce_reference.py FOLDER

FOLDER holds the full form: safetensors files of weights, inputs and outputs, the configurations in
hub/, keys_*.txt and i3d.json, as reference/README.md describes them. Needed only when the full form
changes: what the notebooks and tests read is reference/ itself.

Weights and inputs stay whole and exact. Of a large output every step-th number stays, and three
numbers that depend on all of it. Nothing is rounded.
"""

import argparse
import json
import lzma
from pathlib import Path
import numpy as np
import torch
from safetensors.torch import load, load_file, save

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 3_000_000  # bytes of the whole folder
FEW = 200  # an output of at most so many numbers stays whole, of a larger one about so many stay
INPUTS = set(  # stay whole whatever their size: what the models are given
    'video z_projected quantized_straight_through round2_in tiny_in prior_tiny_in '
    'rmsnorm_tiny_in repeat_in repeat_out frechet_features_a frechet_features_b'.split()
)
CORNER = ('repeat_in', 'repeat_out')  # of these 4 x 4 pixels stay: every pixel is treated alike
WEIGHTS = {  # file of weights -> the same weights as a release, checked to be equal
    'tokenizer_weights': 'tokenizer',
    'ar_class_weights': 'ar',
    'ar_frame_weights': 'ar_frame',
}
OUTPUTS = {  # file of outputs -> names that do not stay
    'tokenizer_io': (),
    'tokenizer_prior': ('prior_in',),  # is quantized_straight_through
    'tokenizer_units': (),
    'tokenizer_grads_one_round': (),
    'tokenizer_grads_two_rounds': (),
    'tokenizer_grads_prior_only': (),
    'ar_class_io': (),
    'ar_frame_io': (),
    'disc_io': ('real', 'fake', 'r1_penalty', 'ns_g_grad_wrt_fake_norm'),
    'metrics_and_schedules': ('topk_logits', 'topk_targets', 'top1_acc', 'top5_acc'),
    'position_tables': (),
}
TEXTS = 'keys_tokenizer.txt keys_discriminator.txt keys_ar.txt keys_ar_fp.txt i3d.json'.split()


def pack(tensors):
    """The bytes of a safetensors file, compressed by xz after its numbers were reordered.

    Of every four bytes the highest bit, the sign of a float32, goes to the lowest place, so that
    the exponent is a byte of its own. Then come all lowest bytes, all second ones, and so on. The
    exponents are alike and shrink; the rest is noise. All tensors have 4 or 8 bytes a number."""
    raw = save({name: t.contiguous() for name, t in tensors.items()})
    start = 8 + int.from_bytes(raw[:8], 'little')  # after the header: names, shapes, types
    words = np.frombuffer(raw[start:], '<u4')
    turned = (words << 1) | (words >> 31)
    planes = turned.view(np.uint8).reshape(-1, 4).T
    return lzma.compress(raw[:start] + planes.tobytes(), preset=9 | lzma.PRESET_EXTREME)


def unpack(packed):
    "The tensors in the bytes that `pack` made."
    raw = lzma.decompress(packed)
    start = 8 + int.from_bytes(raw[:8], 'little')
    planes = np.frombuffer(raw[start:], np.uint8).reshape(4, -1)
    turned = np.ascontiguousarray(planes.T).view('<u4')
    words = (turned >> 1) | (turned << 31)
    return load(raw[:start] + words.tobytes())


def step_for(count):
    "The smallest prime step that leaves about `FEW` numbers and does not divide `count`."
    step = max(2, count // FEW)
    while count % step == 0 or any(step % d == 0 for d in range(2, int(step**0.5) + 1)):
        step += 1
    return step


def thin(name, tensor):
    "{name: kept numbers, name/shape: shape and step, name/whole: statistics} of a large tensor."
    step, x = step_for(tensor.numel()), tensor.double()
    whole = torch.stack([x.mean(), x.square().mean().sqrt(), x.abs().max()])
    return {
        name: tensor.flatten()[::step].clone(),
        f'{name}/shape': torch.tensor([*tensor.shape, step], dtype=torch.int32),
        f'{name}/whole': whole,
    }


def reduce_outputs(tensors, dropped):
    "What stays of a file of outputs."
    kept = {}
    for name, tensor in tensors.items():
        if name in dropped:
            continue
        if name in CORNER:
            tensor = tensor[..., :4, :4]
        if tensor.dtype == torch.bool:
            tensor = tensor.int()
        if tensor.is_floating_point() and tensor.numel() > FEW and name not in INPUTS:
            kept |= thin(name, tensor)
        else:
            kept[name] = tensor
    return kept


def write(folder, name, tensors):
    "Write a file and read it back; every number must be the same."
    packed = pack(tensors)
    again = unpack(packed)
    assert again.keys() == tensors.keys()
    assert all(t.equal(again[k]) and t.dtype == again[k].dtype for k, t in tensors.items()), name
    (folder / f'{name}.safetensors.xz').write_bytes(packed)


def reduce_folder(full, folder):
    "Write the reduced form of the folder `full` into `folder`."
    folder.mkdir(exist_ok=True)
    configs = {}
    for file, release in WEIGHTS.items():
        weights = load_file(full / f'{file}.safetensors')
        released = load_file(full / 'hub' / release / 'model.safetensors')
        assert weights.keys() == released.keys()
        assert all(t.equal(released[k]) for k, t in weights.items()), file
        write(folder, file, weights)
        configs[release] = json.loads((full / 'hub' / release / 'config.json').read_text())
    for file, dropped in OUTPUTS.items():
        write(folder, file, reduce_outputs(load_file(full / f'{file}.safetensors'), dropped))
    (folder / 'configs.json').write_text(json.dumps(configs, indent=1, sort_keys=True) + '\n')
    for name in TEXTS:
        (folder / f'{name}.xz').write_bytes(lzma.compress((full / name).read_bytes(), preset=9))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', type=Path, help='the full form')
    reduce_folder(parser.parse_args().folder, ROOT / 'reference')
    sizes = {p.name: p.stat().st_size for p in sorted((ROOT / 'reference').iterdir())}
    for name, size in sizes.items():
        print(f'{name:48}{size:10,}')
    print(f'{"all":48}{sum(sizes.values()):10,}')
    assert sum(sizes.values()) <= LIMIT
