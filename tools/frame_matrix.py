"""Is every window of a film the same slice of the whole film? Over containers, codecs and troubles.

python tools/frame_matrix.py
Films are made by code in a temporary folder. The table goes to results/frame-matrix.json. A codec
that this build of FFmpeg cannot write, or a container that does not hold it, is left out."""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
import av
import imageio.v3 as iio
import numpy as np
import torch
from larp_edu import video
from larp_edu.files import write_json
from larp_edu.machine import provenance

ROOT = Path(__file__).resolve().parent.parent
HEIGHT, WIDTH = 64, 160


# ---- films to read


def pictures(n, height=HEIGHT, width=WIDTH):
    "n uint8 frames (height, width, 3): the number in binary blocks, a moving bar, some noise."
    noise = np.random.default_rng(0)
    block = width // 8
    for k in range(n):
        frame = noise.integers(30, 50, (height, width, 3), dtype=np.uint8)
        for bit in range(8):
            if k >> bit & 1:
                frame[: height // 2, bit * block : bit * block + block - 3] = 220
        left = 5 * k % width
        frame[-height // 3 :, left : left + 10] = 200, 60, 17 * k % 255
        yield frame


def film(
    path,
    n=60,
    codec='libx264',
    pix_fmt='yuv420p',
    between=0,  # frames coded from both sides
    gop=12,
    rate=25,
    times=None,  # of showing, in frames
    size=(HEIGHT, WIDTH),
    container=None,  # options of the container
    **options,  # of the codec
):
    "Write n numbered pictures as a video file."
    with kept_priority(), av.open(f'file:{path}', 'w', options=container or {}) as out:
        stream = add_stream(out, codec, pix_fmt, between, gop, rate, size, options)
        add_pictures(out, stream, n, times)


@contextlib.contextmanager
def kept_priority():
    """Put the priority of this thread back at the end.

    For root, the encoder of AV1 makes it real-time and leaves it so. Then this process and all that
    it starts let no other process run."""
    if not hasattr(os, 'sched_getscheduler'):
        yield  # not Linux
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def add_stream(
    out, codec, pix_fmt='yuv420p', between=0, gop=12, rate=25, size=(HEIGHT, WIDTH), options=None
):
    stream = out.add_stream(codec, rate=rate)
    stream.height, stream.width = size
    stream.pix_fmt = pix_fmt
    stream.codec_context.gop_size = gop
    stream.codec_context.thread_count = 1  # the pictures are too small to share out
    if between:
        stream.codec_context.max_b_frames = between
    options = options or {}
    stream.options = {name.replace('_', '-'): str(value) for name, value in options.items()}
    return stream


def add_pictures(out, stream, n, times=None):
    for k, picture in enumerate(pictures(n, stream.height, stream.width)):
        frame = av.VideoFrame.from_ndarray(picture, format='rgb24')
        frame = frame.reformat(format=stream.pix_fmt)
        frame.pts = k if times is None else times[k]
        frame.time_base = 1 / stream.codec_context.framerate
        out.mux(stream.encode(frame))
    out.mux(stream.encode())


def change(path, old, new):
    "Replace the bytes `old` in a file, which must be there."
    data = path.read_bytes()
    assert old in data, f'{old} is not in {path.name}'
    path.write_bytes(data.replace(old, new))


def gif(path, n=6):
    "Write a GIF of n pictures."
    iio.imwrite(path, list(pictures(n)), plugin='pillow', duration=100, loop=0)


def edit_list(path, duration, start):
    "Let the edit list of an mp4 show `duration` milliseconds from the tick `start` on."
    data = bytearray(path.read_bytes())
    at = data.index(b'elst') + 12
    data[at : at + 4] = duration.to_bytes(4, 'big')
    data[at + 4 : at + 8] = start.to_bytes(4, 'big')
    path.write_bytes(data)


def copy_packets(source, target, first=0, shift=0, drop=()):
    "Copy the packets of a video from number `first` on, later by `shift` ticks, without `drop`."
    with av.open(str(source)) as old, av.open(str(target), 'w') as out:
        stream = out.add_stream_from_template(old.streams.video[0])
        for k, packet in enumerate(old.demux(old.streams.video[0])):
            if packet.dts is None or k < first or k in drop:
                continue
            packet.pts += shift
            packet.dts += shift
            packet.stream = stream
            out.mux(packet)


def box(name, body):
    "A box of an mp4 file."
    return (len(body) + 8).to_bytes(4, 'big') + name + body


def add_cover(path):
    "Put a JPEG into the first box of an mp4's table of contents, as a common tagger does."
    jpeg = iio.imwrite('<bytes>', next(pictures(1)), extension='.jpg')
    data = box(b'data', (13).to_bytes(4, 'big') + bytes(4) + jpeg)
    handler = box(b'hdlr', bytes(8) + b'mdirappl' + bytes(10))
    meta = box(b'meta', bytes(4) + handler + box(b'ilst', box(b'covr', data)))
    cover = box(b'udta', meta)
    old = path.read_bytes()
    at = old.index(b'moov') - 4
    size = int.from_bytes(old[at : at + 4], 'big')
    head = at + 8 + int.from_bytes(old[at + 8 : at + 12], 'big')  # behind the first box, mvhd
    moov = (size + len(cover)).to_bytes(4, 'big') + old[at + 4 : head] + cover + old[head:]
    path.write_bytes(old[:at] + moov)  # the table stands behind the frames: no offset changes


def sound(path):
    "An audio file."
    with av.open(str(path), 'w') as out:
        stream = out.add_stream('aac', rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format='fltp')
        frame.rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode())


# ---- containers and codecs

CONTAINERS = 'mp4 mov mkv webm avi asf ts mpg vob flv ogv 3gp wmv m4v m2ts'.split()
CODECS = {  # name: settings
    'H.264 4:2:0': dict(codec='libx264'),
    'H.264 4:2:0, both sides': dict(codec='libx264', between=2),
    'H.264 4:2:0, open groups': dict(codec='libx264', between=2, x264_params='open-gop=1'),
    'H.264 4:4:4': dict(codec='libx264', pix_fmt='yuv444p', between=2),
    'H.264, 10 bits': dict(codec='libx264', pix_fmt='yuv420p10le'),
    'HEVC': dict(codec='libx265', x265_params='log-level=none:keyint=12:bframes=0'),
    'HEVC, open groups': dict(
        codec='libx265', x265_params='log-level=none:keyint=12:open-gop=1:bframes=3'
    ),
    'MPEG-1': dict(codec='mpeg1video'),
    'MPEG-2': dict(codec='mpeg2video'),
    'MPEG-2, both sides': dict(codec='mpeg2video', between=2),
    'MPEG-4': dict(codec='mpeg4'),
    'MPEG-4, both sides': dict(codec='mpeg4', between=2),
    'VP8, hidden frames': dict(codec='libvpx', auto_alt_ref=1, lag_in_frames=10, deadline='good'),
    'VP9, hidden frames': dict(
        codec='libvpx-vp9', auto_alt_ref=1, lag_in_frames=10, deadline='good', cpu_used=5
    ),
    'AV1': dict(codec='libsvtav1', preset=12),
    'Sorenson': dict(codec='flv'),
    'Windows Media': dict(codec='wmv2'),
    'Motion JPEG': dict(codec='mjpeg', pix_fmt='yuvj420p'),
    'FFV1': dict(codec='ffv1'),
    'PNG': dict(codec='png', pix_fmt='rgb24'),
    'QuickTime runs': dict(codec='qtrle', pix_fmt='rgb24'),
    'Video 1, palette': dict(codec='msvideo1', pix_fmt='rgb555le'),
    'Cinepak': dict(codec='cinepak', pix_fmt='rgb24'),
}


def make_kind(folder, container, codec):
    "A film of a kind, or None where it cannot be written, or even FFmpeg finds no video in it."
    path = folder / f'film.{container}'
    try:
        film(path, **CODECS[codec])
        with av.open(str(path)) as written:
            next(written.decode(video=0))
    except (av.FFmpegError, ValueError, StopIteration, IndexError):
        return None
    return path


# ---- troubles: functions that write a film into a folder and return its path

TROUBLES: dict[str, Callable] = {}


def trouble(name):
    "Enter a function as a trouble called `name`."

    def enter(make):
        TROUBLES[name] = make
        return make

    return enter


def edited(duration, start, **settings):
    def make(folder):
        film(folder / 'film.mp4', **settings)
        edit_list(folder / 'film.mp4', duration, start)
        return folder / 'film.mp4'

    return make


TROUBLES |= {
    'edit list cuts the end (report 1)': edited(800, 0),
    'edit list cuts the start': edited(1600, 10240),
    'edit list cuts inside the first group': edited(2200, 2560),
    'edit list cuts both ends, coded from both sides': edited(1000, 10240, between=2),
}


@trouble('colours that FFmpeg cannot convert')
def unknown_colours(folder):
    film(folder / 'film.mp4', colorspace='ycgco')
    return folder / 'film.mp4'


@trouble('empty edit before the film')
def late_start(folder):
    film(folder / 'early.mp4', between=2)
    copy_packets(folder / 'early.mp4', folder / 'film.mp4', shift=12800)
    return folder / 'film.mp4'


@trouble('negative start')
def negative_start(folder):
    film(folder / 'late.mkv', between=2)
    copy_packets(folder / 'late.mkv', folder / 'film.mkv', shift=-300)
    return folder / 'film.mkv'


@trouble('fragments')
def fragments(folder):
    path = folder / 'film.mp4'
    film(path, between=2, container={'movflags': 'frag_keyframe+empty_moov'})
    return path


@trouble('table of contents in front')
def fast_start(folder):
    film(folder / 'film.mp4', between=2, container={'movflags': 'faststart'})
    return folder / 'film.mp4'


def cut(suffix, **settings):
    "A maker of films of which the last third is gone."

    def make(folder):
        path = folder / f'film.{suffix}'
        film(path, **settings)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        return path

    return make


TROUBLES |= {
    'cut off, table in front': cut('mp4', between=2, container={'movflags': 'faststart'}),
    'cut off, AVI': cut('avi', codec='mpeg4'),
    'cut off, Matroska': cut('mkv'),
}


@trouble('recorded without a duration')
def live(folder):
    film(folder / 'film.webm', codec='libvpx', container={'live': '1'})
    return folder / 'film.webm'


def changed_gif(change):
    "A maker of GIFs of six pictures whose bytes went through `change`."

    def make(folder):
        path = folder / 'film.gif'
        gif(path)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def with_block(block):
    "A GIF with a block between its last picture and its end mark."
    return changed_gif(lambda data: data[:-1] + block + b';')


_XMP = b'\x21\xff\x0bXMP DataXMP<x:xmpmeta/>\x01' + bytes(range(255, -1, -1)) + b'\x00'
TROUBLES |= {
    'GIF without its end mark (report 2)': changed_gif(lambda data: data[:-1]),
    'GIF with bytes behind its end': changed_gif(lambda data: data + b'\xff,written by others;'),
    'GIF whose last picture breaks off': changed_gif(lambda data: data[:-50]),
    'GIF with a comment behind its pictures (report 11)': with_block(b'\x21\xfe\x07made by\x00'),
    'GIF with XMP behind its pictures (report 11)': with_block(_XMP),
    'GIF with a comment that is not UTF-8 (report 13)': with_block(b'\x21\xfe\x05caf\xe9!\x00'),
}


@trouble('4:4:4 of an old x264 (report 5)')
def old_444(folder):
    path = folder / 'film.mp4'
    film(path, pix_fmt='yuv444p')
    data = path.read_bytes()
    at = data.index(b'x264 - core ') + len(b'x264 - core ')
    path.write_bytes(data[:at] + b'142' + data[at + 3 :])
    return path


@trouble('two pictures in a millisecond (report 7)')
def fast(folder):
    film(folder / 'film.mkv', rate=2000)
    return folder / 'film.mkv'


@trouble('no key frame at the start (report 10)')
def no_key_frame(folder):
    film(folder / 'whole.ts', gop=24)
    copy_packets(folder / 'whole.ts', folder / 'film.ts', first=6)
    return folder / 'film.ts'


@trouble('time stamps with holes')
def holes(folder):
    film(folder / 'film.mkv', times=[k + 7 * (k // 10) for k in range(60)])
    return folder / 'film.mkv'


@trouble('uneven time stamps')
def uneven(folder):
    steps = np.random.default_rng(0).integers(1, 9, 60)
    film(folder / 'film.mp4', rate=100, times=np.cumsum(steps).tolist(), between=2)
    return folder / 'film.mp4'


@trouble('dropped frames in an AVI')
def dropped(folder):
    film(folder / 'film.avi', codec='mpeg4', times=[k + k // 10 for k in range(60)])
    return folder / 'film.avi'


@trouble('missing packets')
def missing(folder):
    film(folder / 'whole.mkv', between=2)
    copy_packets(folder / 'whole.mkv', folder / 'film.mkv', drop={14, 15, 31})
    return folder / 'film.mkv'


def spoiled(suffix, **settings):
    "A maker of films with a little noise in three places."

    def make(folder):
        path = folder / f'film.{suffix}'
        film(path, **settings)
        data = bytearray(path.read_bytes())
        noise = np.random.default_rng(0)
        for share in (0.3, 0.5, 0.7):
            place = int(share * len(data))
            data[place : place + 40] = noise.bytes(40)
        path.write_bytes(data)
        return path

    return make


TROUBLES |= {
    'broken packets, H.264': spoiled('mp4', between=2),
    'broken packets, MPEG-4 (report 42)': spoiled('avi', codec='mpeg4'),
    'broken packets, VP9': spoiled('webm', codec='libvpx-vp9', deadline='realtime', cpu_used=8),
    'broken packets, MPEG-2': spoiled('mpg', codec='mpeg2video'),
}


def titled(suffix, codec):
    "A maker of films whose title is not UTF-8 (report 13)."

    def make(folder):
        path = folder / f'film.{suffix}'
        with av.open(str(path), 'w') as out:
            out.metadata['title'] = 'CAFEXCAFE'
            add_pictures(out, add_stream(out, codec), 40)
        change(path, b'CAFEXCAFE', b'CAFE\xe9CAFE')
        return path

    return make


for _suffix, _codec in dict(
    avi='mpeg4', flv='flv', webm='libvpx', mkv='libx264', mp4='libx264', ts='mpeg2video'
).items():
    TROUBLES[f'title that is not UTF-8, {_suffix} (report 13)'] = titled(_suffix, _codec)


@trouble('cover picture (report 15)')
def cover(folder):
    film(folder / 'film.mp4', between=2)
    add_cover(folder / 'film.mp4')
    return folder / 'film.mp4'


@trouble('sound with a cover picture (report 15)')
def sound_with_cover(folder):
    sound(folder / 'film.mp4')
    add_cover(folder / 'film.mp4')
    return folder / 'film.mp4'


@trouble('two video streams (report 41)')
def two_streams(folder):
    with av.open(str(folder / 'film.mkv'), 'w') as out:
        small = add_stream(out, 'mpeg4', size=(32, 80))
        large = add_stream(out, 'mpeg4')
        add_pictures(out, small, 40)
        add_pictures(out, large, 40)
    return folder / 'film.mkv'


@trouble('a new size in the middle')
def two_sizes(folder):
    for name, size in (('a.ts', (HEIGHT, WIDTH)), ('b.ts', (32, 80))):
        film(folder / name, 40, 'mpeg2video', size=size)
    both = (folder / 'a.ts').read_bytes() + (folder / 'b.ts').read_bytes()
    (folder / 'film.ts').write_bytes(both)
    return folder / 'film.ts'


@trouble('odd size, grey')
def odd_size(folder):
    film(folder / 'film.mkv', codec='ffv1', pix_fmt='gray', size=(63, 161))
    return folder / 'film.mkv'


@trouble('turned by a quarter')
def turned(folder):
    path = folder / 'film.mp4'
    film(path)
    data = bytearray(path.read_bytes())
    at = data.index(b'tkhd') + 44  # the matrix of the track
    for k, value in zip((0, 1, 3, 4), (0, 1, -1, 0)):
        data[at + 4 * k : at + 4 * k + 4] = (value << 16).to_bytes(4, 'big', signed=True)
    path.write_bytes(data)
    return path


# ---- the contract


@contextlib.contextmanager
def dense_jumps(apart):
    "Let jumps lie closer to each other, so that a short film has several."
    before, video._APART = video._APART, apart
    try:
        yield
    finally:
        video._APART = before


def reading(path, apart=6, step=1):
    """What reading a film gives: 'exact, N frames, J jumps' or 'refused: LINE'.

    Raises AssertionError when a window is not the same slice of the whole film, or the number of
    frames is not that of the pictures that decode."""
    with dense_jumps(apart):
        try:
            info = video.probe_video(path)
        except ValueError as e:
            return 'refused: ' + str(e).removeprefix(f'{path}: ')
    whole, _ = video.read_video(path)
    assert len(whole) == info.frames, f'{len(whole)} frames decode, {info.frames} were counted'
    assert whole.shape[1:3] == (info.height, info.width)
    for start in range(0, info.frames, max(step, info.frames // 60)):
        for n in (1, 4):
            window, _ = video.read_video(path, start, n, info)
            assert torch.equal(window, whole[start : start + n]), f'frames {start}, {n}: others'
    for start, _ in info.jumps[:: max(1, len(info.jumps) // 3)]:  # over all later jumps
        window, _ = video.read_video(path, start, info=info)
        assert torch.equal(window, whole[start:]), f'from the jump to {start} on: others'
    for start in {0, info.frames // 2, info.frames - 1}:
        window, _ = video.read_video(path, start, 3)
        assert torch.equal(window, whole[start : start + 3]), f'{start} without a jump: others'
    return f'exact, {info.frames} frames, {len(info.jumps)} jumps'


def attempt(make, *args):
    "What reading the film that `make` writes gives; None where it cannot be written."
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder), *args)
        if path is None:
            return None
        try:
            return reading(path)
        except AssertionError as e:
            return f'WRONG: {e}'


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument('--out', type=Path, default=ROOT / 'results/frame-matrix.json')
    args = p.parse_args()
    torch.set_num_threads(1)
    kinds = {}
    for container in CONTAINERS:
        for codec in CODECS:
            outcome = attempt(make_kind, container, codec)
            if outcome:
                kinds[f'{container}, {codec}'] = outcome
                print(f'{container:5} {codec:26} {outcome}', flush=True)
    troubles = {}
    for name, make in TROUBLES.items():
        troubles[name] = attempt(make)
        print(f'{name:50} {troubles[name]}', flush=True)
    report = dict(
        what='every window against the same slice of the whole film, and the count of its pictures',
        **provenance(),
        av=av.__version__,
        kinds=kinds,
        troubles=troubles,
    )
    write_json(args.out, report)


if __name__ == '__main__':
    main()
