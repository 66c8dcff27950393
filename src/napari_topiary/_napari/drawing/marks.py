"""What annotations look like as napari layers, and how they are read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap, label_colormap
from napari.utils.colormaps.standardize_color import transform_color
from numpy.typing import NDArray

from napari_topiary._napari.canvas.overlay import class_colormap
from napari_topiary.annotations import Annotation, annotation_kinds
from napari_topiary.types import BACKGROUND, LabelImage

if TYPE_CHECKING:
    from napari.layers import Labels, Layer

    from napari_topiary.session import Session

REGION_COLOUR = "#4cc38a"
LINES_ACROSS = 600
"""So many lines side by side would fill the longer side of an image."""
_FACE = "14"  # alpha of the discs, so that the particle shows through


def layer_data(
    session: Session, name: str, kind: str, room: LabelImage | None = None
) -> tuple[Any, dict[str, Any]]:
    """Return data and settings of the layer that shows one kind of annotation.

    `room`: pixels that are not needed any more, to be painted over.
    """
    entry, task, known = session.images[name], session.task, annotation_kinds[kind]
    shape = entry.image.shape[1:]
    drawn = session.annotations.get(name, ())
    found = next((one for one in drawn if one.kind == kind), None)
    if found is None:
        data, meta = _nothing(session, known, shape)
    else:
        shown = found
        if known.layer_type == "labels":
            # With a stroke on it, a mask of 0 and 255 would hold two values for one.
            shown = shown.meant(task)
            meta = {"metadata": {"instances": shown.instances}}
            return shown.pixels(task, room), meta
        data, meta, _ = shown.to_layer_data("", task, entry.scale)
        del meta["name"]
    if known.layer_type == "labels":
        return data, meta
    if not known.has_classes:
        return data, meta | _area_style(shape) | {"edge_color": REGION_COLOUR}
    names = [str(one) for one in meta["features"]["class"]]
    if not names:
        return data, meta
    if known.layer_type == "points":
        if "size" in meta:
            # What is not one has no radius of its own: it is shown as large as one.
            unlike = [one == BACKGROUND for one in names]
            meta["size"][unlike] = 2 * radius_px(session, name, BACKGROUND)
        return data, meta | _point_style(session, names)
    style = {} if known.is_line else _area_style(shape)
    return data, meta | style | _path_style(session, names)


def _nothing(
    session: Session, known: type[Annotation], shape: tuple[int, ...]
) -> tuple[Any, dict[str, Any]]:
    if known.layer_type == "labels":
        instances = session.task.kind == "instances"
        dtype = np.uint16 if instances else np.uint8
        return np.zeros(shape, dtype), {"metadata": {"instances": instances}}
    no_class = {"class": np.zeros(0, dtype=object)}
    features = {"features": no_class} if known.has_classes else {}
    return ([] if known.layer_type == "shapes" else np.zeros((0, 2))), features


def _point_style(session: Session, names: list[str]) -> dict[str, Any]:
    classes, index = np.unique(names, return_inverse=True)
    colours = [class_colour(session, str(name)) for name in classes]
    return {
        # As numbers: napari takes long to read thousands of words.
        "border_color": transform_color(colours)[index],
        "face_color": transform_color([colour + _FACE for colour in colours])[index],
        # One word for all is much faster where there are thousands.
        "symbol": ["x" if name == BACKGROUND else "disc" for name in names]
        if BACKGROUND in names
        else "disc",
    }


def _path_style(session: Session, names: list[str]) -> dict[str, Any]:
    return {
        "edge_color": np.array([class_colour(session, name) for name in names]),
        "face_color": "transparent",
    }


def _area_style(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"face_color": "transparent", "edge_width": area_line(shape)}


def area_line(shape: tuple[int, ...]) -> float:
    """Width of the line of a finished area in pixels: seen with the whole image too."""
    return max(2.0, max(shape) / LINES_ACROSS)


def colour_labels(layer: Labels, session: Session) -> None:
    """Colour a painted layer: by class, or each object differently."""
    if session.task.kind == "instances":
        if isinstance(layer.colormap, DirectLabelColormap):
            layer.colormap = label_colormap()
        return
    names = session.task.classes[1:]
    colours = {name: class_colour(session, name) for name in names}
    layer.colormap = class_colormap(session.task, colours)


def fixed_look(kind: str) -> dict[str, Any]:
    """Settings of a new annotation layer that do not depend on what is drawn."""
    known = annotation_kinds[kind]
    discs = {"border_width": 0.08, "antialiasing": 1}
    own = discs if known.layer_type == "points" else {}
    return {"opacity": known.opacity, **own}


def in_the_making(layer: Layer | None) -> bool:
    """Whether the last shape of a layer is still being drawn, corner by corner."""
    return bool(getattr(layer, "_is_creating", False))


def read_layer(layer: Layer, kind: str, *, instances: bool = False) -> Any:
    """Read the annotation that a layer shows, without what is still being drawn."""
    known, data, kept = annotation_kinds[kind], layer.data, slice(None)
    if in_the_making(layer):
        data, kept = data[:-1], slice(-1)
    meta: dict[str, Any] = {}
    if known.layer_type == "labels":
        meta = {"metadata": {"instances": instances}}
    elif known.has_classes:
        meta = {"features": layer.features.iloc[kept]}
    if known.layer_type == "shapes":
        meta["shape_type"] = list(layer.shape_type)[kept]
    return known.from_layer_data(data, meta)


def class_colour(session: Session, name: str) -> str:
    """Colour of a class, as ``"#rrggbb"``."""
    if name == BACKGROUND:
        return "#ff5f57"  # "not this": seen on any grey image
    return session.colours.get(name, "#e69f00")


def radius_px(session: Session, image: str, name: str) -> float:
    """Radius of a class on an image, in its pixels; the usual one where unknown."""
    if name == BACKGROUND and len(session.task.classes) > 1:
        name = session.task.classes[1]
    return session.task.radius_or_usual(name, session.images[image].scale)


def aim(layer: Layer, kind: str, session: Session, image: str, name: str) -> None:
    """Let what is drawn next in a layer be of a class."""
    known = annotation_kinds[kind]
    if known.layer_type == "labels":
        _aim_labels(layer, session, image, name)
        return
    # napari gives what is "current" to the things that are selected.
    layer.selected_data = set()
    if known.has_classes:  # with nothing else of its own: napari wants every column
        own = {column: [None] for column in layer.features}
        layer.feature_defaults = own | {"class": [name]}
    colour, size = class_colour(session, name), 2 * radius_px(session, image, name)
    if known.layer_type == "points":
        layer.current_border_color = colour
        layer.current_face_color = colour + _FACE
        layer.current_symbol = "x" if name == BACKGROUND else "disc"
        layer.current_size = size
        return
    if known.has_classes:
        layer.current_edge_color = colour
        layer.current_face_color = "transparent"
    # The line of an area is seen: its width depends on the image alone.
    shape = session.images[image].image.shape[1:]
    layer.current_edge_width = size if known.is_line else area_line(shape)


def _aim_labels(layer: Labels, session: Session, image: str, name: str) -> None:
    """Let the next strokes paint a class, or a new object."""
    if session.task.kind == "instances" and name != BACKGROUND:
        layer.selected_label = int(layer.data.max()) + 1
    else:
        layer.selected_label = session.task.classes.index(name)
    entry = session.images[image]
    radius = session.task.radius(name, entry.scale)
    shorter = min(entry.image.shape[1:])
    layer.brush_size = max(2, round(radius if radius else shorter / 60))


def new_object(layer: Labels) -> int:
    """Number of the next object: the one in the hand while nothing has it."""
    labels, in_hand = np.asarray(layer.data), int(layer.selected_label)
    if in_hand and not (labels == in_hand).any():
        return in_hand
    return max(in_hand, int(labels.max())) + 1


def object_at(layer: Labels, place: NDArray[np.floating]) -> int:
    """Number of the object that a stroke beginning at a place goes on with.

    `layer`: a painted layer of objects; the number in the hand is its selected label ·
    `place` `(y, x)` in pixels.
    """
    labels, in_hand = np.asarray(layer.data), int(layer.selected_label)
    y, x = (round(float(one)) for one in place)
    height, width = labels.shape
    if 0 <= y < height and 0 <= x < width and labels[y, x]:
        return int(labels[y, x])
    reach = float(layer.brush_size) / 2 + 1
    rows = slice(max(0, int(y - reach)), max(0, int(y + reach) + 1))
    columns = slice(max(0, int(x - reach)), max(0, int(x + reach) + 1))
    near = np.argwhere(labels[rows, columns] == in_hand)
    apart = near + np.array([rows.start - y, columns.start - x])
    if (np.hypot(*apart.T) <= reach).any():
        return in_hand
    return max(in_hand, int(labels.max()) + 1)
