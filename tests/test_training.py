"""Training meets what real runs meet.

A full disk, a kill while a checkpoint is written, a number that is none on one of two machines, two
runs in one folder, values that cannot work. "Report" numbers are those of faults that were reported
or found by reading ("reading"); each of these tests failed before its fault was mended.
"""

import copy
import errno
import importlib.util
import json
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
import filelock
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset
from larp_edu import files, trainer
from larp_edu.cli import main
from larp_edu.distributed import only_run
from larp_edu.files import load_tensors, save_tensors
from larp_edu.loading import StepSampler, in_order, make_loader
from larp_edu.losses import Discriminator, FrameNet, PerceptualLoss
from larp_edu.nested import NestedTokenizer
from larp_edu.objective import Critic, LossWeights, Objective, TokenizerLoss, put_back
from larp_edu.optim import Muon, fit, make_optimizers, step_if
from larp_edu.recipes import tokenizer_recipes
from larp_edu.shapeworld import ShapeWorld
from larp_edu.tokenizer import LARPTokenizer, tokenizer_presets
from larp_edu.train import export_checkpoint, make_tokenizer_trainer, train_tokenizer
from larp_edu.trainer import TrainConfig, Trainer, update_average
from larp_edu.video import write_video

ROOT = Path(__file__).resolve().parents[1]
ENV = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
LARP = [sys.executable, '-m', 'larp_edu.cli']
# `larp` with some words, once, and once more with a limit on the size of files: half of what the
# checkpoint of the first run needs
LIMITED = """
import resource, sys
from pathlib import Path
from larp_edu.cli import main

*words, first, second = sys.argv[1:]
main([*words, first])
half = Path(first, 'checkpoint.safetensors').stat().st_size // 2
resource.setrlimit(resource.RLIMIT_FSIZE, (half, half))
main([*words, second])
"""
# a short training of the miniature, into the folder whose name comes next
TRAIN = ['train', 'tokenizer', 'mini', '--train.steps', '8', '--train.save-every', '4']
TRAIN += ['--train.log-every', '1', '--out']


def run(command, **kw):
    return subprocess.run(command, env=ENV, capture_output=True, text=True, **kw)


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(tmp_path):
    "A limit on file sizes, half of what a checkpoint needs, stands in for the full disk."
    folders = [str(tmp_path / name) for name in ('run', 'full')]
    full = run([sys.executable, '-c', LIMITED, *TRAIN, *folders])
    assert load_tensors(tmp_path / 'run/checkpoint.safetensors')[1]['step'] == 8, full.stderr
    assert full.returncode == 1
    assert full.stderr.strip().splitlines()[-1].startswith('error: could not write')
    assert 'checkpoint.safetensors' in full.stderr
    # no half file under any name
    assert not list((tmp_path / 'full').glob('checkpoint*'))
    assert not list((tmp_path / 'full').glob('.*.part'))
    again = run([*LARP, *TRAIN, str(tmp_path / 'full')])
    assert again.returncode == 0, again.stderr[-2000:]
    models = (LARPTokenizer.load(tmp_path / d / 'tokenizer.safetensors') for d in ('run', 'full'))
    a, b = (model.state_dict() for model in models)
    assert all(a[k].equal(b[k]) for k in a)


def test_a_killed_run_ends_as_one_left_alone():
    spec = importlib.util.spec_from_file_location('survive', ROOT / 'tools/survive.py')
    survive = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(survive)
    t = survive.trial(1, steps=14, kills=1, seed=5)
    assert t['weights_and_optimisers_equal'], t
    assert t['logged_losses_equal'], t
    assert t['left_over'] == 0 and t['lost_at_most'] <= 2, t


TOLD = """
import os, signal, sys
import torch
from torch import nn
from larp_edu.trainer import TrainConfig, Trainer

def batches(start):
    for k in range(start, 40):
        if k == 13 and sys.argv[2] == 'told':
            os.kill(os.getpid(), signal.SIGTERM)
        yield torch.randn(8, 4, generator=torch.Generator().manual_seed(k)),

torch.manual_seed(0)
net = nn.Linear(4, 1)
loss = lambda model, batch, progress: (model(batch[0]).square().mean(), {})
Trainer(net, loss, batches, TrainConfig(20, 8, warmup=0, save_every=50), sys.argv[1]).fit(True)
print(net.weight.tolist())
"""


def test_a_run_that_is_told_to_stop_saves_first(tmp_path):
    "Nothing had been saved at step 14: a checkpoint was due at step 50."

    def run(folder, how):
        command = [sys.executable, '-c', TOLD, str(tmp_path / folder), how]
        return subprocess.run(command, capture_output=True, text=True)

    told = run('told', 'told')
    assert told.returncode == 143 and 'SIGTERM, saved after step 14' in told.stderr, told
    assert load_tensors(tmp_path / 'told/checkpoint.safetensors')[1]['step'] == 14
    again, whole = run('told', 'on'), run('whole', 'on')
    assert again.returncode == whole.returncode == 0 and again.stdout == whole.stdout


def test_a_reader_leaves_sigterm_to_its_training():
    "A scheduler sends it to all processes of a job; a reader that dies ends the training."
    data = TensorDataset(torch.arange(8.0))
    batches = iter(make_loader(data, 2, workers=1))
    next(batches)
    for reader in multiprocessing.active_children():
        os.kill(reader.pid, signal.SIGTERM)
    assert all(len(batch[0]) == 2 for _, batch in zip(range(8), batches))


