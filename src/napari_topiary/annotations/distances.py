"""Numbered objects -> how deep inside its own object every pixel lies.

Targets as Mahbod et al. 2022 used them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_topiary.annotations.labels import Labels
from napari_topiary.config import DistanceScale
from napari_topiary.types import LabelImage


def distance_map(
    labels: LabelImage, *, relative_to: DistanceScale = "object"
) -> NDArray[np.float32]:
    """Distance of every pixel from the edge of its object, 0..1.

    The edge of the image is not an edge of the objects that it cuts.

    Parameters
    ----------
    labels
        `(y, x)`: 0 = background, objects otherwise.
    relative_to
        What becomes 1: the greatest distance in each `object`, so that a small nucleus
        has as high a summit as a large one beside it; or, as published, the greatest in
        the whole `image`.

    Returns
    -------
    ndarray
        `(y, x)` float32; 0 outside the objects.
    """
    labels = _numbered(labels)
    result = np.zeros(labels.shape, dtype=np.float32)
    limits = labels.shape
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        if box is None:
            continue
        around = tuple(
            slice(max(0, side.start - 1), min(limit, side.stop + 1))
            for side, limit in zip(box, limits, strict=True)
        )
        own = labels[around] == number
        depth = np.ones(own.shape) if own.all() else ndi.distance_transform_edt(own)
        if relative_to == "object":
            depth /= depth.max()
        # Objects do not overlap, so the larger of two is the one that is not 0.
        np.maximum(result[around], depth, out=result[around], casting="same_kind")
    highest = float(result.max(initial=0.0))
    if relative_to == "image" and highest > 0:
        result /= highest
    return result


def object_distances(
    annotations: Sequence[Any],
    shape: tuple[int, int],
    *,
    relative_to: DistanceScale = "object",
) -> NDArray[np.float32]:
    """Distance map of everything that was labelled as objects.

    Parameters
    ----------
    annotations
        All annotations of one image, on this grid.
    shape
        `(y, x)` of the grid.
    relative_to
        As for `distance_map`.

    Returns
    -------
    ndarray
        `(y, x)` float32, 0..1.
    """
    result = np.zeros(shape, dtype=np.float32)
    for annotation in annotations:
        if isinstance(annotation, Labels):
            own = distance_map(annotation.labels, relative_to=relative_to)
            np.maximum(result, own, out=result)
    return result


def _numbered(labels: LabelImage) -> NDArray[np.integer]:
    """Objects as 1..n: boxes are looked up by number, however large those are."""
    if labels.size and labels.max() > labels.size:
        _, inverse = np.unique(labels, return_inverse=True)
        return inverse.reshape(labels.shape) + int(labels.min() > 0)
    return labels
