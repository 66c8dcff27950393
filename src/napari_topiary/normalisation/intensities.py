"""How bright an image is: mean, deviation and tails of its intensities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

PERCENTILE_PIXELS = 2_000_000
"""Percentiles of larger images are taken from evenly spaced pixels."""
TAILS = 0.5
"""`robust`: how far beyond the percentiles, in their distance, intensities count."""
ALIKE_MEAN, ALIKE_DEVIATION, ALIKE_ENDS = 1.0, 1.4, 0.25
"""An image, or a part of one, was taken as others were where means differ by so many
deviations at most, deviations by such a factor, and neither end of its intensities lies
farther out, in deviations."""
STEADY_MEAN, STEADY_DEVIATION = 0.35, 1.2
"""Images that share one range agree so well themselves."""
FULL_RANGES = (1.0, 2.0**8 - 1, 2.0**12 - 1, 2.0**15 - 1, 2.0**16 - 1, 2.0**32 - 1)
"""What white becomes when the same image is saved in another number type."""
FOREIGN = 6.0
"""A foreign body lies beyond all else in an image by so many times its whole range."""
FOREIGN_SHARES = (0.003, 0.35)
"""Share of an image that it takes."""
CONTENT = 0.35
"""Smoothed content keeps this share of its deviation; noise, which one thing on a plain
ground is beside, does not."""


@dataclass(frozen=True)
class Intensities:
    """Mean and deviation of intensities, and where their tails are cut off."""

    low: float
    high: float
    mean: float
    deviation: float

    @classmethod
    def of(cls, values: NDArray[np.float32], area: NDArray[np.bool_]) -> Intensities:
        """Measure the pixels of an area `(y, x)` of an image `(c, y, x)`."""
        some = some_of(values, area).astype(np.float64)
        low, high = float(some.min()), float(some.max())
        # Of few bright spots on a plain background the wider ones see something.
        for outside in (1.0, 0.1, 0.01):
            ends = np.percentile(some, (outside, 100 - outside))
            beyond = TAILS * float(ends[1] - ends[0])
            if beyond > 0:
                low, high = float(ends[0]) - beyond, float(ends[1]) + beyond
                break
        some = some.clip(low, high)
        return cls(low, high, float(some.mean()), float(some.std()))

    @property
    def white(self) -> float:
        """The brightest that can be written in the number type that they come from."""
        _, bright = self.percentiles
        return next((one for one in FULL_RANGES if bright <= one), FULL_RANGES[-1])

    @property
    def percentiles(self) -> tuple[float, float]:
        """The 1st and 99th, beyond which the tails reach."""
        tail = TAILS / (1 + 2 * TAILS) * (self.high - self.low)
        return self.low + tail, self.high - tail

    @property
    def brought_percentiles(self) -> tuple[float, float]:
        """What the 1st and 99th percentile become where an image is aligned."""
        low, high = self.percentiles
        return (low - self.mean) / self.deviation, (high - self.mean) / self.deviation

    def is_like(
        self,
        other: Intensities,
        mean: float = ALIKE_MEAN,
        deviation: float = ALIKE_DEVIATION,
    ) -> bool:
        """Whether an image was taken as others were, whose intensities these are."""
        unit = other.deviation
        return (
            unit > 0
            and abs(self.mean - other.mean) <= mean * unit
            and unit <= deviation * self.deviation
            and self.deviation <= deviation * unit
            and self.low >= other.low - ALIKE_ENDS * unit
            and self.high <= other.high + ALIKE_ENDS * unit
        )

    def written_like(self, own: Intensities) -> Intensities | None:
        """Return these in the number type of an image taken alike; None = it was not.

        Parameters
        ----------
        own
            Intensities of that image.
        """
        for factor in (1.0, own.white / self.white):
            same = self.times(factor)
            if own.is_like(same):
                return same
        return None

    def aligned_with(self, other: Intensities) -> Intensities:
        """Return what brings these so far that their ends are where the others' are.

        What is darkest and what is brightest is mostly the same on both, however much
        of it each shows; the mean is not.
        """
        gain = (self.high - self.low) / (other.high - other.low)
        if not gain > 0:
            return self
        mean = self.low + gain * (other.mean - other.low)
        return Intensities(self.low, self.high, mean, gain * other.deviation)

    def times(self, factor: float) -> Intensities:
        """Return these intensities, all multiplied."""
        ends = self.low * factor, self.high * factor
        return Intensities(*ends, self.mean * factor, self.deviation * factor)

    def moved(self, offset: float) -> Intensities:
        """Return these intensities, all raised."""
        ends = self.low + offset, self.high + offset
        return Intensities(*ends, self.mean + offset, self.deviation)

    def bring(self, values: NDArray[np.float32]) -> None:
        """Cut the tails of intensities and bring them to mean 0, deviation 1."""
        np.clip(values, self.low, self.high, out=values)
        values -= np.float32(self.mean)
        if self.deviation > 0:
            values /= np.float32(self.deviation)


def some_of(values: NDArray[Any], area: NDArray[np.bool_]) -> NDArray[Any]:
    """Evenly spaced pixels of an area, enough for statistics."""
    step = int(np.ceil(np.sqrt(values.size / PERCENTILE_PIXELS)))
    thin = np.s_[::step, ::step]
    if area[thin].any():
        return np.asarray(values[:, *thin][:, area[thin]]).ravel()
    return np.asarray(values[:, area]).ravel()


def foreign_body(
    grey: NDArray[np.float32], area: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """One body so bright or dark that beside it everything else would look the same.

    Dirt, a crystal, a burnt-in spot: it is no measure of what the rest shows. A bright
    object on a plain ground is what an image is about, and stays.

    Parameters
    ----------
    grey
        `(y, x)` brightness.
    area
        `(y, x)` bool: pixels that carry an image.
    """
    none = np.zeros_like(area)
    low, below, above, high = np.percentile(some_of(grey[None], area), (1, 35, 65, 99))
    least, most = (share * area.sum() for share in FOREIGN_SHARES)
    for beyond in (
        grey > above + FOREIGN * (above - low),
        grey < below - FOREIGN * (high - below),
    ):
        far = beyond & area
        if not least <= far.sum() <= most:
            continue
        numbers, _ = ndimage.label(far)
        sizes = np.bincount(numbers.ravel())
        body = numbers == 1 + int(sizes[1:].argmax())
        if body.sum() < least:
            continue
        body = ndimage.binary_closing(body, iterations=2) | body
        around = np.asarray(ndimage.binary_dilation(body, iterations=4))
        rest = area & ~around
        if not rest.any():
            continue
        ends = np.percentile(some_of(grey[None], rest), (0.1, 99.9))
        middle = float(np.median(grey[body]))
        gap = max(middle - ends[1], ends[0] - middle)
        if gap < FOREIGN * (ends[1] - ends[0]):
            continue
        plain = np.where(rest, grey, np.median(grey[rest]))
        if (
            ndimage.gaussian_filter(plain, 2.0)[rest].std()
            > CONTENT * plain[rest].std()
        ):
            return around
    return none
