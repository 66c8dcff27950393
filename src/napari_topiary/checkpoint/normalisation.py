"""Bringing intensities to the range that a network was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError

PERCENTILES = (1.0, 99.0)
"""Become 0 and 1; a few hot or dead pixels then change nothing."""
PERCENTILE_PIXELS = 2_000_000
"""Percentiles of larger images are taken from evenly spaced pixels."""


@dataclass(frozen=True)
class Normalisation:
    """How intensities are changed before the network sees them.

    All channels of an image are treated alike, so that colours keep their relation.

    Parameters
    ----------
    kind
        `zscore`: mean 0 and standard deviation 1; `percentile`: 1st and 99th
        percentile become 0 and 1; `none`: as they are.
    per_image
        Measure each image. False: use the numbers below for all of them.
    mean, std
        Intensities for `zscore`.
    low, high
        Intensities for `percentile` that become 0 and 1.
    """

    kind: Literal["zscore", "percentile", "none"] = "zscore"
    per_image: bool = True
    mean: float = 0.0
    std: float = 1.0
    low: float = 0.0
    high: float = 1.0

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise an image.

        Parameters
        ----------
        image
            `(c, y, x)`, any numeric dtype. Pixels that are not numbers count as the
            mean of the others; an image of one intensity becomes all zeros.

        Returns
        -------
        ndarray
            `(c, y, x)` float32, never the input itself.
        """
        with np.errstate(over="ignore"):  # beyond float32: not a number, as below
            values = np.array(image, dtype=np.float32)
        known = np.isfinite(values)
        if not known.all():
            if not known.any():
                raise TopiaryError(
                    "The image has no pixel that is a number: check how it was saved."
                )
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
