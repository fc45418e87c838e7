"""Measure all rows of the benchmark page that need a GPU, in about ten minutes.

    python tools/bench_gpu.py [--minutes 10] [--only encode price] [--out results/speed-gpu.json]
    python tools/bench_gpu.py --device cpu --tiny --out FILE    to try it without a GPU

Rows are those of `GPU_ROWS` in larp_edu.benchmark: seconds, share of the speed of large matrix
products and of the bandwidth that the same process measured. Checks are functions of this file.
Each runs in a process of its own and has a limit of time; what fails, or finds no time left, is
listed with the reason under `not_run`. The file is written again after each of them.

`--tiny` takes the size 'toy' in place of LARP-L. On a CPU nothing is compiled: that takes minutes.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CHECK_LIMIT = 120  # seconds
TINY_LIMIT = 600  # for a busy machine


# ---- the checks; each gives what goes into the file


def train_mini(folder: Path, **changes: object) -> list[dict]:
    "Train the miniature tokenizer on the shape world; the rows of its log."
    from larp_edu.recipes import tokenizer_recipes
    from larp_edu.train import train_tokenizer

    mini = tokenizer_recipes['mini']
    return train_tokenizer(
        replace(mini, train=replace(mini.train, **changes)), 'shapeworld', folder
    )


def precision(folder: Path) -> dict:
    "The last loss of forty steps in long and in short numbers."
    kinds = ('no', 'bf16', 'fp16')
    return {k: train_mini(folder / k, steps=40, precision=k)[-1]['loss'] for k in kinds}


def resumed(folder: Path) -> dict:
    "The largest difference of a weight between a run and one that was stopped half-way."
    from larp_edu import train
    from larp_edu.files import load_tensors

    class Stops(train.Trainer):
        def end_row(self, row: dict) -> None:
            super().end_row(row)
            if self.step == 20:
                raise InterruptedError

    train_mini(folder / 'whole', steps=40, precision='bf16')
    plain, train.Trainer = train.Trainer, Stops
    try:
        train_mini(folder / 'parts', steps=40, precision='bf16')
    except InterruptedError:
        train.Trainer = plain
    train_mini(folder / 'parts', steps=40, precision='bf16')
    ends = [load_tensors(folder / k / 'checkpoint.safetensors')[0] for k in ('whole', 'parts')]
    both = [[v.double() for k, v in e.items() if k.startswith('model.')] for e in ends]
    return dict(difference=max((a - b).abs().max().item() for a, b in zip(*both)))


def sampling(folder: Path) -> dict:
    "The share of tokens that compiled and plain sampling draw alike, in fp32."
    import torch
    from larp_edu.distributed import processes
    from larp_edu.files import asset
    from larp_edu.generator import ARTransformer
    from larp_edu.sampling import generate

    model = ARTransformer.load(asset('generator.safetensors')).to(processes().device)
    classes = torch.arange(16) % model.config.classes
    plain, fast = (generate(model, classes, 1.5, seed=0, compiled=c) for c in (False, True))
    return dict(alike=(plain == fast).float().mean().item())


def price(folder: Path) -> dict:
    "Seconds of fifty steps, as announced by `--dry-run` and as it was."
    from larp_edu.recipes import tokenizer_recipes
    from larp_edu.train import train_tokenizer

    mini = tokenizer_recipes['mini']
    recipe = replace(mini, train=replace(mini.train, steps=50, log_every=50))
    announced = train_tokenizer(recipe, 'shapeworld', folder / 'dry', dry_run=True)
    last = train_mini(folder / 'real', steps=50, log_every=50)[-1]
    return dict(announced=3600 * announced['hours'], took=last['seconds'])


CHECKS: dict[str, Callable[[Path], dict]] = {
    f.__name__: f for f in (precision, resumed, sampling, price)
}


# ---- one process each


class Task(NamedTuple):
    "Something to run: its name, what follows `python`, and the most seconds that it may take."

    name: str
    words: list[str]
    limit: int
    compiled: bool | None = None  # of a row; None: a check


def tasks(device: str, tiny: bool) -> Iterator[Task]:
    "All rows, then all checks. Words end in `--out`: the file that the task writes comes next."
    from larp_edu.benchmark import GPU_ROWS

    for row in GPU_ROWS:
        size = 'toy' if tiny else 'L on a GPU'
        words = ['-m', 'larp_edu.cli', 'speed', '--jobs', row.job, '--sizes', size]
        words += ['--device', device, '--repeats', str(row.repeats)]
        words += ['--precision', 'fp32' if tiny else row.precision]
        words += ['--compile'] if row.compiled and not tiny else []
        limit = TINY_LIMIT if tiny else row.limit
        yield Task(row.job, [*words, '--out'], limit, row.compiled and not tiny)
    for name in CHECKS:
        limit = TINY_LIMIT if tiny else CHECK_LIMIT
        yield Task(name, [__file__, '--check', name, '--out'], limit)


def error_line(lines: list[str]) -> str:
    "The last line that names an error, which others may follow, cut to 300 characters; '' if none."
    named = [line for line in lines if re.match(r'[\w.]*(Error|Exception|Interrupt)\b', line)]
    return (named or lines or [''])[-1][:300]


def run_task(task: Task, seconds: float, device: str) -> tuple[dict, str]:
    "(what it wrote, '') or ({}, the reason why it wrote nothing)."
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    if device == 'cpu':
        env |= dict(CUDA_VISIBLE_DEVICES='', TORCHDYNAMO_DISABLE='1')
    with tempfile.TemporaryDirectory() as folder:
        out, said = Path(folder) / 'out.json', Path(folder) / 'said'
        command = [sys.executable, *task.words, str(out)]
        with said.open('w') as f:
            try:
                status = subprocess.run(command, env=env, stdout=f, stderr=f, timeout=seconds)
            except subprocess.TimeoutExpired:
                return {}, f'not done after {seconds:.0f} s'
        if status.returncode:
            lines = said.read_text(errors='replace').strip().splitlines()
            return {}, error_line(lines) or f'status {status.returncode}'
        return json.loads(out.read_text()), ''


def measure(chosen: list[Task], minutes: float, device: str, out: Path) -> dict:
    "Run tasks while there is time; the result, which is also in the file `out`."
    from larp_edu.files import write_json
    from larp_edu.machine import provenance

    end = time.monotonic() + 60 * minutes
    about = dict(what='seconds of one run, medians', command='python tools/bench_gpu.py')
    result = about | provenance() | dict(seed=0, rows=[], checks={}, not_run=[])
    for task in chosen:
        left = min(task.limit, end - time.monotonic())
        made, why = run_task(task, left, device) if left > 1 else ({}, 'no time left')
        if why:
            result['not_run'].append(dict(name=task.name, compiled=task.compiled, why=why))
        elif task.compiled is None:
            result['checks'][task.name] = made
        else:
            limits = {k: made[k] for k in ('peak_flops', 'bandwidth')}
            result = limits | result  # those of the first row stand for all in a heading
            result['rows'] += [row | limits for row in made['rows']]
        print(f'{task.name}: {why or "done"}', flush=True)
        write_json(out, result)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--minutes', type=float, default=10, help='no task begins after these')
    parser.add_argument('--only', nargs='+', default=[], help='names of rows and checks')
    parser.add_argument('--out', type=Path, default=ROOT / 'results/speed-gpu.json')
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--tiny', action='store_true', help="size 'toy': to try the command")
    parser.add_argument('--check', choices=CHECKS, help=argparse.SUPPRESS)  # in a child
    args = parser.parse_args()
    if args.check:
        with tempfile.TemporaryDirectory() as folder:
            args.out.write_text(json.dumps(CHECKS[args.check](Path(folder))))
        return
    import torch

    if args.device != 'cpu' and not torch.cuda.is_available():
        raise SystemExit('there is no GPU here; `--device cpu --tiny --out FILE` tries the command')
    if args.tiny and args.out == parser.get_default('out'):
        raise SystemExit('--tiny measures no row of the benchmark page: give another --out')
    known = list(tasks(args.device, args.tiny))
    unknown = set(args.only) - {task.name for task in known}
    if unknown:
        names = ', '.join(dict.fromkeys(task.name for task in known))
        raise SystemExit(f'unknown: {", ".join(sorted(unknown))}; expected some of {names}')
    chosen = [task for task in known if not args.only or task.name in args.only]
    measure(chosen, args.minutes, args.device, args.out)


if __name__ == '__main__':
    main()
