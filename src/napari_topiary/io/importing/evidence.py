"""Whether marks lie on something: as they are, or only when read otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_topiary.io.importing.meaning import NM, ImportConfig
from napari_topiary.types import Image

_FLIPPED, _SWAPPED = "with y counted from below", "with y and x swapped"
_UNITS = {"nm": "read as nm", "angstrom": "read as angstrom", "um": "read as µm"}
_BINNINGS = (2, 4, 8)
_AS_THEY_ARE = "as they are"
_SIGMAS = (1, 2, 4, 8, 16, 32)
"""Sizes of what a place is compared by, in pixels."""
_LARGEST_SIDE = 1024
_CLIPPED = 4.0
"""One bright speck must not speak for all marks."""
_FEWEST, _ENOUGH = 3, 500
"""So many marks say something; after so many, more say nothing new."""
_CLEAR, _TIMES = 45.0, 3.0
"""Squared distance from the usual, in standard errors; so many times the other."""
_INSIDE = 0.95


@dataclass
class Evidence:
    """How far the surroundings of marks differ from the rest of their images.

    Places that mean nothing have surroundings that average out to those of the image;
    the more marks, the better. Whatever is marked may be bright, dark, or a ring.
    """

    config: ImportConfig
    sums: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)

    def add(
        self, image: Image, places: NDArray[np.float64], scale: float | None
    ) -> None:
        """Look at the marks of one image: `places` `(n, 2)` in its pixels."""
        if not len(places) or self.counts[_AS_THEY_ARE] >= _ENOUGH:
            return
        features, step = _features(image)
        if features is None:
            return
        shape = np.array(image.shape[1:])
        ways = self._ways(places, int(shape[0]), scale)
        for way, read in ways.items():
            inside = ((read > -0.5) & (read < shape - 0.5)).all(axis=1)
            if inside.mean() < (_INSIDE if way != _AS_THEY_ARE else 0):
                continue
            limit = np.array(features.shape[1:]) - 1
            y, x = np.minimum(((read[inside] + 0.5) / step).astype(int), limit).T
            total = features[:, y, x].sum(axis=1, dtype=np.float64)
            self.sums[way] = self.sums.get(way, np.zeros(len(total))) + total
            self.counts[way] += int(inside.sum())
            self.images[way] += 1

    def note(self) -> str:
        """A sentence if the marks stand out only when read otherwise."""
        every = self.images[_AS_THEY_ARE]
        strength = {
            way: float((total**2).sum() / self.counts[way])
            for way, total in self.sums.items()
            if self.images[way] == every and self.counts[way] >= _FEWEST
        }
        usual = strength.pop(_AS_THEY_ARE, 0.0)
        way, best = max(strength.items(), key=lambda item: item[1], default=("", 0.0))
        if best < _CLEAR or best < _TIMES * usual:
            return ""
        return (
            f"The marks lie on nothing that stands out from the images, but {way} they "
            f"would ({np.sqrt(best):.1f} against {np.sqrt(usual):.1f} standard errors):"
            f" look at one, and {self._option(way)} if that is what is meant."
        )

    def _ways(
        self, places: NDArray[np.float64], height: int, scale: float | None
    ) -> Mapping[str, NDArray[np.float64]]:
        """Places by how they are read."""
        ways = {
            _AS_THEY_ARE: places,
            _FLIPPED: np.stack([height - 1 - places[:, 0], places[:, 1]], axis=1),
            _SWAPPED: places[:, ::-1],
        }
        for times in _BINNINGS:
            ways[_binned(times)] = (places + 0.5) * times - 0.5
        if scale is not None and self.config.units == "px":
            for unit, words in _UNITS.items():
                if abs(np.log(scale / NM[unit])) > 0.1:
                    ways[words] = places * (NM[unit] / scale)
        return ways

    def _option(self, way: str) -> str:
        if way == _FLIPPED:
            return f"{'leave out' if self.config.flip_y else 'give'} --flip-y"
        if way == _SWAPPED:
            return f"{'leave out' if self.config.swap_axes else 'give'} --swap-axes"
        for unit, words in _UNITS.items():
            if way == words:
                return f"give --units {unit}"
        times = next(times for times in _BINNINGS if way == _binned(times))
        return f"give --bin {self.config.binned / times:g}"


def _binned(times: int) -> str:
    return f"multiplied by {times}"


def _features(image: Image) -> tuple[NDArray[np.float32] | None, int]:
    """What surrounds each pixel, at several sizes, each 0 ± 1 and independent.

    Also says how many pixels of the image are one of those, along an axis.
    """
    grey = np.nan_to_num(
        np.asarray(image, dtype=np.float32).mean(axis=0), posinf=0, neginf=0
    )
    step = max(1, -(-max(grey.shape) // _LARGEST_SIDE))
    if step > 1:
        height, width = (max(1, size // step) for size in grey.shape)
        grey = grey[: height * step, : width * step]
        grey = grey.reshape(height, step, width, step).mean(axis=(1, 3))
    smooth = [ndi.gaussian_filter(grey, sigma) for sigma in _SIGMAS]
    rings = [fine - coarse for fine, coarse in pairwise(smooth)]
    maps = np.stack([*rings, smooth[2]]).reshape(len(_SIGMAS), -1)
    maps -= np.median(maps, axis=1, keepdims=True)
    spread = np.median(np.abs(maps), axis=1, keepdims=True) * 1.4826
    if not np.isfinite(spread).all() or not (spread > 0).all():
        return None, step
    maps = np.clip(maps / spread, -_CLIPPED, _CLIPPED)
    maps -= maps.mean(axis=1, keepdims=True)
    variances, directions = np.linalg.eigh(np.cov(maps))
    apart = directions / np.sqrt(np.maximum(variances, 1e-3)) @ directions.T
    result: NDArray[np.float32] = (apart.astype(np.float32) @ maps).reshape(
        -1, *grey.shape
    )
    return result, step