@pytest.mark.parametrize(
    'about, says',
    [
        (dict(data=torch.float32), 'data is torch.float32, expected what JSON can hold'),
        (dict(processes=3), "`about` has 'processes', which the loss or the trainer has"),
    ],
)
def test_what_cannot_be_saved_is_told_before_the_first_step(about, says, tmp_path):
    trainer = line_trainer(tmp_path)
    trainer.about = about
    with pytest.raises(ValueError, match=says):
        trainer.fit(True)
    assert trainer.step == 0


def test_an_evaluation_gives_numbers(tmp_path):
    trainer = line_trainer(tmp_path)
    trainer.evaluate_every = 2
    trainer.evaluate = lambda model, step: dict(score=torch.tensor(0.5), n=3)
    assert trainer.fit(True)[-1]['score'] == 0.5
    trainer = line_trainer()
    trainer.evaluate_every = 2
    trainer.evaluate = lambda model, step: dict(score='good')
    with pytest.raises(ValueError, match='evaluate gave score as a str, expected a number'):
        trainer.fit(True)


def test_tied_weights_are_saved(tmp_path):
    "A language model often has one table for its inputs and its outputs."
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    net[1].weight = net[0].weight
    save_tensors(tmp_path / 'tied.safetensors', net.state_dict(), {})
    tensors, _ = load_tensors(tmp_path / 'tied.safetensors')
    assert tensors['0.weight'].equal(net[0].weight) and tensors['1.weight'].equal(net[0].weight)


# Steps 4 and 9 train the critic. In step 9 one clip of the second process holds a number that is
# none; in step 14 the tokenizer's loss breaks in the first process only.
BROKEN = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from larp_edu.losses import Discriminator
from larp_edu.objective import Critic, LossWeights, TokenizerLoss, copy_tensors
from larp_edu.tokenizer import LARPTokenizer, tokenizer_presets
from larp_edu.trainer import TrainConfig, Trainer

class Breaks(TokenizerLoss):
    def __call__(self, *args):
        loss, terms = super().__call__(*args)
        return loss * (float('nan') if t.acc.is_main_process and t.step == 14 else 1.), terms

def make_trainer(sharded):
    torch.manual_seed(0)
    model = LARPTokenizer(replace(
        tokenizer_presets['toy'], size=16, patch=(4, 4, 4), n_tokens=8, dim=32, heads=2,
        encoder_depth=1, decoder_depth=1, codes=32, prior_dim=32, prior_depth=1, prior_heads=2))
    critic = Critic(Discriminator((8, 16, 16), (4, 4, 4), dim=32, depth=1, heads=2), lr=1e-3)
    loss = Breaks(LossWeights(adversarial=.3, warm=0.), critic=critic)
    return Trainer(model, loss, None, TrainConfig(20, 4, 3e-3, warmup=0, ema=.9, sharded=sharded))

torch.set_num_threads(1)
for how in ('whole', 'sharded'):
    t, lines = make_trainer(how == 'sharded'), []
    critic = t.objective.critic
    for k in range(15):
        torch.manual_seed(100 + k)
        clips = torch.rand(4, 3, 8, 16, 16)
        if k == 9:
            clips[1, 0, 0, 0, 0] = float('nan')
        before = copy_tensors(t.state()[0])
        row = t.train_step((clips,))
        after = t.state()[0]
        changed = [k for k in after if k not in before or not after[k].equal(before[k])]
        if k in (8, 9, 14):
            lines.append(f'{k} {"critic" in row} {len(changed)} {" ".join(changed[:2])}')
    total = sum(float(v.double().sum()) for v in critic.memory().values())
    lines.append(f'end {int(t.broken.total)} {int(critic.broken.total)} {total}')
    Path(sys.argv[1], f'{how}{t.acc.process_index}').write_text('\\n'.join(lines))
"""


def test_a_step_broken_in_one_process_changes_nothing_in_any(tmp_path):
    job = tmp_path / 'job.py'
    job.write_text(BROKEN)
    launch = ['torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    done = run([sys.executable, '-m', *launch, str(job), str(tmp_path)])
    assert done.returncode == 0, done.stderr[-2000:]
    for how in ('whole', 'sharded'):
        seen = [(tmp_path / f'{how}{k}').read_text().splitlines() for k in range(2)]
        assert seen[0] == seen[1]  # critics are equal to the bit, in both processes
        good, spoilt, broken, end = seen[0]
        assert good.startswith('8 False') and int(good.split()[2]) > 100, good
        total, in_row = 'objective.critic.broken.total', 'objective.critic.broken.in_row'
        assert spoilt == f'9 True 2 {total} {in_row}', spoilt
        assert broken == f'14 True 2 {total} {in_row}', broken  # its own update was fine, but lost
        assert end.startswith('end 2 2 '), end


# Two processes, then one: a warm phase of 4 steps, in which quantiser and prior get no gradient.
# What is random in a process is switched off.
WARM = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from larp_edu.loading import make_loader
from larp_edu.objective import LossWeights, TokenizerLoss
from larp_edu.shapeworld import ShapeWorld
from larp_edu.tokenizer import LARPTokenizer, tokenizer_presets
from larp_edu.trainer import TrainConfig, Trainer

torch.set_num_threads(1)
out, data = Path(sys.argv[1]), ShapeWorld(64, 16)

class Looks(TokenizerLoss):
    leaves_unused = True

class Forgets(TokenizerLoss):
    leaves_unused = False

def run(name, warm, loss=TokenizerLoss, stop=1000):
    def batches(start):
        loader = make_loader(data, 4, 0, start)
        return (batch for k, batch in zip(range(start, stop), loader))

    torch.manual_seed(0)
    model = LARPTokenizer(replace(
        tokenizer_presets['toy'], size=16, patch=(4, 4, 4), n_tokens=8, dim=32, heads=2,
        encoder_depth=1, decoder_depth=1, codes=32, prior_dim=32, prior_depth=1, prior_heads=2,
        prior_dropout=0., stochastic=False))
    config = TrainConfig(10, 4, 3e-3, warmup=0, ema=.9, log_every=5, save_every=2)
    trainer = Trainer(model, loss(LossWeights(prior=0., warm=warm)), batches, config, out / name)
    try:
        trainer.fit(quiet=True)
    except ValueError as e:
        (out / f'{name}.txt').write_text(str(e))
    return getattr(trainer.model, 'find_unused_parameters', None)

print(run('warm', .4))
for stop in (3, 7, 1000):
    run('resumed', .4, stop=stop)
print(run('cold', 0.))
print(run('looked', 0., Looks))
run('forgot', .4, Forgets)
"""


