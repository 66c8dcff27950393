"""Objects grown from the summits of a distance map."""

from __future__ import annotations

import numpy as np
import pytest

from napari_topiary.annotations import distance_map
from napari_topiary.evaluation.object_metrics import instance_metrics
from napari_topiary.postprocessing import Seeds, grow_objects, objects


def discs(shape: tuple[int, int], *circles: tuple[float, float, float]) -> np.ndarray:
    """Numbered discs `(y, x, radius)`; where they overlap, the nearer centre wins."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    depth = np.stack([r - np.hypot(y - cy, x - cx) for cy, cx, r in circles])
    return np.where(depth.max(0) >= 0, depth.argmax(0) + 1, 0)


def grown(truth: np.ndarray, **changes: object) -> np.ndarray:
    """What is read from a perfect network's answer."""
    foreground = np.where(truth > 0, 0.95, 0.05)
    seeds = Seeds(**changes)  # type: ignore[arg-type]
    return grow_objects(foreground, distance_map(truth), threshold=0.5, seeds=seeds)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_touching_discs_are_separated(scale: int) -> None:
    circles = [(20, 15, 8), (20, 29, 8), (33, 22, 7), (45, 50, 5)]
    truth = discs(
        (64 * scale, 64 * scale), *(tuple(scale * v for v in c) for c in circles)
    )
    found = grown(truth)
    assert found.max() == 4
    assert instance_metrics(truth, found)["pq"] > 0.95


def test_a_small_disc_beside_a_large_one_is_kept() -> None:
    truth = discs((64, 64), (30, 25, 18), (30, 47, 4))
    assert grown(truth).max() == 2


def test_without_a_distance_they_stay_one() -> None:
    truth = discs((40, 60), (20, 20, 9), (20, 37, 9))
    flat = grow_objects(truth > 0, np.zeros(truth.shape), threshold=0.5, seeds=Seeds())
    assert flat.max() == 1
    assert np.array_equal(flat > 0, truth > 0)


def test_height_says_how_far_a_summit_stands_out() -> None:
    """Summits of 1 and 0.8 with a pass of 0.6 between them: 0.2 is what counts."""
    foreground = np.ones((9, 33))
    ridge = np.interp(np.arange(33), [0, 8, 16, 24, 32], [0, 1.0, 0.6, 0.8, 0])
    distance = np.tile(ridge, (9, 1))
    for height, count in ((0.19, 2), (0.21, 1)):
        seeds = Seeds(smoothing_px=0, spacing_px=3, height=height)
        found = grow_objects(foreground, distance, threshold=0.5, seeds=seeds)
        assert found.max() == count
    low = Seeds(smoothing_px=0, spacing_px=3, height=0.1)
    found = grow_objects(foreground, distance, threshold=0.5, seeds=low)
    assert found[4, 8] != found[4, 24]
    assert abs(int((found == found[4, 8]).sum()) / 9 - 16.5) <= 0.5  # cut at the pass


def test_spacing_is_the_smallest_distance_of_two_summits() -> None:
    foreground = np.ones((1, 40))
    distance = np.zeros((1, 40))
    distance[0, [15, 21]] = 1.0, 0.9
    for spacing, count in ((5, 2), (6, 1)):
        seeds = Seeds(smoothing_px=0, spacing_px=spacing, height=0.1)
        found = grow_objects(foreground, distance, threshold=0.5, seeds=seeds)
        assert found.max() == count


def test_summits_are_joined_by_the_highest_pass_first() -> None:
    """A shoulder of the lower summit goes with it, not with the higher one."""
    knots = [0, 5, 10, 15, 20, 25, 30]
    ridge = np.interp(np.arange(31), knots, [0, 1.0, 0.2, 0.7, 0.65, 0.72, 0])
    seeds = Seeds(smoothing_px=0, spacing_px=1, height=0.1)
    found = grow_objects(
        np.ones((5, 31)), np.tile(ridge, (5, 1)), threshold=0.5, seeds=seeds
    )
    assert found.max() == 2
    assert found[2, 15] == found[2, 25] != found[2, 5]


def test_holes_are_filled_or_kept() -> None:
    truth = discs((40, 40), (20, 20, 12))
    holed = np.where(np.hypot(*(np.mgrid[:40, :40] - 20)) < 3, 0.0, truth)
    for fill in (True, False):
        found = grow_objects(
            holed, distance_map(truth), threshold=0.5, seeds=Seeds(fill_holes=fill)
        )
        assert (found[20, 20] > 0) == fill
        assert found[20, 10] == 1


def test_small_objects_are_dropped_and_numbers_have_no_gaps() -> None:
    truth = discs((40, 60), (8, 8, 1), (20, 30, 8), (30, 52, 2))
    areas = np.bincount(truth.ravel())[1:]
    found = grow_objects(
        truth > 0,
        distance_map(truth),
        threshold=0.5,
        seeds=Seeds(),
        min_size=int(areas[2]),
    )
    assert np.array_equal(np.unique(found), [0, 1, 2])
    assert found[8, 8] == 0


@pytest.mark.parametrize("tile", [19, 40])
def test_tiles_make_no_difference(monkeypatch, tile: int) -> None:
    truth = discs(
        (90, 90), *((9 + 12 * i, 9 + 12 * j, 7) for i in range(7) for j in range(7))
    )
    whole = grown(truth)
    monkeypatch.setattr(objects, "TILE", tile)
    tiled = grown(truth)
    assert tiled.max() == whole.max() == 49
    assert instance_metrics(whole, tiled)["pq"] > 0.97


def test_nothing_there() -> None:
    nothing = np.zeros((12, 12))
    found = grow_objects(nothing, nothing, threshold=0.5, seeds=Seeds())
    assert found.shape == (12, 12)
    assert not found.any()


def test_a_crowded_megapixel() -> None:
    """Thousands of objects that nearly touch, as in tissue."""
    y, x = np.mgrid[:1024, :1024]
    places = np.stack(np.mgrid[8:1024:16, 8:1024:16], -1).reshape(-1, 2)
    rng = np.random.default_rng(0)
    depth = 7.5 - np.hypot((y % 16) - 8, (x % 16) - 8)
    distance = np.clip(depth / 7.5, 0, 1) + rng.normal(0, 0.05, y.shape)
    foreground = (depth > 0) | (rng.random(y.shape) < 0.1)
    found = grow_objects(foreground, distance, threshold=0.5, seeds=Seeds())
    assert len(np.unique(found[places[:, 0], places[:, 1]])) > 0.95 * len(places)
