"""What indexing films and reading windows costs, and the memory that large films take.

python tools/bench_reading.py CLIP.avi [CLIP.avi ...] [--against CHECKOUT] [--rounds 3]
CLIP: films in the format of UCF101. Films in the format of Kinetics (340 x 256, H.264, 300 frames,
a key frame every 250 or every 30), one of 4K and one of an hour are made in a temporary folder.
CHECKOUT: another version of this repository, measured in turns with this one. Medians go to
results/reading-cost.json."""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRAMES = 16
SIZE = 128


# ---- what is measured, each in a process of its own; works with older versions, too


def measure_index(folder, seconds):
    "Processor milliseconds to index a film."
    from larp_edu.shards import VideoIndex

    files = sorted(path.name for path in folder.iterdir())
    with tempfile.TemporaryDirectory() as place:
        start = time.process_time()
        VideoIndex(folder, files, Path(place) / 'index.json', workers=1, quiet=True)
        return 1000 * (time.process_time() - start) / len(files)


def measure_windows(folder, seconds):
    "Windows of 16 frames at 128 x 128 per processor second."
    from larp_edu.datasets import Films

    files = sorted(path.name for path in folder.iterdir())
    with tempfile.TemporaryDirectory() as place:
        data = Films(folder, files, [0] * len(files), SIZE, FRAMES, index=Path(place) / 'i.json')
    r = random.Random(0)
    count = 0
    start = time.process_time()
    while time.process_time() - start < seconds:
        i = r.randrange(len(data.clips))
        data.read(i, r.randrange(data.clips[i][2] - FRAMES), FRAMES)
        count += 1
    return count / (time.process_time() - start)


def measure_memory(folder, seconds):
    "Megabytes that opening the folder as a data set, and one clip of it, add to a small one."
    from larp_edu.loading import VideoFolder

    tiny = folder.with_name('tiny')
    before = [VideoFolder(tiny, SIZE, FRAMES)[0], peak()][1]
    VideoFolder(folder, SIZE, FRAMES)[0]
    return peak() - before


def peak():
    "The most memory that this process has had, in MB."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


MEASURES = dict(index=measure_index, windows=measure_windows, memory=measure_memory)


def child(measure, folder, seconds):
    import torch

    torch.set_num_threads(1)
    print(json.dumps(MEASURES[measure](folder, seconds)))


def ask(checkout, measure, folder, seconds):
    "A measurement by the package of a checkout."
    command = [sys.executable, __file__, '--child', measure, str(folder), f'--seconds={seconds}']
    environment = os.environ | dict(PYTHONPATH=str(checkout), OMP_NUM_THREADS='1')
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


# ---- films


def make_films(clips, folder):
    "{name: folder of films} to be measured."
    from bench_decoding import kinetics_shaped
    from frame_matrix import film

    names = 'ucf101', 'kinetics, key frame every 250', 'kinetics, key frame every 30'
    folders = {name: folder / name for name in (*names, '4K', 'an hour', 'tiny')}
    for place in folders.values():
        place.mkdir()
    for clip in clips:
        (folders['ucf101'] / clip.name).symlink_to(clip.resolve())
        for name, gop in zip(names[1:], (250, 30)):
            kinetics_shaped(clip, folders[name] / f'{clip.stem}.mp4', gop=gop)
    film(folders['tiny'] / 'film.mp4', 40)
    film(folders['4K'] / 'film.mp4', 40, size=(2160, 3840), preset='ultrafast')
    film(folders['an hour'] / 'film.mp4', 90_000, preset='ultrafast', gop=250)
    return folders


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument('clips', nargs='*', type=Path)
    p.add_argument('--against', type=Path)
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--seconds', type=float, default=4)
    p.add_argument('--child', choices=MEASURES)
    p.add_argument('--out', type=Path, default=ROOT / 'results/reading-cost.json')
    args = p.parse_args()
    if args.child:
        return child(args.child, args.clips[0], args.seconds)
    # here, because a child runs in another version, which may lack one of them
    from bench_step import commit
    from larp_edu.files import write_json
    from larp_edu.machine import provenance

    with tempfile.TemporaryDirectory() as folder:
        folders = make_films(args.clips, Path(folder))
        versions = dict(now=ROOT) | (dict(before=args.against) if args.against else {})
        rows = {}
        for measure in MEASURES:
            large = measure == 'memory'
            for name in ('4K', 'an hour') if large else list(folders)[:3]:
                found = {version: [] for version in versions}
                for _ in range(1 if large else args.rounds):
                    for version, checkout in versions.items():
                        answer = ask(checkout, measure, folders[name], args.seconds)
                        found[version].append(answer)
                medians = {v: round(statistics.median(x), 1) for v, x in found.items()}
                rows[f'{measure}: {name}'] = medians
                print(measure, name, medians, flush=True)
    made = provenance()
    report = dict(
        what='index: ms a film; windows: 16 frames at 128 x 128 per CPU second; memory: MB added',
        films=len(args.clips),
        seed=0,
        date=made['date'],
        commit=made['commit'],
        before=commit(args.against) if args.against else None,
        processor=made['hardware']['processor'],
        rows=rows,
    )
    write_json(args.out, report)


if __name__ == '__main__':
    main()
