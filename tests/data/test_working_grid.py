"""The working grid: both grids cover the same area, pixel centres at integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_topiary.data.working_grid import (
    to_original,
    to_working,
    working_shape,
    working_to_original_coords,
)
from napari_topiary.errors import TopiaryError

factors = st.floats(0.3, 8.0)
sides = st.integers(1, 300)


def centroid(image: np.ndarray) -> np.ndarray:
    """y, x of the centre of mass of `(y, x)`."""
    grid = np.indices(image.shape)
    return np.array([(axis * image).sum() for axis in grid]) / image.sum()


def blob(shape: tuple[int, int], centre: tuple[float, float], sigma: float):
    y, x = np.indices(shape)
    distance = (y - centre[0]) ** 2 + (x - centre[1]) ** 2
    return np.exp(-distance / (2 * sigma**2)).astype(np.float32)


@given(sides, sides, factors)
def test_working_shape(height: int, width: int, factor: float) -> None:
    shape = working_shape((height, width), factor)
    assert shape == (max(1, round(height / factor)), max(1, round(width / factor)))
    image = np.zeros((2, height, width), np.uint8)
    assert to_working(image, factor).shape == (2, *shape)
    assert to_original(to_working(image, factor), (height, width)).shape == image.shape


@given(sides, sides, factors, st.lists(st.tuples(*[st.floats(-50, 500)] * 2)))
def test_coordinates_are_inverse(
    height: int, width: int, factor: float, points: list[tuple[float, float]]
) -> None:
    shape = height, width
    working = working_shape(shape, factor)
    there = working_to_original_coords(points, working, shape)
    assert there.shape == (len(points), 2)
    back = working_to_original_coords(there, shape, working)
    np.testing.assert_allclose(back, np.reshape(points, (-1, 2)), atol=1e-9)


def test_coordinates_by_hand() -> None:
    """Halving: the first working pixel covers original pixels 0 and 1."""
    found = working_to_original_coords([[0, 0], [1, 4]], (4, 10), (2, 5))
    np.testing.assert_allclose(found, [[0.5, 0.5], [2.5, 8.5]])
    corners = working_to_original_coords([[-0.5, 9.5]], (2, 5), (4, 10))
    np.testing.assert_allclose(corners, [[-0.5, 4.5]])


@given(
    st.floats(0.5, 6.0),
    st.tuples(st.integers(150, 200), st.integers(150, 200)),
    st.tuples(st.floats(60, 90), st.floats(60, 90)),
)
def test_a_blob_moves_where_the_function_says(
    factor: float, shape: tuple[int, int], centre: tuple[float, float]
) -> None:
    small = to_working(blob(shape, centre, sigma=8.0)[None], factor)[0]
    expected = working_to_original_coords([centre], small.shape, shape)[0]
    assert np.abs(centroid(small) - expected).max() <= 0.1
    again = to_original(small[None], shape)[0]
    assert np.abs(centroid(again) - centre).max() <= 0.1


def test_shrinking_averages() -> None:
    """Noise and fine patterns do not alias: what is left is their mean."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 200
    small = to_working(board[None].astype(np.uint8), 4)
    assert np.abs(small[:, 1:-1, 1:-1] - 100).max() < 7
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1, 256, 256))
    assert to_working(noise, 4).std() < 0.35


def test_probabilities_still_sum_to_one(rng: np.random.Generator) -> None:
    maps = rng.random((3, 20, 31))
    maps /= maps.sum(axis=0)
    np.testing.assert_allclose(to_original(maps, (77, 90)).sum(axis=0), 1, atol=1e-5)


def test_same_size_is_the_same_image(rng: np.random.Generator) -> None:
    image = rng.integers(0, 65535, (3, 9, 7), dtype=np.uint16)
    found = to_working(image, 1.0)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float64])
def test_any_type_and_any_layout(dtype: type) -> None:
    image = np.ones((8, 6, 3), dtype).transpose(2, 0, 1)
    np.testing.assert_allclose(to_working(image, 2), np.ones((3, 4, 3)))


@pytest.mark.parametrize("factor", [0, -1, np.nan, np.inf])
def test_impossible_factors_are_a_sentence(factor: float) -> None:
    with pytest.raises(TopiaryError, match="above 0"):
        to_working(np.zeros((1, 4, 4)), factor)
