"""Bringing a part of an image into view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

_MARGIN = 1.25


def look_at(
    viewer: napari.viewer.Viewer, layer: Layer, area: tuple[float, float, float, float]
) -> None:
    """Move and zoom the camera so that an area fills the canvas.

    Parameters
    ----------
    viewer
        The viewer.
    layer
        The image that the area is on.
    area
        `(top, bottom, left, right)` in pixels of the image.
    """
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
    """Bring a place to the middle of the canvas without changing the zoom.

    Parameters
    ----------
    viewer
        The viewer.
    layer
        The image that the place is on.
    place
        `(y, x)` in pixels of the image.
    """
    viewer.scene.camera.center = tuple(np.asarray(layer.data_to_world(place))[-2:])
