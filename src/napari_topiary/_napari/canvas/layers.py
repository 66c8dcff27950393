"""Layers of Topiary: found by key and object, never by name, and placed on an image."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtGui import QOpenGLContext

from napari_topiary._napari.canvas.turns import canvases, turns_of
from napari_topiary._napari.state import state_of, unwrap
from napari_topiary.annotations.label_images import are_equal

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image, Layer

    from napari_topiary.session import Session

AXES = ("y", "x")
KEY = "topiary"
"""Where a layer's metadata says which layer of Topiary it is."""
ADOPTED = "topiary_adopted"
"""Where a layer's metadata says that the user brought it."""


def layer_for(viewer: napari.viewer.Viewer, key: Hashable) -> Layer | None:
    """The layer made for `key`, or None (never made, or deleted since)."""
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
    """Remember a layer under `key` from now on; returns the layer itself."""
    layer = unwrap(layer)
    layer.metadata[KEY] = key
    if users:
        layer.metadata[ADOPTED] = True
    state_of(viewer).layers[key] = weakref.ref(layer)
    return layer


def remove_layer(viewer: napari.viewer.Viewer, *keys: Hashable) -> None:
    """Take the layers of `keys` away, where there are any.

    They are hidden at once, and leave one in each turn of the event loop; until then
    they may be used again.
    """
    state, turns = state_of(viewer), turns_of(viewer)
    found = {key: layer_for(viewer, key) for key in keys}
    leaving = {key: one for key, one in found.items() if one is not None}
    if not turns.seen:
        take_out(viewer, leaving.values())
        return
    if leaving:
        turns.hold_painting()
    for key, layer in leaving.items():
        layer.visible = False
        state.leaving[key] = state.layers.pop(key)
    known = weakref.ref(unwrap(viewer))
    turns.add("leaving", [partial(_leave, known, key) for key in leaving])


def _leave(known: weakref.ref[Any], key: Hashable) -> None:
    """Take out a layer that was hidden, unless it is used again."""
    viewer = known()
    leaving = None if viewer is None else state_of(viewer).leaving.pop(key, None)
    if leaving is not None:
        take_out(viewer, [leaving()])


def take_out(viewer: napari.viewer.Viewer, layers: Iterable[Layer | None]) -> None:
    """Remove layers from the viewer now; all that Topiary removes leaves this way."""
    leaving = [one for one in layers if one is not None and is_in(viewer, one)]
    if not leaving:
        return
    free_in_own_context(viewer)
    turns_of(viewer).hold_painting()
    with unwrap(viewer).layers.batched_update():  # napari cleans up once, not for each
        for layer in leaving:
            viewer.layers.remove(layer)


def free_in_own_context(viewer: napari.viewer.Viewer) -> None:
    """Make the canvas's OpenGL context the current one, before layers leave.

    napari frees what a layer had in OpenGL in whichever context is current, mostly that
    of the window around the canvas. The canvas then draws from what is gone: the whole
    process ends in a segmentation fault.
    """
    for canvas in canvases(viewer):
        if QOpenGLContext.currentContext() is not canvas.context():
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
    """A layer that showed the same before, here or on another image, or None."""
    for hidden, name, layer in _spare_layers(viewer, key, layer_type):
        del hidden[name]
        return adopt(viewer, key, layer)
    return None


def spare_pixels(
    viewer: napari.viewer.Viewer, key: Hashable
) -> NDArray[np.integer] | None:
    """What is painted in the layer that `key` will use again, None if there is none."""
    if layer_for(viewer, key) is None:
        for _, _, layer in _spare_layers(viewer, key, "labels"):
            if isinstance(layer.data, np.ndarray):
                return layer.data
    return None


def _spare_layers(
    viewer: napari.viewer.Viewer, key: Hashable, layer_type: str
) -> Iterator[tuple[dict[Hashable, weakref.ref[Layer]], Hashable, Layer]]:
    state = state_of(viewer)
    kind = key[0] if isinstance(key, tuple) else key
    for hidden, name in ((state.leaving, key), (state.spare, kind)):
        known = hidden.get(name)
        layer = known() if known is not None else None
        if layer is None or layer._type_string != layer_type:
            continue
        if is_in(viewer, layer):
            yield hidden, name, layer