def test_processes_wait_for_no_gradient_of_the_warm_phase(tmp_path):
    "Through its end, resumed in it and after it; DDP looks for what is unused only where it must."
    job = tmp_path / 'job.py'
    job.write_text(WARM)
    two, one = tmp_path / 'two', tmp_path / 'one'
    launch = ['torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    done = run([sys.executable, '-m', *launch, str(job), str(two)])
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(done.stdout.split()) == ['False'] * 2 + ['True'] * 4
    assert run([sys.executable, str(job), str(one)]).returncode == 0

    def end(folder):
        return load_tensors(folder / 'checkpoint.safetensors')[0]

    for a, b in (('warm', 'resumed'), ('cold', 'looked')):
        a, b = end(two / a), end(two / b)
        assert a.keys() == b.keys() and all(a[k].equal(b[k]) for k in a)
    for name in ('warm', 'cold'):
        a, b = end(one / name), end(two / name)
        weights = [k for k in a if k.startswith(('model.', 'average.'))]
        assert max((a[k] - b[k]).abs().max() for k in weights) < 1e-4
    said = (two / 'forgot.txt').read_text()
    assert 'the loss gives no gradient to quantizer.' in said and 'leaves_unused' in said
    assert not (one / 'forgot.txt').exists()  # a single process waits for nobody


class OnGpu(torch.Tensor):
    "A tensor that says that it is on a GPU, so that nobody may look at it to decide."

    is_cuda = property(lambda self: True)


def test_a_gpu_decides_as_a_cpu_does():
    for value in (True, False):
        flags = torch.tensor(value), torch.tensor(value).as_subclass(OnGpu)
        model = torch.nn.Linear(3, 3)
        average = torch.nn.Linear(3, 3)
        moved = [copy.deepcopy(average) for _ in flags]
        for mean, broken in zip(moved, flags):
            update_average(mean, model, 5, 0.9, broken)
        assert moved[0].weight.equal(moved[1].weight)
        assert moved[0].weight.equal(average.weight) == value
        now = dict(weight=torch.full((2,), float('nan')), count=torch.tensor(3))
        put_back(now, dict(weight=torch.ones(2)), flags[1])
        assert now['weight'].isfinite().all() == value
        assert int(now['count']) == (0 if value else 3)


def test_an_optimiser_that_is_not_fused_steps_on_a_gpu():
    "The trainer tries the loss before it makes the critic's Adam fused: AdamW refused `found_inf`."
    for kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD):
        for ok in (True, False):
            p = nn.Parameter(torch.ones(3))
            p.grad = torch.ones(3)
            step_if(kind([p], lr=0.1), torch.tensor(ok).as_subclass(OnGpu))
            assert p.equal(torch.ones(3)) != ok


# ---- small runs in this process

NAN, INF = math.nan, math.inf
TINY = replace(
    tokenizer_presets['toy'],
    size=16,
    patch=(4, 4, 4),
    n_tokens=8,
    dim=32,
    heads=2,
    encoder_depth=1,
    decoder_depth=1,
    codes=32,
    prior_dim=32,
    prior_depth=1,
    prior_heads=2,
)


def error_of_a_line(model, batch, progress):
    return F.mse_loss(model(batch[0]), batch[1]), {}


def line_batches(start):
    for k in range(start, 1000):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(k))
        yield x, x.sum(1, keepdim=True)


def line_trainer(folder=None, steps=6, loss=error_of_a_line, **kw):
    "A run of milliseconds with running statistics and an average; `kw`: of the config."
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    kw = dict(batch=8, lr=1e-2, warmup=0, ema=0.9, log_every=1, save_every=2) | kw
    return Trainer(net, loss, line_batches, TrainConfig(steps, **kw), folder)


def critic_trainer(loss=TokenizerLoss, critic=Critic, folder=None, **kw):
    "A tiny tokenizer against a critic that learns in every second step."
    torch.manual_seed(0)
    net = Discriminator(TINY.clip_size, TINY.patch, dim=32, depth=1, heads=2)
    weights = LossWeights(adversarial=0.3, warm=0.0)
    objective = loss(weights, critic=critic(net, 1e-3, every=2))
    data = ShapeWorld(64, 16)
    config = TrainConfig(steps=12, batch=4, lr=1e-3, warmup=0, log_every=1, **kw)
    batches = lambda start: make_loader(data, 4, 0, start)  # noqa: E731
    return Trainer(LARPTokenizer(TINY), objective, batches, config, folder)


def remembered(t):
    return {k: v.clone() for k, v in t.state()[0].items()}


def changed(before, t):
    now = t.state()[0]
    return [k for k in now if k not in before or not now[k].equal(before[k])]


# ---- broken steps


