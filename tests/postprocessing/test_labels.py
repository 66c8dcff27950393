"""Labels made tidy: what goes, what is filled, what is cut."""

from __future__ import annotations

import numpy as np
import pytest

from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.postprocessing.labels import all_cut, cut_object, tidied
from napari_topiary.types import Task


def disc(shape, y, x, radius):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


@pytest.fixture
def labels():
    """Two objects that touch, a hole in one, a gap between them, a crumb, an edge."""
    made = np.zeros((40, 60), np.uint16)
    made[10:30, 10:25] = 3
    made[10:30, 25:40] = 7
    made[15:18, 14:17] = 0  # a hole in 3
    made[20:22, 24:26] = 0  # a gap between both
    made[2:4, 50:52] = 9  # a crumb
    made[10:30, 50:60] = 5
    made[14:16, 58:60] = 0  # open to the edge of the image
    return made


def test_small_pieces_go_and_holes_in_one_object_are_filled(labels):
    before = labels.copy()
    made = tidied(labels, smallest_px=5, largest_hole_px=9)
    assert (made.dropped, made.filled) == (1, 1)
    assert made.labels.dtype == labels.dtype
    assert not (made.labels == 9).any()
    assert (made.labels[15:18, 14:17] == 3).all()
    assert (made.labels[20:22, 24:26] == 0).all()
    assert (made.labels[14:16, 58:60] == 0).all()
    assert np.array_equal(labels, before)


def test_sizes_are_limits(labels):
    assert tidied(labels, largest_hole_px=8).filled == 0
    assert tidied(labels, smallest_px=4).dropped == 0
    assert tidied(labels).labels is labels
    assert tidied(np.zeros((5, 5), np.int32), smallest_px=9, largest_hole_px=9)


def test_a_piece_that_hangs_by_a_corner_is_one():
    made = np.zeros((10, 10), np.uint8)
    made[2:4, 2:4] = made[4:6, 4:6] = 1
    assert tidied(made, smallest_px=8).dropped == 0
    assert tidied(made, smallest_px=9).dropped == 1


def test_two_that_touch_are_cut_at_the_neck():
    mask = disc((40, 60), 20, 20, 12) | disc((40, 60), 20, 40, 10)
    mask[18:21, 18:21] = False  # a hole is no neck
    parts = cut_object(mask)
    assert parts.max() == 2 and np.array_equal(parts > 0, mask)
    assert parts[20, 15] != parts[20, 45]
    assert cut_object(disc((40, 60), 20, 20, 12)).max() == 1
    assert cut_object(np.zeros((4, 4), bool)).max() == 0


def test_all_objects_are_cut_and_the_larger_part_keeps_its_number():
    labels = np.zeros((40, 120), np.uint8)
    labels[disc(labels.shape, 20, 20, 13) | disc(labels.shape, 20, 42, 11)] = 200
    labels[disc(labels.shape, 20, 90, 12)] = 4
    made = all_cut(labels)
    assert made.cut == 1 and made.labels.dtype == np.int64
    assert made.labels[20, 15] == 200 and made.labels[20, 48] == 201
    assert (made.labels == 4).sum() == (labels == 4).sum()


@pytest.mark.parametrize(("largest", "filled"), [(3, False), (4, True)])
def test_holes_of_what_was_found_are_filled(largest, filled):
    probability = np.zeros((2, 12, 12), np.float32)
    probability[1, 2:9, 2:9] = 1
    probability[1, 4:6, 4:6] = 0  # four pixels
    probability[0] = 1 - probability[1]
    reading = PostProcessing(largest_hole_px=largest)
    task = Task("segment", ("background", "cell"))
    labels = reading.labels(probability, (12, 12), task)
    assert (labels[4:6, 4:6] == 1).all() == filled and labels[0, 0] == 0


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        (PostProcessing(), 3),
        (PostProcessing(smallest_learned=10), 2),
        (PostProcessing(smallest_learned=10, min_size_px=1), 3),
        (PostProcessing(smallest_learned=10, min_size_px=164), 1),
    ],
)
def test_objects_smaller_than_learned_are_dropped_unless_asked_for(how, kept):
    # On a working grid of half the image's pixels: 9, 40 and 100 of them.
    probability = np.zeros((2, 40, 40), np.float32)
    for top, height, width in ((1, 3, 3), (8, 5, 8), (20, 10, 10)):
        probability[1, top : top + height, 5 : 5 + width] = 1
    task = Task("instances", ("background", "cell"))
    found = how.labels(probability, (80, 80), task)
    assert found.max() == kept
    # Areas of a class are what they are, however small.
    segment = Task("segment", ("background", "cell"))
    painted = how.labels(probability, (80, 80), segment)
    assert painted[3, 12] == (how.min_size_px < 2)
