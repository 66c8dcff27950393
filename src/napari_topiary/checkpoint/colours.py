"""The colours that a network learned from, to notice another stain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_SPREAD = 0.2
"""Colours that differ by less are of one stain, in deviations of the intensities."""
DARKEST = 0.25
"""Share of an image that is mostly what was stained."""
UNLIKE = 5.0
"""Colours are others that are farther from the mean of what was learned, in spreads."""


@dataclass(frozen=True)
class Colours:
    """Red and blue against green, in what is darkest of images and in the rest.

    Parameters
    ----------
    mean, spread
        Mean and deviation over the images that were learned from, `(4,)`: red and blue
        of the darkest quarter, then of the rest, in deviations of the intensities.
    """

    mean: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def of(cls, images: Iterable[NDArray[np.float32]]) -> Colours | None:
        """Measure normalised images `(c, y, x)`; None where they are grey."""
        found = [_balance(image) for image in images if len(image) == 3]
        if not found:
            return None
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
        return cls(tuple(mean.round(4).tolist()), tuple(spread.round(4).tolist()))

    @classmethod
    def from_record(cls, record: object) -> Colours | None:
        """Read what `to_record` wrote; None where it is not there or damaged."""
        if not isinstance(record, Mapping):
            return None
        try:
            mean, spread = (
                tuple(float(value) for value in record[name])
                for name in ("mean", "spread")
            )
        except (KeyError, TypeError, ValueError):
            return None
        usable = len(mean) == len(spread) == 4 and np.isfinite((*mean, *spread)).all()
        return cls(mean, spread) if usable else None

    def to_record(self) -> dict[str, list[float]]:
        """As JSON holds it."""
        return {name: list(value) for name, value in asdict(self).items()}

    def problem(self, image: NDArray[np.float32]) -> str | None:
        """Return a sentence if an image has other colours.

        Parameters
        ----------
        image
            `(c, y, x)`, normalised, on the working grid.
        """
        if len(image) != 3 or not self._unlike(image):
            return None
        way_out = (
            "convert its colours to those, or train a network on images like this one."
        )
        if not self._unlike(image[::-1]):
            way_out = "red and blue seem to be exchanged: save it with them in order."
        return (
            "The colours of this image are not those that the network learned from "
            f"(another stain or camera), so its answer may well be wrong: {way_out}"
        )

    def _unlike(self, image: NDArray[np.float32]) -> bool:
        spread = np.maximum(self.spread, LEAST_SPREAD)
        apart: NDArray[np.float64] = np.abs(_balance(image) - self.mean) / spread
        return bool(apart.max() > UNLIKE)


def _balance(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Red and blue against green, dark and bright, of an image `(3, y, x)`."""
    grey = image.mean(axis=0)
    dark = grey < np.quantile(grey, DARKEST)
    if not dark.any():
        return np.zeros(4)
    red, green, blue = image
    return np.array(
        [
            (colour - green)[part].mean(dtype=np.float64)
            for part in (dark, ~dark)
            for colour in (red, blue)
        ]
    )
