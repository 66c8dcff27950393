"""Margins are found, and what carries an image is never taken for one."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Picture
from scipy import ndimage

from napari_topiary.io.image_area import image_area, image_problem, rows_without_banner
from napari_topiary.normalisation import Normalisation

FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
DTYPES = (np.uint8, np.uint16, np.float32)
SEEDS = st.integers(0, 10_000)


def texture(rng, shape, dtype=np.uint8):
    """A micrograph: smooth shapes and noise, hardly a pixel at the ends."""
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(1, 6))
    grey = 128 + 30 * smooth / smooth.std() + rng.normal(0, 6, shape)
    factor = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    return (grey.clip(3, 250).round() * factor).astype(dtype)


def check(image, inside, *, missed=0.01, taken=0.005):
    """Margins are found but for a few pixels, and hardly any of the image is."""
    found = image_area(image[None])
    wrong = inside & ~found
    assert wrong.sum() <= taken * inside.sum() + 8, f"{wrong.sum()} pixels of the image"
    left = ~inside & found
    # The seam may run through the squares that are looked at.
    edge = ndimage.binary_dilation(inside, iterations=8) & ~inside
    assert (left & ~edge).sum() <= missed * (~inside).sum(), f"{left.sum()} of margin"


@FEW
@given(
    seed=SEEDS,
    dtype=st.sampled_from(DTYPES),
    end=st.sampled_from(["low", "high", "middle"]),
    widths=st.tuples(*[st.integers(0, 60)] * 4),
)
def test_straight_margins(seed, dtype, end, widths):
    rng = np.random.default_rng(seed)
    image = texture(rng, (rng.integers(90, 200), rng.integers(90, 200)), dtype)
    value = {
        "low": dtype(0),
        "high": np.iinfo(dtype).max if dtype != np.float32 else 1.0,
        "middle": np.median(image).astype(dtype),
    }[end]
    top, bottom, left, right = widths
    sides = ((top, bottom), (left, right))
    whole = np.pad(image, sides, constant_values=value)
    inside = np.pad(np.ones(image.shape, bool), sides)
    check(whole, inside, taken=0.02)


@FEW
@given(seed=SEEDS, angle=st.floats(-44, 44), value=st.sampled_from([0, 255]))
def test_corners_of_a_turned_image(seed, angle, value):
    image = texture(np.random.default_rng(seed), (160, 160))
    turned = ndimage.rotate(image, angle, order=0, cval=value)
    inside = ndimage.rotate(np.ones(image.shape, np.uint8), angle, order=0) > 0
    check(turned, inside, missed=0.1 if abs(angle) < 6 else 0.05)


@FEW
@given(seed=SEEDS, slope=st.floats(0.1, 3), share=st.floats(0.1, 0.5))
def test_a_slope(seed, slope, share):
    image = texture(np.random.default_rng(seed), (160, 200))
    y, x = np.mgrid[:160, :200]
    height = y + slope * x
    inside = height > np.quantile(height, share)
    check(np.where(inside, image, 0).astype(np.uint8), inside, missed=0.05)


@FEW
@given(seed=SEEDS, rows=st.integers(3, 5), shift=st.integers(12, 30))
def test_a_mosaic_whose_rows_drift(seed, rows, shift):
    rng, side = np.random.default_rng(seed), 80
    shape = (side * rows, side * 3 + shift * (rows - 1))
    image, inside = np.zeros(shape, np.uint8), np.zeros(shape, bool)
    for row in range(rows):
        for column in range(3):
            place = np.s_[
                row * side : (row + 1) * side,
                column * side + row * shift : (column + 1) * side + row * shift,
            ]
            image[place] = texture(rng, (side, side))
            inside[place] = True
    check(image, inside, missed=0.05, taken=0.01)


def test_a_round_aperture():
    image = texture(np.random.default_rng(1), (240, 240))
    y, x = np.mgrid[:240, :240]
    inside = np.hypot(y - 120, x - 120) < 115
    check(np.where(inside, image, 0).astype(np.uint8), inside, missed=0.05)


@FEW
@given(
    seed=SEEDS,
    count=st.integers(1, 40),
    kind=st.sampled_from(["plain", "textured"]),
    ground=st.sampled_from([0, 40, 255]),
)
def test_objects_on_a_plain_ground_are_an_image(seed, count, kind, ground):
    rng = np.random.default_rng(seed)
    if kind == "textured":
        count = 1 + count // 4  # so many that they touch may be what a margin is round
    image = np.full((160, 160), ground, np.uint8)
    y, x = np.mgrid[:160, :160]
    grey = texture(rng, image.shape)
    for _ in range(count):
        cy, cx = rng.uniform(0, 160, 2)
        a, b = rng.uniform(5, 22, 2)
        inside = ((y - cy) / a) ** 2 + ((x - cx) / b) ** 2 < 1
        image[inside] = grey[inside] if kind == "textured" else 128
    found = image_area(image[None])
    # All of it counts, or nothing is to be seen.
    assert found.all() or not found.any()
    if (image != ground).mean() > 0.02:
        assert found.all()


@FEW
@given(seed=SEEDS, clipped=st.floats(0, 0.3))
def test_saturated_places_are_an_image(seed, clipped):
    image = texture(np.random.default_rng(seed), (150, 170)).astype(float)
    low, high = np.quantile(image, [clipped, 1 - clipped])
    image = ((image - low) / (high - low)).clip(0, 1) * 255
    assert image_area(image.astype(np.uint8)[None]).mean() > 0.995


@FEW
@given(seed=SEEDS, share=st.floats(0, 0.9))
def test_pixels_that_are_no_numbers_carry_no_image(seed, share):
    rng = np.random.default_rng(seed)
    image = texture(rng, (80, 90), np.float32)
    lost = rng.random(image.shape) < share
    image[lost] = rng.choice([np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(image_area(image[None]), ~lost)


@pytest.mark.parametrize("value", [0, 255])
def test_a_missing_tile(value):
    image = texture(np.random.default_rng(4), (200, 200))
    inside = np.ones(image.shape, bool)
    image[64:128, 72:136] = value
    inside[64:128, 72:136] = False
    check(image, inside)


def with_banner(rng, *, ground, ink, height, above, jpeg=False, line=False):
    """A micrograph with rows of letters and a scale bar in a banner."""
    image = texture(rng, (220, 300))
    banner = np.full((height, 300), ground, np.uint8)
    for x in range(10, 290, 9):
        if rng.random() < 0.5:
            banner[height // 4 : height // 2, x : x + rng.integers(2, 6)] = ink
    banner[-height // 4 - 3 : -height // 4, 200:280] = ink
    if line:
        banner[0 if not above else -1] = ink
    parts = [banner, image] if above else [image, banner]
    whole = np.concatenate(parts)
    if jpeg:
        file = io.BytesIO()
        Picture.fromarray(whole).save(file, "JPEG", quality=85)
        whole = np.asarray(Picture.open(file))
    rows = (height, height + 220) if above else (0, 220)
    return whole, rows


@FEW
@given(
    seed=SEEDS,
    colours=st.sampled_from([(0, 255), (255, 0), (40, 255), (0, 200)]),
    height=st.integers(16, 70),
    above=st.booleans(),
    line=st.booleans(),
    jpeg=st.booleans(),
)
def test_information_banners(seed, colours, height, above, line, jpeg):
    ground, ink = colours
    image, (top, bottom) = with_banner(
        np.random.default_rng(seed),
        ground=ground,
        ink=ink,
        height=height,
        above=above,
        line=line,
        jpeg=jpeg,
    )
    first, last = rows_without_banner(image[None])
    assert abs(first - top) <= 2
    assert abs(last - bottom) <= 2
    area = image_area(image[None])
    assert area[top + 2 : bottom - 2].mean() > 0.999
    assert not area[: max(0, top - 2)].any()
    assert not area[bottom + 2 :].any()


@FEW
@given(seed=SEEDS, depth=st.integers(2, 60))
def test_dark_ground_is_no_banner(seed, depth):
    rng = np.random.default_rng(seed)
    image = texture(rng, (200, 220)).astype(float)
    y = np.arange(200)[:, None]
    image *= ((200 - y) / depth).clip(0, 1)  # it fades into vacuum
    assert rows_without_banner(image.astype(np.uint8)[None]) is None
    assert rows_without_banner(texture(rng, (200, 220))[None]) is None


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ground", [0, 255])
@pytest.mark.parametrize("corner", [(0, 0), (0, 85), (86, 0), (86, 85), (40, 40)])
def test_an_image_of_which_hardly_anything_is_left_is_blank(channels, ground, corner):
    image = np.full((channels, 96, 96), ground, np.uint8)
    y, x = corner
    rest = np.random.default_rng(0).integers(1, 255, (channels, 8, 8), np.uint8)
    image[:, y : y + 8, x : x + 8] = rest
    assert not image_area(image).any()


def test_values_beyond_what_is_computed_with_are_no_numbers(rng):
    image = texture(rng, (40, 40), np.float32).astype(np.float64)
    image[3, 4], image[5, 6], image[7, 8] = 1e300, -np.inf, 1e38
    area = image_area(image[None])
    assert not area[3, 4] and not area[5, 6] and area.sum() >= 40 * 40 - 10
    normalised = Normalisation().apply(image[None])
    assert np.isfinite(normalised).all() and np.abs(normalised).max() < 100
    assert image_problem(image[None]) is None
