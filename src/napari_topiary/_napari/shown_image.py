"""The image that is being worked on, and what leaves the viewer for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_topiary._napari.layer_keys import (
    adopt,
    image_layer,
    is_in,
    is_the_users,
    remove_layer,
)
from napari_topiary._napari.pixels import contrast, displayed
from napari_topiary._napari.state import state_of, unwrap

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from napari_topiary.session import Session

AXES = ("y", "x")


def show_image(viewer: napari.viewer.Viewer, session: Session, name: str) -> Layer:
    """Make an image of the project the one to work on, and show it.

    The layers that Topiary made for other images leave the viewer (their content is
    in the session); layers that the user added stay, hidden when they show another
    image of the project.

    Parameters
    ----------
    viewer
        The viewer to show it in.
    session
        The project.
    name
        Name of one of `session.images`.
    """
    state = state_of(viewer)
    is_new = state.shown != name or image_layer(viewer, name) is None
    if state.shown != name:
        put_aside(viewer, keep=name)
    state.shown = name
    layer = _put_image(viewer, session, name)
    layer.visible = True
    if is_new:
        viewer.layers.selection.active = layer
        viewer.reset_view()
    return layer


def _put_image(viewer: napari.viewer.Viewer, session: Session, name: str) -> Layer:
    state, entry = state_of(viewer), session.images[name]
    layer = image_layer(viewer, name)
    if layer is not None and state.picture is entry.image:
        return layer
    scale = 1.0 if entry.scale is None else float(entry.scale)
    units = "pixel" if entry.scale is None else "nm"
    state.picture = entry.image
    if layer is not None and not is_the_users(layer):
        remove_layer(viewer, ("image", name))
    elif layer is not None:
        return layer
    if state.brought is not None and is_in(viewer, state.brought):
        layer, state.brought = state.brought, None
        return adopt(viewer, ("image", name), layer, users=True)
    data, is_rgb = displayed(entry.image)
    visual: dict[str, Any] = {"rgb": is_rgb}
    if not is_rgb:
        visual |= {"contrast_limits": contrast(data), "colormap": "gray"}
    layer = unwrap(viewer).add_image(
        data,
        name=name,
        scale=(scale, scale),
        units=(units, units),
        axis_labels=AXES,
        **visual,
    )
    adopt(viewer, ("image", name), layer)
    viewer.layers.move(viewer.layers.index(layer), 0)
    return image_layer(viewer, name) or layer


def place_layers(
    viewer: napari.viewer.Viewer, name: str, *, scale: float, units: str
) -> None:
    """Give every layer of an image a new pixel size (typed in by the user).

    Parameters
    ----------
    viewer
        The viewer that shows the image.
    name
        Name of the image.
    scale
        World units per pixel.
    units
        "nm" or "pixel".
    """
    image = image_layer(viewer, name)
    if image is None:
        return
    ratio = scale / np.asarray(image.scale)[-2:]
    for key, known in list(state_of(viewer).layers.items()):
        layer = known()
        if layer is None or not (isinstance(key, tuple) and key[1:] == (name,)):
            continue
        layer.scale = np.asarray(layer.scale)[-2:] * ratio
        layer.translate = np.asarray(layer.translate)[-2:] * ratio
        layer.units = (units, units)


def put_aside(viewer: napari.viewer.Viewer, *, keep: str | None) -> None:
    """Take the layers of all images but one out of the viewer.

    Layers that the user brought are only hidden.

    Parameters
    ----------
    viewer
        The viewer.
    keep
        Name of the image whose layers stay; None keeps none.
    """
    state = state_of(viewer)
    for key, known in list(state.layers.items()):
        layer = known()
        if layer is None or not is_in(viewer, layer):
            del state.layers[key]
        elif not (isinstance(key, tuple) and key[1] == keep):
            if is_the_users(layer):
                layer.visible = False
            else:
                del state.layers[key]
                viewer.layers.remove(layer)