def drop_spare_layers(viewer: napari.viewer.Viewer) -> None:
    """Remove the layers of the image before that found no other use."""
    spare = state_of(viewer).spare
    layers = [known() for known in spare.values()]
    spare.clear()
    take_out(viewer, layers)


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
    """Show data in the layer of `key`: updated in place, or made if there is none."""
    layer = layer_for(viewer, key)
    place = placement(like, grid_factor, origin)
    levels = bool(visual.get("multiscale", False))
    if layer is not None and not _can_show(layer, layer_type, levels):
        take_out(viewer, [layer])
        layer = None
    if layer is None:
        layer = spare_layer(viewer, key, layer_type)
        if layer is not None and not _can_show(layer, layer_type, levels):
            take_out(viewer, [layer])
            layer = None
        if layer is not None:
            layer.name, layer.visible = name, visual.get("visible", True)
    if layer is None:
        _leave(weakref.ref(unwrap(viewer)), key)  # of another type, by the same name
        turns_of(viewer).hold_painting()
        with _beside_the_active(viewer):
            add = getattr(unwrap(viewer), f"add_{layer_type}")
            layer = add(data, name=name, **place, **visual)
        _answer_in_mid_change(layer)
        return adopt(viewer, key, layer)
    _update(layer, data, visual)
    for attribute, value in place.items():
        if not np.array_equal(getattr(layer, attribute), value):
            setattr(layer, attribute, value)
    return layer


def _answer_in_mid_change(layer: Layer) -> None:
    """Let the status bar ask at any time what is under the cursor.

    napari asks in a thread of its own, where a layer that just gets a mark has more
    places than sizes: an error, which would be shown in the middle of the canvas.
    """
    from napari.layers import Layer

    ask = layer.get_status

    def status(*place: Any, **seen: Any) -> dict[str, Any]:
        try:
            return ask(*place, **seen)
        except (IndexError, KeyError, ValueError):
            return Layer.get_status(layer)  # without what is there

    layer.__dict__["get_status"] = status


@contextmanager
def _beside_the_active(viewer: napari.viewer.Viewer) -> Iterator[None]:
    """New layers do not become the active one, unless there is none.

    napari would show the controls of the new one, and those of the old one again.
    """
    layers = unwrap(viewer).layers
    activates = layers._activate_on_insert
    layers._activate_on_insert = layers.selection.active is None
    try:
        yield
    finally:
        layers._activate_on_insert = activates


def _can_show(layer: Layer, layer_type: str, levels: bool) -> bool:
    """Whether a layer can be given the data: none becomes a pyramid later."""
    is_pyramid = bool(getattr(layer, "multiscale", False))
    return layer._type_string == layer_type and is_pyramid == levels


def placement(
    like: Layer | None,
    grid_factor: float | tuple[float, float] = 1.0,
    origin: tuple[float, float] = (0.0, 0.0),
) -> dict[str, Any]:
    """Napari arguments that put data where `like` is."""
    factor = np.broadcast_to(np.asarray(grid_factor, dtype=float), (2,))
    # The centre of coarse pixel 0 lies in the middle of the pixels that it covers.
    first = np.asarray(origin, dtype=float) + 0.5 * factor - 0.5
    if like is None:
        return {"scale": tuple(factor), "translate": tuple(first), "axis_labels": AXES}
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
    (
        "visible",
        "opacity",
        "colormap",
        "blending",
        "contrast_limits",
        "rgb",
        "multiscale",
    )
)
_STEP = 64
_OF_THE_SHAPES = ("shape_type", "edge_width", "edge_color", "face_color")


def _are_same(shown: NDArray[Any], data: NDArray[Any]) -> bool:
    """Whether two label images are equal; some of their rows mostly tell others.

    One that was painted over in its place is not what was shown.
    """
    if shown is data or shown.shape != data.shape:
        return False
    return np.array_equal(shown[::_STEP], data[::_STEP]) and are_equal(shown, data)


def _looks_so(layer: Layer, name: str, value: Any) -> bool:
    """Whether marks have a look already: napari takes long to give it to thousands."""
    now = getattr(layer, name, None)
    if name == "symbol" and isinstance(value, str):
        return {str(one) for one in set(now.tolist())} == {value}
    is_array = isinstance(now, np.ndarray) and isinstance(value, np.ndarray)
    return is_array and np.array_equal(now, value)


@contextmanager
def _unseen(layer: Layer) -> Iterator[None]:
    """Let the canvas not draw marks anew for every setting: thousands take long."""
    with ExitStack() as quiet:
        if layer._type_string == "points":
            events = (layer.events, layer._border.events, layer._face.events)
            for one in events:
                quiet.enter_context(one.blocker_all())
        yield


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
    elif layer._type_string == "points":
        if not np.array_equal(layer.data, data):
            layer.data = data
        kept = {k: v for k, v in kept.items() if not _looks_so(layer, k, v)}
    elif layer._type_string != "labels":
        layer.data = data
    elif getattr(layer, "multiscale", False):
        layer.data = data
    elif not _are_same(layer.data, data):
        layer.data = data
        # napari would undo strokes of the old numbers in the new ones.
        for strokes in (layer._undo_history, layer._redo_history):
            strokes.clear()
    with layer._block_refresh(), _unseen(layer):  # drawn once for all
        if features is not None:
            layer.features = features
        for name, value in kept.items():
            if name == "metadata":
                layer.metadata.update(value)
            else:
                setattr(layer, name, value)
    if kept:
        layer.refresh()
