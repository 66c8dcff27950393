"""How images are brought to the range that a network was trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_topiary.errors import TopiaryError
from napari_topiary.normalisation import Normalisation


def test_zscore_of_each_image(rng: np.random.Generator) -> None:
    image = rng.normal(500, 30, (3, 40, 50)).astype(np.float32)
    image[1] += 100
    found = Normalisation(kind="zscore").apply(image)
    assert found.dtype == np.float32
    assert abs(found.mean()) < 1e-4
    assert found.std() == pytest.approx(1, abs=1e-4)
    assert found[1].mean() > found[0].mean() + 1  # colours keep their relation


def test_fixed_numbers() -> None:
    image = np.array([[[10, 20, 30]]], np.uint8)
    zscore = Normalisation(kind="zscore", per_image=False, mean=20, std=5)
    np.testing.assert_allclose(zscore.apply(image), [[[-2, 0, 2]]])
    percentile = Normalisation(kind="percentile", per_image=False, low=10, high=30)
    np.testing.assert_allclose(percentile.apply(image), [[[0, 0.5, 1]]])
    np.testing.assert_array_equal(Normalisation(kind="none").apply(image), image)


def test_percentiles_ignore_hot_pixels(rng: np.random.Generator) -> None:
    image = rng.uniform(100, 200, (1, 100, 100))
    image[0, 0, :5] = 1e9
    found = Normalisation(kind="percentile").apply(image)
    assert np.median(found) == pytest.approx(0.5, abs=0.02)


def test_percentiles_of_large_images_are_sampled(rng: np.random.Generator) -> None:
    image = rng.integers(0, 1001, (1, 2000, 3001), dtype=np.uint16)
    found = Normalisation(kind="percentile").apply(image)
    assert found.min() == pytest.approx(-10 / 980, abs=2e-3)
    assert found.max() == pytest.approx(990 / 980, abs=2e-3)


@pytest.mark.parametrize("kind", ["robust", "zscore", "percentile"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float64, bool])
def test_images_of_one_intensity_become_zero(kind: Any, dtype: type) -> None:
    found = Normalisation(kind=kind).apply(np.ones((1, 5, 5), dtype))
    np.testing.assert_array_equal(found, np.zeros((1, 5, 5)))


def micrograph(rng: np.random.Generator, *shape: int) -> NDArray[np.float64]:
    """Dark spots on a noisy ground."""
    spots = gaussian_filter(rng.normal(0, 1, shape), 3)
    return 100 + 60 * (spots > spots.std()) + rng.normal(0, 8, shape)


ODD: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "black margin of 25 %": lambda image: np.pad(image, ((0, 0), (0, 64))),
    "white margin of 50 %": lambda image: np.pad(
        image, ((0, 0), (0, 192)), constant_values=255
    ),
    "frame of three pixels": lambda image: np.pad(image, 3)[3:, 3:],
    "a hot pixel": lambda image: with_one(image, 65535.0),
    "an infinite pixel": lambda image: with_one(image, np.inf),
    "more light": lambda image: 7 * image + 3000,
    "a step": lambda image: image + 120 * (np.arange(image.shape[1]) >= 96),
    "a shadow": lambda image: image * np.where(np.arange(192)[:, None] < 70, 0.2, 1),
}


def with_one(image: NDArray[np.float64], value: float) -> NDArray[np.float64]:
    changed = image.copy()
    changed[90, 91] = value
    return changed


@pytest.mark.parametrize("name", ODD)
def test_robust_sees_the_same_in_odd_images(
    rng: np.random.Generator, name: str
) -> None:
    image = micrograph(rng, 192, 192)
    usual = Normalisation().apply(image[None])[0]
    odd = Normalisation().apply(ODD[name](image)[None])[0]
    same = odd[:192, :192]
    apart = np.abs(same - usual)
    apart[88:93, 89:94] = 0
    assert np.percentile(apart, 99) < 0.25
    assert np.median(apart) < 0.1
    assert not odd[:, 195:].any()


def test_robust_levels_a_slope(rng: np.random.Generator) -> None:
    image = micrograph(rng, 192, 192)
    tilted = image + np.linspace(0, 300, 192)
    apart = np.abs(
        Normalisation().apply(image[None]) - Normalisation().apply(tilted[None])
    )
    assert np.median(apart) < 0.15


@pytest.mark.parametrize(("side", "tilt"), [(192, 80), (256, 60)])
def test_robust_levels_a_slope_that_rich_content_hides(
    rng: np.random.Generator, side: int, tilt: float
) -> None:
    count = side // 32
    blocks = rng.normal(0, 25, (count, count)).repeat(32, axis=0).repeat(32, axis=1)
    image = micrograph(rng, side, side) + gaussian_filter(blocks, 6)
    usual = Normalisation().apply(image[None])
    mean = (image - image.mean()) / image.std()
    np.testing.assert_allclose(usual[0], mean, atol=0.1)  # content is not levelled
    tilted = Normalisation().apply((image + np.linspace(0, tilt, side))[None])
    assert np.median(np.abs(usual - tilted)) < 0.1


@pytest.mark.parametrize("shape", [(192, 192), (128, 256)])
def test_robust_levels_corners_that_rich_content_hides(
    rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    rows, columns = (side // 32 for side in shape)
    blocks = rng.normal(0, 25, (rows, columns)).repeat(32, axis=0).repeat(32, axis=1)
    image = micrograph(rng, *shape) + gaussian_filter(blocks, 6)
    usual = Normalisation().apply(image[None])
    y, x = (np.arange(side) - (side - 1) / 2 for side in shape)
    out = (y[:, None] ** 2 + x**2) / (y[0] ** 2 + x[0] ** 2)
    dark = Normalisation().apply((image - 110 * out)[None])
    assert np.median(np.abs(usual - dark)) < 0.25
    bright = Normalisation().apply((image + 20 * out)[None])
    np.testing.assert_allclose(  # which may be content, and so may a little
        bright[0], (v := image + 20 * out) / v.std() - v.mean() / v.std(), atol=0.1
    )


def test_clean_images_are_not_levelled(rng: np.random.Generator) -> None:
    image = micrograph(rng, 192, 192)[None]
    usual = (image - image.mean()) / image.std()
    np.testing.assert_allclose(Normalisation().apply(image), usual, atol=0.03)


@pytest.mark.parametrize(
    ("dtype", "factor", "offset"),
    [("u1", 1, 0), ("u2", 16, 0), ("i2", 100, -9000), ("i4", 1e6, -1e8),
     ("u4", 10, 3e9), ("f2", 1, 0), ("f8", 1e-6, 1e3)],
)  # fmt: skip
def test_number_types_look_alike(
    rng: np.random.Generator, dtype: str, factor: float, offset: float
) -> None:
    image = micrograph(rng, 64, 64)[None].clip(0, 255).round()
    found = Normalisation().apply((image * factor + offset).astype(dtype))
    np.testing.assert_allclose(found, Normalisation().apply(image), atol=0.02)


def test_pixels_that_are_not_numbers_count_as_the_mean() -> None:
    image = np.array([[[1.0, 3.0, np.nan, np.inf]]])
    found = Normalisation().apply(image)
    assert found[0, 0, 2] == found[0, 0, 3] == 0
    assert np.isnan(image[0, 0, 2])
    with pytest.raises(TopiaryError, match="no pixel that is a number"):
        Normalisation().apply(np.full((1, 2, 2), np.nan))


def taken_alike(rng: np.random.Generator, n: int) -> list[NDArray[np.uint8]]:
    """Images under one light, on each of which something dark takes another share."""
    found = []
    for _ in range(n):
        spots = gaussian_filter(rng.normal(0, 1, (1, 128, 128)), (0, 3, 3))
        dark = spots > rng.uniform(0.2, 1.2) * spots.std()
        grey = np.where(dark, 80, 150) + rng.normal(0, 15, spots.shape)
        found.append(grey.clip(0, 255).astype(np.uint8))
    return found


def shared_by(images: list[NDArray[np.uint8]]) -> Normalisation:
    return Normalisation.shared_by((image, None) for image in images)


@pytest.mark.parametrize("half", [np.s_[:, :, :64], np.s_[:, 30:110, 20:100]])
def test_a_part_saved_as_its_own_image_looks_as_it_was_learned_in_the_whole(
    rng: np.random.Generator, half: Any
) -> None:
    images = taken_alike(rng, 4)
    shared = shared_by(images[1:])
    assert not shared.per_image
    part = shared.apply(images[0][half].copy())
    whole, (offset, divisor) = shared.applied(images[0])
    np.testing.assert_allclose(part, (whole[half] - offset) / divisor, atol=1e-5)
    assert np.abs(Normalisation().apply(images[0][half]) - part).mean() > 0.01


@pytest.mark.parametrize(
    ("dtype", "factor"),
    [(np.uint16, 257), (np.uint16, 16), (np.float32, 1 / 255), (np.float64, 257)],
)
def test_the_same_images_in_another_number_type_look_alike(
    rng: np.random.Generator, dtype: Any, factor: float
) -> None:
    images = taken_alike(rng, 4)
    shared = shared_by(images)
    for image in (images[0], images[0][:, 60:]):  # a whole one, and a part of one
        converted = (image * np.float64(factor)).astype(dtype)
        seen, again = shared.apply(image), shared.apply(converted)
        np.testing.assert_allclose(again, seen, atol=0.06)


def test_under_another_light_what_is_darkest_and_brightest_is_so_again(
    rng: np.random.Generator,
) -> None:
    images = taken_alike(rng, 3)
    shared = shared_by(images)
    seen = shared.apply(images[0])
    for other in (
        images[0] * 0.6,
        images[0] * 0.5 + 80,
        images[0].astype(np.int16) + 60,
        (images[0].astype(np.int16) - 100) * 3,
        np.where(np.arange(128) < 64, images[0], images[0].astype(np.float32) + 300),
    ):
        found = np.abs(shared.apply(other) - seen)
        assert found.mean() < (0.15 if other.dtype == np.float32 else 1e-4)


def test_images_that_were_not_taken_alike_share_nothing(
    rng: np.random.Generator,
) -> None:
    images = taken_alike(rng, 2)
    dark = (images[1] * 0.5).astype(np.uint8)
    assert shared_by([images[0], dark]) == Normalisation()
    assert shared_by([np.repeat(image, 3, axis=0) for image in images]).per_image
    lit = np.linspace(0, 255, 128)[None, None] + rng.normal(0, 20, (1, 128, 128))
    assert shared_by([images[0], lit.clip(0, 255).astype(np.uint8)]).per_image
    assert shared_by([]) == Normalisation()


@pytest.mark.parametrize(
    "damaged", [{"std": 0.0}, {"std": -3.0}, {"low": 3.0, "high": 3.0}, {"high": -1e9}]
)
def test_a_shared_range_that_makes_no_sense_is_left_alone(
    rng: np.random.Generator, damaged: dict[str, float]
) -> None:
    images = taken_alike(rng, 2)
    shared = replace(shared_by(images), **damaged)
    assert not shared.per_image
    found, as_part = shared.applied(images[0])
    np.testing.assert_array_equal(found, Normalisation().apply(images[0]))
    assert as_part == (0.0, 1.0)


def test_one_intensity_becomes_zero_in_a_shared_range_too(
    rng: np.random.Generator,
) -> None:
    shared = shared_by(taken_alike(rng, 2))
    for value in (0, 100, 255):
        found, as_part = shared.applied(np.full((1, 64, 64), value, np.uint8))
        assert not found.any()
        assert as_part == (0.0, 1.0)
