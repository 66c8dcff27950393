"""Discs are drawn so that neighbouring particles stay apart."""

from __future__ import annotations

import numpy as np
import pytest

from napari_topiary.annotations import Points, TargetConfig, build_target, zones_for
from napari_topiary.types import Task

TASK = Task("detect", ("background", "virus"), radius_px={"virus": 10.0})


def row(spacing: float, n: int = 8) -> Points:
    places = np.column_stack([np.full(n, 40.0), 20.0 + spacing * np.arange(n)])
    return Points(places, ("virus",) * n)


def test_the_usual_zones_where_there_is_room() -> None:
    assert zones_for([(row(25.0), None)], TASK) == TargetConfig()
    assert zones_for([], TASK) == TargetConfig()
    assert zones_for([(row(25.0, n=1), None)], TASK) == TargetConfig()


def test_neighbours_are_not_drawn_as_one() -> None:
    from scipy import ndimage as ndi

    for spacing in (9.0, 11.0, 14.0):
        points = row(spacing)
        zones = zones_for([(points, None)], TASK)
        assert zones.certain == pytest.approx(0.4 * spacing / 10)
        assert zones.ignore == pytest.approx(zones.certain + 0.5)
        target = build_target([points], (80, 160), task=TASK, config=zones)
        assert ndi.label(target.classes == 1)[1] == 8


def test_lengths_in_nm_and_marks_of_background_do_not_count() -> None:
    task = Task("detect", ("background", "virus"), radius_nm={"virus": 20.0})
    points = row(11.0)
    near = Points(points.coordinates + 1.0, ("background",) * 8)
    assert zones_for([(points, 2.0), (near, 2.0)], task).certain == pytest.approx(0.44)
    assert zones_for([(points, 1.0)], task).certain == 0.35


def test_one_slip_of_the_hand_changes_nothing() -> None:
    twice = np.vstack([row(25.0, n=160).coordinates, [[41.0, 20.0]]])
    slipped = Points(twice, ("virus",) * 161)
    assert zones_for([(slipped, None)], TASK) == TargetConfig()
