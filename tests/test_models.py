"""Models and samplers refuse what they cannot do, by name, before they begin.

Numbers in docstrings are those of the reports from the field.
"""

import copy
import pickle
from dataclasses import replace
import pytest
import torch
from larp_edu.generator import ARConfig, ARTransformer, CausalAttention, RMSNorm, SwiGLU
from larp_edu.holistic import Decoder, Encoder
from larp_edu.judge import ShapeNet
from larp_edu.losses import Discriminator, FrameNet, LeCam
from larp_edu.nested import NestedTokenizer
from larp_edu.patchwise import PatchDecoder, PatchEncoder
from larp_edu.prior import Prior, code_loss, prior_loss
from larp_edu.quantize import CodeUsage, Quantizer
from larp_edu.recipes import CriticConfig, generator_recipes, tokenizer_recipes
from larp_edu.sampling import filter_logits, generate, sample_token
from larp_edu.tokenizer import LARPTokenizer, TokenizerConfig, tokenizer_presets
from larp_edu.transformer import (
    Attention,
    Block,
    PatchEmbed,
    patch_grid,
    patchify,
    sincos_1d,
    sincos_3d,
)

NAN, INF = float('nan'), float('inf')
CLIP, PATCH = (4, 16, 16), (4, 8, 8)


def says(error, f, *words):
    "`f` fails with `error` in one line that has all the words."
    with pytest.raises(error) as e:
        f()
    text = str(e.value)
    assert '\n' not in text and all(word in text for word in words), text


def generator(classes=3):
    torch.manual_seed(0)
    model = ARTransformer(ARConfig(4, 8, classes, dim=16, depth=1, heads=2)).eval()
    torch.nn.init.normal_(model.out.weight)
    return model


# ---- numbers that cannot be: number 9 from reading

PARTS = {  # arguments that work
    Attention: dict(dim=16, heads=2, dropout=0.1),
    Block: dict(dim=16, heads=2, mlp_ratio=4, eps=1e-5, dropout=0.1),
    PatchEmbed: dict(patch=PATCH, dim=16),
    sincos_1d: dict(positions=4, dim=8),
    sincos_3d: dict(grid=(1, 2, 2), dim=8),
    PatchEncoder: dict(clip_size=CLIP, patch=PATCH, dim=16, depth=1, heads=2, eps=1e-5, gain=1.0),
    PatchDecoder: dict(clip_size=CLIP, patch=PATCH, dim=16, depth=1, heads=2, eps=1e-5),
    Encoder: dict(clip_size=CLIP, patch=PATCH, dim=16, depth=1, heads=2, n_tokens=4, query_std=1.0),
    Decoder: dict(clip_size=CLIP, patch=PATCH, dim=16, depth=1, heads=2, n_tokens=4),
    Quantizer: dict(codes=8, dim=4, temperature=0.03, commitment=0.25),
    CodeUsage: dict(codes=8),
    FrameNet: dict(classes=3, width=8),
    Discriminator: dict(clip_size=CLIP, patch=PATCH, dim=16, depth=1, heads=2, eps=1e-5),
    LeCam: dict(decay=0.9),
    Prior: dict(n_tokens=4, code_dim=4, dim=16, depth=1, heads=2, dropout=0.1),
    RMSNorm: dict(dim=16, eps=1e-5),
    CausalAttention: dict(dim=16, heads=2, dropout=0.1),
    SwiGLU: dict(dim=16, dropout=0.1),
    ShapeNet: dict(classes=3, width=4, dim=8, facts=16),
}
RATES = {'dropout', 'decay', 'class_dropout', 'prior_dropout'}
MAY_BE_0 = {'depth', 'gain', 'eps', 'query_std', 'commitment', 'lecam', 'lr', 'given', 'draws'}


def wrong_values(name, good):
    "What a number like this cannot be."
    if isinstance(good, bool):
        return ['no', 1, None]
    if isinstance(good, tuple):
        return [(0, 8, 8), (4, -8, 8), (4, 8), (4, 8, 8.0)]
    if isinstance(good, int):
        return [-768, NAN, 2.5, True, '4', None] + [0] * (name not in MAY_BE_0)
    return [NAN, INF, -1.0, '1', None] + [1.5] * (name in RATES)


