"""Which layer is which: found by key and object, never by name."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

from qtpy.QtOpenGLWidgets import QOpenGLWidget

from napari_topiary._napari.state import state_of, unwrap

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image, Layer

    from napari_topiary.session import Session

KEY = "topiary"
"""Where a layer's metadata says which layer of Topiary it is."""
ADOPTED = "topiary_adopted"
"""Where a layer's metadata says that the user brought it."""


def layer_for(viewer: napari.viewer.Viewer, key: Hashable) -> Layer | None:
    """The layer made for `key`, or None (never made, or deleted since).

    Parameters
    ----------
    viewer
        The viewer to look in.
    key
        For instance `("points", image_name)`.
    """
    known = state_of(viewer).layers.get(key)
    layer = known() if known is not None else None
    return layer if layer is not None and is_in(viewer, layer) else None


def key_of(viewer: napari.viewer.Viewer, layer: Layer | None) -> Hashable | None:
    """The key a layer was made for, or None for a layer that is not ours.

    A duplicate that the user makes of our layer is the user's own.
    """
    layer = unwrap(layer)
    for key, known in state_of(viewer).layers.items():
        if layer is not None and known() is layer:
            return key
    return None


def adopt(
    viewer: napari.viewer.Viewer, key: Hashable, layer: Layer, *, users: bool = False
) -> Layer:
    """Remember a layer under `key` from now on; returns the layer itself.

    Parameters
    ----------
    viewer
        The viewer that the layer is in.
    key
        Which layer it is from now on.
    layer
        The layer, or the proxy of one.
    users
        Whether it is the user's own layer, never to be removed.
    """
    layer = unwrap(layer)
    layer.metadata[KEY] = key
    if users:
        layer.metadata[ADOPTED] = True
    state_of(viewer).layers[key] = weakref.ref(layer)
    return layer


def remove_layer(viewer: napari.viewer.Viewer, *keys: Hashable) -> None:
    """Take the layers of `keys` away, where there are any."""
    take_out(viewer, [layer_for(viewer, key) for key in keys])


def take_out(viewer: napari.viewer.Viewer, layers: Iterable[Layer | None]) -> None:
    """Remove layers from the viewer; all that Topiary removes leaves this way.

    Parameters
    ----------
    viewer
        The viewer.
    layers
        The layers; None and those that have left already are passed over.
    """
    leaving = [one for one in layers if one is not None and is_in(viewer, one)]
    if not leaving:
        return
    free_in_own_context(viewer)
    with unwrap(viewer).layers.batched_update():  # napari cleans up once, not for each
        for layer in leaving:
            viewer.layers.remove(layer)


def free_in_own_context(viewer: napari.viewer.Viewer) -> None:
    """Make the canvas's OpenGL context the current one, before layers leave.

    napari frees what a layer had in OpenGL in whichever context is current, mostly that
    of the window around the canvas. The canvas then draws from what is gone: the whole
    process ends in a segmentation fault.

    Parameters
    ----------
    viewer
        The viewer that layers are about to leave.
    """
    window = getattr(unwrap(viewer), "window", None)
    if window is not None:
        for canvas in window._qt_window.findChildren(QOpenGLWidget):
            canvas.makeCurrent()


def is_the_users(layer: Layer) -> bool:
    """Whether the user brought this layer, and it was only adopted."""
    return bool(layer.metadata.get(ADOPTED, False))


def is_in(viewer: napari.viewer.Viewer, layer: Layer) -> bool:
    return any(unwrap(other) is layer for other in unwrap(viewer).layers)


def image_layer(viewer: napari.viewer.Viewer, image_name: str) -> Image | None:
    """The layer that shows an image of the project, or None."""
    return layer_for(viewer, ("image", image_name))


def current_image_name(viewer: napari.viewer.Viewer, session: Session) -> str | None:
    """Name of the image that is being worked on, or None."""
    shown = state_of(viewer).shown
    return shown if shown is not None and shown in session.images else None


def spare_layer(
    viewer: napari.viewer.Viewer, key: Hashable, layer_type: str
) -> Layer | None:
    """A layer that showed the same of the image before, for another use, or None.

    Parameters
    ----------
    viewer
        The viewer.
    key
        What the layer is to be from now on, `(kind, image name)`.
    layer_type
        "image", "labels", "points", "shapes".
    """
    kind = key[0] if isinstance(key, tuple) else key
    known = state_of(viewer).spare.get(kind)
    layer = known() if known is not None else None
    if layer is None or layer._type_string != layer_type or not is_in(viewer, layer):
        return None
    del state_of(viewer).spare[kind]
    return adopt(viewer, key, layer)


def drop_spare_layers(viewer: napari.viewer.Viewer) -> None:
    """Remove the layers of the image before that found no other use."""
    spare = state_of(viewer).spare
    layers = [known() for known in spare.values()]
    spare.clear()
    take_out(viewer, layers)
