"""Foreground and distance -> separate objects, grown from seeds (PAPERS 4.4).

Every summit of the smoothed distance map is the seed of one object; a watershed gives
the rest of the foreground to the seeds. Only areas with several seeds need one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.segmentation import watershed

EIGHT = np.ones((3, 3), dtype=int)


@dataclass(frozen=True)
class Seeds:
    """What makes a summit of the distance map the seed of an object.

    Parameters
    ----------
    smoothing_px
        Sigma that smooths the map, in pixels.
    spacing_px
        Two seeds are further apart than this along an axis, in pixels.
    height
        Lowest summit, as smoothed; 1 is the middle of an object.
    fill_holes
        Count holes in the foreground as foreground.
    """

    smoothing_px: float = 2.0
    spacing_px: int = 5
    height: float = 0.3
    fill_holes: bool = True


def grow_objects(
    foreground: NDArray[np.floating],
    distance: NDArray[np.floating],
    *,
    threshold: float,
    seeds: Seeds,
    min_size: int = 0,
) -> NDArray[np.int32]:
    """Separate the objects of one class by their distance map.

    Parameters
    ----------
    foreground
        `(y, x)` probability.
    distance
        `(y, x)`, as the network gives it.
    threshold
        Lowest probability that counts, 0..1.
    seeds
        How seeds are found. An area without any is one object.
    min_size
        Smaller objects are dropped, in pixels.

    Returns
    -------
    ndarray
        `(y, x)`: 0 = background, 1..n.
    """
    mask = foreground >= threshold
    if seeds.fill_holes:
        mask = _filled(mask)
    areas, count = ndi.label(mask)
    if count == 0:
        return np.zeros(mask.shape, dtype=np.int32)
    smooth = ndi.gaussian_filter(
        np.asarray(distance, dtype=np.float32), seeds.smoothing_px, mode="nearest"
    )
    markers, n_markers = _summits(smooth, mask, seeds)
    # Which area each seed lies in; areas with one seed, or none, are whole objects.
    y, x = np.nonzero(markers)
    area_of = np.zeros(n_markers + 1, dtype=np.int64)
    area_of[markers[y, x]] = areas[y, x]
    crowded = np.bincount(area_of[1:], minlength=count + 1) > 1
    shared = crowded[areas]
    labels = areas.astype(np.int32)
    if shared.any():
        own = np.where(crowded[area_of], np.arange(n_markers + 1), 0)[markers]
        grown = watershed(-smooth, own, mask=shared)
        labels[shared] = grown[shared] + count
    return _numbered(labels, max(1, min_size))


def _summits(
    smooth: NDArray[np.float32], mask: NDArray[np.bool_], seeds: Seeds
) -> tuple[NDArray[np.integer], int]:
    """Number the seeds `(y, x)`; a plateau is one."""
    inside = np.where(mask, smooth, -np.inf).astype(np.float32)
    highest = ndi.maximum_filter(inside, size=2 * seeds.spacing_px + 1)
    tops = (inside == highest) & mask & (smooth >= seeds.height)
    markers, count = ndi.label(tops, structure=EIGHT)
    return markers, int(count)


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what the border cannot reach; many times faster than by dilation."""
    around, count = ndi.label(~mask)
    outside = np.zeros(count + 1, dtype=bool)
    for edge in (around[0], around[-1], around[:, 0], around[:, -1]):
        outside[edge] = True
    outside[0] = False
    filled: NDArray[np.bool_] = ~outside[around]
    return filled


def _numbered(labels: NDArray[np.int32], smallest: int) -> NDArray[np.int32]:
    """Number the objects that are large enough 1..n; the others become background."""
    keep = np.bincount(labels.ravel()) >= smallest
    keep[0] = False
    numbers = np.where(keep, keep.cumsum(), 0).astype(np.int32)
    numbered: NDArray[np.int32] = numbers[labels]
    return numbered
