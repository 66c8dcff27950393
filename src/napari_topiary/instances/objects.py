"""Foreground probability -> separate objects, each with a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

SMOOTHING = 1.0
"""Sigma that smooths the depth map, in pixels."""
NECK = 0.7
"""Two cores are two objects when the neck between them is narrower than this share of
the narrower core."""
EIGHT = np.ones((3, 3), dtype=int)


def label_objects(
    probability: NDArray[np.floating], *, threshold: float, min_size: int = 0
) -> NDArray[np.int32]:
    """Separate the objects of one class.

    Parameters
    ----------
    probability
        `(y, x)` of the foreground.
    threshold
        Lowest probability that counts, 0..1.
    min_size
        Smaller objects are dropped, in pixels.

    Returns
    -------
    ndarray
        `(y, x)`: 0 = background, 1..n in scan order, holes filled.
    """
    probability = np.asarray(probability, dtype=np.float32)
    mask = ndi.binary_fill_holes(probability >= threshold)
    areas, _ = ndi.label(mask)
    labels = np.zeros(mask.shape, dtype=np.int32)
    found = 0
    for number, box in enumerate(ndi.find_objects(areas), start=1):
        own = areas[box] == number
        if own.sum() < max(1, min_size):
            continue
        parts, n_parts = _split(own)
        for part in range(1, n_parts + 1):
            inside = parts == part
            if inside.sum() >= max(1, min_size):
                found += 1
                labels[box][inside] = found
    return labels


def _split(mask: NDArray[np.bool_]) -> tuple[NDArray[np.integer], int]:
    """Cut one connected area `(y, x)` at its necks."""
    padded = np.pad(mask, 1)
    depth = ndi.distance_transform_edt(padded)
    # In the logarithm a neck's share of the depth is a height, so the usual filling of
    # hollows by a fixed height compares shares: the rule is the same at every size.
    hill = np.log(np.maximum(ndi.gaussian_filter(depth, SMOOTHING), 1e-3))
    if ndi.label(local_maxima(hill) & padded)[1] < 2:
        return mask.astype(np.int32), 1
    flooded = reconstruction(hill + np.log(NECK), hill)
    markers, count = ndi.label(local_maxima(flooded) & padded, structure=EIGHT)
    if count < 2:
        return mask.astype(np.int32), 1
    return watershed(-hill, markers, mask=padded)[1:-1, 1:-1], count
