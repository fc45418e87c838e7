"The three protocols end to end on a folder in UCF101's format: 101 classes x 4 clips, real .avi files made by code."

import json
from dataclasses import replace
import av, numpy as np, pytest, torch
from larp_edu.generator import ARTransformer, generator_presets
from larp_edu.datasets import ShardFolder, UCF101, prepare_shards, ucf_classes
from larp_edu.shapeworld import ShapeWorld
from larp_edu.judge import toy_detector
from larp_edu.evaluation import evaluate_generation, evaluate_prediction, evaluate_reconstruction
from larp_edu.files import asset
from larp_edu.tokenizer import LARPTokenizer

GROUPS = 1, 8, 9, 15  # one test group and three training groups of split 1


def avi(path, clip):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w') as out:
        v = out.add_stream('mpeg4', rate=25)
        v.height, v.width, v.pix_fmt, v.bit_rate, v.gop_size = 48, 64, 'yuv420p', 400_000, 12
        for x in (255 * clip.permute(1, 2, 3, 0)).byte().numpy():
            out.mux(v.encode(av.VideoFrame.from_ndarray(x, format='rgb24').reformat(64, 48)))
        out.mux(v.encode())


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('UCF-101')
    for k, g in enumerate(GROUPS):
        world = ShapeWorld(5000, 48, 18 + 6 * k, classes=101, seed=g)
        labels = world.factors(np.arange(5000))['label']
        clips = world.batch([int(np.flatnonzero(labels == c)[0]) for c in range(101)])[0]
        for c, name in enumerate(ucf_classes()):
            avi(
                root
                / name
                / f'v_{name.replace("HandstandPushups", "HandStandPushups")}_g{g:02}_c01.avi',
                clips[c],
            )
    return root


@pytest.fixture(scope='module')
def models():
    torch.manual_seed(0)
    tok = LARPTokenizer.load(asset('tokenizer.safetensors'))
    config = replace(generator_presets['toy'], classes=101, codes=tok.config.codes, depth=2)
    return tok, ARTransformer(config).eval(), ARTransformer(replace(config, classes=0)).eval()


def test_the_protocols(root, models, tmp_path):
    tok, gen, frames = models
    toy = toy_detector()
    options = dict(size=32, frames=8, index=tmp_path / 'index.json')
    train = UCF101(root, **options)
    test = UCF101(root, train=False, **options)
    assert (len(train), len(test), train.missing) == (303, 101, 9537 - 303)
    r = evaluate_reconstruction(tok, train, toy, tmp_path / 'r')
    assert (
        r['header']['n'] == 303
        and r['rfvd'] > 0
        and 5 < r['psnr'] < 40
        and 0 < r['code_usage'] <= 1
    )
    every = UCF101(root, window='all', **options)
    assert len(every) == sum(n // 8 for *_, n in every.clips)
    g = evaluate_generation(tok, gen, every, toy, tmp_path / 'g', n=200)
    assert (
        g['header']['n'] == 200 and abs(g['nll'] - np.log(256)) < 1e-3
    )  # an untrained output layer is zero: all codes alike
    assert json.loads((tmp_path / 'g/generation.json').read_text()) == g
    p = evaluate_prediction(tok, frames, every, toy, tmp_path / 'p', n=100, cond_frames=5, size=32)
    assert p['fvd'] > 0 and p['header']['transform'] == '32 x 32'


def test_shards_give_nearly_the_same(root, models, tmp_path):
    tok, *_ = models
    toy = toy_detector()
    films = UCF101(root, size=32, frames=8, train=False, index=tmp_path / 'index.json')
    prepare_shards(films, tmp_path / 'shards', quality=98)
    shards = ShardFolder(tmp_path / 'shards', 8)
    a, b = (
        evaluate_reconstruction(tok, d, toy, tmp_path / name)
        for d, name in ((films, 'films'), (shards, 'shards'))
    )
    assert a['psnr'] == pytest.approx(b['psnr'], abs=0.2) and a['rfvd'] == pytest.approx(
        b['rfvd'], rel=0.1
    )
