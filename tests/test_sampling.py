"""The fast ways of sampling draw what the readable one draws, and draw what they should.

What is fast: weights laid out for few rows, one random number a draw, a compiled turn.
"""

import copy
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
import pytest
import torch
import torch._dynamo.testing
from torch.utils.flop_counter import FlopCounterMode
from larp_edu import sampling
from larp_edu.generator import ARConfig, ARTransformer
from larp_edu.sampling import filter_logits, generate, sample_token

ROOT = Path(__file__).resolve().parents[1]
SMALL = ARConfig(64, 100, 9, dim=96, depth=2, heads=3)
packs = pytest.mark.skipif(
    not sampling._can_pack(ARTransformer(SMALL), 2), reason='no packed products on this machine'
)


def generator(seed=0, **changes):
    torch.manual_seed(seed)
    model = ARTransformer(replace(SMALL, **changes)).eval()
    for name, w in model.named_parameters():
        torch.nn.init.uniform_(w, 0.5, 1.5) if 'norm' in name else torch.nn.init.normal_(w, std=0.1)
    return model


def condition(model, rows):
    c = model.config
    if c.classes:
        return torch.arange(rows) % c.classes
    return torch.randint(c.codes, (rows, c.n_tokens), generator=torch.Generator().manual_seed(1))


# ---- the packed step

SHAPES = [
    dict(),
    dict(dim=40, heads=5, codes=33),
    dict(dim=128, heads=2, depth=3, n_tokens=80),
    dict(depth=0),
    dict(classes=0),
]


@packs
@torch.no_grad()
@pytest.mark.parametrize('changes', SHAPES)
@pytest.mark.parametrize('rows', [1, 2, 3, 8, 33])
def test_packed_logits(changes, rows):
    "At every position, within 1e-5; both ways write the same cache."
    model = generator(**changes)
    plain = sampling._WithCache(model, model.new_cache(rows))
    step = sampling._PackedStep(model, rows)
    packed = sampling._WithCache(model, model.new_cache(rows), step)
    x = model.embed_cond(condition(model, rows))
    for _ in range(model.config.n_tokens):
        want, got = plain(x), packed(x)
        assert torch.allclose(got, want, rtol=1e-5, atol=1e-5), (got - want).abs().max()
        x = model.tokens(want.argmax(-1))[:, None]
    for a, b in zip(plain.cache, packed.cache):
        assert torch.allclose(a[0], b[0], atol=1e-4) and torch.allclose(a[1], b[1], atol=1e-4)


@packs
@pytest.mark.parametrize('changes', SHAPES)
@pytest.mark.parametrize('rows', [1, 2, 5, 8])
def test_packed_tokens(changes, rows):
    "For seeds, plain and guided, with all knobs."
    model = generator(**changes)
    calls = [dict(temperature=0), dict(), dict(temperature=0.8, top_k=20, top_p=0.9)]
    if model.config.classes:
        calls += [dict(guidance_scale=1.25), dict(guidance_scale=3.0, top_p=0.8)]
    for seed, call in enumerate(calls):
        cond = condition(model, rows)
        a, b = (generate(model, cond, seed=seed, packed=packed, **call) for packed in (True, False))
        assert a.equal(b), call


def add_to_out(model):
    with torch.no_grad():
        model.out.weight.add_(torch.randn(model.out.weight.shape))


