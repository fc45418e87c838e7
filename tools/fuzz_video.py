"""Spoil videos in many ways and read them: no crash, hang, raw error or wrong frame.

python tools/fuzz_video.py CLIP [CLIP ...] [--count 500] [--readable 200] [--seed 0]
CLIP: real videos; nothing of them is kept. Beside them, films in other containers are made. COUNT
corruptions of any strength, then gentle ones until READABLE of them could be read. Every film that
can be read must keep the contract of tools/frame_matrix.py: a window is the same slice of the whole
film. Figures go to results/fuzz.json."""

import argparse
import collections
import json
import multiprocessing
import random
import resource
import tempfile
import time
from pathlib import Path
from larp_edu.files import write_json
from larp_edu.machine import provenance

ROOT = Path(__file__).resolve().parent.parent
KINDS = 'bits', 'bytes', 'header', 'cut', 'zeros', 'repeat', 'swap', 'drop', 'noise'
MADE = {  # films of other kinds, by file name
    'h264.mp4': dict(between=2, n=120),
    'open.mkv': dict(between=2, n=120, x264_params='open-gop=1'),
    'mpeg2.ts': dict(codec='mpeg2video', between=2, n=120),
    'vp9.webm': dict(codec='libvpx-vp9', deadline='realtime', cpu_used=8, n=120),
    'mpeg4.avi': dict(codec='mpeg4', n=120),
}


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


def nudge(data, r):
    "A few flipped bits or a short piece of noise: (name, new bytes). Most films survive that."
    data = bytearray(data)
    if r.random() < 0.5:
        for _ in range(r.choice((1, 3, 10))):
            data[r.randrange(len(data))] ^= 1 << r.randrange(8)
        return 'nudge: bits', bytes(data)
    length = r.choice((4, 30))
    a = r.randrange(len(data) - length)
    data[a : a + length] = r.randbytes(length)
    return 'nudge: noise', bytes(data)


# ---- a process that reads, and may die


def read_file(path):
    "What came of reading a film and a dozen windows of it, with several jumps."
    from frame_matrix import reading

    outcome = reading(path, step=13)
    return 'reported' if outcome.startswith('refused') else 'exact'


def serve(pipe):
    "Read each file named on the pipe: answer (what came of it, peak memory in MB)."
    import torch

    torch.set_num_threads(1)
    while path := pipe.recv():
        try:
            answer = read_file(Path(path))
        except AssertionError as e:
            answer = f'wrong: {e}'
        except Exception as e:
            answer = f'raw {type(e).__name__}: {e}'[:120]
        pipe.send((answer, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


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
            return self.pipe.recv()
        except (EOFError, BrokenPipeError):
            return 'crash', 0.0


class Fuzz:
    "Spoils files, has them read, and counts what came of it."

    def __init__(self, clips, seed, timeout):
        self.clips = clips
        self.random = random.Random(seed)
        self.timeout = timeout
        self.folder = Path(tempfile.mkdtemp())
        self.reader = Reader()
        self.tally = collections.Counter()  # by kind and outcome
        self.bad = []
        self.done = 0
        self.slowest = self.peak = 0.0
        # a whole file first, which also pays for the imports
        outcome, self.base = self.reader.read(clips[0], 60)
        assert outcome == 'exact', outcome

    def one(self, spoil):
        "Spoil one file and read it: what came of it."
        self.done += 1
        clip = self.clips[self.done % len(self.clips)]
        kind, data = spoil(clip.read_bytes(), self.random)
        path = self.folder / f'{self.done}{clip.suffix}'
        path.write_bytes(data)
        begin = time.perf_counter()
        outcome, memory = self.reader.read(path, self.timeout)
        self.slowest = max(self.slowest, time.perf_counter() - begin)
        self.peak = max(self.peak, memory)
        self.tally[f'{kind}: {outcome.split(":")[0]}'] += 1
        if outcome not in ('exact', 'reported'):
            self.bad.append(dict(number=self.done, file=clip.name, kind=kind, outcome=outcome))
            print(self.bad[-1], flush=True)
        if outcome in ('crash', 'hang'):
            self.reader.process.kill()
            self.reader = Reader()
        path.unlink()
        return outcome


def fuzz(clips, count, readable, seed, timeout):
    "The report on `count` corruptions and `readable` gentle ones of the files `clips`."
    f = Fuzz(clips, seed, timeout)
    outcomes = collections.Counter(f.one(spoil) for _ in range(count))
    gentle = collections.Counter()
    while gentle['exact'] + gentle['wrong'] < readable:
        gentle[f.one(nudge).split(':')[0]] += 1
    return dict(
        what='random corruptions: probe, read whole, and windows against the same slices of it',
        count=count,
        clips=len(clips),
        seed=seed,
        **provenance(),
        outcomes=dict(outcomes),
        gentle=dict(gentle),
        by_kind=dict(sorted(f.tally.items())),
        bad=f.bad,
        slowest_s=round(f.slowest, 2),
        memory_whole_mb=round(f.base),
        memory_peak_mb=round(f.peak),
    )


def made_films():
    "Films in other containers, in a temporary folder."
    from frame_matrix import film

    folder = Path(tempfile.mkdtemp())
    for name, settings in MADE.items():
        film(folder / name, **settings)
    return [folder / name for name in MADE]


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument('clips', nargs='+', type=Path)
    p.add_argument('--count', type=int, default=500)
    p.add_argument('--readable', type=int, default=200)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--timeout', type=float, default=30)
    p.add_argument('--out', type=Path, default=ROOT / 'results/fuzz.json')
    args = p.parse_args()
    clips = args.clips + made_films()
    report = fuzz(clips, args.count, args.readable, args.seed, args.timeout)
    write_json(args.out, report)
    shown = 'outcomes', 'gentle', 'bad', 'slowest_s', 'memory_whole_mb', 'memory_peak_mb'
    print(json.dumps({key: report[key] for key in shown}, indent=1))


if __name__ == '__main__':
    main()
