"""Which layer is which: found by key and object, never by name."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import TYPE_CHECKING

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


def remove_layer(viewer: napari.viewer.Viewer, key: Hashable) -> None:
    """Take the layer of `key` away, if there is one."""
    layer = layer_for(viewer, key)
    if layer is not None:
        viewer.layers.remove(layer)


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
    for layer in layers:
        if layer is not None and is_in(viewer, layer):
            viewer.layers.remove(layer)
