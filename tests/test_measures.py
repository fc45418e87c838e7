"""What is measured is looked at first, and what must be 0 is 0.

Numbers in docstrings are those of the reports from the field.
"""

import math
import pytest
import scipy.linalg
import torch
from torch import nn
from larp_edu.i3d import I3D, i3d_detector, jepa_detector
from larp_edu.judge import Detector, checked_features, toy_detector
from larp_edu.losses import FrameNet, PerceptualLoss
from larp_edu.metrics import FeatureStats, frechet_distance, fvd, kernel_distance, psnr, ssim
from larp_edu.quantize import CodeUsage

NAN, INF = float('nan'), float('inf')


def clips(frames=8, size=32, n=2):
    return torch.rand(n, 3, frames, size, size, generator=torch.Generator().manual_seed(0))


def says(error, f, *words):
    "`f` fails with `error` in one line that has all the words."
    with pytest.raises(error) as e:
        f()
    text = str(e.value)
    assert '\n' not in text and all(word in text for word in words), text


# ---- the distance of a set to itself, report 25


def rows(n, d, seed=0, spread=1.0, offset=0.0):
    g = torch.Generator().manual_seed(seed)
    return spread * torch.randn(n, d, generator=g, dtype=torch.float64) + offset


def stats(x):
    return FeatureStats(x.shape[1]).update(x)


