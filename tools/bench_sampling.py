"""Time `generate` of this checkout against another one and write results/sampling.json.

    mkdir -p /tmp/before && git archive COMMIT larp_edu | tar -x -C /tmp/before
    python tools/bench_sampling.py --before /tmp/before --commit COMMIT [--repeats 5]

Two processes, one for each side, with one thread each, take turns at every job. Processor seconds
are counted: on a free machine they are the time on the clock, on a busy one they still mean
something.
"""

import argparse
import os
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from larp_edu.files import write_json

ROOT = Path(__file__).resolve().parent.parent
WORKER = """
import sys, time
from dataclasses import replace
import torch
from larp_edu.generator import ARTransformer, generator_presets
from larp_edu.sampling import generate

torch.set_num_threads(1)
models = {}
for line in sys.stdin:
    preset, n, rows, scale, seed = line.split()
    if (preset, n) not in models:
        torch.manual_seed(0)
        config = replace(generator_presets[preset], n_tokens=int(n))
        model = models[preset, n] = ARTransformer(config).eval()
        torch.nn.init.normal_(model.out.weight, std=0.02)
        generate(ARTransformer(replace(config, n_tokens=4)), torch.arange(int(rows)))  # warm-up
    cond = torch.arange(int(rows)) % models[preset, n].config.classes
    start = time.process_time()
    generate(models[preset, n], cond, float(scale), seed=int(seed))
    print(time.process_time() - start, flush=True)
"""


@dataclass
class Row:
    "A job: preset, tokens, clips, scale of guidance, and how often (of 5)."

    preset: str
    n: int
    rows: int
    scale: float
    share: float = 1.0


JOBS = [
    Row('toy', 16, 1, 1.0, 4.0),
    Row('toy', 16, 1, 1.25, 4.0),
    Row('larp_ar_s', 256, 8, 1.0),
    Row('larp_ar_s', 256, 8, 1.25),
    Row('larp_ar_s', 1024, 8, 1.0, 0.4),
]


def worker(folder: Path) -> subprocess.Popen:
    "A process that samples with the larp_edu in `folder`."
    env = os.environ | dict(PYTHONPATH=str(folder), OMP_NUM_THREADS='1')
    pipe = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return subprocess.Popen([sys.executable, '-c', WORKER], env=env, cwd=folder, **pipe)


def ask(side: subprocess.Popen, job: Row, seed: int) -> float:
    "Processor seconds of a job."
    side.stdin.write(f'{job.preset} {job.n} {job.rows} {job.scale} {seed}\n')
    side.stdin.flush()
    return float(side.stdout.readline())


def measure(job: Row, sides: dict[str, subprocess.Popen], repeats: int) -> dict:
    "Medians of both sides, in turns."
    seconds = {name: [] for name in sides}
    for seed in range(max(1, round(repeats * job.share))):
        for name, side in sides.items():
            seconds[name].append(ask(side, job, seed))
    before, after = (statistics.median(seconds[name]) for name in ('before', 'after'))
    row = asdict(job) | dict(before_s=before, after_s=after, times=before / after)
    del row['share']
    return row | dict(repeats=len(seconds['after']), all=seconds)


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--before', type=Path, required=True, help='folder with the other larp_edu')
    p.add_argument('--commit', required=True, help='its commit')
    p.add_argument('--repeats', type=int, default=5)
    p.add_argument('--out', default=ROOT / 'results/sampling.json', type=Path)
    a = p.parse_args()
    sys.path.insert(0, str(ROOT))
    from larp_edu.machine import provenance

    sides = dict(before=worker(a.before.resolve()), after=worker(ROOT))
    out = dict(
        what='processor seconds of generate() on one thread, another commit and this; medians',
        command='tools/bench_sampling.py',
        before=a.commit,
        **provenance(),
        rows=[],
    )
    for job in JOBS:
        out['rows'].append(measure(job, sides, a.repeats))
        print({k: v for k, v in out['rows'][-1].items() if k != 'all'}, flush=True)
        write_json(a.out, out)


if __name__ == '__main__':
    main()
