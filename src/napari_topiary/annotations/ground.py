"""What is one piece in a label image, and what is background where that is in doubt."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_topiary.types import LabelImage

EIGHT = np.ones((3, 3), dtype=int)
"""Neighbours of a pixel: what touches by a corner is one piece."""
_MOST = 0.5
_NEARLY_ALL = 0.8
_ONE_PIECE = 0.9
INVERT_MASKS = "import them with inverted masks (--invert-masks)"
"""The way out; the window has it where folders are imported."""


def is_inverted(labels: LabelImage) -> bool:
    """Whether a mask looks as if objects were 0 and the background painted.

    Only masks of 0 and one number can be.
    """
    value = labels.max(initial=0)
    painted = labels != 0
    share = float(painted.mean()) if labels.size else 0.0
    if not _MOST < share < 1 or (painted & (labels != value)).any():
        return False
    border = np.concatenate([painted[0], painted[-1], painted[:, 0], painted[:, -1]])
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
    if not objects or not (labels.size and labels.all()):
        return ""
    numbers, sizes = np.unique(labels, return_counts=True)
    if (share := sizes.max() / labels.size) <= _MOST:
        return ""  # cells that touch one another may well fill an image
    return (
        f"No pixel of the labels is 0, the background, and {numbers[sizes.argmax()]} "
        f"covers {share:.0%} of the image: if that is background, make it 0."
    )
