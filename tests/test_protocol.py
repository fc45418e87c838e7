"""The three protocols end to end on a folder in the format of UCF101.

101 classes x 4 clips, real .avi files made by code."""

import json
from dataclasses import replace
import av
import numpy as np
import pytest
import torch
from larp_edu.datasets import ShardFolder, UCF101, prepare_shards, ucf_classes
from larp_edu.evaluation import evaluate_generation, evaluate_prediction, evaluate_reconstruction
from larp_edu.files import asset
from larp_edu.generator import ARTransformer, generator_presets
from larp_edu.judge import toy_detector
from larp_edu.shapeworld import ShapeWorld
from larp_edu.tokenizer import LARPTokenizer

GROUPS = 1, 8, 9, 15  # one test group and three training groups of the first official split


def avi(path, clip):
    "Write a float clip (3, T, H, W) as MPEG-4 video of 64 x 48 pixels."
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w') as out:
        stream = out.add_stream('mpeg4', rate=25)
        stream.height = 48
        stream.width = 64
        stream.pix_fmt = 'yuv420p'
        stream.bit_rate = 400_000
        stream.gop_size = 12
        stream.codec_context.thread_count = 1
        for frame in (255 * clip.permute(1, 2, 3, 0)).byte().numpy():
            picture = av.VideoFrame.from_ndarray(frame, format='rgb24')
            out.mux(stream.encode(picture.reformat(64, 48)))
        out.mux(stream.encode())


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('UCF-101')
    for k, group in enumerate(GROUPS):
        world = ShapeWorld(5000, 48, 18 + 6 * k, classes=101, seed=group)
        labels = world.labels().numpy()
        clips = world.batch([int(np.flatnonzero(labels == c)[0]) for c in range(101)])[0]
        for clip, name in zip(clips, ucf_classes()):
            spelled = name.replace('HandstandPushups', 'HandStandPushups')
            avi(root / name / f'v_{spelled}_g{group:02}_c01.avi', clip)
    return root


@pytest.fixture(scope='module')
def models():
    "The shipped tokenizer, and untrained generators of classes and of frames."
    torch.manual_seed(0)
    tok = LARPTokenizer.load(asset('tokenizer.safetensors'))
    config = replace(generator_presets['toy'], classes=101, codes=tok.config.codes, depth=2)
    return tok, ARTransformer(config).eval(), ARTransformer(replace(config, classes=0)).eval()


@pytest.fixture
def options(tmp_path):
    return dict(size=32, frames=8, index=tmp_path / 'index.json')


def test_the_folder_is_read_by_the_official_split(root, options):
    train = UCF101(root, **options)
    test = UCF101(root, split='val', **options)
    assert (len(train), len(test), train.missing) == (303, 101, 9537 - 303)
    every = UCF101(root, window='all', **options)
    assert len(every) == sum(length // 8 for *_, length in every.clips)


def test_reconstruction(root, models, options, tmp_path):
    tok, *_ = models
    r = evaluate_reconstruction(tok, UCF101(root, **options), toy_detector(), tmp_path / 'r')
    assert r['header']['n'] == 303
    assert r['rfvd'] > 0
    assert 5 < r['psnr'] < 40
    assert 0 < r['code_usage'] <= 1


def test_generation(root, models, options, tmp_path):
    tok, generator, _ = models
    every = UCF101(root, window='all', **options)
    g = evaluate_generation(tok, generator, every, toy_detector(), tmp_path / 'g', n=200)
    assert g['header']['n'] == 200
    # an untrained output layer is zero: all 256 codes alike
    assert abs(g['nll'] - np.log(256)) < 1e-3
    assert json.loads((tmp_path / 'g/generation.json').read_text()) == g


def test_prediction(root, models, options, tmp_path):
    tok, _, frames = models
    every = UCF101(root, window='all', **options)
    out = tmp_path / 'p'
    p = evaluate_prediction(tok, frames, every, toy_detector(), out, n=100, cond_frames=5, size=32)
    assert p['fvd'] > 0
    assert p['header']['transform'] == '32 x 32'


def test_shards_give_nearly_the_same(root, models, options, tmp_path):
    tok, *_ = models
    toy = toy_detector()
    films = UCF101(root, split='val', **options)
    prepare_shards(films, tmp_path / 'shards', quality=98)
    shards = ShardFolder(tmp_path / 'shards', frames=8, split='val')
    a = evaluate_reconstruction(tok, films, toy, tmp_path / 'films')
    b = evaluate_reconstruction(tok, shards, toy, tmp_path / 'packed')
    assert a['psnr'] == pytest.approx(b['psnr'], abs=0.2)
    assert a['rfvd'] == pytest.approx(b['rfvd'], rel=0.1)
