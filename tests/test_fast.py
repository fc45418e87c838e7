"What is computed in a quicker way is what the plain way computes: values and gradients."

from copy import deepcopy
from functools import partial
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from larp_edu.holistic import Decoder, Encoder
from larp_edu.losses import Discriminator, FrameNet, PerceptualLoss
from larp_edu.objective import Critic, LossWeights, TokenizerLoss
from larp_edu.optim import Muon, orthogonalize
from larp_edu.quantize import draw_softmax
from larp_edu.tokenizer import LARPTokenizer, TokenizerConfig
from larp_edu.trainer import TrainConfig, Trainer
from larp_edu.transformer import Attention, Block, run_blocks

CLIP, PATCH = (8, 16, 16), (4, 4, 4)  # 32 patches
OFF = {torch.float32: 1e-5, torch.bfloat16: 2e-2}  # of the largest number


def assert_near(some, whole, dtype=torch.float32):
    "The largest difference is small beside the largest number."
    assert some.shape == whole.shape and some.dtype == whole.dtype
    assert (some - whole).abs().max() <= OFF[dtype] * whole.abs().max()


def all_blocks(blocks, x, kept):
    "The plain way: every block computes all tokens, and some of them are taken at the end."
    for block in blocks:
        x = block(x)
    return x[:, kept]


@pytest.mark.parametrize('dtype', OFF, ids=str)
@pytest.mark.parametrize('depth', (0, 1, 3))
@pytest.mark.parametrize('kept', (slice(-5, None), slice(0, 1), slice(None)), ids=str)
def test_the_last_block_computes_what_is_kept(kept, depth, dtype):
    torch.manual_seed(0)
    blocks = nn.ModuleList(Block(32, 4, qkv_bias=depth == 3) for _ in range(depth)).to(dtype)
    x = torch.randn(3, 12, 32, dtype=dtype, requires_grad=True)
    leaves = [x, *blocks.parameters()]
    found = []
    for way in (run_blocks, all_blocks):
        y = way(blocks, x, kept)
        found.append([y, *torch.autograd.grad(y.float().square().sum(), leaves)])
    for some, whole in zip(*found):
        assert_near(some, whole, dtype)


@pytest.mark.parametrize('short', (torch.float32, torch.bfloat16), ids=str)
@pytest.mark.parametrize('frames, n', ((8, 6), (4, 6), (8, 2)))
def test_encoder_and_decoder_keep_their_outputs(monkeypatch, frames, n, short):
    torch.manual_seed(0)
    encoder, decoder = (kind(CLIP, PATCH, 32, 2, 4, n_tokens=6) for kind in (Encoder, Decoder))
    nn.init.normal_(decoder.out.weight)
    clip = torch.rand(2, 3, frames, *CLIP[1:])
    leaves = [*encoder.parameters(), *decoder.parameters()]
    found = []
    for way in (run_blocks, all_blocks):
        monkeypatch.setattr('larp_edu.holistic.run_blocks', way)
        with torch.autocast('cpu', torch.bfloat16, enabled=short == torch.bfloat16):
            z = encoder(clip)
            recon = decoder(z[:, :n], frames)
        loss = (recon.float() - clip).square().mean()
        found.append([z, recon, *torch.autograd.grad(loss, leaves)])
    for some, whole in zip(*found):
        assert_near(some, whole, short)


def test_causal_attention_keeps_all_tokens():
    with pytest.raises(ValueError, match='causal attention keeps all tokens'):
        Attention(32, 4, causal=True)(torch.randn(1, 6, 32), slice(-2, None))


@pytest.mark.parametrize('noise', (1.0, 1e-3), ids=('full', 'four directions and little else'))
@pytest.mark.parametrize('shape', ((64, 64), (256, 64), (64, 256)))
def test_rounds_of_muon_on_squares_are_the_formula(shape, noise):
    "Far nearer to it, in fp64, than the bfloat16 of `torch.optim.Muon`: within 1e-3."
    torch.manual_seed(0)
    x = torch.randn(shape[0], 4) @ torch.randn(4, shape[1]) * (noise < 1)
    x = x + noise * torch.randn(shape)
    y = x.double() / x.double().norm()
    for _ in range(5):
        a = y @ y.T
        y = 3.4445 * y + (-4.7750 * a + 2.0315 * a @ a) @ y
    assert (orthogonalize(x) - y).abs().max() < 1e-3 * y.abs().max()


def test_muon_moves_each_matrix_of_a_stack_as_if_it_were_alone():
    "Two shapes, very different sizes, and a matrix without gradient."
    torch.manual_seed(0)
    weights = [
        scale * torch.randn(shape) for scale in (0.01, 1, 100) for shape in ((8, 16), (16, 8))
    ]
    grads = [scale * torch.randn_like(w) for scale, w in zip((1, 100, 0.01, 1, 10, 0.1), weights)]

    def moved(which):
        parameters = [torch.nn.Parameter(weights[i].clone()) for i in which]
        optimizer = Muon(
            [*parameters, torch.nn.Parameter(torch.ones(8, 16))], 0.1, weight_decay=0.1
        )
        for _ in range(3):
            for i, p in zip(which, parameters):
                p.grad = grads[i].clone()
            optimizer.step()
        return [p.detach() for p in parameters]

    together = moved(range(6))
    for i, w in enumerate(together):
        torch.testing.assert_close(w, moved([i])[0])


