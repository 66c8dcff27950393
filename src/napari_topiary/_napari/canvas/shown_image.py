"""The image that is being worked on: how it is shown, and what leaves for it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary._napari.canvas.layers import (
    AXES,
    adopt,
    image_layer,
    is_in,
    is_the_users,
    spare_layer,
    take_out,
)
from napari_topiary._napari.canvas.turns import turns_of
from napari_topiary._napari.jobs.runner import JobRunner
from napari_topiary._napari.state import state_of, unwrap
from napari_topiary.io.large_images import AnyImage, LargeImage
from napari_topiary.io.pyramids import View, needs_reading, reading_on, views
from napari_topiary.types import Progress

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from napari_topiary.session import Session
    from napari_topiary.types import Window

_SAMPLED_PIXELS = 400_000
_REDRAWN_S = 0.5
"""While a large image is gone through, what is seen of it is drawn so often."""

_SEEN_THROUGH = ("additive", "minimum", "multiplicative")
_MARGIN, _FITTED = 1.25, 1 / 0.95


def picture_of(image: AnyImage) -> tuple[Any, dict[str, Any]]:
    """Return what napari shows of an image, and how.

    `image` `(c, y, x)`; of a large one only what is drawn is read.
    """
    if isinstance(image, LargeImage):
        is_rgb = image.shape[0] == 3
        limits = contrast(image.spots()[0 if not is_rgb else slice(None)])
        ends = limits if is_rgb and image.dtype != np.uint8 else None
        look: dict[str, Any] = {"rgb": is_rgb, "multiscale": True}
        data: Any = views(image, ends)
    else:
        data, is_rgb = displayed(image)
        look = {"rgb": is_rgb}
        limits = (0.0, 1.0) if is_rgb else contrast(data)
    if not is_rgb:
        look |= {"contrast_limits": limits, "colormap": "gray"}
    return data, look


def large_image_of(layer: Any) -> LargeImage | None:
    """Return the large image that a layer shows, None if it is none of ours."""
    finest = layer.data[0] if getattr(layer, "multiscale", False) else None
    return finest.image if isinstance(finest, View) else None


def read_on(viewer: napari.viewer.Viewer, image: LargeImage) -> None:
    """Go through a large image in the background, as far as its picture needs that."""
    if not needs_reading(image) or image.thin.complete:
        return
    shown, drawn = unwrap(viewer), time.monotonic()

    def draw(progress: Progress) -> None:
        nonlocal drawn
        if progress.done < 1 and time.monotonic() < drawn + _REDRAWN_S:
            return
        drawn = time.monotonic()
        for layer in shown.layers:
            if large_image_of(layer) is image:
                layer.refresh()
        session = state_of(viewer).session
        if progress.done == 1 and any(
            entry.image is image for entry in session.images.values()
        ):
            session.images_changed.emit()  # its thumbnail can be made

    JobRunner().start(
        lambda: reading_on(image), title="Reading the image", on_progress=draw
    )


def displayed(image: NDArray[np.generic]) -> tuple[NDArray[np.generic], bool]:
    """Return what napari shows of a `(c, y, x)` image, and whether it is RGB."""
    if image.shape[0] != 3:
        return image[0], False
    data = np.moveaxis(image, 0, -1)
    if data.dtype != np.uint8:
        low, high = contrast(data)
        data = np.nan_to_num(data, nan=low, posinf=high, neginf=low)
        data = np.clip((data - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    return data, True


def contrast(data: NDArray[np.generic]) -> tuple[float, float]:
    """Grey values to show as black and white: percentiles, from a sample of pixels."""
    step = max(1, int(np.ceil((data.size / _SAMPLED_PIXELS) ** 0.5)))
    some = np.asarray(data[::step, ::step], dtype=float)
    some = some[np.isfinite(some)]
    if some.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(some, (0.3, 99.7))
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1)


def show_image(viewer: napari.viewer.Viewer, session: Session, name: str) -> Layer:
    """Make an image of the project the one to work on, and show it.

    The layers that Topiary made for another image show this one now or wait, hidden,
    for `drop_spare_layers`; layers that the user brought stay, hidden.
    """
    state = state_of(viewer)
    is_new = state.shown != name or image_layer(viewer, name) is None
    if state.shown != name:
        put_aside(viewer, keep=name)
    state.shown = name
    layer = _put_image(viewer, session, name)
    layer.visible = True
    _show_scale_bar(viewer, session.images[name].scale is not None)
    if is_new:
        hide_foreign(viewer)
        viewer.layers.selection.active = layer
        viewer.reset_view()
        _fit(viewer, layer)
    return layer


def _fit(viewer: napari.viewer.Viewer, layer: Layer) -> None:
    """Fill the canvas with an image, not with hidden ones that are larger."""
    own = np.asarray(layer.extent.world)[:, -2:]
    whole = np.asarray(unwrap(viewer).layers.extent.world)[:, -2:]
    if not np.allclose(own, whole):
        (top, left), (bottom, right) = np.asarray(layer.extent.data)[:, -2:]
        look_at(viewer, layer, (top, bottom, left, right), margin=_FITTED)


def _put_image(viewer: napari.viewer.Viewer, session: Session, name: str) -> Layer:
    state, entry = state_of(viewer), session.images[name]
    layer = image_layer(viewer, name)
    if layer is not None and state.picture is entry.image:
        return layer
    scale = 1.0 if entry.scale is None else float(entry.scale)
    units = "pixel" if entry.scale is None else "nm"
    state.picture = entry.image
    if layer is not None and not is_the_users(layer):
        take_out(viewer, [layer])
    elif layer is not None:
        return layer
    if state.brought is not None and is_in(viewer, state.brought):
        layer, state.brought = state.brought, None
        return adopt(viewer, ("image", name), layer, users=True)
    if isinstance(entry.image, LargeImage):
        read_on(viewer, entry.image)
    data, look = picture_of(entry.image)
    layer = spare_layer(viewer, ("image", name), "image")
    same = ("rgb", "multiscale")
    if layer is not None and all(getattr(layer, k) == look.get(k, False) for k in same):
        _show_another(layer, data, look.get("contrast_limits"))
        layer.name, layer.translate = name, (0.0, 0.0)
        _take_over_units(viewer, units)
        layer.scale, layer.units = (scale, scale), (units, units)
        return layer
    if layer is not None:
        take_out(viewer, [layer])
    turns_of(viewer).hold_painting()
    _take_over_units(viewer, units)
    layer = unwrap(viewer).add_image(
        data,
        name=name,
        scale=(scale, scale),
        units=(units, units),
        axis_labels=AXES,
        **look,
    )
    viewer.layers.move(viewer.layers.index(unwrap(layer)), 0)
    return adopt(viewer, ("image", name), layer)


def _take_over_units(viewer: napari.viewer.Viewer, units: str) -> None:
    """Give hidden layers that wait the units of the image that comes.

    Beside a layer in other units napari warns, and draws none of them by its size.
    """
    state = state_of(viewer)
    for known in (*state.spare.values(), *state.leaving.values()):
        layer = known()
        if layer is not None and is_in(viewer, layer):
            layer.units = (units,) * layer.ndim


def _show_scale_bar(viewer: napari.viewer.Viewer, known: bool) -> None:
    """A scale bar while the pixel size is known; the user's own choice stays.

    In a turn of its own: its first letters take as long to draw as the image.
    """
    state = state_of(viewer)
    if state.scale_bar != known:
        state.scale_bar = known
        turns_of(viewer).take("scale bar", [partial(_set_scale_bar, viewer, known)])


def _set_scale_bar(viewer: napari.viewer.Viewer, on: bool) -> None:
    unwrap(viewer).canvas.overlays.scale_bar.visible = on


def _show_another(layer: Layer, data: Any, limits: tuple[float, float] | None) -> None:
    """Let an image layer show other pixels, between limits that suit them."""
    layer.data = data
    if limits is not None:
        some = data if isinstance(data, np.ndarray) else np.array(limits)
        if some.dtype.kind == "f":
            some = some[np.isfinite(some)]
        ends = (*limits, float(some.min()), float(some.max())) if some.size else limits
        layer.contrast_limits_range = (min(ends), max(ends))
        layer.contrast_limits = limits


def place_layers(
    viewer: napari.viewer.Viewer, name: str, *, scale: float, units: str
) -> None:
    """Give every layer of an image a new pixel size (typed in by the user)."""
    image = image_layer(viewer, name)
    if image is None:
        return
    _show_scale_bar(viewer, units == "nm")
    ratio = scale / np.abs(np.asarray(image.scale)[-2:])  # what is flipped stays so
    for key, known in list(state_of(viewer).layers.items()):
        layer = known()
        if layer is None or not (isinstance(key, tuple) and key[1:] == (name,)):
            continue
        layer.scale = np.asarray(layer.scale)[-2:] * ratio
        layer.translate = np.asarray(layer.translate)[-2:] * ratio
        layer.units = (units, units)


def hide_foreign(viewer: napari.viewer.Viewer) -> list[str]:
    """Hide the user's own images that cover the one worked on; returns their names.

    They stay in the list: their eye shows them again.
    """
    state = state_of(viewer)
    shown = None if state.shown is None else image_layer(viewer, state.shown)
    if shown is None:
        return []
    ours = {id(known()) for known in state.layers.values()}
    ours |= {id(known()) for known in state.spare.values()}
    layers = [unwrap(one) for one in unwrap(viewer).layers]
    covering = [
        one
        for one in layers[layers.index(unwrap(shown)) + 1 :]
        if one._type_string == "image" and one.visible and id(one) not in ours
        if str(one.blending) not in _SEEN_THROUGH
    ]
    for one in covering:
        one.visible = False
    return [one.name for one in covering]


def put_aside(viewer: napari.viewer.Viewer, *, keep: str | None) -> None:
    """Hide the layers of all images but one; those that we made become spare ones."""
    state = state_of(viewer)
    for key, known in list(state.layers.items()):
        layer = known()
        if layer is None or not is_in(viewer, layer):
            del state.layers[key]
        elif not (isinstance(key, tuple) and key[1] == keep):
            layer.visible = False
            if not is_the_users(layer):
                del state.layers[key]
                kind = key[0] if isinstance(key, tuple) else key
                state.spare[kind] = known


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


def look_at(
    viewer: napari.viewer.Viewer,
    layer: Layer,
    area: tuple[float, float, float, float],
    *,
    margin: float = _MARGIN,
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
    viewer.scene.camera.zoom = float(np.min(canvas / (extent * margin)))


def move_to(
    viewer: napari.viewer.Viewer, layer: Layer, place: tuple[float, float]
) -> None:
    """Bring a place to the middle of the canvas without changing the zoom."""
    viewer.scene.camera.center = tuple(np.asarray(layer.data_to_world(place))[-2:])