def step_of_training(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.loss(torch.randint(100, (2, 64)), torch.tensor([0, 1])).backward()
    optimizer.step()


CHANGES = {
    'in place': add_to_out,
    'behind its back': lambda m: m.out.weight.data.neg_(),
    'load_state_dict': lambda m: m.load_state_dict(generator(1).state_dict()),
    'there and back': lambda m: m.bfloat16().float(),
    'training': step_of_training,
    'norm': lambda m: torch.nn.init.uniform_(m.blocks[0].norm2.weight),
}


@packs
@pytest.mark.parametrize('how', CHANGES)
def test_packed_weights_are_never_old(how):
    model, cond = generator(), torch.arange(3)
    before = generate(model, cond, seed=0)
    CHANGES[how](model)
    after = generate(model, cond, seed=0)
    assert after.equal(generate(model, cond, seed=0, packed=False))
    assert how == 'there and back' or not after.equal(before)


@packs
def test_nothing_packed_stays_with_the_model():
    model = generator()
    names, size = set(vars(model)), len(pickle.dumps(model))
    generate(model, torch.arange(3), seed=0)
    assert set(vars(model)) == names and len(pickle.dumps(model)) == size


def test_where_nothing_is_packed():
    "Few tokens, one row, many rows, other types, autocast, a step of one's own."
    assert not sampling._can_pack(generator(n_tokens=16), 4)
    assert not sampling._can_pack(generator(), 1)
    assert not sampling._can_pack(generator(), 129)
    assert not sampling._can_pack(generator().bfloat16(), 4)
    with torch.autocast('cpu', torch.bfloat16):
        assert not sampling._can_pack(generator(), 4)

    class Other(ARTransformer):
        def step(self, *inputs):
            return super().step(*inputs)

    assert not sampling._can_pack(Other(SMALL), 4)


@packs
def test_types_that_are_not_packed_still_sample():
    model, cond = generator(), torch.arange(3)
    with torch.autocast('cpu', torch.bfloat16):
        assert generate(model, cond, seed=0).shape == (3, 64)
    assert generate(model.bfloat16(), cond, 1.5, seed=0).shape == (3, 64)


# ---- the draw


def test_draws_follow_the_probabilities():
    "Chi-square of 200,000 draws from 300 codes, plain and filtered, within five deviations."
    g = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(300, generator=g)
    for knobs in (dict(), dict(temperature=1.7), dict(top_k=40), dict(top_p=0.8)):
        t = knobs.get('temperature', 1.0)
        kept = {k: v for k, v in knobs.items() if k != 'temperature'}
        p = filter_logits(logits / t, **kept).double().softmax(-1)
        draws = sample_token(logits.expand(200_000, 300), generator=g, **knobs)
        counts = torch.bincount(draws, minlength=300).double()
        assert counts[p == 0].sum() == 0
        p, counts = p[p > 0] * 200_000, counts[p > 0]
        chi2, freedom = ((counts - p).square() / p).sum(), len(p) - 1
        assert abs(chi2 - freedom) < 5 * (2 * freedom) ** 0.5, knobs


def test_the_ends_of_the_ruler():
    "Codes of no probability are never drawn, sums other than 1 do no harm."
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.double)
    for total in (1.0, 0.9999999, 1.0000002, 0.3, 7.0):
        p = torch.tensor([0.0, 0.0, 0.5, 0.0, 0.5, 0.0, 0.0]) * total
        assert sampling._pick(p.expand(2, 7), ends).tolist() == [2, 4]
    many = torch.rand(2, 8192, generator=torch.Generator().manual_seed(0))
    many[:, :3] = many[:, -3:] = 0
    assert sampling._pick(many, ends).tolist() == [3, 8188]
    last = torch.eye(8)[7].expand(2, 8)
    assert sampling._pick(last, ends).tolist() == [7, 7]


def test_rare_codes_are_drawn():
    "A code of 1e-9 behind all others has a piece of its own, which fp32 sums would swallow."
    p = torch.tensor([[1 - 1e-9, 1e-9]]).float()
    assert sampling._pick(p, torch.tensor([1 - 5e-10], dtype=torch.double)).item() == 1


def test_masked_codes_are_never_drawn():
    logits = torch.where(torch.arange(50) % 2 == 0, float('-inf'), 0.0)
    draws = sample_token(logits.expand(20_000, 50), generator=torch.Generator().manual_seed(0))
    assert (draws % 2 == 1).all() and len(draws.unique()) == 25


def test_a_draw_takes_one_number_a_row():
    a, b = (torch.Generator().manual_seed(0) for _ in range(2))
    sample_token(torch.zeros(5, 30), generator=a)
    torch.rand(5, dtype=torch.double, generator=b)
    assert torch.rand(3, generator=a).equal(torch.rand(3, generator=b))


