"""Where a file carries an image, not margins or NaN; what is wrong with grey levels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_topiary.annotations.label_images import sides_of
from napari_topiary.io.formats.base import number_type_problem
from napari_topiary.types import Image

BLOCK = 8
"""Flat areas are looked for in squares of this side, in pixels, then drawn exactly."""
BLANK = 0.99
"""An image of which more than this share has one value shows nothing."""
SAMPLED = 10_000
"""So many pixels tell which value is the usual one."""
SMALLEST_PART = 0.05
"""Share of an image below which a piece of it is an object, not a part."""
SMALLEST_REST = 0.15
"""Beside margins at least this share of an image is left, else they are its ground."""
SOLID = 0.85
"""A part of an image fills at least this share of its convex hull; tissue, cells and
clipped myelin do not."""
MARGIN = 0.02
"""A margin that is not straight takes in a corner and this share of an image."""
GAP = 0.04
"""A rectangle of one value inside the image is missing from this share of it on."""
NOTCH = 0.005
"""Beside a margin, a rectangle at the border is one from this share of an image on."""
BAR = 0.4
"""An information banner is at most this share of the height."""
JPEG_NOISE = 4
"""Grey levels that JPEG leaves around the colour of a banner."""
LARGE = 32_000_000
"""Pixels: larger images are measured by some of their rows and columns, and predicted
from file to file, part by part."""
THIN_PIXELS = 16_000_000
"""So many pixels at most are then measured."""


def thinning(shape: tuple[int, int]) -> int:
    """Every how many-th row and column is measured of an image of `shape`."""
    pixels = shape[0] * shape[1]
    return 1 if pixels <= LARGE else math.ceil(math.sqrt(pixels / THIN_PIXELS))


def known_in(
    area: NDArray[np.bool_],
    image: NDArray[Any],
    *,
    step: int,
    corner: tuple[int, int] = (0, 0),
) -> NDArray[np.bool_]:
    """Pixels of a part that carry an image.

    Parameters
    ----------
    area
        `(y, x)` bool, of every `step`-th row and column of the whole image.
    image
        `(c, y, x)` the part.
    step, corner
        How `area` was thinned, and y, x of the part's first pixel.
    """
    if step == 1:
        rows, columns = (
            slice(start, start + n)
            for start, n in zip(corner, image.shape[1:], strict=True)
        )
        return np.asarray(area[rows, columns])
    near = [
        (start + np.arange(n)) // step
        for start, n in zip(corner, image.shape[1:], strict=True)
    ]
    known = np.asarray(area[near[0][:, None], near[1]])
    if image.dtype.kind == "f":
        known &= are_numbers(image).all(axis=0)
    return known


def are_numbers(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values are numbers, also in float32, which all is computed in."""
    return np.asarray(np.abs(image) <= np.finfo(np.float32).max)


def is_grey(image: NDArray[Any]) -> bool:
    """Whether three channels `(c, y, x)` are the same: grey, saved as colour."""
    return len(image) == 3 and all(np.array_equal(image[0], c) for c in image[1:])


