"""Windows of 16 frames at 128 x 128 per CPU second, by decoder: PyAV (ours), imageio, torchcodec, and shards. Figures go to results/decoding.json.

python tools/bench_decoding.py CLIP.avi [CLIP.avi ...] [--seconds 10]
CLIP: films in the format of UCF101. Films in the format of Kinetics (340 x 256, H.264, 300 frames) are made from them in a temporary folder.
imageio and torchcodec are measured where they can be imported, else 'not run'."""

import argparse, json, random, tempfile, time
from pathlib import Path
import av, numpy as np, torch
from larp_edu.machine import provenance
from larp_edu.shards import Shards, VideoIndex, read_window, write_shards
from larp_edu.clips import resize_crop, to_float
from larp_edu.video import _decode, read_video

ROOT, T, S = Path(__file__).resolve().parent.parent, 16, 128


def kinetics_shaped(source, path, frames=300):
    "The film `source`, to and fro, as 340 x 256 H.264 with `frames` frames."
    x = read_video(source)[0].numpy()
    with av.open(str(path), 'w') as out:
        v = out.add_stream('libx264', rate=30)
        v.width, v.height, v.pix_fmt, v.options = 340, 256, 'yuv420p', {'crf': '23'}
        for t in range(frames):
            k = t % (2 * len(x) - 2)
            k = k if k < len(x) else 2 * len(x) - 2 - k
            out.mux(v.encode(av.VideoFrame.from_ndarray(x[k], format='rgb24').reformat(340, 256)))
        out.mux(v.encode())


def pyav(path, start, entry):
    return read_window(path, start, T, entry, S)


def imageio_reader():
    import imageio.v3 as iio

    def read(path, start, entry):
        with iio.imopen(path, 'r', plugin='pyav') as f:
            frames = [f.read(index=k) for k in range(start, start + T)]
        return resize_crop(to_float(np.stack(frames)), S)

    return read


def torchcodec_reader():
    from torchcodec.decoders import VideoDecoder

    def read(path, start, entry):
        frames = (
            VideoDecoder(str(path), num_ffmpeg_threads=1).get_frames_in_range(start, start + T).data
        )
        return resize_crop(to_float(frames.permute(0, 2, 3, 1).contiguous()), S)

    return read


def rate(read, index, files, seconds, check=True, seed=0):
    "(windows per CPU second, share of 20 windows that equal a full decode within rounding)."
    r = random.Random(seed)
    draw = lambda: (f := r.choice(files), r.randrange(index[f].frames - T))
    exact = 0
    for _ in range(20 if check else 0):
        f, s = draw()
        full = list(_decode(index.root / f))[s : s + T]
        exact += (
            (read(index.root / f, s, index[f]) - resize_crop(to_float(torch.stack(full)), S))
            .abs()
            .mean()
            < 0.004
        ).item()
    count, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        f, s = draw()
        read(index.root / f, s, index[f])
        count += 1
    return dict(
        windows_per_cpu_second=round(count / (time.process_time() - start), 1),
        **(dict(exact=f'{exact} of 20') if check else {}),
    )


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument('clips', nargs='+', type=Path)
    p.add_argument('--seconds', type=float, default=10)
    p.add_argument('--out', type=Path, default=ROOT / 'results/decoding.json')
    a = p.parse_args()
    torch.set_num_threads(1)
    tmp = Path(tempfile.mkdtemp())
    (tmp / 'kinetics').mkdir()
    (tmp / 'ucf101').mkdir()
    for c in a.clips:
        (tmp / 'ucf101' / c.name).symlink_to(c.resolve())
        kinetics_shaped(c, tmp / 'kinetics' / f'{c.stem}.mp4')
    rows = {}
    for shape in ('ucf101', 'kinetics'):
        files = sorted(f.name for f in (tmp / shape).iterdir())
        index = VideoIndex(tmp / shape, files, tmp / f'{shape}.json')
        files = [f for f in files if not index[f].error]
        clips = [(f, 0) for f in files]
        write_shards(clips, index, tmp / f'{shape}-shards', S)
        shards = Shards(tmp / f'{shape}-shards')
        readers = {
            'PyAV (read_window)': lambda: pyav,
            'imageio, plugin pyav': imageio_reader,
            'torchcodec': torchcodec_reader,
            'shards': lambda: (
                lambda path, start, entry: shards.read(files.index(path.name), start, T)
            ),
        }
        rows[shape] = {}
        for name, make in readers.items():
            try:
                rows[shape][name] = rate(make(), index, files, a.seconds, check=name != 'shards')
            except (ImportError, RuntimeError, OSError) as e:
                rows[shape][name] = f'not run ({type(e).__name__})'
            print(shape, name, rows[shape][name], flush=True)
        raw = [read_window(index.root / f, 5, T, index[f], S) for f in files]
        packed = [shards.read(i, 5, T) for i in range(len(files))]
        rows[shape]['shards against films, dB'] = round(
            float(np.mean([-10 * (x - y).square().mean().log10() for x, y in zip(raw, packed)])), 1
        )
        rows[shape]['bytes per frame in shards'] = round(
            sum(p.stat().st_size for p in (tmp / f'{shape}-shards').glob('*.tar'))
            / sum(index[f].frames for f in files)
        )
    made = provenance()
    a.out.write_text(
        json.dumps(
            dict(
                what=f'windows of {T} frames at {S} x {S} per CPU second, one thread',
                films=len(a.clips),
                seconds=a.seconds,
                seed=0,
                date=made['date'],
                commit=made['commit'],
                processor=made['hardware']['processor'],
                av=av.__version__,
                rows=rows,
            ),
            indent=1,
        )
        + '\n'
    )
    print('wrote', a.out)


if __name__ == '__main__':
    main()