class Detached(Objective):
    "Its value is no number in step 3, although every gradient is one."

    def __call__(self, model, batch, progress):
        loss, stats = error_of_a_line(model, batch, progress)
        return loss + (NAN if self.step == 3 else 0.0), stats

    def begin_step(self, step, rate):
        self.step = step


@pytest.mark.parametrize('how', ['nan', 'inf', 'overflow', 'loss'])
def test_a_broken_step_changes_nothing(how):
    "Reading 3: weights, running statistics, optimiser, average."
    t = line_trainer(loss=Detached(None) if how == 'loss' else error_of_a_line)
    batches = list(islice(line_batches(0), 5))
    for batch in batches[:3]:
        t.train_step(batch)
    before = remembered(t)
    x = batches[3][0].clone()
    if how == 'overflow':
        x *= 1e30  # finite, as the gradient is; the variance is not
    elif how != 'loss':
        x[2, 1] = float(how)
    t.train_step((x, batches[3][1]))
    assert changed(before, t) == []
    assert (int(t.broken.total), int(t.broken.in_row)) == (1, 1)
    t.train_step(batches[4])
    assert len(changed(before, t)) == len(before)
    assert (int(t.broken.total), int(t.broken.in_row)) == (1, 0)
    assert all(v.isfinite().all() for v in remembered(t).values())


def spoil(trainer, when):
    "Clips of the trainer with a number that is none in some steps."
    batches = trainer.batches

    def spoilt(start):
        for k, (clips, label) in enumerate(batches(start), start):
            if when(k):
                clips[0, 0, 0, 0, 0] = NAN
            yield clips, label

    trainer.batches = spoilt


def test_what_is_frozen_in_a_critic_stays_so():
    net = Discriminator(TINY.clip_size, TINY.patch, dim=32, depth=1, heads=2)
    net.embed.requires_grad_(False)
    frozen = net.embed.proj.weight.clone()
    critic = Critic(net, 1e-2, every=1)
    clips = torch.rand(2, 3, *TINY.clip_size)
    before = net.out.weight.clone()
    for k in range(3):
        critic.begin_step(k, 1.0)
        critic.update(clips, clips.flip(0))
        critic(clips)
    assert not any(p.requires_grad for p in net.embed.parameters())
    assert all(p.requires_grad for p in net.out.parameters())
    assert net.embed.proj.weight.equal(frozen) and not net.out.weight.equal(before)
    with pytest.raises(ValueError, match='all weights of the critic are frozen'):
        Critic(net.requires_grad_(False))


def test_a_critic_survives_a_broken_batch_and_counts_it():
    "Reading 2: LeCam's running means were lost for good, and every later update with them."
    t = critic_trainer()
    critic = t.objective.critic
    spoil(t, lambda step: step == 3)
    rows = t.fit(quiet=True)
    assert [r['critic_skipped'] for r in rows] == [0, 0, 0, *[1] * 9]
    assert [r['skipped'] for r in rows] == [0, 0, 0, *[1] * 9]
    assert all(v.isfinite().all() for v in critic.memory().values())
    before = critic.net.out.weight.clone()
    critic.begin_step(13, 1.0)
    critic.update(torch.rand(4, 3, *TINY.clip_size), torch.rand(4, 3, *TINY.clip_size))
    assert not critic.net.out.weight.equal(before)


def test_a_broken_update_of_the_critic_alone_leaves_the_tokenizer_its_step():
    "Reading 2: here nothing puts the critic back but the critic itself."
    t = critic_trainer()
    critic = t.objective.critic
    critic.net.out.weight.register_hook(lambda g: g * (NAN if t.step == 3 else 1.0))
    for batch in islice(t.batches(0), 4):
        before = remembered(t)
        t.train_step(batch)
    moved = changed(before, t)
    counts = ['objective.critic.broken.total', 'objective.critic.broken.in_row']
    assert [k for k in moved if k.startswith('objective.')] == counts
    assert 'model.to_code.weight' in moved
    assert (int(t.broken.total), int(critic.broken.total)) == (0, 1)


class Shift(nn.Module):
    "A critic whose logit is a pixel."

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, clips):
        return clips.flatten(1)[:, 0] + self.bias


def test_means_of_the_critic_that_overflow_break_its_update():
    "Every gradient is finite here, and the running mean of the logits is not."
    critic = Critic(Shift(), every=1)
    critic.update(torch.ones(4, 1), torch.full((4, 1), 2e38))
    assert critic.net.bias.grad.isfinite()
    assert not critic.net.bias and not any(mean.any() for mean in critic.lecam.buffers())
    assert int(critic.broken.total) == 1


def test_too_many_broken_updates_of_the_critic_end_the_run(tmp_path):
    "Reading 2: `patience` never saw them. The tokenizer is broken in the same steps only."
    t = critic_trainer(folder=tmp_path, patience=3)
    spoil(t, lambda step: step % 2)
    with pytest.raises(FloatingPointError, match='3 steps of the critic in a row') as said:
        t.fit(quiet=True)
    assert '\n' not in str(said.value)
    tensors, meta = load_tensors(tmp_path / 'checkpoint.safetensors')
    assert (meta['step'], meta['skipped']) == (6, [3, 1])
    assert int(tensors['objective.critic.broken.in_row']) == 3


class Breaks(TokenizerLoss):
    "The loss of the tokenizer is no number in odd steps; the critic is not to blame."

    def __call__(self, *args):
        loss, terms = super().__call__(*args)
        return loss * (NAN if self.learner.due else 1.0), terms


