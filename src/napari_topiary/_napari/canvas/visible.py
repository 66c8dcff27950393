"""Which part of an image the person is looking at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_topiary.types import Window


def visible_window(layer: Layer, shape: tuple[int, int]) -> Window:
    """The part of an image that is on the screen; all of it where that is not known.

    Parameters
    ----------
    layer
        Shows the image.
    shape
        `(y, x)` of the image in pixels.
    """
    corners = np.asarray(layer.corner_pixels, dtype=float)
    if getattr(layer, "multiscale", False):  # they are those of what is shown
        corners = corners * layer.downsample_factors[layer.data_level]
    corners = corners[:, -2:] if layer.ndim > 2 else corners[:, :2]
    top, left = np.clip(np.floor(corners[0]), 0, shape).astype(int)
    bottom, right = np.clip(np.ceil(corners[1]) + 1, 0, shape).astype(int)
    if bottom - top < 2 or right - left < 2:  # nothing was drawn yet
        return 0, shape[0], 0, shape[1]
    return int(top), int(bottom), int(left), int(right)


def middle_of(window: Window, largest: int) -> Window:
    """The middle of a window, no longer than `largest` to any side.

    Parameters
    ----------
    window
        In pixels of any grid.
    largest
        Pixels.
    """
    top, bottom, left, right = window
    if bottom - top > largest:
        top = (top + bottom - largest) // 2
        bottom = top + largest
    if right - left > largest:
        left = (left + right - largest) // 2
        right = left + largest
    return top, bottom, left, right
