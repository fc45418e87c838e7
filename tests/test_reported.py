"""Faults that a lab found when it built its own work on this package.

Each test failed before its fault was mended."""

import pytest
import torch
from torch import nn
from larp_edu.clips import hold_last_frame
from larp_edu.datasets import Films
from larp_edu.generator import ARConfig, ARTransformer, token_nll
from larp_edu.i3d import jepa_detector
from larp_edu.loading import spread_indices
from larp_edu.shapeworld import ShapeWorld
from larp_edu.train import generator_check
from larp_edu.video import write_video


# ---- data


@pytest.mark.parametrize('n, m', [(127, 64), (100, 64), (1000, 7), (5, 9), (0, 3)])
def test_indices_are_spread_over_all_of_a_data_set(n, m):
    "The last of 64 out of 127 was 63."
    found = spread_indices(range(n), m)
    assert len(found) == min(n, m)
    gaps = [b - a for a, b in zip(found, [*found[1:], n])]
    assert not gaps or found[0] == 0 and max(gaps) - min(gaps) <= 1


def test_a_clip_is_never_held_to_fewer_frames():
    "Eight frames held to seven were 15."
    with pytest.raises(ValueError, match='8 frames, expected at most 7'):
        hold_last_frame(torch.zeros(3, 8, 2, 2), 7)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    "Three films of class 0."
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    for k in range(3):
        write_video(tmp_path / f'{k}.mp4', ShapeWorld(3)[k][0])
    return tmp_path


@pytest.mark.parametrize(
    'files, labels, options, says',
    [
        (3, [0], {}, '3 files, 1 labels'),
        (3, [0, 0, 0], dict(keys=['a']), '1 keys'),
        (1, [77], dict(class_names=['a']), 'label 77, expected -1 .unknown. to 0'),
        (1, [-2], {}, 'label -2'),
    ],
)
def test_a_list_of_films_is_whole(folder, files, labels, options, says):
    "Films without a label were dropped, and labels without a class were taken."
    names = [f'{k}.mp4' for k in range(files)]
    with pytest.raises(ValueError, match=says):
        Films(folder, names, labels, 32, 8, **options)


def test_films_may_be_of_unknown_class(folder):
    films = Films(folder, ['0.mp4', '1.mp4'], [-1, 5], 32, 8)
    assert films.labels().tolist() == [-1, 5]
    assert len(Films(folder, ['0.mp4'], [0], 32, 8, class_names=['a'])) == 1


# ---- measures


class Pooled(nn.Module):
    "In place of V-JEPA: a linear map of the mean of the clip."

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.map = nn.Linear(3, 8)

    def forward(self, pixel_values_videos, skip_predictor):
        self.last_hidden_state = self.map(pixel_values_videos.mean((1, 3, 4)))[:, None]
        return self


def test_two_networks_are_two_detectors():
    a, b, again = (jepa_detector(Pooled(seed), size=16) for seed in (0, 1, 0))
    assert a.name != b.name and a.name == again.name


def test_a_mean_over_pieces_counts_every_row_once():
    "The last piece has one row of 33, and it counted as much as 32."
    torch.manual_seed(0)
    model = ARTransformer(ARConfig(4, 8, 3, dim=8, depth=1, heads=1)).eval()
    nn.init.normal_(model.out.weight, std=2.0)
    tokens, classes = torch.randint(8, (33, 4)), torch.randint(3, (33,))
    with torch.no_grad():
        found = generator_check(None, tokens, classes, None)(model, 0)['nll_held_out']
        assert found == pytest.approx(token_nll(model, tokens, classes).mean().item(), abs=1e-6)
