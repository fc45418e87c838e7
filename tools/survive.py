"""Kill real training runs at random moments, let them go on, and compare with one left alone.

    python tools/survive.py

SIGKILL, three times a run, for one process and for two (torchrun); a checkpoint after every step,
so that many kills fall into the writing of one. Writes results/survival.json.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from larp_edu.files import load_tensors, write_json
from larp_edu.machine import provenance

ROOT = Path(__file__).resolve().parents[1]


def start(folder, processes, steps, save_every):
    "Start the training of the miniature tokenizer; the running command."
    launch = ['torch.distributed.run', '--standalone', '--nproc_per_node', str(processes), '-m']
    words = ['larp_edu.cli', 'train', 'tokenizer', 'mini', '--out', str(folder)]
    words += ['--train.steps', str(steps), '--train.save-every', str(save_every)]
    words += ['--train.log-every', '1']
    return subprocess.Popen(
        [sys.executable, '-m', *(launch if processes > 1 else []), *words],
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(run):
    error = run.communicate()[1]
    if run.returncode:
        raise SystemExit(error[-3000:])


def kill_all(run, folder):
    """SIGKILL to every process of the run: those with its folder on their command line.

    (torchrun's workers are in sessions of their own.)"""
    for pid in [int(p) for p in os.listdir('/proc') if p.isdigit()]:
        try:
            if str(folder).encode() in Path(f'/proc/{pid}/cmdline').read_bytes():
                os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    run.communicate()


def rows(folder):
    "The steps in the log so far."
    path = folder / 'log.jsonl'
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [json.loads(line)['step'] for line in lines if line.endswith('}')]


def kill_at(step, run, folder, pause):
    "Kill a run soon after it has logged a step; what it left behind."
    limit = time.monotonic() + 120
    while max(rows(folder), default=0) < step and time.monotonic() < limit and run.poll() is None:
        time.sleep(0.002)
    time.sleep(pause)
    kill_all(run, folder)
    return dict(
        log=max(rows(folder)),
        checkpoint=load_tensors(folder / 'checkpoint.safetensors')[1]['step'],
        half_written=len(list(folder.glob('.*.part'))),
    )


def trial(processes, steps=60, kills=3, save_every=1, seed=0):
    "A dict: where it was killed, where it went on, and whether all ended equal."
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as tmp:
        whole, broken = Path(tmp) / 'whole', Path(tmp) / 'broken'
        finish(start(whole, processes, steps, save_every))
        killed = []
        for step in sorted(draw.sample(range(2, steps - 2), kills)):
            run = start(broken, processes, steps, save_every)
            killed.append(kill_at(step, run, broken, draw.random() * 0.15))
            print(processes, 'processes:', killed[-1], flush=True)
        finish(start(broken, processes, steps, save_every))
        ends = [load_tensors(folder / 'checkpoint.safetensors') for folder in (whole, broken)]
        (a, about_a), (b, about_b) = ends
        losses = [[r.get('loss') for r in about['history']] for about in (about_a, about_b)]
        return dict(
            processes=processes,
            steps=steps,
            save_every=save_every,
            killed=killed,
            lost_at_most=max(k['log'] - k['checkpoint'] for k in killed),
            tensors=len(a),
            weights_and_optimisers_equal=a.keys() == b.keys() and all(a[k].equal(b[k]) for k in a),
            logged_losses_equal=losses[0] == losses[1],
            left_over=len(list(broken.glob('.*.part'))),
        )


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--out', type=Path, default=ROOT / 'results/survival.json')
    a = p.parse_args()
    trials = [trial(processes, seed=a.seed + processes) for processes in (1, 2)]
    for t in trials:
        print({k: v for k, v in t.items() if k != 'killed'})
    result = dict(
        what='training of the miniature tokenizer, killed three times with SIGKILL and continued, '
        'against a run left alone',
        command='python tools/survive.py',
        seed=a.seed,
        **provenance(),
        trials=trials,
    )
    write_json(a.out, result)
    if not all(t['weights_and_optimisers_equal'] and t['logged_losses_equal'] for t in trials):
        sys.exit('a continued run differs')


if __name__ == '__main__':
    main()
