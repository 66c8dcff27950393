"""Areas of an image that differ so much in brightness that each hides the other.

A grid bar beside the sample, holes in a film, a field whose one part lies in shadow:
one mean and one deviation for all of it leave nothing to be seen in either. Such areas
have any shape. They are told from content by what is within: both are large, hardly
anything lies between them in brightness, and things are to be seen in both, or in one
body that all else surrounds. Bright nuclei on a plain ground are content.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

GRID = 96
"""Areas are looked for in so many squares along the shorter side."""
FINEST, SMALLEST_SIDE = 3, 96
"""Squares are not smaller, nor are images divided that are, in pixels."""
WINDOW = 7
"""Content is smaller than half a square window of so many of them, or not in most."""
APART = ((4.0, 0.35), (2.5, 0.21), (1.5, 0.12))
"""Two areas differ by so many deviations of each; then so much lies between them in
brightness, as a share of the smaller one, at most: their edge. In 138 images of nuclei,
membranes, myelin, viruses and particles it was 0.22 at least, 0.28 where they differed
by 2.5 deviations, and by more than 3.5 they never did."""
SMALLEST = 0.05
"""An area takes at least this share of an image."""
CLEAR = (2, 98)
"""Where these percentiles do not overlap, a pixel at the edge tells by itself in which
of the two it lies."""
WIDE, MOSTLY = 3, 0.8
"""Most of it lies in squares that reach so many squares of the grid to all sides."""
CONTENT = 0.3
"""Smoothed content keeps this share of its deviation, noise does not."""
SMOOTH = 2.0
"""Pixels by which it is smoothed."""
BODY, SOLID = 0.25, 0.85
"""The one body that things are to be seen in takes at least this share of an image, and
so much of its convex hull."""
FEWEST = 400
"""Fewer pixels say nothing of an area."""
DEPTH = 3
"""Areas are divided so often at most."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Region:
    """An area of an image that differs in brightness from the others."""

    mask: Mask  #: `(y, x)` bool, of every `step`-th row and column of the image
    is_plain: bool = False  #: Whether nothing is to be seen in it but noise
    step: int = 1  #: 1 = of all of them

    def within(self, place: tuple[slice, slice]) -> Mask:
        """Which pixels of a rectangle of the image belong to it."""
        if self.step == 1:
            return np.asarray(self.mask[place])
        rows, columns = (
            np.minimum(np.arange(at.start, at.stop) // self.step, n - 1)
            for at, n in zip(place, self.mask.shape, strict=True)
        )
        return np.asarray(self.mask[rows[:, None], columns])


def regions_of(grey: NDArray[np.float32], known: Mask) -> list[Region]:
    """Divide an image into areas of very different brightness.

    Parameters
    ----------
    grey
        `(y, x)` brightness, tails cut off.
    known
        `(y, x)` bool: pixels that carry an image.

    Returns
    -------
    list
        Nothing where it is one. Every pixel is in one of them.
    """
    found = list(_divided(grey, known, np.ones_like(known), DEPTH))
    return found if len(found) > 1 else []


def _divided(
    grey: NDArray[np.float32], known: Mask, within: Mask, depth: int
) -> Iterator[Region]:
    two = _two(grey, known & within) if depth else None
    if two is None:
        yield Region(within)
        return
    for area, is_plain in two:
        if is_plain:
            yield Region(area & within, is_plain=True)
        else:
            yield from _divided(grey, known, area & within, depth - 1)


def _two(grey: NDArray[np.float32], known: Mask) -> list[tuple[Mask, bool]] | None:
    """Divide what is known in two, each with whether it is plain; None = it is one."""
    if min(grey.shape) < SMALLEST_SIDE:
        return None
    side = max(FINEST, math.ceil(min(grey.shape) / GRID))
    blocks, here = _blocks(grey, known, side)
    if here.sum() < FEWEST // 4:
        return None
    if not here.all():
        nearest = ndimage.distance_transform_edt(
            ~here, return_distances=False, return_indices=True
        )
        blocks = blocks[tuple(nearest)]
    smooth = np.asarray(ndimage.median_filter(blocks, WINDOW, mode="nearest"))
    if np.ptp(smooth[here]) <= 0:
        return None
    level = _otsu(smooth[here])
    up = smooth > level
    shares = [float((here & area).sum() / here.size) for area in (~up, up)]
    if min(shares) < SMALLEST:
        return None
    low, high = (float(np.median(smooth[here & area])) for area in (~up, up))
    third = (high - low) / 3
    between = here & (smooth > low + third) & (smooth < high - third)
    edge = float(between.sum()) / (min(shares) * here.size)
    if not all(_is_wide(area & here, area | ~here) for area in (~up, up)):
        return None
    plain, ends = list[bool](), list[NDArray[np.float64]]()
    soft = ndimage.gaussian_filter(grey, SMOOTH)
    for area in (~up, up):
        inner = ndimage.binary_erosion(area & here, iterations=2, border_value=1)
        pixels = known & _finely(inner, side, grey.shape)
        if pixels.sum() < FEWEST:
            return None
        deviation = float(grey[pixels].std(dtype=np.float64))
        if not any(
            high - low >= apart * deviation and edge <= most for apart, most in APART
        ):
            return None
        ends.append(np.percentile(grey[pixels], CLEAR))
        plain.append(float(soft[pixels].std(dtype=np.float64)) < CONTENT * deviation)
    if all(plain) or (any(plain) and not _is_body(~up if plain[1] else up, here)):
        return None
    fine = _interpolated(smooth, side, grey.shape) > (low + high) / 2
    if ends[0][1] < ends[1][0]:
        rim = ndimage.maximum_filter(up, 3) & ~ndimage.minimum_filter(up, 3)
        near = _finely(rim, side, grey.shape)
        level = float(ends[0][1] + ends[1][0]) / 2
        own = np.asarray(ndimage.median_filter(grey, 3, mode="nearest") > level)
        fine = np.where(near, own, fine)
    return [(~fine, plain[0]), (fine, plain[1])]


def _blocks(
    grey: NDArray[np.float32], known: Mask, side: int
) -> tuple[NDArray[np.float32], Mask]:
    """Median of squares of a side, and which of them are mostly known."""
    height, width = (n // side for n in grey.shape)

    some = np.arange(0, side, max(1, side // 8))  # 8 x 8 pixels say enough of one

    def cut(values: NDArray[Any]) -> NDArray[Any]:
        rows, columns = (
            (np.arange(n)[:, None] * side + some).ravel() for n in (height, width)
        )
        squares = values[rows[:, None], columns]
        squares = squares.reshape(height, len(some), width, len(some)).swapaxes(1, 2)
        return squares.reshape(height, width, -1)

    return np.median(cut(grey), axis=2), cut(known).mean(axis=2) > 0.5


def _otsu(values: NDArray[np.float32]) -> float:
    """Brightness that divides values in two that differ most."""
    counts, edges = np.histogram(values, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    below, total = counts.cumsum()[:-1], (counts * middles).cumsum()
    above = len(values) - below
    apart = (total[-1] * below / len(values) - total[:-1]) ** 2 / (
        np.maximum(below * above, 1)
    )
    # Where nothing lies between them all levels there do: the middle one.
    best = np.flatnonzero(apart >= apart.max() * (1 - 1e-9))
    return float(edges[1 + int(best.mean())])


def _is_wide(area: Mask, beyond: Mask) -> bool:
    """Whether an area is no thin line; what is not known may belong to it."""
    pad = 2 * WIDE
    padded = np.pad(beyond, pad, mode="edge")
    core = ndimage.binary_erosion(padded, iterations=WIDE)
    opened = ndimage.binary_dilation(core, iterations=WIDE)[pad:-pad, pad:-pad]
    return bool((opened & area).sum() >= MOSTLY * area.sum())


def _is_body(area: Mask, here: Mask) -> bool:
    """Whether an area is one body without bays, and large."""
    from skimage.morphology import convex_hull_image

    numbers, _ = ndimage.label(area & here)
    sizes = np.bincount(numbers.ravel())[1:]
    body = numbers == 1 + int(sizes.argmax())
    return bool(
        body.sum() >= max(BODY * here.sum(), 0.9 * sizes.sum())
        and body.sum() >= SOLID * (convex_hull_image(body) & here).sum()
    )


def _finely(area: Mask, side: int, shape: tuple[int, ...]) -> Mask:
    """Squares of a side as pixels."""
    fine = area.repeat(side, axis=0).repeat(side, axis=1)
    rest = [(0, n - m) for n, m in zip(shape, fine.shape, strict=True)]
    return np.pad(fine, rest, mode="edge")


def _interpolated(
    blocks: NDArray[np.float32], side: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Brightness of pixels between the middles of squares of a side."""
    for axis, n in enumerate(shape):
        at = (np.arange(n, dtype=np.float32) + 0.5) / side - 0.5
        at = at.clip(0, blocks.shape[axis] - 1)
        low = np.minimum(at.astype(int), blocks.shape[axis] - 2).clip(0)
        high = np.minimum(low + 1, blocks.shape[axis] - 1)
        part = np.expand_dims(at - low.astype(np.float32), 1 - axis)
        first, second = (blocks.take(index, axis=axis) for index in (low, high))
        blocks = first + part * (second - first)
    return blocks
