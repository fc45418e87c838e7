"""Windows of 16 frames at 128 x 128 per CPU second, by decoder: PyAV (ours), others, and shards.

python tools/bench_decoding.py CLIP.avi [CLIP.avi ...] [--seconds 10]
CLIP: films in the format of UCF101. Films in the format of Kinetics (340 x 256, H.264, 300 frames)
are made from them in a temporary folder. imageio and torchcodec are measured where they can be
imported, else 'not run'. Figures go to results/decoding.json."""

import argparse
import random
import tempfile
import time
from pathlib import Path
import av
import numpy as np
import torch
from larp_edu.clips import resize_crop, to_float
from larp_edu.files import write_json
from larp_edu.machine import provenance
from larp_edu.shards import Shards, VideoIndex, write_shards
from larp_edu.video import read_video, read_window

ROOT = Path(__file__).resolve().parent.parent
FRAMES = 16
SIZE = 128


def kinetics_shaped(source, path, frames=300, gop=250):
    "The film `source`, to and fro, as 340 x 256 H.264 with `frames` frames."
    pictures = read_video(source)[0].numpy()
    there = list(range(len(pictures)))
    to_and_fro = there + there[-2:0:-1]
    with av.open(str(path), 'w') as out:
        stream = out.add_stream('libx264', rate=30)
        stream.width = 340
        stream.height = 256
        stream.pix_fmt = 'yuv420p'
        stream.options = {'crf': '23', 'g': str(gop)}
        for t in range(frames):
            picture = pictures[to_and_fro[t % len(to_and_fro)]]
            frame = av.VideoFrame.from_ndarray(picture, format='rgb24')
            out.mux(stream.encode(frame.reformat(340, 256)))
        out.mux(stream.encode())


# ---- readers: functions (path, start, index entry) -> clip (3, FRAMES, SIZE, SIZE)


def pyav_reader(path, start, entry):
    return read_window(path, start, FRAMES, SIZE, entry)


def imageio_reader():
    import imageio.v3 as iio

    def read(path, start, entry):
        with iio.imopen(path, 'r', plugin='pyav') as f:
            frames = [f.read(index=k) for k in range(start, start + FRAMES)]
        return resize_crop(to_float(np.stack(frames)), SIZE)

    return read


def torchcodec_reader():
    from torchcodec.decoders import VideoDecoder

    def read(path, start, entry):
        decoder = VideoDecoder(str(path), num_ffmpeg_threads=1)
        frames = decoder.get_frames_in_range(start, start + FRAMES).data
        return resize_crop(to_float(frames.permute(0, 2, 3, 1).contiguous()), SIZE)

    return read


def shard_reader(shards, files):
    number = {file: i for i, file in enumerate(files)}

    def read(path, start, entry):
        return shards.read(number[path.name], start, FRAMES)

    return read


# ---- measuring


class Draws:
    "Endless random (file, start) of windows, from a seed."

    def __init__(self, index, files, seed=0):
        self.index = index
        self.files = files
        self.random = random.Random(seed)

    def __call__(self):
        file = self.random.choice(self.files)
        return file, self.random.randrange(self.index[file].frames - FRAMES)


def is_exact(read, index, file, start):
    "Whether a window equals the same frames of a full decode, within rounding."
    whole, _ = read_video(index.root / file)
    wanted = resize_crop(to_float(whole[start : start + FRAMES]), SIZE)
    difference = read(index.root / file, start, index[file]) - wanted
    return difference.abs().mean().item() < 0.004


def rate(read, index, files, seconds, check=True):
    "A row: windows per CPU second, and how many of 20 windows are exact."
    draw = Draws(index, files)
    row = {}
    if check:
        exact = sum(is_exact(read, index, *draw()) for _ in range(20))
    count = 0
    start = time.process_time()
    while time.process_time() - start < seconds:
        file, first = draw()
        read(index.root / file, first, index[file])
        count += 1
    row['windows_per_cpu_second'] = round(count / (time.process_time() - start), 1)
    if check:
        row['exact'] = f'{exact} of 20'
    return row


def measure(folder, seconds):
    "{reader: row} for the films in a folder; what is missing or fails is 'not run'."
    files = sorted(path.name for path in folder.iterdir())
    index = VideoIndex(folder, files, folder.with_suffix('.json'))
    files = [file for file in files if not index[file].error]
    place = folder.with_name(f'{folder.name}-shards')
    write_shards([(file, 0) for file in files], index, place, SIZE)
    shards = Shards(place)
    readers = {
        'PyAV (read_window)': lambda: pyav_reader,
        'imageio, plugin pyav': imageio_reader,
        'torchcodec': torchcodec_reader,
        'shards': lambda: shard_reader(shards, files),
    }
    rows = {}
    for name, make in readers.items():
        try:
            rows[name] = rate(make(), index, files, seconds, check=name != 'shards')
        except (ImportError, RuntimeError, OSError) as e:
            rows[name] = f'not run ({type(e).__name__})'
        print(folder.name, name, rows[name], flush=True)
    rows['shards against films, dB'] = shards_against_films(shards, index, files)
    size = sum(path.stat().st_size for path in place.glob('*.tar'))
    frames = sum(index[file].frames for file in files)
    rows['bytes per frame in shards'] = round(size / frames)
    return rows


def shards_against_films(shards, index, files):
    "Decibels between a window from each film and the same from its shard, on average."
    db = []
    for i, file in enumerate(files):
        film = index.read(file, 5, FRAMES, SIZE)
        mse = (film - shards.read(i, 5, FRAMES)).square().mean()
        db.append(-10 * mse.log10())
    return round(float(np.mean(db)), 1)


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument('clips', nargs='+', type=Path)
    p.add_argument('--seconds', type=float, default=10)
    p.add_argument('--out', type=Path, default=ROOT / 'results/decoding.json')
    args = p.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    for shape in ('ucf101', 'kinetics'):
        (folder / shape).mkdir()
    for clip in args.clips:
        (folder / 'ucf101' / clip.name).symlink_to(clip.resolve())
        kinetics_shaped(clip, folder / 'kinetics' / f'{clip.stem}.mp4')
    rows = {shape: measure(folder / shape, args.seconds) for shape in ('ucf101', 'kinetics')}
    made = provenance()
    report = dict(
        what=f'windows of {FRAMES} frames at {SIZE} x {SIZE} per CPU second, one thread',
        films=len(args.clips),
        seconds=args.seconds,
        seed=0,
        date=made['date'],
        commit=made['commit'],
        processor=made['hardware']['processor'],
        av=av.__version__,
        rows=rows,
    )
    write_json(args.out, report)
    print('wrote', args.out)


if __name__ == '__main__':
    main()