def test_an_update_of_the_critic_that_is_undone_counts_as_broken():
    "Else a critic would never learn, and no number would say so."
    t = critic_trainer(Breaks, patience=3)
    before = copy.deepcopy(t.objective.critic)
    with pytest.raises(FloatingPointError, match='3 steps of the critic in a row'):
        t.fit(quiet=True)
    after = t.objective.critic
    assert all(a.equal(b) for a, b in zip(before.net.parameters(), after.net.parameters()))
    assert [int(b) for b in after.broken.buffers()] == [3, 3, 3]
    assert not any(mean.any() for mean in after.lecam.buffers())


# ---- terms and weights


class Misspelt(LARPTokenizer):
    "Its prior's loss has a name that no weight has."

    def forward(self, clip, **how):
        out = super().forward(clip, **how)
        return out._replace(losses={k.replace('prior', 'piror'): v for k, v in out.losses.items()})


class Talkative(Critic):
    "A critic that hands a term with a gradient to the tokenizer's loss."

    def update(self, real, fake):
        seen = super().update(real, fake)
        return seen | dict(adversarail=self.net.out.weight.sum()) if seen else seen


def test_a_term_without_a_weight_is_refused_before_any_step():
    "Reading 10: it was shown in the log and missing from the loss. Quantisation comes later here."
    says = "term 'piror' that has no weight, expected one of l2, l1, .*, prior, perhaps prior"
    for model in (Misspelt(TINY), Misspelt(TINY).eval()):
        state = torch.get_rng_state()
        with pytest.raises(ValueError, match=says):
            Trainer(model, TokenizerLoss(LossWeights(warm=0.5)), None, TrainConfig(2))
        assert torch.get_rng_state().equal(state)
    with pytest.raises(ValueError, match="term 'adversarail' .* perhaps adversarial"):
        critic_trainer(critic=Talkative)
    with pytest.raises(ValueError, match='weight prior=0.06, but this LARPTokenizer has no such'):
        Trainer(LARPTokenizer(replace(TINY, prior_depth=0)), TokenizerLoss(), None, TrainConfig(2))


def test_a_term_is_looked_at_in_its_first_step_if_nothing_is_known_beforehand():
    model = Misspelt(TINY)
    clip = torch.rand(1, 3, *TINY.clip_size)
    loss = TokenizerLoss(LossWeights(warm=0.5))
    loss(model, (clip,), 0.1)
    with pytest.raises(ValueError, match="term 'piror'"):
        loss(model, (clip,), 0.6)


def test_a_field_more_weighs_a_term_more():
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class More(LossWeights):
        piror: float = 2.0

    loss = TokenizerLoss(replace(More(), prior=0.0, warm=0.0))
    loss.check(Misspelt(TINY))
    total, terms = loss(Misspelt(TINY), (torch.rand(2, 3, *TINY.clip_size),), 0.5)
    expected = 5 * terms['l2'] + 0.1 * terms['vq'] + 2 * terms['piror']
    assert torch.isclose(total, expected)


# ---- numbers that cannot work


@pytest.mark.parametrize(
    'bad',
    [
        *(
            dict([(k, v)])
            for k in ('lr', 'muon_lr', 'weight_decay', 'clip')
            for v in (NAN, INF, -1)
        ),
        *(dict([(k, v)]) for k in ('steps', 'batch', 'log_every', 'save_every') for v in (0, 1.5)),
        *(dict([(k, v)]) for k in ('keep', 'patience', 'warmup', 'seed') for v in (-1, 2.5, NAN)),
        *(dict(betas=v) for v in ((NAN, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9,))),
        *(dict(ema=v) for v in (NAN, 1.0, -0.1)),
        dict(floor=NAN),
        dict(seed=2**32),
        dict(scaled=(('', NAN),)),
    ],
)
def test_a_config_that_cannot_work_is_refused(bad):
    "Reading 9."
    (name,) = bad
    with pytest.raises(ValueError, match=f'{name} is .*, expected'):
        TrainConfig(**dict(steps=2) | bad)


def test_other_numbers_that_cannot_work_are_refused(tmp_path):
    "Reading 9: weights, critic, trainer, optimisers, loaders, the bare loop."
    net = nn.Linear(2, 2)
    xs = [(torch.rand(1, 2),)]

    def loss(model, x, progress):
        return model(x).sum()

    for refused in (
        lambda: LossWeights(l2=NAN),
        lambda: LossWeights(vq=-1.0),
        lambda: LossWeights(prior=INF),
        lambda: LossWeights(warm=1.1),
        lambda: Critic(net, lr=NAN),
        lambda: Critic(net, every=0),
        lambda: Critic(net, lecam=NAN),
        lambda: Critic(net, betas=(NAN, 0.9)),
        lambda: Trainer(net, loss, None, TrainConfig(2), evaluate_every=0),
        lambda: Trainer(net, loss, None, TrainConfig(2, best='psnr'), tmp_path),
        lambda: make_optimizers(net, lr=NAN),
        lambda: make_optimizers(net, lr=1e-3, muon_lr=-1.0),
        lambda: make_optimizers(net, lr=1e-3, weight_decay=NAN),
        lambda: make_optimizers(net, lr=1e-3, scaled=[('prior.', 2.0)]),
        lambda: Muon(net.parameters(), lr=1e-3, momentum=NAN),
        lambda: make_loader(range(10), batch=0),
        lambda: make_loader(range(10), batch=2, start=-1),
        lambda: make_loader([], batch=2),
        lambda: make_loader(range(10), batch=2, share=(2, 2)),
        lambda: make_loader(range(10), batch=2, share=(0, 3)),
        lambda: in_order(range(10), 2, limit=0),
        lambda: fit(net, loss, xs, steps=0),
        lambda: fit(net, loss, xs, steps=1, clip=0.0),
        lambda: fit(net, loss, xs, steps=1, lr=NAN),
    ):
        with pytest.raises(ValueError, match='expected|begins with|but there is no|Invalid'):
            refused()


