"""How bright an image is from place to place, where that says nothing about content.

Things are looked for that hide everything else from a network that is given one mean
and one deviation: *seams*, straight lines across which all of the image becomes
brighter (stitched fields, a field half in shadow) or richer in contrast, a *slope*,
brightness that changes slowly over all of it (tilted light, a vignette), and a *gain*,
contrast that does. An image without them is treated as a whole: content is never
levelled out. Contrast is that of the light, not of content, where noise grows as much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_topiary.normalisation.regions import Region
from napari_topiary.normalisation.seams import AS_MUCH, cut_at_seams
from napari_topiary.types import Window

SLOPE = 1.2
"""A slope covers at least so many deviations from its darkest to its brightest part."""
EXPLAINED = 0.75
"""A slope is all but this share of the differences between blocks, or it is content."""
TILTED, TILT = 0.6, 2.0
"""One that is straight and covers so many deviations may leave more: rich content."""
LARGE, TILTED_LARGE, TILT_LARGE = 224, 0.45, 1.4
"""Of images of so many rows and columns, whose blocks hold more of their content, less
is enough: of 159 real ones no other is levelled by that, but of 16 fields of cells that
are tilted by two of their deviations 10 instead of 1, of 16 sections 15 instead of 9.
Of 484 quarters of them 12 would be, and their Dice fell by 0.04."""
DARKER, CORNERS = 0.25, 1.6
"""Of corners that are darker than the middle by so many deviations, alike in all four,
this share is enough: in 151 images without a vignette it was 0.22 at most."""
GAINS, GAIN_EXPLAINED = (math.log(1.5), math.log(6)), 0.7
"""A gain is so many times (as logarithms: at least, at most) larger at one end than at
the other, and all but this share of the differences of noise between blocks."""


@dataclass(frozen=True, eq=False)
class Part:
    """A part of an image that is lit alike."""

    box: Window  #: Top, bottom, left and right in pixels, ends not included
    #: Six factors of 1, y, x, y², xy, x² (y and x run from −1 to 1 within the part)
    #: that sum to the local brightness; None where it does not change
    slope: NDArray[np.float64] | None = None
    #: The same of the logarithm of the local contrast around 0; None where it does not
    #: change
    gain: NDArray[np.float64] | None = None
    #: The area of like brightness that it is cut from; None = the whole image
    region: Region | None = None

    @property
    def place(self) -> tuple[slice, slice]:
        """Where it is, as an index of `(y, x)`."""
        top, bottom, left, right = self.box
        return slice(top, bottom), slice(left, right)

    @property
    def is_even(self) -> bool:
        """Whether the light is the same all over it."""
        return self.slope is None and self.gain is None

    def mine(self, inside: tuple[slice, slice]) -> NDArray[np.bool_] | None:
        """Which pixels of a rectangle of it are in it `(y, x)`; None = all of them."""
        if self.region is None:
            return None
        rows, columns = inside
        top, _, left, _ = self.box
        return self.region.within(
            (
                slice(rows.start + top, rows.stop + top),
                slice(columns.start + left, columns.stop + left),
            )
        )

    def level(
        self, values: NDArray[np.float32], inside: tuple[slice, slice] | None = None
    ) -> None:
        """Take the slope off intensities, and even out their contrast, in place.

        Parameters
        ----------
        values
            `(c, y, x)` of the part, or of a rectangle of it.
        inside
            Where that rectangle lies in the part; None = all of it.
        """
        here = inside or (slice(None), slice(None))
        if self.slope is not None:
            values -= self._surface(self.slope)[here]
        if self.gain is not None:
            values *= np.exp(-self._surface(self.gain)[here])

    def _surface(self, factors: NDArray[np.float64]) -> NDArray[np.float32]:
        """Sum of the terms `(y, x)` over the part."""
        top, bottom, left, right = self.box
        y = np.linspace(-1, 1, bottom - top, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, right - left, dtype=np.float32)[None]
        one, fy, fx, fyy, fxy, fxx = factors.astype(np.float32)
        found: NDArray[np.float32] = (one + (fy + fyy * y) * y) + (fx + fxx * x) * x
        found += (fxy * y) * x
        return found


def parts_of(
    grey: NDArray[np.float32], known: NDArray[np.bool_], region: Region | None = None
) -> list[Part]:
    """Cut an image at its seams and measure the slope of every part.

    Parameters
    ----------
    grey
        `(y, x)` brightness.
    known
        `(y, x)` bool: pixels that carry an image, and lie in the region.
    region
        What is looked at; None = the whole image.
    """
    height, width = grey.shape
    whole = (0, height, 0, width)
    deviation = _Blocks.of(grey, known, whole).deviation
    parts = []
    for box in list(cut_at_seams(grey, known, whole, deviation)):
        blocks = _Blocks.of(grey, known, box)
        slope = _slope(blocks, smallest=min(box[1] - box[0], box[3] - box[2]))
        if slope is None and box == whole:
            slope = _vignette(blocks, height, width)
        parts.append(_evened(Part(box, slope, region=region), blocks))
    return parts


@dataclass(frozen=True, eq=False, kw_only=True)
class _Blocks:
    """What there is in the blocks of a part, and where they lie (−1 to 1)."""

    #: `y`, `x`: `(n,)` their middles
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    #: `median`, `spread`, `noise`: `(n,)` of their brightness; noise is how much it
    #: differs from row to row
    median: NDArray[np.float64]
    spread: NDArray[np.float64]
    noise: NDArray[np.float64]

    @property
    def deviation(self) -> float:
        """The usual deviation within a block."""
        return float(np.median(self.spread)) if len(self.spread) else 0.0

    @property
    def basis(self) -> NDArray[np.float64]:
        """`(n, 6)` terms 1, y, x, y², xy, x²."""
        y, x = self.y, self.x
        return np.stack([np.ones_like(y), y, x, y * y, x * y, x * x], axis=1)

    @classmethod
    def of(
        cls, grey: NDArray[np.float32], known: NDArray[np.bool_], box: Window
    ) -> _Blocks:
        top, bottom, left, right = box
        rows, columns = _edges(top, bottom), _edges(left, right)
        found: list[tuple[float, float, float, float, float]] = []
        for upper, lower in pairwise(rows):
            for near, far in pairwise(columns):
                # 64 x 64 of its pixels say enough about a block.
                step = max(1, (lower - upper) // 64), max(1, (far - near) // 64)
                place = np.s_[upper : lower : step[0], near : far : step[1]]
                use = known[place]
                if use.mean() < 0.5:
                    continue
                low, middle, high = np.percentile(grey[place][use], (16, 50, 84))
                y = (upper + lower - 1 - 2 * top) / max(1, bottom - top - 1) - 1
                x = (near + far - 1 - 2 * left) / max(1, right - left - 1) - 1
                below = np.s_[upper + 1 : lower : step[0], near : far : step[1]]
                rough = np.abs(grey[below] - grey[place][: len(grey[below])])
                noise = float(rough.mean()) if rough.size else 0.0
                found.append((y, x, float(middle), float(high - low) / 2, noise))
        values = np.array(found, dtype=np.float64).reshape(-1, 5).T
        return cls(**dict(zip(cls.__annotations__, values, strict=True)))


def _edges(start: int, end: int) -> list[int]:
    """Where blocks begin and end: eight along a side, but of 16 pixels or more."""
    count = max(1, min(8, (end - start) // 16))
    return [round(float(edge)) for edge in np.linspace(start, end, count + 1)]


def _slope(blocks: _Blocks, *, smallest: int) -> NDArray[np.float64] | None:
    """Factors of the slope of a part, if it has one; `smallest` is its shorter side."""
    basis, median = blocks.basis, blocks.median
    if len(median) < 16 or blocks.deviation <= 0:
        return None
    tilt = (TILT, TILTED) if smallest < LARGE else (TILT_LARGE, TILTED_LARGE)
    for n, least, share in ((6, SLOPE, EXPLAINED), (3, *tilt)):
        own = np.linalg.lstsq(basis[:, :n], median, rcond=None)[0]
        fitted = basis[:, :n] @ own
        if np.ptp(fitted) < least * blocks.deviation:
            continue
        if 1 - np.var(median - fitted) / np.var(median) >= share:
            factors = np.zeros(6)
            factors[:n] = own
            factors[0] -= fitted.mean()
            return factors
    return None


def _evened(part: Part, blocks: _Blocks) -> Part:
    """The same part, with the gain that changes over it, if there is one."""
    if len(blocks.noise) < 16 or min(blocks.noise.min(), blocks.spread.min()) <= 0:
        return part
    basis, noise = blocks.basis, np.log(blocks.noise)
    for n in (3, 6):
        own = np.linalg.lstsq(basis[:, :n], noise, rcond=None)[0]
        fitted = basis[:, :n] @ own
        if not GAINS[0] <= np.ptp(fitted) <= GAINS[1]:
            continue
        if 1 - np.var(noise - fitted) / np.var(noise) < GAIN_EXPLAINED:
            continue
        grows = float(np.polyfit(fitted, np.log(blocks.spread), 1)[0])
        if not AS_MUCH[0] <= grows <= AS_MUCH[1]:
            continue
        gain, slope = np.zeros(6), np.zeros(6)
        gain[:n] = own
        gain[0] -= fitted.mean()
        if part.slope is not None:
            slope += part.slope
        # What lies in the middle stays there, however large the gain.
        slope[0] += np.median(blocks.median - basis @ slope)
        return replace(part, slope=slope, gain=gain)
    return part


def _vignette(blocks: _Blocks, height: int, width: int) -> NDArray[np.float64] | None:
    """Factors of a slope that is the same in all directions, darker outwards."""
    y, x, median = blocks.y, blocks.x, blocks.median
    if len(median) < 16 or blocks.deviation <= 0:
        return None
    tall, wide = np.square([height, width]) / (height**2 + width**2)
    out = tall * y**2 + wide * x**2
    fall, middle = np.polyfit(out, median, 1)
    left = np.var(median - (middle + fall * out)) / max(np.var(median), 1e-12)
    if -fall * np.ptp(out) < CORNERS * blocks.deviation or 1 - left < DARKER:
        return None
    return np.array([-fall * out.mean(), 0, 0, fall * tall, 0, fall * wide])
