"""Training meets what real runs meet.

A full disk, a kill while a checkpoint is written, and a number that is none on one of two machines.
"""

import copy
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
import torch
from larp_edu.files import load_tensors
from larp_edu.objective import put_back
from larp_edu.tokenizer import LARPTokenizer
from larp_edu.trainer import update_average

ROOT = Path(__file__).resolve().parents[1]
ENV = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
LARP = [sys.executable, '-m', 'larp_edu.cli']
# the same command with a limit on the size of files
LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from larp_edu.cli import main
main()
"""


def run(command, **kw):
    return subprocess.run(command, env=ENV, capture_output=True, text=True, **kw)


def words(out):
    "A short training of the miniature, for `larp`."
    train = ['--train.steps', '8', '--train.save-every', '4', '--train.log-every', '1']
    return ['train', 'tokenizer', 'mini', '--out', str(out), *train]


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(tmp_path):
    "A limit on file sizes, half of what a checkpoint needs, stands in for the full disk."
    first = run([*LARP, *words(tmp_path / 'run')])
    assert first.returncode == 0, first.stderr[-2000:]
    checkpoint = tmp_path / 'run/checkpoint.safetensors'
    assert load_tensors(checkpoint)[1]['step'] == 8
    half = str(checkpoint.stat().st_size // 2)
    full = run([sys.executable, '-c', LIMITED, half, *words(tmp_path / 'full')])
    assert full.returncode == 1
    assert full.stderr.strip().splitlines()[-1].startswith('error: could not write')
    assert 'checkpoint.safetensors' in full.stderr
    # no half file under any name
    assert not list((tmp_path / 'full').glob('checkpoint*'))
    assert not list((tmp_path / 'full').glob('.*.part'))
    again = run([*LARP, *words(tmp_path / 'full')])
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

torch.set_num_threads(1)
torch.manual_seed(0)
model = LARPTokenizer(replace(
    tokenizer_presets['toy'], size=16, patch=(4, 4, 4), n_tokens=8, dim=32, heads=2,
    encoder_depth=1, decoder_depth=1, codes=32, prior_dim=32, prior_depth=1, prior_heads=2))
critic = Critic(Discriminator((8, 16, 16), (4, 4, 4), dim=32, depth=1, heads=2), lr=1e-3)

class Breaks(TokenizerLoss):
    def __call__(self, *args):
        loss, terms = super().__call__(*args)
        return loss * (float('nan') if t.acc.is_main_process and t.step == 14 else 1.), terms

loss = Breaks(LossWeights(adversarial=.3, warm=0.), critic=critic)
sharded, lines = sys.argv[1] == 'sharded', []
t = Trainer(model, loss, None, TrainConfig(20, 4, 3e-3, warmup=0, ema=.9, sharded=sharded))
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
Path(sys.argv[2] + str(t.acc.process_index)).write_text('\\n'.join(lines))
"""


def test_a_step_broken_in_one_process_changes_nothing_in_any(tmp_path):
    job = tmp_path / 'job.py'
    job.write_text(BROKEN)
    for how in ('whole', 'sharded'):
        launch = ['torch.distributed.run', '--standalone', '--nproc_per_node', '2']
        done = run([sys.executable, '-m', *launch, str(job), how, str(tmp_path / how)])
        assert done.returncode == 0, done.stderr[-2000:]
        seen = [(tmp_path / f'{how}{k}').read_text().splitlines() for k in range(2)]
        assert seen[0] == seen[1]  # critics are equal to the bit, in both processes
        good, spoilt, broken, end = seen[0]
        assert good.startswith('8 False') and int(good.split()[2]) > 100, good
        total, in_row = 'objective.critic.broken.total', 'objective.critic.broken.in_row'
        assert spoilt == f'9 True 2 {total} {in_row}', spoilt
        assert broken == f'14 True 1 {in_row}', broken  # its own update was fine: the row ends
        assert end.startswith('end 2 1 '), end


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