# ---- the compiled turn


@pytest.fixture(autouse=True)
def fresh_programs():
    "What a test compiles stays in the test."
    sampling._compiled_block.cache_clear()
    yield
    sampling._compiled_block.cache_clear()


def test_a_compiled_turn(monkeypatch):
    "Same tokens, one cache for all calls, and a call that failed leaves nothing in it."
    monkeypatch.setattr(torch, 'compile', lambda f, **kw: lambda *inputs: f(*inputs))
    model, cond = generator(n_tokens=37), torch.arange(3)
    calls = [dict(), dict(temperature=0), dict(guidance_scale=2.0, top_p=0.9, top_k=30)]
    for call in calls:
        want = generate(model, cond, seed=0, **call)
        assert generate(model, cond, seed=0, compiled=True, **call).equal(want)
    generate(model, cond, seed=0, compiled=True)
    kept, right = model._compiled[1], model.positions.detach().clone()
    model.positions.data.fill_(float('nan'))
    with pytest.raises(ValueError, match='finite'):
        generate(model, cond, seed=0, compiled=True)
    model.positions.data.copy_(right)
    want = generate(model, cond, seed=1)
    assert generate(model, cond, seed=1, compiled=True).equal(want)
    assert model._compiled[1] is kept
    model.positions.data = right  # a program that was recorded would read the old place
    assert generate(model, cond, seed=1, compiled=True).equal(want)
    assert model._compiled[1] is not kept
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert not hasattr(other, '_compiled')
        assert generate(other, cond, seed=1, compiled=True).equal(want)


def test_a_compiled_turn_of_frames(monkeypatch):
    monkeypatch.setattr(torch, 'compile', lambda f, **kw: lambda *inputs: f(*inputs))
    model = generator(n_tokens=12, classes=0)
    cond = condition(model, 2)
    want = generate(model, cond, seed=0, cached=False)
    assert generate(model, cond, seed=0, compiled=True).equal(want)


def test_compiled_sampling_with_another_step(monkeypatch):
    "A class with a `step` of its own is sampled with it."

    class Louder(ARTransformer):
        def step(self, *inputs):
            return 2 * super().step(*inputs)

    monkeypatch.setattr(torch, 'compile', lambda f, **kw: lambda *inputs: f(*inputs))
    model, cond = generator(n_tokens=16), torch.arange(3)
    model.__class__ = Louder
    want = generate(model, cond, seed=0)
    assert generate(model, cond, seed=0, compiled=True).equal(want)
    with pytest.raises(ValueError, match='compiled=True needs the cache'):
        generate(model, cond, cached=False, compiled=True)


def test_compiled_sampling_after_a_failure_and_in_inference_mode(monkeypatch):
    "A cache that found no room left the model without turns for good."
    monkeypatch.setattr(torch, 'compile', lambda f, **kw: lambda *inputs: f(*inputs))
    model, cond = generator(n_tokens=16), torch.arange(3)
    want = generate(model, cond, seed=0)
    with monkeypatch.context() as full, pytest.raises(MemoryError):
        full.setattr(model, 'new_cache', lambda rows: (_ for _ in ()).throw(MemoryError()))
        generate(model, cond, seed=0, compiled=True)
    with torch.inference_mode():
        assert generate(model, cond, seed=0, compiled=True).equal(want)
    assert generate(model, cond, seed=0, compiled=True).equal(want)


def test_nothing_is_compiled_again(monkeypatch):
    "A program for each of eight lengths: all blocks, seeds, knobs and conditions share them."
    compiler, counter = torch.compile, torch._dynamo.testing.CompileCounter()
    monkeypatch.setattr(torch, 'compile', lambda f, **kw: compiler(f, backend=counter, **kw))
    torch._dynamo.reset()
    model = generator(n_tokens=16, depth=3)
    call = dict(temperature=0.9, guidance_scale=2.0, top_p=0.9, compiled=True)
    seen = []
    for seed, change in enumerate((dict(), dict(guidance_scale=1.5), dict(temperature=1.1))):
        generate(model, torch.arange(3) + seed, seed=seed, **call | change)
        seen.append(counter.frame_count)
    assert seen == [8, 8, 8]
    generate(model, torch.arange(2), seed=0, **call)  # another batch has programs and a cache
    assert counter.frame_count == 16
    want = generate(model, torch.arange(3), seed=0, **call | dict(compiled=False))
    assert generate(model, torch.arange(3), seed=0, **call).equal(want)
    assert counter.frame_count == 16  # those of the first batch are still there


