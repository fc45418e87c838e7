"""Spoil a video file in many ways and read it: no crash, hang, raw error or unbounded memory.

python tools/fuzz_video.py CLIP [CLIP ...] [--count 500] [--seed 0]
CLIP: real videos; nothing of them is kept. Figures go to results/fuzz.json."""

import argparse
import collections
import datetime
import json
import multiprocessing
import random
import resource
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KINDS = 'bits', 'bytes', 'header', 'cut', 'zeros', 'repeat', 'swap', 'drop', 'noise'


def spoil(data, r):
    "One random corruption of `data` (bytes) by the generator `r`: (name, new bytes)."
    data = bytearray(data)
    n = len(data)
    kind = r.choice(KINDS)
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


# ---- a process that reads, and may die


def read_file(path):
    "What came of indexing a file and reading two windows, and the number of its frames."
    from larp_edu.shards import index_entry, read_window

    entry = index_entry(path)
    if entry.error:
        return 'reported by the index', entry.frames
    try:
        for start in (0, max(0, entry.frames - 20)):
            read_window(path, start, 16, entry, 64)
    except (ValueError, OSError):
        return 'reported by the reader', entry.frames
    return 'read', entry.frames


def serve(pipe):
    "Read each file named on the pipe: answer (what came of it, frames, peak memory in MB)."
    import torch

    torch.set_num_threads(1)
    while path := pipe.recv():
        try:
            answer = read_file(path)
        except Exception as e:
            answer = f'raw {type(e).__name__}: {e}'[:120], 0
        pipe.send((*answer, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


class Reader:
    "The process behind a pipe; a new one after a crash or a hang."

    def __init__(self):
        self.pipe, there = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(there,), daemon=True)
        self.process.start()
        there.close()  # so that a crash of the process ends the pipe

    def read(self, path, seconds):
        "(outcome, peak memory in MB or 0)."
        try:
            self.pipe.send(str(path))
            if not self.pipe.poll(seconds):
                return 'hang', 0.0
            outcome, _, memory = self.pipe.recv()
            return outcome, memory
        except (EOFError, BrokenPipeError):
            return 'crash', 0.0


def fuzz(clips, count, seed, timeout):
    "The report on `count` corruptions of the files `clips`."
    r = random.Random(seed)
    tally = collections.Counter()  # by kind and outcome
    total = collections.Counter()  # by outcome
    bad = []
    slowest = peak = 0.0
    folder = Path(tempfile.mkdtemp())
    reader = Reader()
    # a whole file first, which also pays for the imports
    outcome, base = reader.read(clips[0], 60)
    assert outcome == 'read', outcome
    for i in range(1, count + 1):
        clip = clips[i % len(clips)]
        kind, data = spoil(clip.read_bytes(), r)
        path = folder / f'{i}{clip.suffix}'
        path.write_bytes(data)
        begin = time.perf_counter()
        outcome, memory = reader.read(path, timeout)
        slowest = max(slowest, time.perf_counter() - begin)
        peak = max(peak, memory)
        tally[f'{kind}: {outcome}'] += 1
        total[outcome] += 1
        if outcome in ('crash', 'hang') or outcome.startswith('raw'):
            bad.append(dict(number=i, kind=kind, outcome=outcome))
            print(bad[-1])
        if outcome in ('crash', 'hang'):
            reader.process.kill()
            reader = Reader()
        path.unlink()
    return dict(
        what='random corruptions of real clips: index, then two windows of 16 frames',
        count=count,
        clips=len(clips),
        seed=seed,
        date=datetime.date.today().isoformat(),
        outcomes=dict(total),
        by_kind=dict(sorted(tally.items())),
        bad=bad,
        slowest_s=round(slowest, 2),
        memory_whole_mb=round(base),
        memory_peak_mb=round(peak),
    )


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument('clips', nargs='+', type=Path)
    p.add_argument('--count', type=int, default=500)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--timeout', type=float, default=10)
    p.add_argument('--out', type=Path, default=ROOT / 'results/fuzz.json')
    args = p.parse_args()
    report = fuzz(args.clips, args.count, args.seed, args.timeout)
    args.out.write_text(json.dumps(report, indent=1) + '\n')
    shown = 'outcomes', 'bad', 'slowest_s', 'memory_whole_mb', 'memory_peak_mb'
    print(json.dumps({key: report[key] for key in shown}, indent=1))


if __name__ == '__main__':
    main()
