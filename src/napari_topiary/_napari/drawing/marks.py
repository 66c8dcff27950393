"""What annotations look like as napari layers, and how they are read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap, label_colormap
from napari.utils.colormaps.standardize_color import transform_color
from numpy.typing import NDArray

from napari_topiary._napari.canvas.overlay import class_colormap
from napari_topiary.annotations import annotation_kinds
from napari_topiary.types import BACKGROUND

if TYPE_CHECKING:
    from napari.layers import Labels, Layer, Points, Shapes

    from napari_topiary.session import Session

LAYER_TYPES = {
    "points": "points",
    "centerlines": "shapes",
    "regions": "shapes",
    "labels": "labels",
}
TITLES = {
    "points": "marks",
    "centerlines": "centerlines",
    "regions": "finished areas",
    "labels": "painted",
}
REGION_COLOUR = "#4cc38a"
LINES_ACROSS = 600
"""So many lines side by side would fill the longer side of an image."""
_FACE = "14"  # alpha of the discs, so that the particle shows through


def layer_data(session: Session, name: str, kind: str) -> tuple[Any, dict[str, Any]]:
    """Return data and settings of the layer that shows one kind of annotation."""
    entry = session.images[name]
    found = [one for one in session.annotations.get(name, ()) if one.kind == kind]
    if found:
        (shown, *_), task = found, session.task
        if kind == "labels":
            # With a stroke on it, a mask of 0 and 255 would hold two values for one.
            shape = entry.image.shape[1:]
            shown, _ = shown.usable(shape, task=task, scale=entry.scale)
        data, meta, _ = shown.to_layer_data("", task, entry.scale)
        del meta["name"]
    else:
        data, meta = _nothing(session, kind, entry.image.shape[1:])
    if kind == "labels":
        if session.task.kind == "instances" and np.dtype(data.dtype).itemsize < 4:
            data = data.astype(np.int32)  # room for all the objects yet to come
        return data, meta
    if kind == "regions":
        return data, meta | _region_style(entry.image.shape[1:])
    if kind == "points" and found:
        # What is not one has no radius of its own: it is shown as large as one.
        unlike = [one == BACKGROUND for one in found[0].classes]
        meta["size"][unlike] = 2 * radius_px(session, name, BACKGROUND)
    names = [str(one) for one in meta["features"]["class"]]
    style = _point_style if kind == "points" else _path_style
    return data, meta | style(session, names)


def _nothing(
    session: Session, kind: str, shape: tuple[int, ...]
) -> tuple[Any, dict[str, Any]]:
    if kind == "labels":
        instances = session.task.kind == "instances"
        dtype = np.uint16 if instances else np.uint8
        return np.zeros(shape, dtype), {"metadata": {"instances": instances}}
    no_class = {"class": np.zeros(0, dtype=object)}
    if kind == "points":
        return np.zeros((0, 2)), {"features": no_class}
    return [], {"features": no_class} if kind == "centerlines" else {}


def _point_style(session: Session, names: list[str]) -> dict[str, Any]:
    if not names:
        return {}
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
    if not names:
        return {}
    return {
        "edge_color": np.array([class_colour(session, name) for name in names]),
        "face_color": "transparent",
    }


def _region_style(shape: tuple[int, ...]) -> dict[str, Any]:
    return {
        "edge_color": REGION_COLOUR,
        "face_color": "#00000000",
        "edge_width": area_line(shape),
    }


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
    if kind == "points":
        return {"border_width": 0.08, "opacity": 0.9, "antialiasing": 1}
    return {"opacity": {"labels": 0.5, "centerlines": 0.6, "regions": 0.9}[kind]}


def in_the_making(layer: Layer | None) -> bool:
    """Whether the last shape of a layer is still being drawn, corner by corner."""
    return bool(getattr(layer, "_is_creating", False))


def read_layer(layer: Layer, kind: str, *, instances: bool = False) -> Any:
    """Read the annotation that a layer shows, without what is still being drawn."""
    meta: dict[str, Any] = {}
    if in_the_making(layer):
        meta = {"shape_type": list(layer.shape_type)[:-1]}
        if kind != "regions":
            meta["features"] = layer.features.iloc[:-1]
        return annotation_kinds[kind].from_layer_data(layer.data[:-1], meta)
    if kind == "labels":
        meta = {"metadata": {"instances": instances}}
    elif kind != "regions":
        meta = {"features": layer.features}
    if LAYER_TYPES[kind] == "shapes":
        meta["shape_type"] = list(layer.shape_type)
    return annotation_kinds[kind].from_layer_data(layer.data, meta)


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


def _aim_features(layer: Points | Shapes, name: str) -> None:
    """Let what is drawn next be of a class, with nothing else of its own."""
    own = {column: [None] for column in layer.features}  # napari wants every column
    layer.feature_defaults = own | {"class": [name]}


def aim_points(layer: Points, session: Session, image: str, name: str) -> None:
    """Let the next points of a layer be of a class."""
    # napari gives what is "current" to the points that are selected.
    layer.selected_data = set()
    colour = class_colour(session, name)
    _aim_features(layer, name)
    layer.current_border_color = colour
    layer.current_face_color = colour + _FACE
    layer.current_symbol = "x" if name == BACKGROUND else "disc"
    layer.current_size = 2 * radius_px(session, image, name)


def aim_shapes(layer: Shapes, session: Session, image: str, name: str) -> None:
    """Let the next paths of a layer be of a class; as for `aim_points`."""
    layer.selected_data = set()
    _aim_features(layer, name)
    layer.current_edge_color = class_colour(session, name)
    layer.current_face_color = "transparent"
    layer.current_edge_width = 2 * radius_px(session, image, name)


def aim_regions(layer: Shapes, session: Session, image: str, name: str) -> None:
    """Let the next areas have a line that is seen: it depends on the image alone."""
    layer.selected_data = set()
    layer.current_edge_width = area_line(session.images[image].image.shape[1:])


def aim_labels(layer: Labels, session: Session, image: str, name: str) -> None:
    """Let the next strokes paint a class, or a new object; as for `aim_points`."""
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


AIMS = {
    "points": aim_points,
    "centerlines": aim_shapes,
    "regions": aim_regions,
    "labels": aim_labels,
}
"""Kind of annotation -> what lets a layer of it draw a class."""