def test_the_bare_loop_ends_at_a_gradient_that_is_none():
    net = nn.Linear(2, 1)
    before = net.weight.detach().clone()
    with pytest.raises(FloatingPointError, match='step 0: the gradient is not finite'):
        fit(net, lambda model, x, progress: model(x).sum(), [(torch.full((1, 2), NAN),)], 1)
    assert net.weight.equal(before)


# ---- batches


def test_a_loader_that_is_asked_again_begins_again():
    "Reading 8: with `share`, and for tensors, the second `iter` went on where the first stopped."
    plain = TensorDataset(torch.arange(10))
    whole = make_loader(plain, 4, start=3)
    first = [next(iter(whole))[0].tolist() for _ in range(3)]
    assert first == [[i for i, _ in next(iter(StepSampler(10, 4, start=3)))]] * 3
    for share in ((0, 2), (1, 2)):
        world = make_loader(ShapeWorld(10, 16), 4, start=3, share=share)
        again = [next(iter(world))[1].tolist() for _ in range(2)]
        assert again[0] == again[1]
        part = make_loader(plain, 4, start=3, share=share)
        assert [next(iter(part))[0].tolist() for _ in range(2)] == [first[0][share[0] :: 2]] * 2


# ---- checkpoints on poor disks


def no_links(*args):
    raise PermissionError(errno.EPERM, 'Operation not permitted')


def test_a_file_system_without_hard_links_gets_copies(tmp_path, monkeypatch):
    "Reading 7: the first checkpoint of a recipe with `keep` > 1 raised."
    monkeypatch.setattr(os, 'link', no_links)
    line_trainer(tmp_path, keep=2).fit(quiet=True)
    numbered = sorted(tmp_path.glob('checkpoint-*'))
    assert [load_tensors(path)[1]['step'] for path in numbered] == [4, 6]
    assert numbered[1].read_bytes() == (tmp_path / 'checkpoint.safetensors').read_bytes()
    assert not list(tmp_path.glob('.*.part'))


def full(*args, **kw):
    raise OSError(errno.ENOSPC, 'No space left on device')


def test_a_disk_that_fills_up_leaves_the_last_checkpoint_and_says_so(tmp_path, monkeypatch):
    "Reading 7: when the second of three checkpoints is written, and when a copy is."
    whole = line_trainer(tmp_path / 'whole')
    whole.fit(quiet=True)
    path = tmp_path / 'run/checkpoint.safetensors'
    save_file = files.save_file

    def second_time(tensors, file, **kw):
        if path.exists():
            Path(file).write_bytes(b'half')
            full()
        save_file(tensors, file, **kw)

    with monkeypatch.context() as m:
        m.setattr(files, 'save_file', second_time)
        with pytest.raises(OSError, match='could not write .*; .* stays: that of step 2') as said:
            line_trainer(tmp_path / 'run').fit(quiet=True)
        assert str(path) in str(said.value) and '\n' not in str(said.value)
        m.setattr(files, 'save_file', full)
        with pytest.raises(OSError, match='the checkpoint that stays: none'):
            line_trainer(tmp_path / 'never').fit(quiet=True)
    with monkeypatch.context() as m:
        m.setattr(os, 'link', no_links)
        m.setattr(trainer.shutil, 'copyfile', full)
        with pytest.raises(OSError, match='checkpoint-00000004.* stays: that of step 4'):
            line_trainer(tmp_path / 'run', keep=2).fit(quiet=True)
    assert not list((tmp_path / 'run').glob('.*.part'))
    line_trainer(tmp_path / 'run').fit(quiet=True)
    a, b = (
        load_tensors(folder / 'checkpoint.safetensors')[0] for folder in (whole.folder, path.parent)
    )
    assert a.keys() == b.keys() and all(a[k].equal(b[k]) for k in a)


def test_a_log_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    t = line_trainer(tmp_path)
    t.write_log()
    monkeypatch.setattr('builtins.open', full)
    with pytest.raises(OSError, match='could not write .*log.jsonl: No space left'):
        t.log(dict(step=1))


# ---- going on


def test_what_cannot_change_the_past_is_accepted(tmp_path):
    "Reading 12: log_every, save_every, keep, patience, and more steps at the end of the schedule."
    line_trainer(tmp_path / 'run', steps=6).fit(quiet=True)
    other = dict(log_every=3, save_every=1, keep=3, patience=7)
    line_trainer(tmp_path / 'run', steps=6, **other).fit(quiet=True)  # nothing to do, no complaint
    with pytest.warns(UserWarning, match='began as a run of 6 steps and keeps their schedule'):
        longer = line_trainer(tmp_path / 'run', steps=9, **other)
        rows = longer.fit(quiet=True)
    assert [r['step'] for r in rows] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [r['lr'] for r in rows[6:]] == [1e-4] * 3  # the floor
    assert len(list((tmp_path / 'run').glob('checkpoint-*'))) == 3
    told = line_trainer(steps=9)
    told.horizon = 6
    told.fit(quiet=True)
    assert changed(remembered(told), longer) == []
    with pytest.warns(UserWarning, match='began as a run of 6 steps'):  # and again
        again = line_trainer(tmp_path / 'run', steps=12)
        again.fit(quiet=True)
    assert (again.step, again.horizon) == (12, 6)


