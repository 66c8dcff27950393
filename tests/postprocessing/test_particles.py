"""Peaks of a probability come back as the particles that made it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_topiary.postprocessing import above, find_detections
from napari_topiary.postprocessing.detections import disc_means, thin_out
from napari_topiary.types import Task

TASK = Task("detect", ("background", "virus"))
TWO = Task("detect", ("background", "round", "other"))


def discs(shape, centres, radius):
    """Anti-aliased discs: the probability a perfect network gives."""
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape, np.float32)
    for y, x in centres:
        image = np.maximum(
            image, np.clip(radius + 0.5 - np.hypot(yy - y, xx - x), 0, 1)
        )
    return image.astype(np.float32)


def stacked(*foreground):
    """Foreground maps with the background that makes them sum to 1."""
    return np.stack([1 - np.sum(foreground, axis=0), *foreground]).astype(np.float32)


def find(probability, radius=6.0, threshold=0.5, task=TASK, **options):
    radii = dict.fromkeys(task.classes[1:], radius)
    return find_detections(
        probability, task=task, radius_px=radii, threshold=threshold, **options
    )


def matches(found, truth, tolerance):
    distance = np.linalg.norm(found[:, None] - np.asarray(truth)[None], axis=2)
    return len(found) == len(truth) and (distance.min(axis=0) < tolerance).all()


def test_sub_pixel_centre():
    truth = [(20.3, 31.7), (44.0, 12.5), (50.6, 52.2)]
    found = find(stacked(discs((64, 64), truth, 4.5)))
    assert matches(found.coordinates, truth, 0.15)
    assert found.class_index.tolist() == [1, 1, 1]
    assert found.score.min() > 0.95


def test_touching_particles_stay_two():
    truth = [(32.0, 20.0), (32.0, 32.0), (43.0, 26.0)]
    assert matches(find(stacked(discs((64, 64), truth, 4.5))).coordinates, truth, 0.3)


@pytest.mark.parametrize("centre", [(0, 30), (63, 30), (30, 0), (2, 3), (3.0, 60.5)])
def test_particle_cut_by_the_border_is_kept(centre):
    found = find(stacked(discs((64, 64), [centre], 4.5)))
    assert len(found) == 1
    assert np.linalg.norm(found.coordinates[0] - centre) < 0.5 * 6
    assert (found.coordinates >= 0).all() and (found.coordinates <= 63).all()


def test_score_is_the_probability():
    found = find(0.7 * stacked(discs((64, 64), [(30, 30)], 5)), threshold=0.2)
    assert found.score == pytest.approx([0.7], abs=0.01)
    assert len(find(0.7 * stacked(discs((64, 64), [(30, 30)], 5)), threshold=0.75)) == 0


def test_plateau_gives_one_particle_at_its_middle():
    found = find(stacked(np.ones((40, 60), np.float32)))
    assert len(found) == 1
    assert found.coordinates[0] == pytest.approx([19.5, 29.5], abs=0.6)


def test_nothing():
    found = find(stacked(np.zeros((32, 32), np.float32)))
    assert len(found) == 0 and found.lines == ()


def test_large_radius_works_on_a_coarser_grid():
    truth = [(150.3, 120.8), (60.5, 260.2)]
    found = find(stacked(discs((301, 333), truth, 30)), radius=40.0)
    assert matches(found.coordinates, truth, 1.0)


@pytest.mark.parametrize("radius", [1e6, 1e300])
def test_a_radius_beyond_the_image_takes_no_more_memory(radius):
    found = find(stacked(np.ones((30, 40))), radius=radius)
    assert len(found.coordinates) <= 1


def test_tiny_radius():
    truth = [(10, 10), (10, 14), (30, 22)]
    found = find(stacked(discs((40, 40), truth, 1.1)), radius=1.5)
    assert matches(found.coordinates, truth, 0.3)


def test_unknown_radius_counts_connected_areas():
    map_ = np.zeros((40, 40), np.float32)
    map_[5:10, 5:15] = 0.8
    map_[20:30, 30:33] = 0.6
    found = find_detections(stacked(map_), task=TASK, radius_px={}, threshold=0.5)
    assert found.coordinates.tolist() == pytest.approx(np.array([[7, 9.5], [24.5, 31]]))
    assert found.score == pytest.approx([0.8, 0.6])


def test_a_particle_has_one_class():
    disc = discs((64, 64), [(30, 30)], 4.5)
    far = discs((64, 64), [(50, 50)], 4.5)
    found = find(stacked(0.6 * disc, 0.4 * disc + 0.6 * far), threshold=0.3, task=TWO)
    assert sorted(found.class_index.tolist()) == [1, 2]
    best = found.coordinates[found.class_index == 1]
    assert matches(best, [(30, 30)], 0.2)


def test_thresholds_per_class():
    near, far = discs((64, 64), [(15, 15)], 4.5), discs((64, 64), [(45, 45)], 4.5)
    maps = stacked(0.6 * near, 0.6 * far)
    found = find(maps, threshold={"round": 0.7, "common": 0.1}, task=TWO)
    assert found.class_index.tolist() == [2]


def test_spacing_thins_out():
    maps = stacked(discs((64, 64), [(32, 20), (32, 32)], 4.5))
    assert len(find(maps, spacing=1.0)) == 2
    assert len(find(maps, spacing=2.5)) == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_raising_the_threshold_is_dropping_the_low_scores(seed, threshold):
    rng = np.random.default_rng(seed)
    noise = rng.random((2, 48, 48)).astype(np.float32)
    low = find(noise, radius=3.0, threshold=0.0)
    again = find(noise, radius=3.0, threshold=threshold)
    kept = above(low, TASK, threshold)
    assert np.array_equal(kept.coordinates, again.coordinates)
    assert np.array_equal(kept.score, again.score)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 40))
def test_thinning_is_the_greedy_answer(seed, n):
    rng = np.random.default_rng(seed)
    where, score = rng.random((n, 2)) * 10, rng.integers(0, 5, n).astype(float)
    reach = rng.random(n) * 4
    expected: list[int] = []
    for i in sorted(range(n), key=lambda i: (-score[i], i)):
        if all(
            np.linalg.norm(where[i] - where[j]) >= min(reach[i], reach[j])
            for j in expected
        ):
            expected.append(i)
    assert np.flatnonzero(thin_out(where, score, reach)).tolist() == sorted(expected)


def test_disc_mean_leaves_the_outside_out():
    image = np.ones((10, 10))
    assert disc_means(image, np.array([[0.0, 0.0], [5, 5]]), radius=3).tolist() == [
        1,
        1,
    ]


def test_thousands_of_particles_are_found():
    rng = np.random.default_rng(0)
    tile = discs((256, 256), rng.random((80, 2)) * 256, 4.5)
    maps = stacked(np.tile(tile, (8, 8)))
    assert len(find(maps)) > 3000
