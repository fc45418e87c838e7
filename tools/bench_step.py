"""Time a tokenizer's step, encoding and decoding against another checkout; write results/step.json.

    git worktree add --detach /tmp/before COMMIT
    python tools/bench_step.py --against /tmp/before [--rounds 7] [--only toy_step encode]

Each checkout runs in a process of its own, on one thread; the two take turns, so that other work on
the machine troubles both alike. Processor seconds, medians. `toy_step` is a step of the demo's
training without its data; the other paths have the sizes that the public code was timed at. The
ratio has the medians of all rounds, and its span the lowest and highest of single rounds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATHS = 'toy_step', 'small_step', 'small_step_no_prior', 'encode', 'decode'


def small(prior_depth: int = 4) -> object:
    "The config that the public code was timed with: 8 x 32 x 32, 128 patches, 64 tokens."
    from larp_edu.tokenizer import TokenizerConfig

    shape = dict(frames=8, size=32, patch=(4, 4, 4), n_tokens=64, dim=128, heads=4)
    codes = dict(codes=1024, code_dim=16)
    prior = dict(prior_dim=128, prior_depth=prior_depth, prior_heads=4)
    return TokenizerConfig(**shape, **codes, **prior, encoder_depth=4, decoder_depth=4)


def step_of(config: object, **options: float) -> Callable:
    "A training step on 32 clips, the quantiser switched on."
    import torch
    from larp_edu.objective import LossWeights, TokenizerLoss
    from larp_edu.tokenizer import LARPTokenizer
    from larp_edu.trainer import TrainConfig, Trainer

    torch.manual_seed(0)
    weights = LossWeights(prior=0.06 if config.prior_depth else 0.0)
    batch = (torch.rand(32, 3, *config.clip_size),)
    train = TrainConfig(2800, 32, **options)
    trainer = Trainer(LARPTokenizer(config), TokenizerLoss(weights), lambda start: [], train)
    trainer.model.train()
    trainer.step = 1000
    return lambda: trainer.train_step(batch)


def use_of(name: str) -> Callable:
    "Encoding 32 clips, or decoding them."
    import torch
    from larp_edu.tokenizer import LARPTokenizer

    torch.manual_seed(0)
    model = LARPTokenizer(small()).eval()
    clips = torch.rand(32, 3, *model.config.clip_size)
    indices = model.encode(clips)
    call = torch.no_grad()(model.decode)
    return (lambda: model.encode(clips)) if name == 'encode' else (lambda: call(indices))


def build(name: str) -> Callable:
    "What one path does once."
    from larp_edu.tokenizer import tokenizer_presets

    if name == 'toy_step':
        return step_of(tokenizer_presets['toy'], lr=3e-3, muon_lr=0.01, ema=0.995)
    if name == 'small_step':
        return step_of(small())
    if name == 'small_step_no_prior':
        return step_of(small(prior_depth=0))
    return use_of(name)


def work() -> None:
    "One process: a name comes in by line, the processor seconds of one call go out."
    import torch

    torch.set_num_threads(1)
    calls = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in calls:
            calls[name] = build(name)
            calls[name]()
        start = time.process_time()
        calls[name]()
        print(f'{time.process_time() - start:.6f}', flush=True)


class Checkout:
    "A process that times paths with the package of one checkout."

    def __init__(self, root: Path):
        env = os.environ | dict(PYTHONPATH=str(root), OMP_NUM_THREADS='1')
        command = [sys.executable, __file__, '--work']
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=env, cwd=root
        )

    def seconds(self, name: str) -> float:
        "Processor seconds of one call."
        self.process.stdin.write(name + '\n')
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        "Let the process end."
        self.process.stdin.close()
        self.process.wait()


def compare(before: Checkout, after: Checkout, name: str, rounds: int) -> dict:
    "Medians of a path in both checkouts, and how many times faster the second one is."
    pairs = []
    for turn in range(rounds):
        order = (before, after) if turn % 2 else (after, before)
        taken = {checkout: checkout.seconds(name) for checkout in order}
        pairs.append((taken[before], taken[after]))
    old, new = (statistics.median(column) for column in zip(*pairs))
    ratios = sorted(a / b for a, b in pairs)
    times = dict(times=old / new, span=[ratios[0], ratios[-1]])
    return dict(before_s=old, after_s=new, **times, rounds=rounds)


def commit(root: Path) -> str:
    "The commit of a checkout."
    ask = ['git', '-C', root, 'describe', '--always', '--dirty']
    return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description='Time a step against another checkout.')
    parser.add_argument('--against', type=Path, help='root of the other checkout')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--only', nargs='+', choices=PATHS, default=PATHS)
    parser.add_argument('--out', type=Path, default=ROOT / 'results/step.json')
    parser.add_argument('--work', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work()
    if args.against is None:
        parser.error('--against is missing')
    before, after = Checkout(args.against), Checkout(ROOT)
    rows = {}
    for name in args.only:
        row = rows[name] = compare(before, after, name, args.rounds)
        low, high = row['span']
        print(
            f'{name:20} {1e3 * row["before_s"]:7.1f} ms before, {1e3 * row["after_s"]:7.1f} after: '
            f'{row["times"]:.3f} times [{low:.2f}-{high:.2f}]',
            flush=True,
        )
    before.close()
    after.close()
    from larp_edu.files import write_json
    from larp_edu.machine import provenance

    about = dict(before=commit(args.against), unit='processor seconds, one thread, medians')
    result = dict(rows=rows, **about, provenance=provenance())
    write_json(args.out, result)


if __name__ == '__main__':
    main()
