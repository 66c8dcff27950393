"""Filaments come back as ordered paths of the right length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_topiary.evaluation.detection_metrics import sample_points
from napari_topiary.postprocessing import find_detections, line_lengths, trace_lines
from napari_topiary.postprocessing.lines import skeleton_chains
from napari_topiary.types import Task

TASK = Task("detect", ("background", "round", "filament"))


def thick(shape, paths, half_width):
    """Probability of filaments: 1 within `half_width` of a path."""
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape, np.float32)
    for path in paths:
        for y, x in sample_points([np.asarray(path, float)]):
            image[np.hypot(yy - y, xx - x) <= half_width] = 1
    return image


def farthest(path, line):
    """Largest distance of a traced path from the true line."""
    there = sample_points([np.asarray(line, float)])
    mine = sample_points([path])
    return np.linalg.norm(mine[:, None] - there[None], axis=2).min(axis=1).max()


def test_straight_line():
    line = [(20, 10), (40, 80)]
    paths, scores = trace_lines(thick((64, 96), [line], 3), radius=4, threshold=0.5)
    assert len(paths) == 1
    # The end of a skeleton may turn a pixel to the side.
    assert farthest(paths[0], line) < 1.5
    assert line_lengths(paths)[0] == pytest.approx(np.hypot(20, 70), abs=4)
    assert scores[0] > 0.95


def test_curve_is_in_order():
    t = np.linspace(0, np.pi, 60)
    line = np.stack([60 - 40 * np.sin(t), 60 + 45 * np.cos(t)], axis=1)
    (path,), _ = trace_lines(thick((96, 128), [line], 3), radius=4, threshold=0.5)
    assert farthest(path, line) < 1.5
    assert line_lengths([path])[0] == pytest.approx(line_lengths([line])[0], rel=0.06)
    # A path in order has no jumps and few corners; the staircase is gone.
    assert 5 < len(path) < 60


@pytest.mark.parametrize("angle", [35, 60, 90])
def test_crossing_filaments_stay_two(angle):
    turn = np.deg2rad(angle)
    step = 45 * np.array([np.sin(turn), np.cos(turn)])
    lines = [
        np.array([(60, 12), (60, 108)], float),
        np.array([60 - step, 60 + step], float).reshape(2, 2),
    ]
    paths, _ = trace_lines(thick((120, 120), lines, 3.5), radius=4.5, threshold=0.5)
    assert len(paths) == 2
    for path in paths:
        assert min(farthest(path, line) for line in lines) < 2.5
        assert line_lengths([path])[0] > 80


def test_rough_outline_has_no_spurs():
    rng = np.random.default_rng(0)
    map_ = thick((64, 128), [[(32, 12), (32, 116)]], 5)
    map_ = np.clip(map_ + rng.normal(0, 0.3, map_.shape), 0, 1).astype(np.float32)
    paths, _ = trace_lines(map_, radius=6, threshold=0.5)
    assert len(paths) == 1
    assert line_lengths(paths)[0] == pytest.approx(104, abs=8)


def test_specks_are_no_filaments():
    map_ = np.zeros((64, 64), np.float32)
    map_[10:13, 10:13] = map_[40:46, 40:46] = 1
    assert trace_lines(map_, radius=4, threshold=0.5) == ([], [])
    assert trace_lines(map_ * 0, radius=4, threshold=0.5) == ([], [])


def test_ring_is_closed():
    t = np.linspace(0, 2 * np.pi, 200)
    line = np.stack([50 + 30 * np.sin(t), 50 + 30 * np.cos(t)], axis=1)
    (path,), _ = trace_lines(thick((100, 100), [line], 3), radius=4, threshold=0.5)
    assert np.linalg.norm(path[0] - path[-1]) < 3
    assert line_lengths([path])[0] == pytest.approx(2 * np.pi * 30, rel=0.06)


def test_branch_is_its_own_filament():
    lines = [[(60, 10), (60, 110)], [(60, 60), (20, 60)]]
    paths, _ = trace_lines(thick((80, 120), lines, 3), radius=4, threshold=0.5)
    assert sorted(np.round(line_lengths(paths), -1)) == [40, 100]


def test_particles_and_filaments_together():
    filament = thick((96, 96), [[(70, 10), (70, 85)]], 3)
    round_ = thick((96, 96), [[(25, 30), (25, 30.1)]], 4.5)
    found = find_detections(
        np.stack([1 - filament - round_, round_, filament]),
        task=TASK,
        radius_px={"round": 6.0, "filament": 4.0},
        threshold=0.5,
        line_classes={"filament"},
    )
    assert found.class_index.tolist() == [1]
    assert found.line_class.tolist() == [2]
    assert len(found.lines) == 1 and found.line_score[0] > 0.9


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.5))
def test_chains_hold_every_pixel_once(seed, share):
    """Whatever the picture: no pixel is lost, none is doubled, steps are neighbours."""
    picture = np.random.default_rng(seed).random((16, 16)) < share
    chains = skeleton_chains(picture, merge=0.0)
    pixels = [tuple(p) for chain in chains for p in chain.path.astype(int)]
    assert len(pixels) == len(set(pixels))
    assert all(picture[p] for p in pixels)
    for chain in chains:
        steps = np.abs(np.diff(chain.path, axis=0)).max(axis=1, initial=0)
        assert (steps == 1).all() or len(chain.path) == 1
