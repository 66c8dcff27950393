from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_topiary import Centerlines, Labels, Points, Regions
from napari_topiary.annotations.suggestion import suggest_area, uncertainty


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
