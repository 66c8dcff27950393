"""How deep inside its own object every pixel lies."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_topiary.annotations import Labels, distance_map
from napari_topiary.annotations.labels import object_distances
from napari_topiary.types import BACKGROUND, Task


def test_one_square_by_hand() -> None:
    labels = np.zeros((7, 7), dtype=np.int32)
    labels[1:6, 1:6] = 4
    expected = np.zeros((7, 7))
    expected[1:6, 1:6], expected[2:5, 2:5], expected[3, 3] = 1, 2, 3
    np.testing.assert_allclose(distance_map(labels), expected / 3, rtol=1e-6)


def test_touching_objects_have_each_its_own_summit() -> None:
    labels = np.zeros((5, 8), dtype=np.uint8)
    labels[1:4, 1:4], labels[1:4, 4:7] = 1, 2
    row = distance_map(labels)[2]
    np.testing.assert_allclose(row, [0, 0.5, 1, 0.5, 0.5, 1, 0.5, 0])


def test_relative_to_the_object_or_to_the_image() -> None:
    labels = np.zeros((9, 16), dtype=np.int32)
    labels[1:8, 1:8], labels[3:6, 11:14] = 1, 2  # 4 and 2 pixels deep
    own = distance_map(labels, relative_to="object")
    published = distance_map(labels, relative_to="image")
    assert (own[4, 4], own[4, 12]) == (1.0, 1.0)
    assert (published[4, 4], published[4, 12]) == (1.0, 0.5)
    np.testing.assert_allclose(published[:, :8], own[:, :8])


def test_the_edge_of_the_image_is_no_edge_of_an_object() -> None:
    labels = np.zeros((4, 6), dtype=np.int32)
    labels[:, :3] = 1
    np.testing.assert_allclose(distance_map(labels)[0], [1, 2 / 3, 1 / 3, 0, 0, 0])
    assert (distance_map(np.ones((3, 3), dtype=np.int32)) == 1).all()


@pytest.mark.parametrize("relative_to", ["object", "image"])
def test_nothing_is_nothing(relative_to: str) -> None:
    nothing = distance_map(np.zeros((3, 4), int), relative_to=relative_to)
    assert nothing.dtype == np.float32
    assert not nothing.any()


def test_numbers_do_not_matter() -> None:
    labels = np.zeros((6, 12), dtype=np.int64)
    labels[1:5, 1:5], labels[1:5, 6:11] = 1, 2
    odd = np.choose(labels, [0, 3_000_000_000, 17])
    assert np.array_equal(distance_map(odd), distance_map(labels))


def test_labels_of_an_image_are_merged_by_maximum() -> None:
    first, second = np.zeros((2, 7, 7), dtype=np.int32)
    first[1:6, 1:6], second[1:4, 1:4] = 1, 1
    both = object_distances([Labels(first, True), Labels(second, True)], (7, 7))
    assert np.array_equal(both, np.maximum(distance_map(first), distance_map(second)))


def _inverted(kind: str, mask: NDArray[np.bool_]) -> bool:
    task = Task(kind, ("background", "x"))  # type: ignore[arg-type]
    _, notes = Labels(mask * 255).usable(mask.shape, task=task, scale=None)
    return any("--invert-masks" in note for note in notes)


@pytest.mark.parametrize("kind", ["segment", "instances"])
def test_a_painted_background_is_said_and_large_objects_are_not(kind: str) -> None:
    """Four discs; cells that fill most of the image; one disc of 64 % of it."""
    y, x = np.mgrid[:100, :100]
    discs = np.hypot((y % 50) - 25, (x % 50) - 25) < 15
    assert not _inverted(kind, discs)
    assert _inverted(kind, ~discs)
    cells = (y % 25 > 1) & (x % 25 > 1)
    assert not _inverted(kind, cells)
    assert not _inverted(kind, np.hypot(y - 50, x - 50) < 45)


def test_a_share_of_a_large_image_is_said_without_sorting_all_of_it(monkeypatch):
    sorted_pixels = []
    unique = np.unique

    def counted(pixels, **how):
        sorted_pixels.append(pixels.size)
        return unique(pixels, **how)

    labels = np.full((4096, 1024), 7, np.uint8)
    labels[:, :256] = 2
    monkeypatch.setattr(np, "unique", counted)
    objects = Task("instances", (BACKGROUND, "nucleus"))
    _, notes = Labels(labels, True).usable(labels.shape, task=objects, scale=None)
    assert "7 covers 75% of the image" in notes[0] and max(sorted_pixels) <= 2**20


def test_a_layer_of_objects_is_one_copy_in_numbers_that_are_drawn_fast():
    """Of 8192 x 8192 pixels each copy takes a quarter of a second."""
    labels = Labels(np.arange(6, dtype=np.int32).reshape(2, 3), instances=True)
    objects = Task("instances", (BACKGROUND, "nucleus"))
    data, _, kind = labels.to_layer_data("", objects, None)
    assert kind == "labels" and data.dtype == np.uint16 and data.flags.writeable
    assert np.array_equal(data, labels.labels)
    many = Labels(np.array([[0, 60_000]], dtype=np.int64), instances=True)
    assert many.to_layer_data("", objects, None)[0].dtype == np.int64
    areas = Task("segment", (BACKGROUND, "a"))
    plain = Labels(np.ones((2, 2), np.uint8))
    assert plain.to_layer_data("", areas, None)[0].dtype == np.uint8
    assert plain and not Labels(np.zeros((2, 2), np.uint8))
    assert labels.of_class("nucleus", objects) == 1