def test_what_can_change_the_past_is_refused(tmp_path):
    "Reading 12: one line with the field, the old and the new value."
    line_trainer(tmp_path, steps=6).fit(quiet=True)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name, old, new in (
        ('steps', 6, 4),
        ('lr', 0.01, 0.02),
        ('warmup', 0, 1),
        ('floor', 0.01, 0.1),
        ('clip', 1.0, 2.0),
        ('ema', 0.9, 0.8),
        ('seed', 0, 1),
        ('batch', 8, 16),
        ('weight_decay', 0.0, 0.1),
        ('precision', 'no', 'bf16'),
    ):
        says = f'was trained with {name}={old}, now {name}={new}: use another folder'
        with pytest.raises(ValueError, match=re.escape(says)):
            line_trainer(tmp_path, **dict(steps=6) | {name: new}).fit(quiet=True)
    assert kept == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_workers_and_a_longer_run_of_a_recipe(tmp_path):
    "Reading 12, by the function behind `larp train`; the card says which schedule it was."
    mini = tokenizer_recipes['mini']

    def recipe(**kw):
        return replace(mini, train=replace(mini.train, **dict(steps=2, save_every=2) | kw))

    train_tokenizer(recipe(), 'shapeworld', tmp_path)
    with pytest.warns(UserWarning, match='began as a run of 2 steps'):
        train_tokenizer(recipe(steps=3, log_every=1, keep=2), 'shapeworld', tmp_path, workers=1)
    card = LARPTokenizer.load(tmp_path / 'tokenizer.safetensors').card
    assert (card['steps'], card['schedule_steps']) == (3, 2)
    with only_run(tmp_path), pytest.raises(ValueError, match='is in use by another run'):
        train_tokenizer(recipe(), 'no such data', tmp_path)  # said before the data are looked for


def test_a_run_goes_on_when_its_data_have_moved(tmp_path):
    "Reading C: the path of the data had to be the same, and a killed job may find another one."
    recipe = tokenizer_recipes['mini']
    recipe = replace(recipe, train=replace(recipe.train, steps=1, batch=2, save_every=1))
    for part, count in (('train', 3), ('val', 2)):
        for k in range(count):
            clip = torch.rand(3, 9, 32, 32, generator=torch.Generator().manual_seed(count + 9 * k))
            write_video(tmp_path / 'here' / part / 'a' / f'{part}{k}.mp4', clip)
    train_tokenizer(recipe, f'folder:{tmp_path}/here', tmp_path / 'run')
    (tmp_path / 'here').rename(tmp_path / 'there')
    train_tokenizer(recipe, f'folder:{tmp_path}/there', tmp_path / 'run')
    (tmp_path / 'there/train/a/train2.mp4').unlink()
    with pytest.raises(ValueError, match='was trained with data=VideoFolder train, 3 clips'):
        train_tokenizer(recipe, f'folder:{tmp_path}/there', tmp_path / 'run')


def test_a_checkpoint_names_the_class_of_its_model(tmp_path):
    "A nested tokenizer was exported as a plain one, and a run of one went on with the other."
    config = replace(tokenizer_presets['toy'], dim=16, prior_depth=0, encoder_depth=1)
    clips = [(torch.rand(2, 3, 8, 32, 32),)]
    loss = TokenizerLoss(LossWeights(prior=0.0))

    def fit(kind, folder):
        train = TrainConfig(steps=1, batch=2)
        Trainer(kind(config), loss, lambda step: clips, train, folder).fit(quiet=True)

    fit(NestedTokenizer, tmp_path)
    export_checkpoint(tmp_path / 'checkpoint.safetensors', tmp_path / 'nested.safetensors')
    assert load_tensors(tmp_path / 'nested.safetensors')[1]['kind'] == 'NestedTokenizer'
    with pytest.raises(ValueError, match='model_class=NestedTokenizer, now model_class=LARPTok'):
        fit(LARPTokenizer, tmp_path)

    class MyTokenizer(LARPTokenizer):
        pass

    fit(MyTokenizer, tmp_path / 'mine')
    with pytest.raises(ValueError, match='holds a MyTokenizer, expected one of LARPTokenizer'):
        export_checkpoint(tmp_path / 'mine/checkpoint.safetensors', tmp_path / 'mine.safetensors')


def test_another_perceptual_network_does_not_go_on_with_a_run(tmp_path):
    config = replace(tokenizer_presets['toy'], dim=16, prior_depth=0, encoder_depth=1)
    clips = [(torch.rand(2, 3, 8, 32, 32),)]

    def fit(seed, steps):
        torch.manual_seed(seed)
        loss = TokenizerLoss(LossWeights(prior=0.0, perceptual=1.0), PerceptualLoss(FrameNet()))
        train = TrainConfig(steps=steps, batch=2)
        Trainer(LARPTokenizer(config), loss, lambda _: clips, train, tmp_path).fit(quiet=True)

    fit(0, 1)
    with pytest.raises(ValueError, match='was trained with perceptual_loss=PerceptualLoss'):
        fit(1, 1)


def test_an_ordinary_data_set_is_asked_for_indices():
    "It got (index, draw), which a tensor of clips takes as two indices."

    class Ordinary(torch.utils.data.Dataset):
        clips = torch.arange(24.0).view(6, 4)

        def __len__(self):
            return len(self.clips)

        def __getitem__(self, i):
            return self.clips[i], i

    clips, places = next(iter(make_loader(Ordinary(), 6)))
    assert clips.shape == (6, 4) and sorted(places.tolist()) == list(range(6))
    assert clips.equal(Ordinary.clips[places])