@pytest.mark.parametrize('part', PARTS)
def test_parts_name_a_number_that_cannot_be(part):
    "From reading, 9: dim=-768 and temperature=nan built something; heads=0 divided by zero."
    good = PARTS[part]
    part(**good)
    for name, value in good.items():
        for bad in wrong_values(name, value):
            says(ValueError, lambda: part(**good | {name: bad}), str(bad))


CONFIGS = {
    'tokenizer': replace(tokenizer_presets['toy']),
    'generator': ARConfig(4, 8, 3, dim=16, depth=1, heads=2),
    'critic': CriticConfig(),
}


@pytest.mark.parametrize('config', CONFIGS)
def test_configs_name_a_number_that_cannot_be(config):
    "From reading, 9, for every field of every config."
    good = CONFIGS[config]
    for name in good.__dataclass_fields__:
        may_be_0 = name.endswith('depth') or name == 'classes'
        for bad in wrong_values('depth' if may_be_0 else name, getattr(good, name)):
            says(ValueError, lambda: replace(good, **{name: bad}), name)


def test_recipes_name_a_number_that_cannot_be():
    tokenizers, generators = tokenizer_recipes['mini'], generator_recipes['mini']
    for knobs in (dict(prior_lr=NAN), dict(prior_lr=-1.0), dict(flip='no'), dict(perceptual='vgg')):
        says(ValueError, lambda: replace(tokenizers, **knobs), *knobs)
    for knobs in (dict(given=-1), dict(given=1.5), dict(draws=NAN), dict(clips=0)):
        says(ValueError, lambda: replace(generators, **knobs), *knobs)


def test_a_temperature_that_overflows():
    says(ValueError, lambda: replace(tokenizer_presets['toy'], temperature=1e-40), 'temperature')
    says(ValueError, lambda: Quantizer(8, 4, temperature=1e-40), 'temperature')


@pytest.mark.parametrize('patch', [(0, 8, 8), (4, 8), (4, 8, 8, 8), (-4, 8, 8)])
def test_a_patch_has_three_sides(patch):
    "From reading, 9: ZeroDivisionError."
    says(ValueError, lambda: patch_grid((4, 16, 16), patch), 'patch')
    says(ValueError, lambda: patchify(torch.rand(1, 3, 4, 16, 16), patch), 'patch')


# ---- one token: number 4 from reading


@pytest.mark.parametrize('kind', [LARPTokenizer, NestedTokenizer])
def test_one_token_leaves_a_prior_nothing_to_predict(kind):
    "From reading, 4: its loss was 0/0. Without a prior one token is fine."
    toy = tokenizer_presets['toy']
    says(ValueError, lambda: replace(toy, n_tokens=1), 'n_tokens 1', 'prior_depth=0')
    model = kind(replace(toy, n_tokens=1, prior_depth=0))
    clip = torch.rand(2, 3, 8, 32, 32)
    assert all(loss.isfinite() for loss in model(clip).losses.values())
    assert model.decode(model.eval().encode(clip)).shape == clip.shape
    assert replace(toy, n_tokens=2).n_tokens == 2


def test_a_loss_over_nothing():
    codebook = torch.eye(4)
    prior = Prior(4, 4, dim=8, depth=1, heads=2)
    one = torch.zeros(2, 1, dtype=torch.long)
    says(ValueError, lambda: prior_loss(prior, codebook[one], one, codebook), 'at least 2')
    says(ValueError, lambda: code_loss(codebook[:0], one[0][:0], codebook), 'no token')


def test_configs_from_files_may_hold_lists():
    assert TokenizerConfig(patch=[4, 8, 8]).patch == (4, 8, 8)


# ---- sampling: report 34

KNOBS = [
    dict(temperature=NAN),
    dict(temperature=INF),
    dict(temperature=-1.0),
    dict(temperature=1e-40),
    dict(temperature=-1e-40),
    dict(top_k=-1),
    dict(top_k=2.5),
    dict(top_k=NAN),
    dict(top_p=0.0),
    dict(top_p=-0.5),
    dict(top_p=1.5),
    dict(top_p=NAN),
]
GUIDANCE = [dict(guidance_scale=x) for x in (NAN, INF, -INF)]