def image_area(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Find the pixels that carry an image.

    Left out are pixels that are not numbers, margins and missing tiles of one value (as
    stitching, turning and round apertures leave them), and the bar of a microscope. A
    background of one value around objects is part of the image.

    Parameters
    ----------
    image
        `(c, y, x)`, any numeric dtype.

    Returns
    -------
    ndarray
        `(y, x)` bool; all False where nothing is to be seen.
    """
    known = np.ones(image.shape[1:], dtype=bool)
    if image.dtype.kind == "f":
        known &= are_numbers(image).all(axis=0)
        if not known.any():
            return known
    if _is_plain(image, known):
        return np.zeros_like(known)
    rows, columns = _frame(image, known)
    inside = slice(*rows), slice(*columns)
    framed = image[:, *inside]
    if framed.size < SMALLEST_REST * image.size:
        inside, framed = (slice(None), slice(None)), image
    area = np.zeros_like(known)
    area[inside] = known[inside]
    flat = _flat(framed)
    if flat is not None:
        area[inside] &= ~flat
    # One plain thing on a plain ground: what lies round it is no margin.
    return known if _is_plain(image, area) else area


def _is_plain(image: NDArray[Any], area: NDArray[np.bool_]) -> bool:
    """Whether there is one value only."""
    if not area.any():
        return True
    places = np.flatnonzero(area)
    some = places[:: max(1, len(places) // SAMPLED)]
    # The one value is that of most pixels, wherever another begins.
    usual = np.median(image.reshape(len(image), -1)[:, some], axis=1)
    same = (image == usual[:, None, None]).all(axis=0) | ~area
    # A few hot pixels on a blank image show nothing either.
    return bool(same.mean() > BLANK)


def _frame(
    image: NDArray[Any], known: NDArray[np.bool_]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns that are left when a straight frame and a bar are cut off."""
    top, bottom = _without_bar(image)
    top += _plain_lines(image[:, top:bottom], known[top:bottom])
    bottom -= _plain_lines(image[:, top:bottom][:, ::-1], known[top:bottom][::-1])
    across = image[:, top:bottom].transpose(0, 2, 1), known[top:bottom].T
    left = _plain_lines(*across)
    right = image.shape[2]
    if left < right:
        right -= _plain_lines(across[0][:, ::-1], across[1][::-1])
    return (top, bottom), (left, right)


def _plain_lines(image: NDArray[Any], known: NDArray[np.bool_]) -> int:
    """How many rows at the top have one value: a frame, not a plain background."""
    count, value = 0, None
    while count < len(known):
        line = image[:, count]
        if not known[count].all():  # the usual case is without a copy
            line = line[:, known[count]]
        if line.size:
            value = line[:, :1] if value is None else value
            if not (line == value).all():
                break
        count += 1
    if value is not None and 0 < count < len(known):
        beside = (image[:, count] == value).all(axis=0).mean()
        return 0 if beside > 0.5 else count  # the ground goes on beside an object
    return count


def rows_without_banner(image: NDArray[Any]) -> tuple[int, int] | None:
    """Return the rows that are left without a microscope's information banner.

    A banner has the colour of its outermost row in much of every row, begins at once,
    and that colour is rare in the image beside it.

    Parameters
    ----------
    image
        `(c, y, x)`, any numeric dtype.

    Returns
    -------
    tuple of int or None
        The first row and one after the last; None if there is no banner.
    """
    height = image.shape[1]
    for tolerance in (0, JPEG_NOISE) if image.dtype == np.uint8 else (0,):
        for outward in (image, image[:, ::-1]):
            rows = _banner_height(outward, tolerance)
            if rows:
                cut = height - rows
                return (0, cut) if outward is image else (rows, height)
    return None


def _without_bar(image: NDArray[Any]) -> tuple[int, int]:
    """First row and one after the last, without a banner below or above."""
    return rows_without_banner(image) or (0, image.shape[1])


def _banner_height(outward: NDArray[Any], tolerance: int) -> int:
    """How many rows at the end are a banner; 0 if there is none."""
    height = outward.shape[1]
    most = int(BAR * height)
    row = outward[:, -1]
    ground = np.median(row, axis=1, keepdims=True).astype(outward.dtype)
    if _share_of(row[:, None], ground, tolerance)[0] < 0.6:
        return 0
    share = _share_of(outward[:, height - most - BLOCK :], ground, tolerance)
    other = np.flatnonzero(share < 0.3)
    # Thin lines that part a banner from the image, or its fields, are no image.
    other = other[[bool((share[i - 2 : i] < 0.3).all()) for i in other]]
    if len(other) == 0:
        return 0
    begin = int(other[-1]) + 1
    bar, beside = share[begin:], share[max(0, begin - most) : begin]
    if len(bar) < BLOCK or bar.mean() < 0.5 or np.median(beside) > 0.1:
        return 0
    if (share[begin - BLOCK : begin] > 0.1).any():
        return 0  # it fades in: dark vacuum, not a banner
    return len(bar)


def _share_of(
    rows: NDArray[Any], ground: NDArray[Any], tolerance: int
) -> NDArray[np.float64]:
    """`(y,)` share of each row that has the colour `(c, 1)`."""
    if tolerance:
        off = np.abs(rows.astype(np.int16) - ground[..., None].astype(np.int16))
        same = (off <= tolerance).all(axis=0)
    else:
        same = (rows == ground[..., None]).all(axis=0)
    return np.asarray(same.mean(axis=1))


def _flat(image: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Pixels of margins and gaps of one value; None if there are none."""
    starts = [np.arange(0, n, BLOCK) for n in image.shape[1:]]
    lowest = _reduced(np.minimum, image, starts)
    plain = (lowest == _reduced(np.maximum, image, starts)).all(axis=0)
    if not plain.any():
        return None
    empty, ground = np.zeros_like(plain), np.zeros(image.shape[1:], dtype=bool)
    found: NDArray[np.bool_] | None = None
    for value in _commonest(lowest[:, plain].T):
        same = plain & (lowest == value[:, None, None]).all(axis=0)
        equal = (image == value[:, None, None]).all(axis=0)
        if equal.mean() > BLANK:
            return np.ones(image.shape[1:], dtype=bool)
        wanted = _margins(same)
        if not wanted.any():
            continue
        empty |= wanted
        ground |= equal
        near = ndimage.binary_dilation(wanted, np.ones((3, 3)))
        near = near.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)
        equal &= near[: image.shape[1], : image.shape[2]]
        found = equal if found is None else found | equal
    if found is None or found.mean() > 1 - SMALLEST_REST or not _is_solid(~empty):
        return None
    # Shapes of one value on a ground of another are a drawing without a margin.
    if _is_plain(image, ~ground):
        return None
    return found


def _reduced(
    ufunc: np.ufunc, image: NDArray[Any], starts: list[NDArray[np.int64]]
) -> NDArray[Any]:
    rows = ufunc.reduceat(image, starts[0], axis=1)
    return np.asarray(ufunc.reduceat(rows, starts[1], axis=2))


def _commonest(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The colours `(n, c)` that most flat squares have, at most four."""
    colours, counts = np.unique(values, axis=0, return_counts=True)
    for index in np.argsort(-counts)[:4]:
        yield colours[index]


def _margins(same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Squares of one value that are a margin or a missing tile."""
    numbers, count = ndimage.label(same)
    wanted = np.zeros(count + 1, dtype=bool)
    notches = np.zeros(count + 1, dtype=bool)
    corners = set(numbers[[0, 0, -1, -1], [0, -1, 0, -1]].tolist())
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        part = numbers[box] == number
        size = float(part.mean() * part.size / same.size)
        is_gap = size > GAP and part.mean() > 0.9
        is_margin = number in corners and size > MARGIN
        along = sum((side == number).mean() for side in sides_of(numbers))
        wanted[number] = is_gap or (is_margin and along >= 0.25)
        # Tiles that are shifted leave small ones as well.
        notches[number] = along > 0 and size > NOTCH and part.mean() > 0.9
    if wanted.any():
        wanted |= notches
    return np.asarray(wanted[numbers])


def _is_solid(rest: NDArray[np.bool_]) -> bool:
    """Whether what is left beside flat areas is parts of an image, not objects."""
    # Takes half a second to load, and most images have no flat areas.
    from skimage.morphology import convex_hull_image

    numbers, count = ndimage.label(rest, np.ones((3, 3)))
    sizes = ndimage.sum_labels(rest, numbers, np.arange(1, count + 1))
    solid = 0.0
    for number in np.flatnonzero(sizes >= SMALLEST_PART * rest.size) + 1:
        part = numbers == number
        # One round thing on a plain ground is solid as well, but not straight.
        whole = part.mean() >= 0.4
        hull = convex_hull_image(part) if whole else _box(part)
        if part.sum() >= SOLID * hull.sum():
            solid += float(part.sum())
    return solid >= 0.9 * float(rest.sum())


def _box(part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    box = np.zeros_like(part)
    box[ndimage.find_objects(part.astype(np.uint8))[0]] = True
    return box


def kind_problem(image: Image) -> str | None:
    """Return why something is not one image of grey levels or colours, as a sentence.

    Parameters
    ----------
    image
        `(c, y, x)`.
    """
    if image.ndim != 3:
        return (
            f"The image has the shape {image.shape}; one 2-D image is needed: open a "
            "stack slice-wise."
        )
    if image.size == 0:
        return "The image is empty: it has no pixels."
    return number_type_problem(image.dtype, "The image")


def image_problem(image: Image) -> str | None:
    """Return what makes an image useless, as a sentence.

    Any number type will do; what counts is that the pixels say something. Pixels that
    are not numbers are left out, like a margin, as long as there are others.

    Parameters
    ----------
    image
        `(c, y, x)`.

    Returns
    -------
    str or None
        One sentence, None if all is well.
    """
    sentence = kind_problem(image)
    if sentence is not None:
        return sentence
    values = image[are_numbers(image)] if image.dtype.kind == "f" else image
    if values.size == 0:
        return (
            "Every pixel is not a number (NaN, infinite or above 3e38): there is "
            "nothing to see in the image; check the export."
        )
    low, high = values.min(), values.max()
    if low == high:
        return (
            f"The image is constant (every pixel is {low:g}): there is nothing to see "
            "in it; check the export."
        )
    for end, words in ((high, "brightest"), (low, "darkest")):
        share = float(np.mean(values == end))
        if share > BLANK:
            return (
                f"{100 * share:.1f} % of the pixels have the {words} value ({end:g}): "
                "the image is saturated; export it with another contrast range."
            )
    return None
