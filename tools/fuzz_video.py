"""Spoil a video file in many ways and read it: no crash, no hang, no raw error, no unbounded memory. Figures go to results/fuzz.json.

python tools/fuzz_video.py CLIP [CLIP ...] [--count 500] [--seed 0]   CLIP: real videos; nothing of them is kept"""

import argparse, collections, datetime, json, multiprocessing as mp, random, resource, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def spoil(data, r):
    "One random corruption of `data` (bytes): (name, new bytes)."
    data, n = bytearray(data), len(data)
    kind = r.choice(('bits', 'bytes', 'header', 'cut', 'zeros', 'repeat', 'swap', 'drop', 'noise'))
    a = r.randrange(n)
    b = min(n, a + r.choice((16, 300, 5000, 50_000)))
    if kind == 'bits':
        for _ in range(r.choice((1, 10, 100))):
            data[r.randrange(n)] ^= 1 << r.randrange(8)
    elif kind == 'bytes':
        for _ in range(r.choice((10, 1000, 20_000))):
            data[r.randrange(n)] = r.randrange(256)
    elif kind == 'header':
        for _ in range(r.choice((1, 5, 40))):
            data[r.randrange(min(n, 4096))] = r.randrange(256)
    elif kind == 'cut':
        data = data[:a]
    elif kind == 'zeros':
        data[a:b] = bytes(b - a)
    elif kind == 'repeat':
        data[b:b] = data[a:b] * r.choice((1, 20))
    elif kind == 'swap':
        c = r.randrange(n)
        data[a:b], data[c : c + b - a] = data[c : c + b - a], data[a:b]
    elif kind == 'drop':
        del data[a:b]
    elif kind == 'noise':
        data[a:b] = r.randbytes(b - a)
    return kind, bytes(data)


def worker(pipe):
    "Read each file named on the pipe: answer (what came of it, frames, peak memory in MB)."
    import torch

    torch.set_num_threads(1)
    from larp_edu.shards import index_entry, read_window

    while path := pipe.recv():
        try:
            entry, outcome = index_entry(path), 'reported by the index'
            if not entry.error:
                outcome = 'read'
                try:
                    for start in (0, max(0, entry.frames - 20)):
                        read_window(path, start, 16, entry, 64)
                except (ValueError, OSError):
                    outcome = 'reported by the reader'
            answer = outcome, entry.frames
        except Exception as e:
            answer = f'raw {type(e).__name__}: {e}'[:120], 0
        pipe.send((*answer, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def start():
    here, there = mp.Pipe()
    p = mp.Process(target=worker, args=(there,), daemon=True)
    p.start()
    return p, here


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument('clips', nargs='+', type=Path)
    p.add_argument('--count', type=int, default=500)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--timeout', type=float, default=10)
    p.add_argument('--out', type=Path, default=ROOT / 'results/fuzz.json')
    a = p.parse_args()
    r, tally, slowest, peak, bad = random.Random(a.seed), collections.Counter(), 0.0, 0.0, []
    process, pipe = start()
    folder = Path(tempfile.mkdtemp())
    base = None
    for i in range(a.count + 1):
        clip = a.clips[i % len(a.clips)]
        kind, data = spoil(clip.read_bytes(), r) if i else ('whole', clip.read_bytes())
        path = folder / f'{i}{clip.suffix}'
        path.write_bytes(data)
        begin = time.perf_counter()
        try:
            pipe.send(str(path))
            outcome = pipe.recv() if pipe.poll(a.timeout if i else 60) else ('hang', 0, 0.0)
        except (EOFError, BrokenPipeError):
            outcome = 'crash', 0, 0.0
        if not i:
            base = outcome[2]
            assert outcome[0] == 'read', outcome
            path.unlink()
            continue  # the whole file, which also pays for the imports
        slowest, peak = max(slowest, time.perf_counter() - begin), max(peak, outcome[2])
        tally[f'{kind}: {outcome[0]}'] += 1
        if outcome[0] in ('crash', 'hang') or outcome[0].startswith('raw'):
            bad.append(dict(number=i, kind=kind, outcome=outcome[0]))
            print(bad[-1])
        if outcome[0] in ('crash', 'hang'):
            process.kill()
            process, pipe = start()
        path.unlink()
    total = collections.Counter()
    [total.update({k.partition(': ')[2]: v}) for k, v in tally.items()]
    report = dict(
        what='random corruptions of real clips: index, then two windows of 16 frames',
        count=a.count,
        clips=len(a.clips),
        seed=a.seed,
        date=datetime.date.today().isoformat(),
        outcomes=dict(total),
        by_kind=dict(sorted(tally.items())),
        bad=bad,
        slowest_s=round(slowest, 2),
        memory_whole_mb=round(base),
        memory_peak_mb=round(peak),
    )
    a.out.write_text(json.dumps(report, indent=1) + '\n')
    print(
        json.dumps(
            {
                k: report[k]
                for k in ('outcomes', 'bad', 'slowest_s', 'memory_whole_mb', 'memory_peak_mb')
            },
            indent=1,
        )
    )


if __name__ == '__main__':
    main()