def test_a_tokenizer_learns_from_two_data_sets(tmp_path):
    for part, count in (('train', 3), ('val', 2)):
        for k in range(count):
            write_video(
                tmp_path / 'films' / part / 'a' / f'{part}{k}.mp4', torch.rand(3, 9, 32, 32)
            )
    words = 'shapeworld', f'folder:{tmp_path}/films'
    options = f'--out {tmp_path}/run --train.steps 2 --train.batch 2'.split()
    main(['train', 'tokenizer', 'mini', '--data', *words, *options])
    card = LARPTokenizer.load(tmp_path / 'run/tokenizer.safetensors').card
    assert card['data'] == ' '.join(words)
    with pytest.raises(SystemExit, match='was trained with data=JoinedClips train, 1000003 clips'):
        main(['train', 'tokenizer', 'mini', '--data', words[0], *options])


def test_a_missing_package_is_named_before_the_data_are_looked_for(tmp_path, monkeypatch):
    "Reading C: LPIPS was missed after all films had been indexed."
    monkeypatch.setitem(sys.modules, 'lpips', None)
    with pytest.raises(ImportError, match='LPIPS needs `pip install lpips`'):
        train_tokenizer(tokenizer_recipes['larp_b'], 'no such data', tmp_path)


def test_a_long_run_is_looked_at_early():
    "Reading C: the first look at held-out clips of a full-size run came after two hours."
    recipe = tokenizer_recipes['mini']
    world = ShapeWorld(16)
    for steps, every in ((120, 6), (5, 1), (468_000, 1000)):
        long = replace(recipe, train=replace(recipe.train, steps=steps))
        assert make_tokenizer_trainer(long, world, None).evaluate_every == every


def test_a_recipe_says_how_often_the_critic_learns():
    recipe = tokenizer_recipes['mini']
    recipe = replace(recipe, critic=replace(recipe.critic, every=3))
    assert make_tokenizer_trainer(recipe, ShapeWorld(16), None).objective.period == 3
    with pytest.raises(ValueError, match='every is 0, expected whole numbers from 1 on'):
        replace(recipe.critic, every=0)


# ---- one run in a folder

HOLD = """
import sys, time
from larp_edu.distributed import only_run
with only_run(sys.argv[1]):
    print('inside', flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_and_a_killed_one_is_in_nobodys_way(tmp_path):
    "Reading 12: two runs in one folder were not noticed."
    with subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path)], env=ENV, stdout=subprocess.PIPE
    ) as other:
        try:
            assert other.stdout.readline() == b'inside\n'
            with pytest.raises(ValueError, match='is in use by another run') as said:
                line_trainer(tmp_path).fit(quiet=True)
        finally:
            other.kill()
    assert str(tmp_path) in str(said.value) and '\n' not in str(said.value)
    assert [path.name for path in tmp_path.iterdir()] == ['.lock']
    assert (tmp_path / '.lock').exists()
    line_trainer(tmp_path).fit(quiet=True)
    assert load_tensors(tmp_path / 'checkpoint.safetensors')[1]['step'] == 6


def test_a_run_that_fails_lets_go_of_its_folder(tmp_path):
    def fails(model, batch, progress):
        raise RuntimeError('no')

    with pytest.raises(RuntimeError):
        line_trainer(tmp_path, loss=fails).fit(quiet=True)
    line_trainer(tmp_path).fit(quiet=True)


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch):
    def acquire(self, **kw):
        raise NotImplementedError('no flock here')

    monkeypatch.setattr(filelock.FileLock, 'acquire', acquire)
    with pytest.warns(
        UserWarning, match='cannot be locked, another run in it would not be noticed'
    ):
        line_trainer(tmp_path).fit(quiet=True)


# Two processes: refused together from a folder in use; then one looks at the films, both train.
LAUNCH = """
import json, sys
from dataclasses import replace
from pathlib import Path
from larp_edu import shards
from larp_edu.distributed import processes
from larp_edu.recipes import tokenizer_recipes
from larp_edu.train import train_tokenizer

films, busy, out = sys.argv[1:]
looked = []
init = shards.VideoIndex.__init__

def watched(self, *args, **kw):
    init(self, *args, **kw)
    looked.append(self.looked)

shards.VideoIndex.__init__ = watched
mini = tokenizer_recipes['mini']
recipe = replace(mini, train=replace(mini.train, steps=2, batch=2))
try:
    train_tokenizer(recipe, films, busy)
except ValueError as e:
    said = str(e)
asked = list(looked)
train_tokenizer(recipe, films, out)
path = Path(out) / f'seen{processes().process_index}.json'
path.write_text(json.dumps(dict(said=said, asked=asked, looked=looked)))
"""


def test_processes_of_a_launch_share_lock_and_index(tmp_path):
    "Reading 12: each process indexed the whole data set; and a launch is one run."
    for part, count in (('train', 3), ('val', 2)):
        for k in range(count):
            clip = torch.rand(3, 9, 32, 32, generator=torch.Generator().manual_seed(k))
            write_video(tmp_path / 'films' / part / 'a' / f'{k}.mp4', clip)
    job = tmp_path / 'job.py'
    job.write_text(LAUNCH)
    films, busy, out = f'kinetics:{tmp_path}/films', tmp_path / 'busy', tmp_path / 'out'
    launch = ['torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    env = dict(ENV, XDG_CACHE_HOME=str(tmp_path / 'cache'))
    with only_run(busy):
        command = [sys.executable, '-m', *launch, str(job), films, str(busy), str(out)]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    main, other = (json.loads((out / f'seen{k}.json').read_text()) for k in range(2))
    for seen in (main, other):
        assert seen['said'].startswith(f'{busy} is in use by another run')
        assert seen['asked'] == []  # before any film was looked at
    assert (main['looked'], other['looked']) == ([3, 2], [0, 0])
    assert load_tensors(out / 'checkpoint.safetensors')[1]['step'] == 2
