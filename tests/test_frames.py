"A window of a film is the same slice of the whole film, whatever the film; else one line says why."

import os
import sys
import weakref
from pathlib import Path
import av
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tools'))
import frame_matrix as matrix
from larp_edu import loading, shards, video

torch.set_num_threads(1)


def codecs_of(container):
    "The codecs that are tried in a container; every one in some, the most troublesome in all."
    everywhere = 'H.264 4:2:0, both sides', 'MPEG-2, both sides', 'MPEG-4', 'VP8, hidden frames'
    place = matrix.CONTAINERS.index(container)
    return [
        codec
        for k, codec in enumerate(matrix.CODECS)
        if codec in everywhere or k % len(matrix.CONTAINERS) == place
    ]


@pytest.mark.parametrize('container', matrix.CONTAINERS)
def test_containers(container, tmp_path):
    "Reports 5, 6, 7 and their kind. `python tools/frame_matrix.py` tries every pair."
    tried = 0
    for codec in matrix.CODECS if container in ('mkv', 'avi') else codecs_of(container):
        path = matrix.make_kind(tmp_path, container, codec)
        if path is not None:
            outcome = matrix.reading(path, step=5)
            assert outcome.startswith('exact, 60 frames'), f'{codec}: {outcome}'
            tried += 1
    assert tried


@pytest.mark.skipif(not hasattr(os, 'sched_getscheduler'), reason='for Linux')
def test_writing_a_film_leaves_the_priority_alone(tmp_path):
    "Else a browser that this process starts later is real-time, and lets nothing else run."
    before = os.sched_getscheduler(0)
    matrix.film(tmp_path / 'film.mkv', n=2, **matrix.CODECS['AV1'])
    assert os.sched_getscheduler(0) == before


REFUSED = {
    'cut off, table in front': 'cut off',
    'cut off, AVI': 'cut off',
    'cut off, Matroska': 'cut off',
    'GIF whose last picture breaks off': 'cut off in picture 5',
    'colours that FFmpeg cannot convert': 'colour space 8 cannot be made RGB',
    'sound with a cover picture (report 15)': 'no video in it (found a cover picture, audio)',
}


@pytest.mark.parametrize('name', matrix.TROUBLES)
def test_troubles(name, tmp_path):
    "Reports 1, 2, 5, 7, 10, 11, 13, 15, 41, 42: read exactly, or refused with the right line."
    outcome = matrix.reading(matrix.TROUBLES[name](tmp_path))
    if name in REFUSED:
        assert outcome.startswith(f'refused: {REFUSED[name]}')
    elif name.startswith('broken packets'):  # encoders differ in where the damage falls
        assert outcome.startswith(('exact, ', 'refused: damaged, only '))
    else:
        assert outcome.startswith('exact, ')


@pytest.mark.parametrize(
    'name',
    [
        'edit list cuts the end (report 1)',
        'GIF with a comment behind its pictures (report 11)',
        'no key frame at the start (report 10)',
        'dropped frames in an AVI',
    ],
)
def test_count(name, tmp_path):
    "The number of frames is that of the pictures that decode, not that of the packets."
    path = matrix.TROUBLES[name](tmp_path)
    with av.open(str(path)) as container:
        wanted = sum(1 for _ in container.decode(video=0))
    assert video.probe_video(path).frames == wanted


def test_best_stream(tmp_path):
    "Report 41: of two streams the larger one, as players do."
    info = video.probe_video(matrix.TROUBLES['two video streams (report 41)'](tmp_path))
    assert (info.height, info.width) == (matrix.HEIGHT, matrix.WIDTH)


def test_a_wrong_jump_is_not_used(tmp_path):
    "Report 5: pixels after a jump are garbage there, so there must be no jump."
    path = matrix.TROUBLES['4:4:4 of an old x264 (report 5)'](tmp_path)
    whole, _ = video.read_video(path)
    after = next(video._pictures(path, sorted(p.stamp for p in video._pictures(path))[30]))
    assert not torch.equal(after.rgb(), whole[30])
    with matrix.dense_jumps(6):
        assert video.probe_video(path).jumps == ()


def test_jumps_are_used(tmp_path):
    "Without them a window late in a long film would take the time of the whole film."
    matrix.film(tmp_path / 'film.mp4', between=2)
    with matrix.dense_jumps(6):
        info = video.probe_video(tmp_path / 'film.mp4')
    assert len(info.jumps) >= 4
    whole, _ = video.read_video(tmp_path / 'film.mp4')
    # were the beginning read, the film without its first half would be refused
    data = bytearray((tmp_path / 'film.mp4').read_bytes())
    with av.open(str(tmp_path / 'film.mp4')) as container:
        first = [p for p in container.demux(video=0) if p.size][1:20]
    for packet in first:
        data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    (tmp_path / 'film.mp4').write_bytes(data)
    window, _ = video.read_video(tmp_path / 'film.mp4', 49, 5, info)
    assert torch.equal(window, whole[49:54])


NAMES = [
    'http:film.mp4',
    'concat:a|b.mp4',
    'pipe:0.mp4',
    'C: film.mp4',
    '$HOME [x] {y} %03d *.mp4',
    '-i.mp4',
    ' line\nbreak .mp4',
    'x' * 251 + '.mp4',
    'größe 大.mp4',
    os.fsdecode(b'caf\xe9.mp4'),
]