@pytest.mark.parametrize('knobs', KNOBS + GUIDANCE)
def test_knobs_out_of_range(knobs):
    "Report 34: NaN, 1e-40 and an infinite guidance passed the check."
    says(ValueError, lambda: generate(generator(), torch.tensor([0]), **knobs), *knobs)
    if 'guidance_scale' not in knobs:
        says(ValueError, lambda: sample_token(torch.rand(1, 8), **knobs), *knobs)
    if 'temperature' not in knobs and 'guidance_scale' not in knobs:
        says(ValueError, lambda: filter_logits(torch.rand(1, 8), **knobs), *knobs)


SETTINGS = [
    dict(temperature=0),
    dict(),
    dict(top_k=3),
    dict(top_p=0.9),
    dict(guidance_scale=2.0),
    dict(guidance_scale=2.0, temperature=0),
]


@pytest.mark.parametrize('bad', [NAN, INF, -INF])
@pytest.mark.parametrize('settings', SETTINGS)
@pytest.mark.parametrize('cached', [True, False])
def test_logits_that_are_not_finite(bad, settings, cached):
    "Report 34: at temperature 0 the broken code won at every token, and nobody was told."
    model = generator()
    model.out.weight.data[5] = bad
    call = dict(settings, cached=cached, seed=0)
    says(ValueError, lambda: generate(model, torch.arange(3), **call), 'logits', 'finite')


@pytest.mark.parametrize('settings', SETTINGS)
def test_logits_that_break_after_the_first_token(settings):
    "The flag is remembered until the end; what breaks late is found as well."
    model = generator()
    model.positions.data[:, 2] = NAN
    says(ValueError, lambda: generate(model, torch.arange(3), seed=0, **settings), 'finite')


def test_overflow_is_found():
    "Finite knobs and finite weights, whose product is not."
    call = dict(guidance_scale=1e38, temperature=1e-6)
    says(ValueError, lambda: generate(generator(), torch.arange(3), **call), 'guidance_scale')


@pytest.mark.parametrize('f', [filter_logits, sample_token])
def test_single_logits(f):
    "NaN and inf say nothing; -inf rules a code out, but not all codes."
    x = torch.zeros(2, 8)
    for bad in (NAN, INF):
        says(ValueError, lambda: f(torch.where(torch.eye(2, 8) > 0, bad, x)), 'not finite')
    says(ValueError, lambda: f(torch.full((2, 8), -INF)), 'not finite')
    masked = torch.where(torch.arange(8) == 3, x, -INF)
    assert f(masked).isfinite().sum() == 2
    assert sample_token(masked).tolist() == [3, 3]
    assert f(filter_logits(x, top_k=3)).shape[0] == 2  # filters can follow each other


def test_good_draws_are_what_they_were():
    "The checks change no draw: tokens of the sampler before them, seed 0."
    model, classes = generator(), torch.arange(3)
    scales = dict(guidance_scale=1.5, temperature=0.8, top_k=6, top_p=0.9)
    for call in (dict(temperature=0), dict(), scales):
        a = generate(model, classes, seed=0, **call)
        b = generate(model, classes, seed=0, cached=False, **call)
        assert a.equal(b) and 0 <= a.min() <= a.max() < 8


# ---- copies: number 5 from reading


@pytest.mark.parametrize('how', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_draws_with_its_own_weights(how, monkeypatch):
    "From reading, 5. A function stands in for the compiler, which is slow and gives functions too."
    monkeypatch.setattr(torch, 'compile', lambda step, **kw: lambda *inputs: step(*inputs))
    model, classes = generator(), torch.arange(3)
    generate(model, classes, temperature=0, compiled=True)
    other = how(model)
    torch.nn.init.normal_(other.out.weight, generator=torch.Generator().manual_seed(7))
    want = generate(other, classes, temperature=0)
    assert not want.equal(generate(model, classes, temperature=0))
    assert generate(other, classes, temperature=0, compiled=True).equal(want)
    # and the original goes on with its own
    plain = generate(model, classes, temperature=0)
    assert generate(model, classes, temperature=0, compiled=True).equal(plain)


# ---- the tokenizer's own numbers


@pytest.mark.parametrize('bad', [NAN, INF])
def test_a_code_of_no_number(bad):
    "Report 34, the same kind: the nearest code to NaN was code 0, or whichever."
    torch.manual_seed(0)
    model = LARPTokenizer(tokenizer_presets['toy']).eval()
    model.to_code.bias.data[0] = bad
    says(ValueError, lambda: model.encode(torch.rand(1, 3, 8, 32, 32)), 'not finite')
