"""Outside the finished areas only answers teach; other marks are counted as idle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_topiary.annotations import (
    Centerlines,
    Labels,
    Points,
    Regions,
    TargetConfig,
    around_marks,
    build_target,
    counted,
    marked_in_part,
    marks_outside,
)
from napari_topiary.annotations.finished import suggest_area, uncertainty
from napari_topiary.errors import TopiaryError
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
    points, kept, areas = counted(drawn)
    assert points.classes == ("virion", "background", "background")
    assert points.radius_nm == (1.0, 3.0, None)
    np.testing.assert_array_equal(points.coordinates, [[10, 10], [12, 12], [35, 5]])
    assert len(kept) == 1 and kept.width_nm == (4.0,) and areas is drawn[2]
    assert marks_outside(drawn) == (2, 6)
    of_all, of_these = (
        build_target(a, SHAPE, task=TASK).classes for a in (drawn, counted(drawn))
    )
    np.testing.assert_array_equal(of_all, of_these)


def test_without_finished_areas_all_marks_teach() -> None:
    drawn = (POINTS, Labels(np.zeros(SHAPE, int)), Regions((), ()))
    assert counted(drawn) == drawn and marks_outside(drawn) == (0, 4)
    assert marks_outside(()) == (0, 0)


def test_answers_outside_teach_around_themselves() -> None:
    """A reviewed particle with its rim, and what is none; no pixel more."""
    centres = [[10, 10], [30, 40], [30, 12], [10, 40]]
    names = ("virion", "virion", "virion", "background")
    points = Points(centres, names, reviewed=(False, True, False, True))
    areas = Regions((BOX,), ("rectangle",))
    target = build_target((points, areas), SHAPE, task=TASK)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    to = [np.hypot(y - one[0], x - one[1]) for one in centres]
    finished, radius = areas.mask(SHAPE), 3
    np.testing.assert_array_equal(
        (target.classes == 1) & ~finished, to[1] <= 0.75 * radius
    )
    rim = (to[1] > 1.25 * radius) & (to[1] <= 1.5 * radius)
    none = to[3] <= radius
    np.testing.assert_array_equal((target.classes == 0) & ~finished, rim | none)
    assert rim.sum() > 8 and (target.weight[none] == 4).all()
    assert (target.weight[rim] == 1).all() and target.classes[30, 12] == -1
    assert marks_outside((points, areas)) == (1, 4)
    # Where all is finished an answer says nothing that a mark does not.
    reviewed = build_target((points,), SHAPE, task=TASK)
    plain = build_target((Points(centres, names),), SHAPE, task=TASK)
    np.testing.assert_array_equal(reviewed.classes, plain.classes)


def test_crowded_answers_leave_their_neighbours_alone() -> None:
    zones = TargetConfig(0.4, 0.9)
    points = Points([[30, 30]], ("virion",), reviewed=(True,))
    areas = Regions((BOX,), ("rectangle",))
    task = Task("detect", ("background", "virion"), radius_px={"virion": 8})
    classes = build_target((points, areas), SHAPE, task=task, config=zones).classes
    known = np.argwhere((classes >= 0) & ~areas.mask(SHAPE))
    reach = np.hypot(*(known - 30).T).max()
    assert 0.9 * 8 < reach <= 1.15 * 8


def test_what_was_reviewed_is_kept_in_layers_and_tables() -> None:
    points = Points(
        [[1, 2], [3, 4], [5, 6]], ("virion",) * 3, reviewed=(False, True, False)
    )
    table = points.to_table()
    assert table["reviewed"] == [None, 1, None]
    text = {name: ["" if v is None else str(v) for v in table[name]] for name in table}
    assert Points.from_table(text) == points
    data, meta, _ = points.to_layer_data("", TASK, 1.0)
    assert Points.from_layer_data(data, meta) == points
    # A mark that is drawn beside them has no answer yet (napari leaves it empty).
    meta["features"]["reviewed"][0] = np.nan
    assert Points.from_layer_data(data, meta) == points
    assert "reviewed" not in Points([[1, 2]], ("virion",)).to_table()
    assert points.only([1]).reviewed == (True,) and points.only([0]).reviewed is None
    both = points.only([0]).joined(points.only([1]))
    assert both.reviewed == (False, True) and both.radius_nm is None
    with pytest.raises(TopiaryError, match="3 points 1 say"):
        Points(points.coordinates, points.classes, reviewed=(True,))


def in_part(*drawn: object, height: int = 400, width: int = 500) -> bool:
    return marked_in_part(drawn, (0, height), (0, width), task=TASK, scale=None)


def scattered(seed: int, number: int, height: float, width: float) -> Points:
    places = np.random.default_rng(seed).uniform(0, 1, (number, 2)) * (height, width)
    return Points(places, ("virion",) * number)


@pytest.mark.parametrize("number", [5, 15, 100])
def test_a_corner_is_told_from_an_image(number: int) -> None:
    corners = [in_part(scattered(seed, number, 70, 90)) for seed in range(40)]
    images = [in_part(scattered(seed, number, 400, 500)) for seed in range(40)]
    assert all(corners) and not any(images)


def test_what_was_answered_is_not_asked() -> None:
    corner = scattered(0, 15, 70, 90)
    assert in_part(corner)
    assert not in_part(corner, Regions((BOX,), ("rectangle",)))
    assert not in_part(corner, height=75, width=95), "the rest is a margin"
    assert not in_part()
    assert not in_part(scattered(0, 1, 70, 90))
    none_there = Points(corner.coordinates, ("background",) * 15)
    assert not in_part(none_there)


@pytest.mark.parametrize("instances", [True, False])
@pytest.mark.parametrize(("dtype", "step"), [(np.int16, 1000), (np.uint64, 2**40)])
def test_painting_in_a_corner_is_told_too(
    instances: bool, dtype: type, step: int
) -> None:
    labels = np.zeros((400, 500), dtype)
    for number in range(6):
        top, left = 20 * (number // 3), 30 * (number % 3)
        labels[top : top + 8, left : left + 9] = 1 + number * step * instances
    assert in_part(Labels(labels, instances=instances))
    labels[380:390, 480:490] = 1
    assert not in_part(Labels(labels, instances=instances))
    assert not in_part(Labels(np.zeros((400, 500), dtype), instances=instances))


@pytest.mark.parametrize("number", [1, 2, 9])
def test_the_part_holds_all_marks_and_not_much_more(number: int) -> None:
    points = scattered(number, number, 60, 80)
    line = Centerlines(([[30, 30], [35, 45]],), ("virion",))
    for drawn in ((points,), (points, line)):
        part = around_marks(drawn, (400, 500), task=TASK, scale=None)
        assert part is not None
        assert part.contains(points.coordinates).all()
        assert marks_outside((*drawn, part))[0] == 0
        found = np.argwhere(part.mask((400, 500)))
        every = np.concatenate([points.coordinates, *line.paths])
        assert (found.max(axis=0) <= every.max(axis=0) + 1.5 * 3 + 0.5).all()
    assert around_marks((), (400, 500), task=TASK, scale=None) is None
    outside = Points([[-200.0, 30.0]], ("virion",))
    assert around_marks((outside,), (400, 500), task=TASK, scale=None) is None


def middle(area):
    top, bottom, left, right = area
    return (top + bottom) / 2, (left + right) / 2


def test_nothing_is_marked_so_it_is_the_middle():
    assert np.allclose(
        middle(suggest_area((600, 400), (), side=100)), (300, 200), atol=5
    )


@pytest.mark.parametrize(
    "marks",
    [
        Points([[10, 10], [20, 90], [90, 15]], ("a",) * 3),
        Centerlines((np.array([[95, 5], [5, 5], [5, 95]]),), ("a",)),
        Regions((np.array([[0, 0], [0, 60], [60, 60], [60, 0]]),), ("rectangle",)),
        Labels(np.pad(np.ones((60, 60), np.uint8), (0, 40))),
    ],
    ids=lambda one: one.kind,
)
def test_it_is_far_from_what_is_marked(marks):
    y, x = middle(suggest_area((100, 100), (marks,), side=20))
    assert y > 65 and x > 65


def test_the_next_one_is_elsewhere():
    first = suggest_area((200, 200), (), side=40)
    second = suggest_area((200, 200), (), side=40, avoid=(first,))
    assert np.hypot(*np.subtract(middle(first), middle(second))) > 40


def test_it_is_where_the_network_is_in_doubt_on_any_grid():
    probability = np.zeros((2, 50, 50), np.float32)
    probability[0] = 1
    probability[:, 35:45, 5:15] = 0.5
    y, x = middle(suggest_area((200, 200), (), side=40, doubt=uncertainty(probability)))
    assert np.allclose((y, x), (160, 40), atol=8)


def test_doubt_about_what_is_marked_does_not_count():
    doubt = np.zeros((100, 100), np.float32)
    doubt[10:30, 10:30], doubt[70:80, 70:80] = 1, 0.5
    done = Regions((np.array([[5, 5], [35, 35]]),), ("rectangle",))
    y, x = middle(suggest_area((100, 100), (done,), side=16, doubt=doubt))
    assert y > 60 and x > 60


def test_uncertainty_is_0_for_sure_and_1_for_torn():
    probability = np.array([[[1.0, 0.5, 0.6]], [[0.0, 0.5, 0.3]], [[0.0, 0.0, 0.1]]])
    assert np.allclose(uncertainty(probability), [[0, 1, 0.7]])


@given(
    shape=st.tuples(st.integers(3, 400), st.integers(3, 400)),
    side=st.floats(1, 500),
    seed=st.integers(0, 20),
    doubtful=st.booleans(),
)
def test_it_lies_inside_any_image(shape, side, seed, doubtful):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 5))
    points = Points(rng.random((count, 2)) * shape, ("a",) * count)
    doubt = rng.random((7, 9)) if doubtful else None
    top, bottom, left, right = suggest_area(shape, (points,), side=side, doubt=doubt)
    assert 0 <= top < bottom <= shape[0] and 0 <= left < right <= shape[1]
    assert bottom - top == min(round(side), shape[0])
    assert right - left == min(round(side), shape[1])
