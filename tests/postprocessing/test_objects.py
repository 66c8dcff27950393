"""Touching objects come apart, rough ones stay whole."""

import numpy as np
import pytest

from napari_topiary.postprocessing import (
    class_labels,
    label_objects,
    objects,
    threshold_of,
)
from napari_topiary.types import Task


def blobs(*circles, shape=(80, 80)):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape, np.float32)
    for y, x, radius in circles:
        image[np.hypot(yy - y, xx - x) <= radius] = 0.9
    return image


@pytest.mark.parametrize("size", [1, 2, 4])
def test_touching_circles_are_two_at_every_size(size):
    map_ = blobs((20, 14, 8), (20, 28, 8), shape=(40, 42))
    labels = label_objects(np.kron(map_, np.ones((size, size))), threshold=0.5)
    assert labels.max() == 2
    counts = np.bincount(labels.ravel())[1:]
    assert counts.min() > 0.9 * counts.max()


def test_an_area_is_cut_the_same_whatever_lies_beside_it(monkeypatch):
    pair = blobs((20, 14, 8), (20, 28, 8), shape=(40, 42))
    pair[20, 5] = 0.7  # doubtful, but no neck
    alone = label_objects(pair, threshold=0.5)
    for at_once in (1, 1 << 20):
        monkeypatch.setattr(objects, "AT_ONCE", at_once)
        many = label_objects(np.tile(pair, (3, 4)), threshold=0.5)
        assert many.max() == 24
        for rows in np.split(many, 3):
            for one in np.split(rows, 4, axis=1):
                pairs = np.unique(np.stack([alone.ravel(), one.ravel()]), axis=1)
                assert pairs.shape[1] == 3  # background and two objects


def comb(side=240, step=24):
    """Discs that all hang together by thin bridges, without a hole between them."""
    yy, xx = np.mgrid[:side, :side]
    inside = np.hypot(yy % step - 12, xx % step - 12) < 10
    inside |= (abs(yy % step - 12) < 2) & (xx > 12) & (xx < side - 12)
    inside |= (abs(xx - 12) < 2) & (yy > 12) & (yy < side - 12)
    noise = np.random.default_rng(3).normal(0, 0.02, yy.shape)
    return np.where(inside, 0.8, 0.1) + noise, (yy // step) * 10 + xx // step


@pytest.mark.parametrize("tile", [50, 100])
def test_a_large_area_is_cut_tile_by_tile_as_it_is_cut_whole(monkeypatch, tile):
    sure, discs = comb()
    whole = label_objects(sure, threshold=0.5)
    monkeypatch.setattr(objects, "TILE", tile)
    monkeypatch.setattr(objects, "BAND", 1000)
    found = label_objects(sure, threshold=0.5)
    assert found.max() == whole.max() == 100
    same = np.unique(
        np.stack([found, whole]).reshape(2, -1), axis=1, return_counts=True
    )
    assert same[1][same[1] > 9].sum() > 0.999 * found.size
    for number in range(1, 101):
        own = np.bincount(discs[found == number])
        assert own.max() > 0.9 * own.sum()  # a disc, and half of its bridges


def test_ellipse_stays_whole():
    yy, xx = np.mgrid[:80, :80]
    inside = ((yy - 40) / 8) ** 2 + ((xx - 40) / 30) ** 2 <= 1
    assert label_objects(inside.astype(float), threshold=0.5).max() == 1


def test_rough_outline_stays_whole():
    rng = np.random.default_rng(1)
    yy, xx = np.mgrid[:80, :80]
    angle = np.arctan2(yy - 40, xx - 40)
    rough = 22 + sum(rng.normal(0, 0.8) * np.cos(n * angle + n) for n in range(2, 12))
    map_ = np.hypot(yy - 40, xx - 40) <= rough
    assert label_objects(map_.astype(float), threshold=0.5).max() == 1


def test_holes_are_filled_and_specks_dropped():
    map_ = blobs((30, 30, 12), (70, 70, 1.5))
    map_[28:32, 28:32] = 0
    labels = label_objects(map_, threshold=0.5, min_size=20)
    assert labels.max() == 1
    assert labels[30, 30] == 1
    assert labels[70, 70] == 0


def test_numbers_run_from_1_without_gaps():
    labels = label_objects(
        blobs((10, 10, 5), (10, 60, 2), (60, 10, 5), (60, 60, 5)),
        threshold=0.5,
        min_size=30,
    )
    assert np.unique(labels).tolist() == [0, 1, 2, 3]
    assert labels.dtype == np.int32


def test_nothing_and_everything():
    assert label_objects(np.zeros((20, 20)), threshold=0.5).max() == 0
    assert (label_objects(np.ones((20, 20)), threshold=0.5) == 1).all()


TWO = Task("segment", ("background", "membrane"))
THREE = Task("segment", ("background", "myelin", "axon"))


def test_labels_of_two_classes_follow_the_threshold():
    p = np.array([0.2, 0.5, 0.7])[None]
    labels = class_labels(np.stack([1 - p, p]), task=TWO, threshold=0.5)
    assert labels.tolist() == [[0, 1, 1]]
    labels = class_labels(np.stack([1 - p, p]), task=TWO, threshold={"membrane": 0.6})
    assert labels.tolist() == [[0, 0, 1]]


def test_labels_of_three_classes():
    columns = [(0.6, 0.3, 0.1), (0.2, 0.3, 0.5), (0.1, 0.5, 0.4), (0.4, 0.35, 0.25)]
    maps = np.array(columns).T[:, None]
    half = class_labels(maps, task=THREE, threshold=0.5)
    assert half.tolist() == [[0, 2, 1, 0]]
    # The axon's own threshold is low: exceeding it by more than the myelin wins.
    own = class_labels(maps, task=THREE, threshold={"myelin": 0.5, "axon": 0.2})
    assert own.tolist() == [[0, 2, 2, 2]]


def test_threshold_of_a_class():
    assert threshold_of("axon", 0.3) == 0.3
    assert threshold_of("axon", {"axon": 0.2, "common": 0.4}) == 0.2
    assert threshold_of("myelin", {"axon": 0.2}) == 0.5
