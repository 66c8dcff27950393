"""How much of what images show is fine, to notice blurred and enlarged ones.

Noise cannot be told in this way: what had four times as much fine grain as all that was
learned from was found as well as ever in one kind of image, and not at all in another
where half as much was too much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SMOOTHING = 0.7, 1.4
"""What is gone after the first is fine, what is gone after the second and not after the
first is next to it; in working pixels."""
LARGEST_SIDE = 512
"""Of larger images the middle is looked at."""
SMALLEST_SIDE = 24

BLURRED, BLURRED_FOR_ONE = 2.0, 2.5
"""So many times two less of what is fine than in any image learned from, and half of
what those differ by; or where one image alone was learned from. Of 125 real images and
144 corners of them none was taken for blurred by one to sixteen others of its set, in
42,656 trials; of images blurred by two working pixels most were whose Dice or F1 that
lowered by 0.17 and more, and none where it lost 0.02."""
FLATTER = 0.3
"""By so many times two the finest must have gone more than what is next to it: with
less structure in an image both change alike."""


@dataclass(frozen=True)
class Sharpness:
    """How much of what the images show that were learned from is fine."""

    #: `lowest`, `highest`: of the images, the logarithm to the base of two of how much
    #: of the contrast is fine, and of how much more that is than what is next to it
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    images: int  #: How many they were

    @classmethod
    def of(cls, images: Iterable[NDArray[np.float32]]) -> Sharpness | None:
        """Measure normalised images `(c, y, x)`; None where they are too small."""
        each = [one for image in images if (one := _measured(image)) is not None]
        if not each:
            return None
        lowest, highest = np.round((np.min(each, axis=0), np.max(each, axis=0)), 3)
        return cls(tuple(lowest.tolist()), tuple(highest.tolist()), len(each))

    @classmethod
    def from_record(cls, record: object) -> Sharpness | None:
        """Read what `to_record` wrote; None where it is not there or damaged."""
        if not isinstance(record, Mapping):
            return None
        try:
            lowest, highest = (
                tuple(float(value) for value in record[name])
                for name in ("lowest", "highest")
            )
            count = int(record["images"])
        except (KeyError, TypeError, ValueError):
            return None
        usable = len(lowest) == len(highest) == 2 and np.isfinite((*lowest, *highest))
        return cls(lowest, highest, count) if np.all(usable) else None

    def to_record(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    def problem(self, image: NDArray[np.float32]) -> str | None:
        """Return a sentence if an image is much blurrier than all of those.

        `image` `(c, y, x)`, normalised, on the working grid.
        """
        own = _measured(image)
        if own is None:
            return None
        differ = (self.highest[0] - self.lowest[0]) / 2
        limit = BLURRED_FOR_ONE if self.images < 2 else BLURRED + differ
        fine, flat = np.subtract(self.lowest, own)
        if fine < limit or flat < FLATTER:
            return None
        return (
            f"This image shows {2**fine:.0f} times less fine detail than those that "
            "the network learned from (out of focus, or enlarged: is its pixel size "
            "right?), so its answer may well be wrong: train on images like this one."
        )


def _measured(image: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """The logarithms of an image; None where it is too small, or there is nothing."""
    cut = [max(0, (n - LARGEST_SIDE) // 2) for n in image.shape[1:]]
    image = image[:, cut[0] : cut[0] + LARGEST_SIDE, cut[1] : cut[1] + LARGEST_SIDE]
    grey = image.mean(axis=0)
    known = grey != 0  # where a file carries no image it is 0
    if min(grey.shape) < SMALLEST_SIDE or not known.any():
        return None
    first, second = (ndimage.gaussian_filter(grey, sigma) for sigma in SMOOTHING)
    whole = np.abs(grey - np.median(grey[known]))
    mean = [
        float(part[known].mean(dtype=np.float64))
        for part in (whole, np.abs(grey - first), np.abs(first - second))
    ]
    if min(mean) <= 0:
        return None
    every, fine, next_to_it = np.log2(mean)
    return np.array([fine - every, fine - next_to_it])