@pytest.mark.parametrize('name', NAMES, ids=ascii)
def test_names(name, tmp_path):
    "Names that FFmpeg could take for an address or a pattern, and names of any bytes (report 23)."
    matrix.film(tmp_path / 'plain.mp4', 12)
    path = tmp_path / name
    os.rename(tmp_path / 'plain.mp4', path)
    assert video.probe_video(path).frames == 12
    assert len(video.read_video(path, 5, 3)[0]) == 3
    index = shards.VideoIndex(tmp_path, [name], tmp_path / 'index.json')
    assert index.bad == {} and index[name].frames == 12
    again = shards.VideoIndex(tmp_path, [name], tmp_path / 'index.json')
    assert again.looked == 0 and again[name] == index[name]
    assert again.read(name, 0, 2, 32).shape == (3, 2, 32, 32)


def test_start_behind_the_end(tmp_path):
    matrix.film(tmp_path / 'film.mp4', 12)
    info = video.probe_video(tmp_path / 'film.mp4')
    for known in (None, info):
        for start in (12, 99, -1):
            with pytest.raises(ValueError, match=f'start={start}, expected 0 to 11'):
                video.read_video(tmp_path / 'film.mp4', start, 1, known)


def test_a_film_that_changed(tmp_path):
    "An index does not read a film with the jumps of the one that was there before."
    matrix.film(tmp_path / 'film.mp4', 40)
    index = shards.VideoIndex(tmp_path, ['film.mp4'], tmp_path / 'index.json')
    matrix.film(tmp_path / 'film.mp4', 50)
    with pytest.raises(ValueError, match='film.mp4 has changed since it was indexed'):
        index.read('film.mp4', 0, 4, 32)
    matrix.film(tmp_path / 'short.mp4', 10)
    with pytest.raises(ValueError, match='short.mp4: 2 frames from 8 on, expected 4; did the file'):
        video.read_window(tmp_path / 'short.mp4', 8, 4, 32, index['film.mp4'])


def test_an_index_of_before_is_made_anew(tmp_path):
    matrix.film(tmp_path / 'film.mp4', 40)
    index = shards.VideoIndex(tmp_path, ['film.mp4'], tmp_path / 'index.json')
    text = index.path.read_text()
    index.path.write_text(text.replace('"version": 2', '"version": 1'))
    assert shards.VideoIndex(tmp_path, ['film.mp4'], index.path).looked == 1


def test_index_decodes(tmp_path):
    "Report 42: a packet that cannot be decoded is found when the film is indexed, not in training."
    path = tmp_path / 'film.mp4'
    matrix.film(path)
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][30]
    data = bytearray(path.read_bytes())
    data[packet.pos : packet.pos + 4] = b'\xff' * 4  # the length of what follows
    path.write_bytes(data)
    assert shards.index_entry(path).error.startswith('damaged, only ')


def test_window_is_the_whole_resized(tmp_path):
    matrix.film(tmp_path / 'film.mp4', 20)
    whole, _ = video.read_video(tmp_path / 'film.mp4')
    clip = video.read_window(tmp_path / 'film.mp4', 15, 8, 32)
    wanted = video.resize_crop(video.to_float(whole[15:]), 32)
    assert torch.equal(clip[:, :5], wanted)
    assert torch.equal(clip[:, 5:], wanted[:, -1:].expand(-1, 3, -1, -1))  # the last one is held


def test_one_large_frame_at_a_time(tmp_path, monkeypatch):
    "From reading 6: memory does not grow with the length of a film of large pictures."
    alive = weakref.WeakSet()
    most = []

    def frames(path, start=0, info=None):
        for k in range(50):
            frame = torch.full((48, 64, 3), k, dtype=torch.uint8)
            alive.add(frame)
            most.append(len(alive))
            yield frame
            del frame

    monkeypatch.setattr(video, 'iter_frames', frames)
    assert len(loading._small(tmp_path, 16)) == 50
    assert video.read_window(tmp_path, 0, 50, 16).shape == (3, 50, 16, 16)
    entry = shards.IndexEntry(frames=50)
    assert len(shards.pack_clip(tmp_path, entry, 16, 90)[1]) == 51
    assert max(most) <= 2


def test_matrix_sees_a_wrong_frame(tmp_path, monkeypatch):
    "The contract is checked for real: a reader that is off by one after a jump is noticed."
    matrix.film(tmp_path / 'film.mp4')

    def late(path, stamp=None):
        pictures = right(path, stamp)
        if stamp is not None:
            next(pictures)
        return pictures

    right = video._pictures
    with matrix.dense_jumps(6):
        info = video.probe_video(tmp_path / 'film.mp4')
    monkeypatch.setattr(video, 'probe_video', lambda path: info)
    assert matrix.reading(tmp_path / 'film.mp4').startswith('exact, 60 frames')
    monkeypatch.setattr(video, '_pictures', late)
    with pytest.raises(AssertionError, match='others'):
        matrix.reading(tmp_path / 'film.mp4')


def test_pixels_count_too(tmp_path):
    "Times may agree while pixels differ."
    picture = video._Picture(3, True, lambda: torch.zeros(2, 2, 3, dtype=torch.uint8))
    other = picture._replace(rgb=lambda: torch.ones(2, 2, 3, dtype=torch.uint8))
    assert video._is_next(iter([picture]), picture)
    assert not video._is_next(iter([other]), picture)
    assert not video._is_next(iter([picture._replace(stamp=4)]), picture)
    assert not video._is_next(iter([]), picture)


def test_numbers_are_readable():
    "The films of these tests have no two equal neighbours, so that a slip shows."
    frames = np.stack(list(matrix.pictures(60))).astype(np.int16)
    assert (np.abs(frames[1:] - frames[:-1]).max((1, 2, 3)) > 100).all()
