"""The image that is being worked on: how it is shown, and what leaves for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_topiary._napari.canvas.layers import (
    AXES,
    adopt,
    image_layer,
    is_in,
    is_the_users,
    remove_layer,
    spare_layer,
)
from napari_topiary._napari.state import state_of, unwrap

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from napari_topiary.session import Session


_SAMPLED_PIXELS = 400_000


def displayed(image: NDArray[np.generic]) -> tuple[NDArray[np.generic], bool]:
    """Return what napari shows of a `(c, y, x)` image, and whether it is RGB."""
    if image.shape[0] != 3:
        return image[0], False
    data = np.moveaxis(image, 0, -1)
    if data.dtype != np.uint8:
        low, high = contrast(data)
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


_SEEN_THROUGH = ("additive", "minimum", "multiplicative")


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
    limits = None if is_rgb else contrast(data)
    layer = spare_layer(viewer, ("image", name), "image")
    if layer is not None and layer.rgb == is_rgb:
        _show_another(layer, data, limits)
        layer.name, layer.translate = name, (0.0, 0.0)
        layer.scale, layer.units = (scale, scale), (units, units)
        return layer
    if layer is not None:
        remove_layer(viewer, ("image", name))
    layer = unwrap(viewer).add_image(
        data,
        name=name,
        scale=(scale, scale),
        units=(units, units),
        axis_labels=AXES,
        rgb=is_rgb,
        **({} if limits is None else {"contrast_limits": limits, "colormap": "gray"}),
    )
    viewer.layers.move(viewer.layers.index(unwrap(layer)), 0)
    return adopt(viewer, ("image", name), layer)


def _show_scale_bar(viewer: napari.viewer.Viewer, known: bool) -> None:
    """A scale bar while the pixel size is known; the user's own choice stays."""
    state = state_of(viewer)
    if state.scale_bar != known:
        state.scale_bar = known
        unwrap(viewer).canvas.overlays.scale_bar.visible = known


def _show_another(
    layer: Layer, data: NDArray[np.generic], limits: tuple[float, float] | None
) -> None:
    """Let an image layer show other pixels, between limits that suit them."""
    layer.data = data
    if limits is not None:
        low, high = float(data.min()), float(data.max())
        layer.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
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
