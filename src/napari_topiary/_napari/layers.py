"""Layers by key and object, never by name: made, updated in place, found again."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary._napari.state import state_of, unwrap

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image, Layer

    from napari_topiary.session import Session

KEY = "topiary"
"""Where a layer's metadata says which layer of Topiary it is."""
ADOPTED = "topiary_adopted"
"""Where a layer's metadata says that the user brought it."""

AXES = ("y", "x")
_SAMPLED_PIXELS = 400_000


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
    return layer if layer is not None and _is_in(viewer, layer) else None


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
        viewer.layers.remove(layer)
        layer = None
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


def remove_layer(viewer: napari.viewer.Viewer, key: Hashable) -> None:
    """Take the layer of `key` away, if there is one."""
    layer = layer_for(viewer, key)
    if layer is not None:
        viewer.layers.remove(layer)


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


def image_layer(viewer: napari.viewer.Viewer, image_name: str) -> Image | None:
    """The layer that shows an image of the project, or None."""
    return layer_for(viewer, ("image", image_name))


def current_image_name(viewer: napari.viewer.Viewer, session: Session) -> str | None:
    """Name of the image that is being worked on, or None."""
    shown = state_of(viewer).shown
    return shown if shown is not None and shown in session.images else None


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
    if state.brought is not None and _is_in(viewer, state.brought):
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


def displayed(image: NDArray[np.generic]) -> tuple[NDArray[np.generic], bool]:
    """Return what napari shows of a `(c, y, x)` image, and whether it is RGB.

    Parameters
    ----------
    image
        `(c, y, x)`; one channel is shown grey, three as RGB, otherwise the first.
    """
    if image.shape[0] != 3:
        return image[0], False
    data = np.moveaxis(image, 0, -1)
    if data.dtype != np.uint8:
        low, high = contrast(data)
        data = np.clip((data - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    return data, True


def contrast(data: NDArray[np.generic]) -> tuple[float, float]:
    """Grey values to show as black and white: percentiles, from a sample of pixels.

    Parameters
    ----------
    data
        Any shape; values that are not finite are left out.
    """
    step = max(1, int(np.ceil((data.size / _SAMPLED_PIXELS) ** 0.5)))
    some = np.asarray(data[::step, ::step], dtype=float)
    some = some[np.isfinite(some)]
    if some.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(some, (0.3, 99.7))
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1)


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
        if layer is None or not _is_in(viewer, layer):
            del state.layers[key]
        elif not (isinstance(key, tuple) and key[1] == keep):
            if is_the_users(layer):
                layer.visible = False
            else:
                del state.layers[key]
                viewer.layers.remove(layer)


def is_the_users(layer: Layer) -> bool:
    """Whether the user brought this layer, and it was only adopted."""
    return bool(layer.metadata.get(ADOPTED, False))


def _is_in(viewer: napari.viewer.Viewer, layer: Layer) -> bool:
    return any(unwrap(other) is layer for other in unwrap(viewer).layers)


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
    else:
        layer.data = data
    if features is not None:
        layer.features = features
    for name, value in kept.items():
        if name == "metadata":
            layer.metadata.update(value)
        else:
            setattr(layer, name, value)
