"""Time `generate` with and without the KV cache and write results/kv-cache.json.

    python tools/bench_cache.py [--repeats 5]

One thread, and processor seconds: on a free machine they are the time on the clock, on a busy one
they still mean something.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
import torch
from larp_edu.files import write_json
from larp_edu.generator import ARConfig, ARTransformer
from larp_edu.machine import provenance
from larp_edu.sampling import generate

ROOT = Path(__file__).resolve().parent.parent


def model_for(n: int, dim: int = 256, depth: int = 6, heads: int = 8) -> ARTransformer:
    "A generator for n tokens, with random weights in its output layer too, so that samples vary."
    torch.manual_seed(0)
    config = ARConfig(n_tokens=n, codes=1024, classes=9, dim=dim, depth=depth, heads=heads)
    model = ARTransformer(config).eval()
    torch.nn.init.normal_(model.out.weight, std=0.02)
    return model


def timed(f: Callable) -> tuple:
    "What `f()` returns, and its seconds on the clock and of the processor."
    wall, cpu = time.perf_counter(), time.process_time()
    out = f()
    return out, time.perf_counter() - wall, time.process_time() - cpu


def bench(n: int, batch: int, repeats: int) -> dict:
    """Medians of alternating runs, after one short warm-up.

    Fails if the two ways do not give the same tokens."""
    model, cond = model_for(n), torch.arange(batch) % 9
    generate(model_for(8), cond, seed=0)
    wall, cpu = {True: [], False: []}, {True: [], False: []}
    for seed in range(repeats):
        tokens = {}
        for cached in (True, False):
            made = timed(lambda: generate(model, cond, seed=seed, cached=cached))
            tokens[cached] = made[0]
            wall[cached].append(made[1])
            cpu[cached].append(made[2])
        same = tokens[True].equal(tokens[False])
        assert same, f'n={n}, seed={seed}: cached and uncached tokens differ'
    cached_s, uncached_s = statistics.median(cpu[True]), statistics.median(cpu[False])
    return dict(
        n=n,
        batch=batch,
        cached_s=cached_s,
        uncached_s=uncached_s,
        speedup=uncached_s / cached_s,
        cached_wall_s=statistics.median(wall[True]),
        uncached_wall_s=statistics.median(wall[False]),
    )


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--repeats', type=int, default=5)
    p.add_argument('--batch', type=int, default=4)
    p.add_argument('--out', default=ROOT / 'results/kv-cache.json', type=Path)
    a = p.parse_args()
    torch.set_num_threads(1)
    rows = []
    for n in (16, 64, 128, 256):
        rows.append(bench(n, a.batch, a.repeats))
        print({k: round(v, 3) for k, v in rows[-1].items()}, flush=True)
    out = dict(
        what='processor seconds of generate() on one thread, cached and not; medians',
        model='256 wide, 6 deep, 8 heads, 1,024 codes',
        seed=0,
        repeats=a.repeats,
        **provenance(),
        rows=rows,
    )
    write_json(a.out, out)
    print('wrote', a.out)


if __name__ == '__main__':
    main()