@pytest.mark.parametrize('spread', [1e-3, 1, 10, 1e3])
@pytest.mark.parametrize('n, d', [(2, 400), (5, 400), (300, 400), (500, 40), (7, 1)])
@pytest.mark.parametrize('offset', [0, 100])
def test_a_set_has_distance_0_to_itself(n, d, spread, offset):
    "Report 25: -0.022 for 5 clips, 400 features, spread 10; -140 for spread 1,000."
    x = rows(n, d, spread=spread, offset=offset)
    a, b = stats(x), FeatureStats(d).update(x[: n // 2]).update(x[n // 2 :])
    size = a.outer.trace().item() / n
    assert 0 <= fvd(a, a) <= 1e-13 * size
    assert 0 <= fvd(a, b) <= 1e-12 * size  # counted in another order, so rounded otherwise


@pytest.mark.parametrize('n', [9, 4096])
def test_equal_clips_have_distance_0(n):
    "No spread at all, as of a generator that always draws one clip."
    x = rows(1, 64, offset=3).expand(n, -1)
    assert 0 <= fvd(stats(x), stats(x)) < 1e-12
    assert frechet_distance(*[torch.zeros(3), torch.zeros(3, 3)] * 2) == 0


def by_data(x, y):
    "The distance without any eigenvalue: tr (AB)^(1/2) is the nuclear norm of X Y^T / sqrt(n m)."
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = (x - mean_x) / len(x) ** 0.5, (y - mean_y) / len(y) ** 0.5
    cross = torch.linalg.matrix_norm(x @ y.T, 'nuc')
    return (
        (mean_x - mean_y).square().sum() + x.square().sum() + y.square().sum() - 2 * cross
    ).item()


@pytest.mark.parametrize('n, m, d', [(5, 7, 400), (64, 32, 128), (500, 700, 40)])
@pytest.mark.parametrize('spread', [1e-3, 1, 1e3])
@pytest.mark.parametrize('uneven', [False, True])
def test_the_distance_of_two_sets_is_exact(n, m, d, spread, uneven):
    "Rank-deficient, small and large; `uneven`: spreads of single features from 1e-3 to 1e3."
    scale = torch.logspace(-3, 3, d, dtype=torch.float64) if uneven else 1.0
    x, y = rows(n, d, 1, spread) * scale, (rows(m, d, 2, spread) + 0.3 * spread) * scale
    true = by_data(x, y)
    assert fvd(stats(x), stats(y)) == pytest.approx(true, rel=1e-8)
    assert fvd(stats(y), stats(x)) == pytest.approx(true, rel=1e-8)


def test_the_distance_is_that_of_scipy():
    x, y = rows(500, 40, 1) @ rows(40, 40, 3), rows(700, 40, 2) @ rows(40, 40, 4)
    a, b = stats(x), stats(y)
    root = scipy.linalg.sqrtm((a.cov @ b.cov).numpy()).real.trace()
    shift = (a.mean - b.mean).square().sum()
    scipys = (shift + a.cov.trace() + b.cov.trace() - 2 * root).item()
    assert fvd(a, b) == pytest.approx(scipys, rel=1e-9)


@pytest.mark.parametrize('bad', [-torch.eye(3), torch.tensor([[1, 2, 0], [0, 1, 0], [0, 0, 1.0]])])
def test_a_matrix_that_is_no_covariance(bad):
    good = torch.zeros(3), torch.eye(3)
    says(ValueError, lambda: frechet_distance(torch.zeros(3), bad, *good), 'covariance')


# ---- what goes into measures of sets


MEASURES = {
    'update': lambda x: FeatureStats(4).update(x),
    'kernel, real': lambda x: kernel_distance(x, torch.rand(3, 4)),
    'kernel, fake': lambda x: kernel_distance(torch.rand(3, 4), x),
}


@pytest.mark.parametrize('measure', MEASURES)
def test_features_are_finite_rows_of_floats(measure):
    f = MEASURES[measure]
    x = torch.rand(3, 4)
    f(x)
    for bad in (x.byte(), x.long(), x > 0.5, x.numpy(), [1.0]):
        says(TypeError, lambda: f(bad), 'expected a tensor of floats')
    for bad in (x[0], x[None], x[:, :3], x.T):
        says(ValueError, lambda: f(bad), 'shape')
    for bad in (NAN, INF, -INF):
        says(ValueError, lambda: f(torch.where(torch.eye(3, 4) > 0, bad, x)), 'not finite')


def test_statistics_of_nothing_have_no_mean():
    says(ValueError, lambda: FeatureStats(4).mean, 'no features')
    says(ValueError, lambda: FeatureStats(4).cov, 'no features')
    says(ValueError, lambda: fvd(FeatureStats(4), FeatureStats(4)), 'at least 2')


def test_statistics_of_two_widths():
    says(ValueError, lambda: stats(rows(3, 4)).merge(stats(rows(3, 5))), '4 and 5')
    says(ValueError, lambda: fvd(stats(rows(3, 4)), stats(rows(3, 5))), '(4,)', '(5,)')


def test_saved_statistics_that_are_not_finite(tmp_path):
    x = stats(rows(3, 4))
    x.outer[0, 0] = NAN
    x.save(tmp_path / 'stats.npz')
    says(ValueError, lambda: FeatureStats.load(tmp_path / 'stats.npz'), 'stats.npz', 'not finite')


@pytest.mark.parametrize('block', [-1, 0, 1])
def test_a_block_has_pairs(block):
    says(ValueError, lambda: kernel_distance(torch.rand(9, 4), torch.rand(9, 4), block), 'block')


# ---- pairs of clips


@pytest.mark.parametrize('measure', [psnr, ssim])
def test_pairs_are_clips_of_one_kind(measure):
    "Bytes, other ranges, layouts and shapes, and numbers that are none, on either side."
    x = clips()
    for error, bad, word in (
        (TypeError, (x * 255).byte(), 'uint8'),
        (TypeError, x.numpy(), 'ndarray'),
        (ValueError, x * 255, 'x / 255'),
        (ValueError, x * 2 - 1, '(x + 1) / 2'),
        (ValueError, x * 1.04, 'clamp'),
        (ValueError, x.transpose(1, 2), 'x.transpose(1, 2)'),
        (ValueError, x.permute(0, 2, 3, 4, 1), 'x.permute(0, 4, 1, 2, 3)'),
        (ValueError, x[0], 'x[None]'),
        (ValueError, x[:1], 'expected the same'),
        (ValueError, x[:, :, :1], 'expected the same'),
        (ValueError, x[..., :16], 'expected the same'),
        (ValueError, torch.where(x > 0.99, NAN, x), 'nan'),
        (ValueError, torch.where(x > 0.99, INF, x), 'inf'),
        (ValueError, x[:0], 'empty'),
    ):
        says(error, lambda: measure(bad, x), word)
        says(error, lambda: measure(x, bad), word)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_clip_against_itself(dtype):
    x = clips().to(dtype)
    assert psnr(x, x).tolist() == [100.0, 100.0]
    assert ssim(x, x).sub(1).abs().max() < 1e-5


def test_half_precision_measures_in_full():
    "The squares of errors below 2e-4 vanish in fp16."
    x = 0.5 * clips()
    y = x + 2e-3
    exact = psnr(x.half().float(), y.half().float())
    assert psnr(x.half(), y.half()).equal(exact) and exact.max() < 60


@pytest.mark.parametrize('knobs', [dict(window=33), dict(window=0), dict(sigma=0), dict(sigma=NAN)])
def test_a_window_that_does_not_fit(knobs):
    says(ValueError, lambda: ssim(clips(), clips(), **knobs), 'window')


def test_a_perceptual_distance_does_not_stretch():
    loss, x = PerceptualLoss(FrameNet()), clips()
    assert loss(x, x) == 0
    says(ValueError, lambda: loss(x[:1], x), 'shapes')
    says(ValueError, lambda: loss(x, x.transpose(1, 2)), 'shapes')
    says(TypeError, lambda: loss((x * 255).byte(), x), 'uint8')
    assert loss(x * 1.2 - 0.1, x).isfinite()  # a network in training overshoots


# ---- detectors, report 26


class Tokens(nn.Module):
    def forward(self, pixel_values_videos, skip_predictor):
        self.last_hidden_state = pixel_values_videos.mean((3, 4))
        return self


class Program(nn.Module):
    def forward(
        self,
        x: torch.Tensor,
        rescale: bool = True,
        resize: bool = False,
        return_features: bool = False,
    ):
        return x.mean(dim=[2, 3, 4])


def tensors_detector(folder):
    torch.save(I3D().state_dict(), folder / 'i3d.pt')
    return i3d_detector(folder / 'i3d.pt')


def program_detector(folder):
    path = folder / 'program.pt'
    torch.jit.script(Program()).save(str(path))
    with pytest.raises(ValueError) as e:
        i3d_detector(path)
    return i3d_detector(path, trust=str(e.value).split("'")[1])


DETECTORS = {
    'toy': lambda folder: toy_detector(),
    'I3D tensors': tensors_detector,
    'I3D program': program_detector,
    'V-JEPA': lambda folder: jepa_detector(Tokens(), size=16),
    'own': lambda folder: Detector(checked_features(lambda x: x.mean((2, 3, 4))), 'own'),
}


@pytest.mark.parametrize('name', DETECTORS)
def test_detectors_look_at_their_clips(name, tmp_path):
    "Report 26: 173 became 1,066,304 or 130."
    features = DETECTORS[name](tmp_path).features
    x = clips(frames=10, size=16, n=1)
    for error, bad, word in (
        (TypeError, (x * 255).byte(), 'uint8'),
        (ValueError, x * 255, 'x / 255'),
        (ValueError, x * 2 - 1, '(x + 1) / 2'),
        (ValueError, x.transpose(1, 2), 'x.transpose(1, 2)'),
        (ValueError, x.permute(0, 2, 3, 4, 1), 'x.permute'),
        (ValueError, x[0], 'x[None]'),
        (ValueError, x * NAN, 'nan'),
    ):
        says(error, lambda: features(bad), word)
    found = features(x)
    assert found.isfinite().all() and not found.requires_grad
    assert features(x.double()).equal(found)  # another precision is no reason to fail
    if name.startswith('I3D'):
        says(ValueError, lambda: features(x[:, :, :8]), 'at least 9')


# ---- codes


def test_codes_are_whole_numbers_of_the_codebook():
    use = CodeUsage(4).update(torch.tensor([[0, 1], [1, 3]], dtype=torch.int32))
    assert use.usage == 0.75 and use.perplexity == pytest.approx(math.exp(1.5 * math.log(2)))
    for bad in (torch.tensor([-1]), torch.tensor([4]), torch.tensor([0, 99])):
        says(ValueError, lambda: use.update(bad), 'expected 0..3')
    for bad in (torch.tensor([1.0]), torch.tensor([True]), torch.tensor([1], dtype=torch.uint8)):
        says(TypeError, lambda: use.update(bad), 'dtype')
    assert use.counts.tolist() == [1, 2, 0, 1]


@pytest.mark.parametrize('name', ['usage', 'entropy', 'perplexity'])
def test_nothing_was_counted(name):
    says(ValueError, lambda: getattr(CodeUsage(4), name), 'no indices')