def chi_square(counts, p):
    "How far counts are from expected ones, in standard deviations of the chi-square distribution."
    expected = counts.sum() * p
    seen = expected > 20
    counts = torch.cat([counts[seen], counts[~seen].sum()[None]])
    expected = torch.cat([expected[seen], expected[~seen].sum()[None]]).clamp(min=1e-9)
    square = ((counts - expected) ** 2 / expected)[expected > 5]
    freedom = len(square) - 1
    return (square.sum().item() - freedom) / (2 * freedom) ** 0.5


@pytest.mark.parametrize('dtype', (torch.float32, torch.bfloat16), ids=str)
@pytest.mark.parametrize('codes, width', ((2, 1.0), (40, 0.0), (300, 3.0), (8192, 3.0)))
def test_draws_follow_the_softmax(codes, width, dtype):
    torch.manual_seed(0)
    scores = (width * torch.randn(codes)).to(dtype)
    counts = torch.zeros(codes, dtype=torch.float64)
    for _ in range(40 if codes < 1000 else 20):
        drawn = draw_softmax(scores.expand(1000, -1))
        counts += torch.bincount(drawn, minlength=codes)
    assert abs(chi_square(counts, scores.double().softmax(-1))) < 4.5
    other = (0.8 * scores.double() + 0.3 * torch.arange(codes) / codes).softmax(-1)
    assert chi_square(counts, other) > 4.5  # the test would notice another distribution


def distance_of_features(net, recon, clip):
    "The perceptual distance of the formula, channels first."
    a, b = (net.features(x.transpose(1, 2).flatten(0, 1)) for x in (recon, clip))
    pairs = ((F.normalize(x), F.normalize(y)) for x, y in zip(a, b))
    return sum((x - y).square().sum(1).mean() for x, y in pairs)


def test_channels_last_change_no_value():
    torch.manual_seed(0)
    net = FrameNet().eval()
    recon, clip = torch.rand(2, 3, 4, 32, 32, requires_grad=True), torch.rand(2, 3, 4, 32, 32)
    found = []
    for loss in (PerceptualLoss(deepcopy(net)), partial(distance_of_features, net)):
        value = loss(recon, clip)
        found.append([value, *torch.autograd.grad(value, recon)])
    for some, whole in zip(*found):
        assert_near(some, whole)
    last = PerceptualLoss(net).net.features(clip[:, :, 0])
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in last)


def trained_against_a_critic(compile):
    "Weights and losses of six steps with a perceptual network and a critic that learns."
    torch.manual_seed(0)
    depths = dict(encoder_depth=1, decoder_depth=1, prior_depth=1)
    widths = dict(dim=32, heads=2, codes=32, prior_dim=32, prior_heads=2)
    config = TokenizerConfig(8, 16, PATCH, n_tokens=6, **depths, **widths)
    critic = Critic(Discriminator(CLIP, PATCH, 32, 1, 2), every=2)
    weights = LossWeights(perceptual=1.0, adversarial=0.3, warm=0.4)
    loss = TokenizerLoss(weights, PerceptualLoss(FrameNet()), critic)
    clips = torch.rand(4, 3, *CLIP)
    train = TrainConfig(6, 4, warmup=0, compile=compile)
    trainer = Trainer(LARPTokenizer(config), loss, None, train)
    losses = [float(trainer.train_step((clips,))['loss']) for _ in range(6)]
    return losses, trainer


def test_compiled_training_computes_the_same(monkeypatch):
    "Model, perceptual network and critic go to the compiler; here it is one that is quick."
    losses, plain = trained_against_a_critic(False)
    given, compiler = [], torch.compile

    def quick(f, **options):
        given.append(type(f.__self__).__name__)
        return compiler(f, backend='aot_eager')

    monkeypatch.setattr(torch, 'compile', quick)
    torch._dynamo.reset()
    same, compiled = trained_against_a_critic(True)
    assert {'LARPTokenizer', 'PerceptualLoss', 'Discriminator'} == set(given)
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] >= 5
    assert losses == pytest.approx(same, rel=1e-5)
    a, b = plain.state()[0], compiled.state()[0]
    assert a.keys() == b.keys()
    for name in a:
        if name.startswith('model.'):
            assert_near(b[name], a[name])
    for part in (compiled.raw, compiled.objective.perceptual, compiled.objective.critic.net):
        assert part._compiled_call_impl and not deepcopy(part)._compiled_call_impl
