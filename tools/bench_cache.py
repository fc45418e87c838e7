"""Time `generate` with and without the KV cache and write results/kv-cache.json: `python tools/bench_cache.py [--repeats 5]`.

One thread, and processor seconds: on a free machine they are the time on the clock, on a busy one they still mean something."""

import argparse, json, statistics, time
from pathlib import Path
import torch
from larp_edu.generator import ARConfig, ARTransformer
from larp_edu.machine import provenance
from larp_edu.sampling import generate

ROOT = Path(__file__).resolve().parent.parent


def model_for(n, dim=256, depth=6, heads=8, seed=0):
    "A generator with random weights (the output layer too, so that samples are varied) for n tokens."
    torch.manual_seed(seed)
    model = ARTransformer(
        ARConfig(n_tokens=n, codes=1024, classes=9, dim=dim, depth=depth, heads=heads)
    ).eval()
    torch.nn.init.normal_(model.out.weight, std=0.02)
    return model


def timed(f):
    wall, cpu = time.perf_counter(), time.process_time()
    out = f()
    return out, time.perf_counter() - wall, time.process_time() - cpu


def bench(n, batch, repeats):
    "Medians of `repeats` alternating runs, after one short warm-up; also checks that both ways give the same tokens."
    model, cond = model_for(n), torch.arange(batch) % 9
    generate(model_for(8), cond, seed=0)
    runs = {True: [], False: []}
    for i in range(repeats):
        tokens = {}
        for cached in (True, False):
            tokens[cached], wall, cpu = timed(lambda: generate(model, cond, seed=i, cached=cached))
            runs[cached].append((wall, cpu))
        assert tokens[True].equal(tokens[False]), (
            f'n={n}, seed={i}: cached and uncached tokens differ'
        )
    m = lambda cached, k: statistics.median(r[k] for r in runs[cached])
    return dict(
        n=n,
        batch=batch,
        cached_s=m(True, 1),
        uncached_s=m(False, 1),
        speedup=m(False, 1) / m(True, 1),
        cached_wall_s=m(True, 0),
        uncached_wall_s=m(False, 0),
    )


def main():
    p = argparse.ArgumentParser()
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
    a.out.parent.mkdir(exist_ok=True)
    a.out.write_text(json.dumps(out, indent=1) + '\n')
    print('wrote', a.out)


if __name__ == '__main__':
    main()
