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
"""Two cores are two objects when the neck between them is narrower (times its
probability) than this share of the narrower core."""
SMALLEST_TO_CUT = 16
"""Smaller areas are one object, in pixels."""
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
        `(y, x)`: 0 = background, 1..n, holes filled.
    """
    probability = np.asarray(probability, dtype=np.float32)
    mask = ndi.binary_fill_holes(probability >= threshold)
    sure = np.maximum(probability, threshold)
    labels, count = ndi.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        if sizes[number] < SMALLEST_TO_CUT:
            continue
        own = labels[box] == number
        parts, n_parts = _split(own, sure[box])
        for part in range(2, n_parts + 1):
            count += 1
            labels[box][parts == part] = count
    return _numbered(labels, np.bincount(labels.ravel()) >= max(1, min_size))


def _numbered(
    labels: NDArray[np.integer], keep: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Number the kept objects 1..n; the others become background."""
    keep[0] = False
    numbers = np.where(keep, keep.cumsum(), 0).astype(np.int32)
    numbered: NDArray[np.int32] = numbers[labels]
    return numbered


def _split(
    mask: NDArray[np.bool_], probability: NDArray[np.float32]
) -> tuple[NDArray[np.integer], int]:
    """Cut one connected area `(y, x)` at its necks.

    A neck is where the area is narrow, or the network doubtful: it has learned to see
    a thin line of background between objects that touch.
    """
    padded = np.pad(mask, 1)
    depth = ndi.distance_transform_edt(padded) * np.pad(probability, 1)
    # In the logarithm a neck's share of the depth is a height, so the usual filling of
    # hollows by a fixed height compares shares: the rule is the same at every size.
    hill = np.log(np.maximum(ndi.gaussian_filter(depth, SMOOTHING), 1e-3))
    tops = (hill == ndi.maximum_filter(hill, size=3)) & padded
    if ndi.label(tops, structure=EIGHT)[1] < 2:
        return mask.astype(np.int32), 1
    flooded = reconstruction(hill + np.log(NECK), hill)
    markers, count = ndi.label(local_maxima(flooded) & padded, structure=EIGHT)
    if count < 2:
        return mask.astype(np.int32), 1
    return watershed(-hill, markers, mask=padded)[1:-1, 1:-1], count
