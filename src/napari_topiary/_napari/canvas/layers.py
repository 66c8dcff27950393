"""Layers by key and object, never by name: made, updated in place, found again."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_topiary._napari.canvas.layer_keys import (
    adopt,
    current_image_name,
    drop_spare_layers,
    image_layer,
    key_of,
    layer_for,
    remove_layer,
    spare_layer,
    take_out,
)
from napari_topiary._napari.canvas.pixels import contrast, displayed
from napari_topiary._napari.canvas.shown_image import (
    AXES,
    place_layers,
    put_aside,
    show_image,
)
from napari_topiary._napari.state import unwrap

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

__all__ = [
    "adopt",
    "contrast",
    "current_image_name",
    "displayed",
    "drop_spare_layers",
    "image_layer",
    "key_of",
    "layer_for",
    "place_layers",
    "placement",
    "put_aside",
    "put_layer",
    "remove_layer",
    "show_image",
]


def put_layer(
    viewer: napari.viewer.Viewer,
    key: Hashable,
    data: Any,
    layer_type: str,
    *,
    like: Layer | None,
    name: str,
    grid_factor: float | tuple[float, float] = 1.0,
    origin: tuple[float, float] = (0.0, 0.0),
    **visual: Any,
) -> Layer:
    """Show data in the layer of `key`: updated in place, or made if there is none.

    Parameters
    ----------
    viewer
        The viewer to show it in.
    key
        Which layer it is, for instance `("probability", image_name)`.
    data
        As napari takes it: coordinates in pixels `(y, x)`, arrays `(y, x[, rgb])`.
    layer_type
        "image", "labels", "points", "shapes".
    like
        Layer (the image) whose scale, translate, rotate, units and axis labels are
        copied, so that napari never sees mixed units; None for pixels.
    name
        Name of a new layer; a renamed layer keeps the user's name.
    grid_factor
        Pixels of `like` per pixel of `data`, or one number per axis `(y, x)`, where
        the data is on a coarser grid. Pixel centres are at integers.
    origin
        Pixel `(y, x)` of `like` at whose upper left corner the data begins, where it
        covers only a part of the image.
    **visual
        napari's arguments (colormap, opacity, features, ...). What the user may have
        changed since (visible, opacity, colormap, blending, contrast limits) is only
        applied to a new layer.
    """
    layer = layer_for(viewer, key)
    place = placement(like, grid_factor, origin)
    if layer is not None and layer._type_string != layer_type:
        take_out(viewer, [layer])
        layer = None
    if layer is None:
        layer = spare_layer(viewer, key, layer_type)
        if layer is not None:
            layer.name, layer.visible = name, visual.get("visible", True)
    if layer is None:
        add = getattr(unwrap(viewer), f"add_{layer_type}")
        active = unwrap(viewer.layers.selection.active)
        layer = add(data, name=name, **place, **visual)
        if active is not None:
            viewer.layers.selection.active = active
        return adopt(viewer, key, layer)
    _update(layer, data, visual)
    for attribute, value in place.items():
        if not np.array_equal(getattr(layer, attribute), value):
            setattr(layer, attribute, value)
    return layer


def placement(
    like: Layer | None,
    grid_factor: float | tuple[float, float] = 1.0,
    origin: tuple[float, float] = (0.0, 0.0),
) -> dict[str, Any]:
    """Napari arguments that put data where `like` is.

    Parameters
    ----------
    like
        The layer to copy from; None for plain pixels.
    grid_factor
        Pixels of `like` per pixel of the data, or one number per axis `(y, x)`.
    origin
        Pixel `(y, x)` of `like` at whose upper left corner the data begins.
    """
    factor = np.broadcast_to(np.asarray(grid_factor, dtype=float), (2,))
    # The centre of coarse pixel 0 lies in the middle of the pixels that it covers.
    first = np.asarray(origin, dtype=float) + 0.5 * factor - 0.5
    if like is None:
        return {
            "scale": tuple(factor),
            "translate": tuple(first),
            "axis_labels": AXES,
        }
    like = unwrap(like)
    shift = np.asarray(like.data_to_world(first), dtype=float)
    return {
        "scale": tuple(np.asarray(like.scale)[-2:] * factor),
        "translate": tuple(shift[-2:]),
        "rotate": np.asarray(like.rotate),
        "units": tuple(like.units)[-2:],
        "axis_labels": tuple(like.axis_labels)[-2:],
    }


_USERS_OWN = frozenset(
    ("visible", "opacity", "colormap", "blending", "contrast_limits", "rgb")
)
_OF_THE_SHAPES = ("shape_type", "edge_width", "edge_color", "face_color")


def _update(layer: Layer, data: Any, visual: dict[str, Any]) -> None:
    """Give a layer new data and what belongs to it, in an order that is safe."""
    kept = {name: v for name, v in visual.items() if name not in _USERS_OWN}
    features = kept.pop("features", None)
    if layer._type_string in ("points", "shapes"):
        # Items that stay selected while their number changes make napari raise.
        layer.selected_data = set()
    if layer._type_string == "shapes":
        layer.data = []
        given = {name: kept.pop(name) for name in _OF_THE_SHAPES if name in kept}
        if len(data):
            layer.add(data, **given)
    elif layer._type_string != "labels":
        layer.data = data
    elif not np.array_equal(layer.data, data):
        layer.data = data
        # napari would undo strokes of the old numbers in the new ones.
        for strokes in (layer._undo_history, layer._redo_history):
            strokes.clear()
    if features is not None:
        layer.features = features
    for name, value in kept.items():
        if name == "metadata":
            layer.metadata.update(value)
        else:
            setattr(layer, name, value)
