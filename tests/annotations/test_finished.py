"""Marks outside the finished areas teach nothing, and are counted as such."""

from __future__ import annotations

import numpy as np
import pytest

from napari_topiary.annotations import (
    Centerlines,
    Labels,
    Points,
    Regions,
    build_target,
    marks_outside,
    teaching,
)
from napari_topiary.types import Task

SHAPE = (40, 50)
TASK = Task("detect", ("background", "virion"), radius_px={"virion": 3})
BOX = np.array([[5, 5], [5, 20], [20, 20], [20, 5.0]])
POINTS = Points(
    [[10, 10], [30, 40], [12, 12], [35, 5]],
    ("virion", "virion", "background", "background"),
    (1.0, 2.0, 3.0, None),
)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["rectangle", "ellipse", "polygon"])
def test_a_place_is_inside_where_its_pixel_is_finished(seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    corners = random.integers(0, 40, (7, 2)) / random.choice([1, 2])
    if kind != "polygon":
        (y, x), (a, b), (c, d) = random.uniform(2, 25, (3, 2))
        corners = np.array([[y, x], [y + a, x + b], [y + a + c, x + b - d]])
        corners = np.vstack([corners, corners[0] + corners[2] - corners[1]])
    areas = Regions((corners,), (kind,))
    pixels = np.argwhere(np.ones(SHAPE, dtype=bool))
    inside = areas.contains(pixels + random.uniform(-0.4, 0.4, pixels.shape))
    np.testing.assert_array_equal(inside.reshape(SHAPE), areas.mask(SHAPE))


def test_marks_outside_do_not_teach_and_are_counted() -> None:
    lines = Centerlines(
        ([[30, 30], [35, 35]], [[15, 15], [15, 45]]), ("virion",) * 2, (None, 4.0)
    )
    drawn = (POINTS, lines, Regions((BOX,), ("rectangle",)))
    points, kept, areas = teaching(drawn)
    assert points.classes == ("virion", "background")
    assert points.radius_nm == (1.0, 3.0)
    np.testing.assert_array_equal(points.coordinates, [[10, 10], [12, 12]])
    assert len(kept) == 1 and kept.width_nm == (4.0,) and areas is drawn[2]
    assert marks_outside(drawn) == (3, 6)
    of_all, of_these = (
        build_target(a, SHAPE, task=TASK).classes for a in (drawn, teaching(drawn))
    )
    np.testing.assert_array_equal(of_all, of_these)


def test_without_finished_areas_all_marks_teach() -> None:
    drawn = (POINTS, Labels(np.zeros(SHAPE, int)), Regions((), ()))
    assert teaching(drawn) == drawn and marks_outside(drawn) == (0, 4)
    assert marks_outside(()) == (0, 0)