def test_fast_evaluation_samples_compiled_and_in_bf16(monkeypatch, tmp_path):
    "And says so where results are compared; reconstruction is measured as ever."
    from larp_edu import evaluation
    from larp_edu.judge import toy_detector

    monkeypatch.setattr(torch, 'compile', lambda f, **kw: lambda *inputs: f(*inputs))
    seen, draw = [], evaluation.generate

    def watched(model, *args, **kw):
        seen.append((model.positions.dtype, kw.get('compiled', False)))
        return draw(model, *args, **kw)

    monkeypatch.setattr(evaluation, 'generate', watched)
    words, found = ('tokenizer', 'shapeworld'), []
    for fast in (False, True):
        options = dict(generator='generator', n=8, batch=8, fast=fast)
        found.append(evaluation.evaluate(*words, tmp_path / str(fast), toy_detector(), **options))
    assert set(seen) == {(torch.float32, False), (torch.bfloat16, True)}
    slow, fast = found
    assert slow['reconstruction']['rfvd'] == fast['reconstruction']['rfvd']
    assert fast['generation']['header']['about']['compiled'] is True
    a, b = (r['generation']['header']['about']['generator'] for r in found)
    assert a != b  # other weights, other samples


# ---- counting


@packs
def test_operations_of_packed_products_can_be_counted():
    from larp_edu.benchmark import COUNTED

    model, found = generator(), []
    for packed in (True, False):
        with FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
            generate(model, torch.arange(4), seed=0, packed=packed)
        found.append(counter.get_total_flops())
    assert found[0] == found[1]


def test_a_compiled_job_is_compiled_although_its_operations_are_counted(monkeypatch):
    "What PyTorch runs first under its counter it never compiles: the rows would lie."
    from larp_edu.benchmark import SIZES, JobSettings, time_job

    compiler, counter = torch.compile, torch._dynamo.testing.CompileCounter()
    monkeypatch.setattr(torch, 'compile', lambda f, **kw: compiler(f, backend=counter))
    torch._dynamo.reset()
    assert SIZES['toy'].clips
    for job in ('tokenizer step', 'generator step', 'encode'):
        before = counter.frame_count
        row = time_job(job, 'toy', 1, JobSettings(compiled=True))
        assert counter.frame_count > before and row['compiled'], job
        assert row['flops'] == time_job(job, 'toy', 1)['flops'] > 0


# ---- the command for a GPU


def test_the_command_for_a_gpu_works_in_small(tmp_path):
    "A row and a check on a CPU; without a GPU it refuses, and a tiny run never overwrites results."
    out = tmp_path / 'speed.json'

    def command(*words):
        words = [sys.executable, str(ROOT / 'tools/bench_gpu.py'), *words]
        env = dict(os.environ, PYTHONPATH=str(ROOT), CUDA_VISIBLE_DEVICES='')
        return subprocess.run(words, env=env, capture_output=True, text=True)

    assert command().stderr.startswith('there is no GPU here')
    assert 'give another --out' in command('--device', 'cpu', '--tiny').stderr
    some = '--only', 'encode', 'sampling'
    done = command('--device', 'cpu', '--tiny', '--out', str(out), *some)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result['not_run'] == [] and result['checks']['sampling']['alike'] == 1
    (row,) = result['rows']
    assert (row['job'], row['size'], row['compiled']) == ('encode', 'toy', False)
    assert row['seconds'] > 0 and row['share_of_peak'] > 0 and result['bandwidth'] > 0
