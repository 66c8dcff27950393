"""Foreground probability -> separate objects, each with a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from napari_topiary.instances.particles import thin_out

SMOOTHING = 1.0
"""Sigma that smooths the depth map, in pixels."""
NECK = 1.0
"""Two cores are one object when they are closer than this share of the deeper one's
depth (the distance to its outline)."""


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
    depth = ndi.gaussian_filter(ndi.distance_transform_edt(padded), SMOOTHING)
    top = (depth == ndi.maximum_filter(depth, size=3)) & padded
    plateaus, count = ndi.label(top, structure=np.ones((3, 3)))
    if count < 2:
        return mask.astype(np.int32), 1
    peaks = np.array(ndi.center_of_mass(top, plateaus, np.arange(1, count + 1)))
    height = depth[tuple(np.rint(peaks).astype(np.intp).T)]
    keep = thin_out(peaks, height, _reach(peaks, height))
    if keep.sum() < 2:
        return mask.astype(np.int32), 1
    markers = np.zeros(padded.shape, dtype=np.int32)
    kept = np.rint(peaks[keep]).astype(np.intp)
    markers[tuple(kept.T)] = np.arange(1, len(kept) + 1)
    parts = watershed(-depth, markers, mask=padded)[1:-1, 1:-1]
    return parts, len(kept)


def _reach(
    peaks: NDArray[np.float64], height: NDArray[np.float64]
) -> NDArray[np.float64]:
    return NECK * height
