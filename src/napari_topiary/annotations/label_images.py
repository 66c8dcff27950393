"""Label images as numbers: pieces, what is background, how deep each pixel lies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.measure import label

from napari_topiary.config import DistanceScale
from napari_topiary.types import LabelImage

EIGHT = np.ones((3, 3), dtype=int)
"""Neighbours of a pixel: what touches by a corner is one piece."""
_STEP = 61
_BAND = 64
_ENOUGH = 2**20
"""Pixels that are enough to see which number has the most of them."""
MOST_IN_16_BITS = 50_000
"""Objects of an image that is shown with 16 bits, with room for 15,000 more."""
_MOST = 0.5
_NEARLY_ALL = 0.8
_ONE_PIECE = 0.9
_LOOKED_AT = 1024
_FEW_PIECES = 10
INVERT_MASKS = "import them with inverted masks (--invert-masks)"
"""The way out; the window has it where folders are imported."""


def sides_of(numbers: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Return the four outermost lines of `(y, x)`."""
    return numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]


def has_other_numbers(labels: LabelImage, value: int) -> bool:
    """Whether a label image holds more than 0 and one number.

    Some of its rows say so mostly: a large image is not gone through each time.
    """
    for part in (labels[::_STEP], labels):
        if ((part != 0) & (part != value)).any():
            return True
    return False


def are_equal(one: LabelImage, other: LabelImage) -> bool:
    """Whether two label images are the same, looked at in bands.

    All at once needs memory for every pixel, which takes longer than comparing them.
    """
    return one.shape == other.shape and all(
        np.array_equal(one[top : top + _BAND], other[top : top + _BAND])
        for top in range(0, len(one), _BAND)
    )


def is_inverted(labels: LabelImage) -> bool:
    """Whether a mask looks as if objects were 0 and the background painted.

    Only masks of 0 and one number can be.
    """
    some = labels[::_STEP]
    if has_other_numbers(some, some.max(initial=0)):
        return False
    if has_other_numbers(labels, labels.max(initial=0)):
        return False
    painted = labels != 0
    share = float(painted.mean()) if labels.size else 0.0
    if not _MOST < share < 1:
        return False
    border = np.concatenate(sides_of(painted))
    if share > _NEARLY_ALL and border.mean() > _NEARLY_ALL:
        return True
    ground, n_ground = ndi.label(painted)
    holes = int(ndi.label(~painted, structure=EIGHT)[1])
    largest = np.bincount(ground.ravel())[1:].max() / painted.sum()
    # Not what is left between objects: that is in one piece, and they are not.
    return bool(border.mean() > _MOST and largest > _ONE_PIECE and holes > 2 * n_ground)


def ground_problem(labels: LabelImage, *, objects: bool) -> str:
    """Return a sentence if what is painted looks like the background; empty if not.

    `objects`: whether the numbers are objects rather than classes.
    """
    if is_inverted(labels):
        return (
            "What is painted covers most of the image, along its border too, and what "
            "is 0 lies in it as objects would. If 0 are the objects and "
            f"{labels.max()} is the background, {INVERT_MASKS}."
        )
    if not objects or not labels.size:
        return ""
    if not (labels[::_STEP].all() and labels.all()):
        return ""
    # Sorting all pixels of a large image takes seconds, and some rows say as much.
    some = labels[:: max(1, labels.size // _ENOUGH)]
    numbers, sizes = np.unique(some, return_counts=True)
    if (share := sizes.max() / some.size) <= _MOST:
        return ""  # cells that touch one another may well fill an image
    return (
        f"No pixel of the labels is 0, the background, and {numbers[sizes.argmax()]} "
        f"covers {share:.0%} of the image: if that is background, make it 0."
    )


def scattered_problem(labels: LabelImage) -> str | None:
    """Return a sentence if the numbers cannot be those of single objects."""
    # A part of a large image says enough, and sorting all of it takes long.
    height, width = (max(0, (size - _LOOKED_AT) // 2) for size in labels.shape)
    part = labels[height : height + _LOOKED_AT, width : width + _LOOKED_AT]
    values = len(np.unique(part[part > 0]))
    if values < 2:
        return None
    pieces = int(label(part, connectivity=2, background=0).max())
    if pieces < _FEW_PIECES or pieces <= 3 * values:
        return None
    return (
        f"{pieces} separate pieces carry only {values} different numbers, but each "
        "object needs a number of its own. Were the classes saved instead, or a "
        "picture with smooth or lossy edges? Save the numbers of the objects as "
        "PNG or TIFF."
    )


def drawn_as(
    lowest: int, highest: int, dtype: np.dtype[np.integer]
) -> np.dtype[np.integer]:
    """Whole numbers for objects, with room for all those yet to come.

    napari draws those of 16 bits as they are; larger ones it computes anew for every
    pixel at each look: half a second for 8192 x 8192.
    """
    if lowest >= 0 and highest <= MOST_IN_16_BITS:
        return np.dtype(np.uint16)
    return np.dtype(np.int32) if dtype.itemsize < 4 else dtype


def numbered(labels: LabelImage) -> NDArray[np.integer]:
    """Objects as 1..n: boxes are looked up by number, however large those are."""
    if labels.max(initial=0) > labels.size:
        _, inverse = np.unique(labels, return_inverse=True)
        return inverse.reshape(labels.shape) + int(labels.min() > 0)
    return labels


def separated(labels: LabelImage) -> NDArray[np.uint8]:
    """Objects as 1, with a background line of 1 px wherever two of them touch.

    The line is taken from the larger object of the two, so that small ones survive.
    """
    labels = numbered(labels)
    sizes = np.bincount(labels.ravel().astype(np.intp))
    sizes[0] = -1  # background comes first
    rank = np.empty(len(sizes), dtype=np.int32)
    rank[np.argsort(sizes, kind="stable")] = np.arange(len(sizes))
    ranked = rank[labels]  # 0 = background, then objects by size
    padded = np.pad(ranked, 1)
    line = np.zeros(labels.shape, dtype=bool)
    height, width = labels.shape
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            neighbour = padded[dy : dy + height, dx : dx + width]
            line |= (neighbour > 0) & (neighbour < ranked)
    return ((ranked > 0) & ~line).astype(np.uint8)


def distance_map(
    labels: LabelImage, *, relative_to: DistanceScale = "object"
) -> NDArray[np.float32]:
    """Distance `(y, x)` of every pixel from the edge of its object, 0..1; outside 0.

    The edge of the image is not an edge of the objects that it cuts.

    Parameters
    ----------
    labels
        `(y, x)`: 0 = background, objects otherwise.
    relative_to
        What becomes 1: the greatest distance in each `object`, so that a small nucleus
        has as high a summit as a large one beside it; or, as published, the greatest in
        the whole `image`.
    """
    labels = numbered(labels)
    result = np.zeros(labels.shape, dtype=np.float32)
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        if box is None:
            continue
        around = tuple(
            slice(max(0, side.start - 1), min(limit, side.stop + 1))
            for side, limit in zip(box, labels.shape, strict=True)
        )
        own = labels[around] == number
        depth = np.ones(own.shape) if own.all() else ndi.distance_transform_edt(own)
        if relative_to == "object":
            depth /= depth.max()
        # Objects do not overlap, so the larger of two is the one that is not 0.
        np.maximum(result[around], depth, out=result[around], casting="same_kind")
    if relative_to == "image":
        result /= float(result.max(initial=0.0)) or 1.0
    return result
