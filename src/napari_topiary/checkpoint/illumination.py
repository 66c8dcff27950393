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
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SEAM = 0.8
"""A seam is a step of at least so many deviations of the image between its blocks."""
AGREEMENT = 0.77
"""Along a seam at least this share of the lines show the step."""
SLOPE = 1.2
"""A slope covers at least so many deviations from its darkest to its brightest part."""
EXPLAINED = 0.75
"""A slope is all but this share of the differences between blocks, or it is content."""
TILTED, TILT = 0.6, 2.0
"""One that is straight and covers so many deviations may leave more: rich content."""
DARKER, CORNERS = 0.25, 1.6
"""Of corners that are darker than the middle by so many deviations, alike in all four,
this share is enough: in 151 images without a vignette it was 0.22 at most."""
SMALLEST_SIDE = 48
"""Parts are not cut smaller, in pixels."""
LINES = 256
"""Seams are looked for in so many lines of an image."""
NEAR, FAR = 4, 24
"""A seam is sharp: the step is there within NEAR pixels, and still FAR away."""
SHARPNESS = 0.6
BANDS = 8
"""Tiles of a mosaic become brighter or darker across one line: bands of lines are
looked at each for itself."""
TILE_SEAM, TILE_AGREEMENT, TILE_SHARE = 1.0, 0.85, 0.6
"""They are cut where so large a step is seen by so many lines in so many bands."""
GAINS, GAIN_EXPLAINED = (math.log(1.5), math.log(6)), 0.7
"""A gain is so many times (as logarithms: at least, at most) larger at one end than at
the other, and all but this share of the differences of noise between blocks."""
AS_MUCH = (0.55, 1.6)
"""Where noise grows, content grows by so much of it, both as logarithms."""
RICHER, SURE = math.log(1.7), 0.95
"""Across a seam of contrast noise is so many times (as a logarithm) larger, in so many
of the lines: in images without one 0.88 at most."""
ALONG = 15
"""It is averaged over so many pixels along the seam."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Part:
    """A part of an image that is lit alike.

    Parameters
    ----------
    box
        Top, bottom, left and right in pixels, ends not included.
    slope
        Six factors of 1, y, x, y², xy, x² (y and x run from −1 to 1 within the part)
        that sum to the local brightness; None where it does not change.
    gain
        The same of the logarithm of the local contrast around 0; None where it does
        not change.
    """

    box: Box
    slope: NDArray[np.float64] | None = None
    gain: NDArray[np.float64] | None = None

    @property
    def place(self) -> tuple[slice, slice]:
        """Where it is, as an index of `(y, x)`."""
        top, bottom, left, right = self.box
        return slice(top, bottom), slice(left, right)

    @property
    def is_even(self) -> bool:
        """Whether the light is the same all over it."""
        return self.slope is None and self.gain is None

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


def parts_of(grey: NDArray[np.float32], known: NDArray[np.bool_]) -> list[Part]:
    """Cut an image at its seams and measure the slope of every part.

    Parameters
    ----------
    grey
        `(y, x)` brightness.
    known
        `(y, x)` bool: pixels that carry an image.
    """
    height, width = grey.shape
    whole = (0, height, 0, width)
    deviation = _Blocks.of(grey, known, whole).deviation
    parts = []
    for box in list(_cut(grey, known, whole, deviation)):
        blocks = _Blocks.of(grey, known, box)
        slope = _slope(blocks)
        if slope is None and box == whole:
            slope = _vignette(blocks, height, width)
        parts.append(_evened(Part(box, slope), blocks))
    return parts


@dataclass(frozen=True, eq=False, kw_only=True)
class _Blocks:
    """What there is in the blocks of a part, and where they lie (−1 to 1).

    Parameters
    ----------
    y, x
        `(n,)` their middles.
    median, spread, noise
        `(n,)` of their brightness; noise is how much it differs from row to row.
    """

    y: NDArray[np.float64]
    x: NDArray[np.float64]
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
        cls, grey: NDArray[np.float32], known: NDArray[np.bool_], box: Box
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


def _slope(blocks: _Blocks) -> NDArray[np.float64] | None:
    """Factors of the slope of a part, if it has one."""
    basis, median = blocks.basis, blocks.median
    if len(median) < 16 or blocks.deviation <= 0:
        return None
    for n, least, share in ((6, SLOPE, EXPLAINED), (3, TILT, TILTED)):
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
        return Part(part.box, slope, gain)
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


def _cut(
    grey: NDArray[np.float32], known: NDArray[np.bool_], box: Box, deviation: float
) -> Iterator[Box]:
    """Cut a part at its strongest seam, and what comes of it again."""
    top, bottom, left, right = box
    place = np.s_[top:bottom, left:right]
    down = _seam(grey[place].T, known[place].T, deviation)
    across = _seam(grey[place], known[place], deviation)
    if max(down[1], across[1]) == 0 and deviation > 0:
        down = _richer(grey[place].T, known[place].T)
        across = _richer(grey[place], known[place])
    if max(down[1], across[1]) == 0 or deviation <= 0:
        yield box
        return
    if down[1] > across[1]:
        middle = top + down[0]
        first, second = (top, middle, left, right), (middle, bottom, left, right)
    else:
        middle = left + across[0]
        first, second = (top, bottom, left, middle), (top, bottom, middle, right)
    yield from _cut(grey, known, first, deviation)
    yield from _cut(grey, known, second, deviation)


def _seam(
    grey: NDArray[np.float32],
    known: NDArray[np.bool_],
    deviation: float,
    *,
    sure: bool = False,
) -> tuple[int, float]:
    """Column of the strongest vertical seam, and its step; 0 where there is none.

    Parameters
    ----------
    grey, known
        As for `parts_of`.
    deviation
        The step is measured by it.
    sure
        Whether nearly all lines must agree, and bands of them are not looked at.
    """
    height, width = grey.shape
    if width < 2 * SMALLEST_SIDE or height < SMALLEST_SIDE:
        return 0, 0.0
    lines = np.linspace(0, height - 1, min(height, LINES)).round().astype(int)
    values = np.where(known[lines], grey[lines], 0).astype(np.float64)
    sums = np.pad(values.cumsum(axis=1), ((0, 0), (1, 0)))
    counts = np.pad(known[lines].cumsum(axis=1), ((0, 0), (1, 0)))
    columns = np.arange(SMALLEST_SIDE, width - SMALLEST_SIDE + 1)

    def step(reach: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """How much brighter a line is right of each column than left of it."""
        here, before, after = columns, columns - reach, columns + reach
        n = counts[:, here] - counts[:, before], counts[:, after] - counts[:, here]
        seen = (n[0] > 0) & (n[1] > 0)
        dark = (sums[:, here] - sums[:, before]) / np.maximum(n[0], 1)
        bright = (sums[:, after] - sums[:, here]) / np.maximum(n[1], 1)
        return bright - dark, seen

    near, seen = step(NEAR)
    far, _ = step(FAR)
    enough = seen.mean(axis=0) > 0.5
    agreement = SURE if sure else AGREEMENT
    strength = np.where(enough, _steps(near, far, SEAM * deviation, agreement), 0.0)
    if not sure and not strength.any() and height >= 2 * SMALLEST_SIDE:
        least = TILE_SEAM * deviation
        steps = np.array(
            [
                _steps(one, other, least, TILE_AGREEMENT)
                for one, other in zip(
                    np.array_split(near, BANDS), np.array_split(far, BANDS), strict=True
                )
            ]
        )
        is_seam = enough & ((steps > 0).mean(axis=0) >= TILE_SHARE)
        strength = np.where(is_seam, steps.mean(axis=0), 0.0)
    if not strength.any():
        return 0, 0.0
    best = int(strength.argmax())
    return int(columns[best]), float(strength[best])


def _richer(grey: NDArray[np.float32], known: NDArray[np.bool_]) -> tuple[int, float]:
    """Column of the strongest vertical seam of contrast, and its step; 0 for none."""
    height, width = grey.shape
    if width < 2 * SMALLEST_SIDE or height < 2 * SMALLEST_SIDE:
        return 0, 0.0
    # Differences along the seam say nothing of what lies on its other side.
    noise, content = (_rough(grey, known, apart) for apart in (1, FAR // 2))
    seen = np.isfinite(noise) & np.isfinite(content)
    if not seen.any() or (least := 1e-3 * float(noise[seen].mean())) <= 0:
        return 0, 0.0
    logs = np.log(np.where(seen, noise, 0) + least)
    column, step = _seam(logs, seen, RICHER / SEAM, sure=True)
    if step == 0:
        return 0, 0.0
    grows = []
    for values in (noise, content):
        sides = np.s_[:, max(0, column - 4 * FAR) : column], np.s_[:, column:]
        left, right = (float(values[at][seen[at]].mean()) for at in sides)
        grows.append(math.log(max(right, least) / max(left, least)))
    alike = AS_MUCH[0] <= grows[1] / (grows[0] or math.inf) <= AS_MUCH[1]
    return (column, step) if alike else (0, 0.0)


def _rough(
    grey: NDArray[np.float32], known: NDArray[np.bool_], apart: int
) -> NDArray[np.float32]:
    """How much rows differ `(line, x)` that lie so far apart; NaN where not known."""
    last = len(grey) - ALONG - FAR // 2
    starts = np.linspace(0, last, min(last + 1, LINES // 4)).round().astype(int)
    rows = starts[:, None] + np.arange(ALONG)
    differ = np.abs(grey[rows + apart] - grey[rows]).mean(axis=1)
    both = (known[rows + apart] & known[rows]).all(axis=1)
    return np.where(both, differ, np.float32(np.nan))


def _steps(
    near: NDArray[np.float64], far: NDArray[np.float64], least: float, agreement: float
) -> NDArray[np.float64]:
    """How large a sharp step is that lines agree on, by column; 0 where there is none.

    Parameters
    ----------
    near, far
        `(line, column)` how much brighter it becomes close by, and farther away.
    least
        A smaller step is none.
    agreement
        Share of the lines that must show it.
    """
    near_step, far_step = np.median(near, axis=0), np.median(far, axis=0)
    size, way = np.abs(near_step), np.sign(near_step)
    agreeing = (np.sign(near) == way).mean(axis=0)
    is_step = (
        (size >= least) & (agreeing >= agreement) & (far_step * way >= SHARPNESS * size)
    )
    return np.where(is_step, size, 0.0)
