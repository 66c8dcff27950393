"""Which part of an image is looked at, and looking at another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from napari_topiary.types import Window


def visible_window(layer: Layer, shape: tuple[int, int]) -> Window:
    """The part of an image that is on the screen; all of it where that is not known."""
    corners = np.asarray(layer.corner_pixels, dtype=float)
    if getattr(layer, "multiscale", False):  # they are those of what is shown
        corners = corners * layer.downsample_factors[layer.data_level]
    corners = corners[:, -2:] if layer.ndim > 2 else corners[:, :2]
    top, left = np.clip(np.floor(corners[0]), 0, shape).astype(int)
    bottom, right = np.clip(np.ceil(corners[1]) + 1, 0, shape).astype(int)
    if bottom - top < 2 or right - left < 2:  # nothing was drawn yet
        return 0, shape[0], 0, shape[1]
    return int(top), int(bottom), int(left), int(right)


_MARGIN = 1.25


def look_at(
    viewer: napari.viewer.Viewer, layer: Layer, area: tuple[float, float, float, float]
) -> None:
    """Move and zoom the camera so that an area fills the canvas."""
    top, bottom, left, right = area
    corners = [
        layer.data_to_world((y, x)) for y in (top, bottom) for x in (left, right)
    ]
    low, high = np.min(corners, axis=0)[-2:], np.max(corners, axis=0)[-2:]
    extent = np.maximum(high - low, 1e-9)
    canvas = np.array(viewer.canvas.size, dtype=float)
    viewer.scene.camera.center = tuple((low + high) / 2)
    viewer.scene.camera.zoom = float(np.min(canvas / (extent * _MARGIN)))


def move_to(
    viewer: napari.viewer.Viewer, layer: Layer, place: tuple[float, float]
) -> None:
    """Bring a place to the middle of the canvas without changing the zoom."""
    viewer.scene.camera.center = tuple(np.asarray(layer.data_to_world(place))[-2:])
