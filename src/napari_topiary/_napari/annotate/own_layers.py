"""Marks from layers that the user made or loaded, as annotations of the shown image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary._napari.canvas.layers import image_layer, key_of
from napari_topiary._napari.state import unwrap
from napari_topiary.annotations import Centerlines, Labels, Points, Regions
from napari_topiary.errors import TopiaryError
from napari_topiary.session import class_edits
from napari_topiary.types import BACKGROUND

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_topiary._napari.drawing.drawing import Drawing

_KINDS = ("points", "shapes", "labels")
_LINES = ("path", "line")


def usable_layer(drawing: Drawing) -> Layer | None:
    """The selected layer if it is one of the user's own that can hold marks."""
    layer = unwrap(drawing.viewer.layers.selection.active)
    if layer is None or drawing.name is None or layer._type_string not in _KINDS:
        return None
    return layer if key_of(drawing.viewer, layer) is None else None


def use_layer(drawing: Drawing, layer: Layer, class_name: str) -> str:
    """Add what a layer shows to the annotations of the shown image; one undo step."""
    if layer.ndim != 2:
        raise TopiaryError(
            f"{layer.name} has {layer.ndim} dimensions; networks here look at one "
            "image at a time: take a 2-D layer."
        )
    kind = str(layer._type_string)
    if kind == "labels":
        added = _use_labels(drawing, layer)
    else:
        if not class_name:
            class_name = class_edits.add_class(
                drawing.session, str(layer.name), drawing.name
            )
        added = (_use_points if kind == "points" else _use_shapes)(
            drawing, layer, class_name
        )
    layer.visible = False
    # Keys (undo!) and strokes go to the active layer: from now on to ours.
    ours = drawing.layer(kind) or drawing.layer("centerlines")
    drawing.viewer.layers.selection.active = ours or drawing.layer("regions")
    return f"{added} of the layer {layer.name} are part of the project now."


def _use_points(drawing: Drawing, layer: Layer, class_name: str) -> str:
    places = _in_image(drawing, layer, np.asarray(layer.data, dtype=float))
    names = _class_names(drawing, layer, len(places), class_name)
    old = drawing.of_kind("points")
    new = Points(places, names)
    drawing.replace_kind("points", new if old is None else old.joined(new))
    return f"{len(places)} points"


def _use_shapes(drawing: Drawing, layer: Layer, class_name: str) -> str:
    outlines = [_in_image(drawing, layer, np.asarray(one)) for one in layer.data]
    types = list(layer.shape_type)
    names = _class_names(drawing, layer, len(outlines), class_name)
    lines = [i for i, one in enumerate(types) if one in _LINES]
    areas = [i for i, one in enumerate(types) if one not in _LINES]
    if lines:
        old = drawing.of_kind("centerlines")
        new = Centerlines(
            tuple(outlines[i] for i in lines), tuple(names[i] for i in lines)
        )
        if old is not None:
            own = old.width_nm
            new = Centerlines(
                (*old.paths, *new.paths),
                (*old.classes, *new.classes),
                None if own is None else (*own, *[None] * len(lines)),
            )
        drawing.replace_kind("centerlines", new)
    if areas:
        done = drawing.of_kind("regions")
        drawn = tuple(outlines[i] for i in areas)
        kinds = tuple(types[i] for i in areas)
        if done is not None:
            drawn, kinds = (*done.polygons, *drawn), (*done.shape_types, *kinds)
        drawing.replace_kind("regions", Regions(drawn, kinds))
    return f"{len(lines)} centerlines and {len(areas)} finished areas"


def _use_labels(drawing: Drawing, layer: Layer) -> str:
    session, name = drawing.session, drawing.name or ""
    labels = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    shape = session.images[name].image.shape[1:]
    if labels.shape != shape:
        raise TopiaryError(
            f"{layer.name} has {labels.shape[1]} × {labels.shape[0]} pixels, the image "
            f"{shape[1]} × {shape[0]}: labels have to be of the same size as the image."
        )
    if session.task.kind == "detect":
        raise TopiaryError(
            "Painted labels are for areas or separate objects: choose one of these "
            "above first."
        )
    instances = session.task.kind == "instances"
    largest, known = int(labels.max()), len(session.task.classes) - 1
    if not instances and largest > known:
        raise TopiaryError(
            f"{layer.name} has labels up to {largest}, but there are only {known} "
            "classes: add classes, or choose separate objects above."
        )
    drawing.replace_kind("labels", Labels(labels, instances))
    return "The labels"


def _in_image(
    drawing: Drawing, layer: Layer, data: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Bring coordinates of a layer to pixels of the shown image."""
    image = image_layer(drawing.viewer, drawing.name or "")
    if image is None or len(data) == 0:
        return np.asarray(data, dtype=float)

    def to_pixels(place: tuple[float, float]) -> NDArray[np.float64]:
        return np.asarray(image.world_to_data(layer.data_to_world(place)), dtype=float)

    # Both ways are affine: three places say all.
    origin = to_pixels((0.0, 0.0))
    axes = np.stack([to_pixels((1.0, 0.0)) - origin, to_pixels((0.0, 1.0)) - origin])
    moved: NDArray[np.float64] = np.asarray(data, dtype=float) @ axes + origin
    return moved


def _class_names(
    drawing: Drawing, layer: Any, count: int, class_name: str
) -> tuple[str, ...]:
    """Classes that the layer itself names (new ones are added), else the given one."""
    features = layer.features
    if "class" not in features or len(features) != count:
        return (class_name,) * count
    names = tuple(str(one) for one in features["class"])
    session = drawing.session
    new = [one for one in dict.fromkeys(names) if one not in session.task.classes]
    if new and new != [BACKGROUND]:
        session.set_task(replace(session.task, classes=(*session.task.classes, *new)))
    return names
