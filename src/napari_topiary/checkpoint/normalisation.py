"""Bringing intensities to the range that a network was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint.illumination import parts_of
from napari_topiary.errors import TopiaryError
from napari_topiary.io.image_area import image_area

Kind = Literal["robust", "zscore", "percentile", "none"]
PERCENTILES = (1.0, 99.0)
"""Become 0 and 1; a few hot or dead pixels then change nothing."""
PERCENTILE_PIXELS = 2_000_000
"""Percentiles of larger images are taken from evenly spaced pixels."""
NO_NUMBERS = "The image has no pixel that is a number: check how it was saved."
TAILS = 0.5
"""`robust`: how far beyond the percentiles, in their distance, intensities count."""
FEWEST_PIXELS = 1024
"""A part of an image with fewer is measured by the whole image."""


@dataclass(frozen=True)
class Normalisation:
    """How intensities are changed before the network sees them.

    All channels of an image are treated alike, so that colours keep their relation.

    Parameters
    ----------
    kind
        `robust`: mean 0 and standard deviation 1 over the pixels that carry an image,
        tails clipped, parts that are lit differently each for itself (networks that are
        trained now); `zscore`: the same over all pixels as they are (networks of
        earlier versions); `percentile`: 1st and 99th percentile become 0 and 1; `none`:
        as they are.
    per_image
        Measure each image. False: use the numbers below for all of them.
    mean, std
        Intensities for `zscore`.
    low, high
        Intensities for `percentile` that become 0 and 1.
    """

    kind: Kind = "robust"
    per_image: bool = True
    mean: float = 0.0
    std: float = 1.0
    low: float = 0.0
    high: float = 1.0

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise an image.

        Always the whole one: a part is cut from the result, so that it looks the same
        whatever is cut.

        Parameters
        ----------
        image
            `(c, y, x)`, any numeric dtype. Pixels that are not numbers count as the
            mean of the others, and so do, for `robust`, all that carry no image; an
            image of one intensity becomes all zeros.

        Returns
        -------
        ndarray
            `(c, y, x)` float32, never the input itself.
        """
        if self.kind == "robust":
            return _robust(image)
        with np.errstate(over="ignore"):  # beyond float32: not a number, as below
            values = np.array(image, dtype=np.float32)
        known = np.isfinite(values)
        if not known.all():
            if not known.any():
                raise TopiaryError(NO_NUMBERS)
            values[~known] = values[known].mean(dtype=np.float64)
        if self.kind == "none":
            return values
        offset, spread = self._range(values)
        values -= np.float32(offset)
        if spread > 0:
            values /= np.float32(spread)
        return values

    def _range(self, values: NDArray[np.float32]) -> tuple[float, float]:
        """Intensity that becomes 0, and how much more becomes 1."""
        if self.kind == "zscore":
            if not self.per_image:
                return self.mean, self.std
            mean = float(values.mean(dtype=np.float64))
            return mean, _deviation(values, mean)
        if not self.per_image:
            return self.low, self.high - self.low
        step = max(1, values.size // PERCENTILE_PIXELS)
        low, high = np.percentile(values.ravel()[::step], PERCENTILES)
        return float(low), float(high - low)


def _deviation(values: NDArray[np.float32], mean: float) -> float:
    """Standard deviation, row by row: a copy in float64 would be twice the image."""
    squares = sum(
        float(np.square(row - mean, dtype=np.float64).sum())
        for channel in values
        for row in channel
    )
    return float(np.sqrt(squares / values.size))


def _robust(image: NDArray[Any]) -> NDArray[np.float32]:
    """Normalise by the pixels that carry an image, part by part where light differs."""
    if image.dtype.kind == "f" and not np.isfinite(image).any():
        raise TopiaryError(NO_NUMBERS)
    area = image_area(image)
    values = _around_zero(image, area)
    if not area.any():
        return values
    grey = values.mean(axis=0) if len(values) > 1 else values[0]
    whole = _Range.of(values, area)
    for part in parts_of(np.clip(grey, whole.low, whole.high), area):
        here = values[:, *part.place]
        light = part.light()
        if light is not None:
            here -= light
        known = area[part.place]
        few = known.sum() < FEWEST_PIXELS
        measured = whole if few else _Range.of(here, known)
        np.clip(here, measured.low, measured.high, out=here)
        here -= np.float32(measured.mean)
        if measured.deviation > 0:
            here /= np.float32(measured.deviation)
    values[:, ~area] = 0
    return values


def _around_zero(image: NDArray[Any], area: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Intensities as float32 `(c, y, x)`; pixels outside the area are 0.

    Large numbers that differ little would all be the same in float32: an intensity of
    the image is taken off them before.
    """
    if image.dtype.itemsize < 4 or not area.any():
        values = np.array(image, dtype=np.float32)
    else:
        middle = np.median(_some(image, area).astype(np.float64))
        with np.errstate(over="ignore", invalid="ignore"):
            values = (image.astype(np.float64) - middle).astype(np.float32)
        np.nan_to_num(values, copy=False)
    values[:, ~area] = 0
    return values


@dataclass(frozen=True)
class _Range:
    """Mean and deviation of intensities, and where their tails are cut off."""

    low: float
    high: float
    mean: float
    deviation: float

    @classmethod
    def of(cls, values: NDArray[np.float32], area: NDArray[np.bool_]) -> _Range:
        """Measure the pixels of an area `(y, x)` of an image `(c, y, x)`."""
        some = _some(values, area).astype(np.float64)
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


def _some(values: NDArray[Any], area: NDArray[np.bool_]) -> NDArray[Any]:
    """Evenly spaced pixels of an area, enough for statistics."""
    step = int(np.ceil(np.sqrt(values.size / PERCENTILE_PIXELS)))
    thin = np.s_[::step, ::step]
    if area[thin].any():
        return np.asarray(values[:, *thin][:, area[thin]]).ravel()
    return np.asarray(values[:, area]).ravel()
