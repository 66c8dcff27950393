"""The tools of the Annotate page, and layers of the user's own taken as marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QPushButton, QSizePolicy, QWidget
from scipy.spatial import cKDTree

from napari_topiary._napari.canvas.layers import image_layer, key_of
from napari_topiary._napari.state import unwrap
from napari_topiary.annotations import (
    Centerlines,
    Labels,
    Points,
    Regions,
    Tool,
    annotation_kinds,
    kinds_in_order,
)
from napari_topiary.annotations.centerlines import LINE_SHAPES
from napari_topiary.errors import TopiaryError
from napari_topiary.session import contents
from napari_topiary.types import BACKGROUND

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_topiary._napari.drawing.drawing import Drawing

FIRST = {"detect": "point", "segment": "paint", "instances": "paint"}
"""Kind of task -> the tool to begin with."""
_TOO_LARGE = (
    "This image is too large to be painted on as a whole. Move to a part of it, select "
    "its layer, and on the Data page press <b>Use the selected layer</b> › <b>Add what "
    "is on the screen</b>: that part can be painted."
)
_VOLUME = "The canvas shows 3-D, where nothing can be drawn."
_KINDS = ("points", "shapes", "labels")
_FEW = 10
"""Of fewer marks the distances say little about their size."""


def take_tool(drawing: Drawing, name: str, class_name: str) -> None:
    """Put a tool into the hand: the right layer is made, active and in its mode."""
    tool, viewer = tools()[name], drawing.viewer
    active = unwrap(viewer.layers.selection.active)
    if tool == SELECT:
        layer = _selectable(drawing, active)
        painted = layer is not None and layer._type_string == "labels"
        mode = "pan_zoom" if painted else "select"
    else:
        layer, mode = drawing.ensure(tool.kind), tool.mode
    if layer is None:
        return
    drawing.aim(BACKGROUND if tool.negative else class_name)
    if not layer.visible:  # napari would draw thousands of marks anew
        layer.visible = True
    viewer.layers.selection.active = layer
    layer.mode = mode


def _selectable(drawing: Drawing, active: Any) -> Any:
    """The layer to select in: the active one of ours, or one that has something."""
    kinds = _selectable_kinds()
    kinds += [kind for kind in annotation_kinds if kind not in kinds]
    layers = [drawing.layer(kind) for kind in kinds]
    if any(layer is active for layer in layers if layer is not None):
        return active
    return next(
        (layer for layer in layers if layer is not None and len(layer.data)), None
    )


def active_tool(drawing: Drawing, wanted: str = "") -> str:
    """Name of the tool that napari's active layer and mode amount to; empty = none.

    Of several that look alike it is the `wanted` one.
    """
    active = unwrap(drawing.viewer.layers.selection.active)
    known = tools()
    for name in sorted(known, key=lambda name: name != wanted):
        tool = known[name]
        kinds = [tool.kind] if tool.kind else _selectable_kinds()
        layers = [drawing.layer(kind) for kind in kinds]
        is_ours = active is not None and any(layer is active for layer in layers)
        negative = drawing.class_name == BACKGROUND
        if is_ours and str(active.mode) == tool.mode:
            alike = [one for one in known.values() if one.kind == tool.kind]
            if any(one.negative for one in alike) and negative != tool.negative:
                continue
            return name
    return ""


def give_selected(drawing: Drawing, class_name: str) -> bool:
    """Give the marks that are selected another class."""
    layer = unwrap(drawing.viewer.layers.selection.active)
    kinds = [
        kind
        for kind in _selectable_kinds()
        if annotation_kinds[kind].has_classes and drawing.layer(kind) is layer
    ]
    if layer is None or not kinds or str(layer.mode) != "select":
        return False
    chosen = sorted(layer.selected_data)
    drawing.gather()
    old = drawing.of_kind(kinds[0])
    if not chosen or old is None:
        return False
    classes = list(old.classes)
    for index in chosen:
        classes[index] = class_name
    drawing.replace_kind(kinds[0], replace(old, classes=tuple(classes)))
    return True


SELECT = Tool(
    name="select",
    text="Move · delete",
    mode="select",
    tip="Select marks to move or delete them.",
    hint="Click a mark, or drag around several; drag to move, Delete removes.",
    tasks=("detect", "segment", "instances"),
    key="Shift-S",
    place=60,
)
"""The one that is of no kind of annotation."""


def tools() -> dict[str, Tool]:
    """All tools by name, as the kinds of annotation have them, in their order."""
    found = [SELECT]
    for kind in annotation_kinds:
        found += [replace(tool, kind=kind) for tool in annotation_kinds[kind].tools]
    return {tool.name: tool for tool in sorted(found, key=lambda one: one.place)}


def _selectable_kinds() -> list[str]:
    """Kinds whose things are selected one by one; nothing painted is."""
    known = annotation_kinds
    return [kind for kind in kinds_in_order() if known[kind].layer_type != "labels"]


def hint_about(drawing: Drawing, active: str, *, flat: bool) -> tuple[str, bool]:
    """What to do with the tool in the hand, and whether nothing can be drawn."""
    kind = drawing.session.task.kind
    if not flat:
        return _VOLUME, True
    large = drawing.is_large and kind != "detect"
    tool = tools().get(active)
    if large and (tool is None or tool.kind == "labels"):
        return _TOO_LARGE, True
    if tool is not None:
        of_objects = kind == "instances" and tool.object_hint
        return of_objects or tool.hint, large
    then = "click" if kind == "detect" else "paint"
    return f"Choose a tool, then {then} in the image.", large


class ToolBox(QWidget):
    """The tools as buttons; the one in the hand is pressed."""

    picked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: dict[str, QPushButton] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(4)
        self._tools = tools()
        for name, tool in self._tools.items():
            made = QPushButton(tool.text)
            made.setCheckable(True)
            made.setToolTip(f"{tool.tip}\nKey {tool.key.replace('-', '+')}.")
            made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            made.clicked.connect(lambda _=False, one=name: self.picked.emit(one))
            self.buttons[name] = made

    def refresh(self, task_kind: str, current: str, *, enabled: bool) -> None:
        """Show the tools that fit, and which one is in the hand."""
        fitting = [
            name for name, tool in self._tools.items() if task_kind in tool.tasks
        ]
        columns = 3
        for name, made in self.buttons.items():
            made.setVisible(name in fitting)
            made.setEnabled(enabled)
            made.setChecked(name == current)
            if name in fitting:
                place = fitting.index(name)
                self._grid.addWidget(made, place // columns, place % columns)


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
        added, note = _use_labels(drawing, layer), ""
    else:
        if not class_name:
            class_name = contents.add_class(
                drawing.session, str(layer.name), drawing.name
            )
        added, note = (_use_points if kind == "points" else _use_shapes)(
            drawing, layer, class_name
        )
    layer.visible = False
    image = image_layer(drawing.viewer, drawing.name or "")
    if image is not None:  # beside a layer in other units napari draws none by its size
        layer.units = tuple(image.units)[-2:]
    # Keys (undo!) and strokes go to the active layer: from now on to ours.
    ours = drawing.layer(kind) or drawing.layer("centerlines")
    drawing.viewer.layers.selection.active = ours or drawing.layer("regions")
    return f"{added} of the layer {layer.name} are part of the project now.{note}"


def _use_points(drawing: Drawing, layer: Layer, class_name: str) -> tuple[str, str]:
    (places,), note = _in_image(drawing, layer, [layer.data])
    names = _class_names(drawing, layer, len(places), class_name)
    for name in set(names) - {BACKGROUND}:
        _fit_radius(drawing, name, places[[one == name for one in names]])
    old = drawing.of_kind("points")
    new = Points(places, names)
    drawing.replace_kind("points", new if old is None else old.joined(new))
    return f"{len(places):,} points", note


def _fit_radius(drawing: Drawing, name: str, places: NDArray[np.float64]) -> None:
    """Let a radius that nobody has chosen not reach beyond half the way to the next.

    It is guessed from the size of the image: on a large one a table of many particles
    would be one orange block, and most of them the same place.
    """
    session, entry = drawing.session, drawing.session.images[drawing.name or ""]
    scale = entry.scale
    radius = session.task.radius(name, scale)
    if len(places) < _FEW or contents.marks_of(session, name) or radius is None:
        return
    if not np.isclose(radius * (scale or 1.0), contents.first_radius(entry)):
        return
    apart = float(np.median(cKDTree(places).query(places, k=2)[0][:, 1]))
    if 0 < apart / 2 < radius:
        own = float(f"{apart / 2 * (scale or 1.0):.2g}")
        contents.set_radius(session, name, own, scale)


def _use_shapes(drawing: Drawing, layer: Layer, class_name: str) -> tuple[str, str]:
    outlines, note = _in_image(drawing, layer, layer.data)
    types = list(layer.shape_type)
    names = _class_names(drawing, layer, len(outlines), class_name)
    lines = [i for i, one in enumerate(types) if one in LINE_SHAPES]
    areas = [i for i, one in enumerate(types) if one not in LINE_SHAPES]
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
    taken = f"{len(lines):,} centerlines and {len(areas):,} finished areas"
    return taken, note


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
    drawing: Drawing, layer: Layer, data: Sequence[Any]
) -> tuple[list[NDArray[np.float64]], str]:
    """Bring coordinates of a layer to pixels of the shown image; what is to be said.

    A table of pixels that was dropped into napari does not lie on an image in nm:
    nobody has placed it, and as pixels it fits.
    """
    parts = [np.asarray(one, dtype=float).reshape(-1, 2) for one in data]
    image = image_layer(drawing.viewer, drawing.name or "")
    if image is None or not parts:
        return parts, ""

    def to_pixels(place: tuple[float, float]) -> NDArray[np.float64]:
        return np.asarray(image.world_to_data(layer.data_to_world(place)), dtype=float)

    # Both ways are affine: three places say all.
    origin = to_pixels((0.0, 0.0))
    axes = np.stack([to_pixels((1.0, 0.0)) - origin, to_pixels((0.0, 1.0)) - origin])
    moved = [one @ axes + origin for one in parts]
    shape = drawing.session.images[drawing.name or ""].image.shape[1:]

    def fits(places: list[NDArray[np.float64]]) -> bool:
        every = np.concatenate(places)
        return bool(((every >= -1) & (every <= np.array(shape))).all())

    in_pixels = str(layer.units[-1]) == "pixel" and np.allclose(layer.scale, 1)
    from_file = layer.source.path is not None
    if in_pixels and fits(parts) and (from_file or not fits(moved)):
        same = all(np.allclose(one, two) for one, two in zip(parts, moved, strict=True))
        return parts, "" if same else " Their places are taken as pixels of the image."
    return moved, ""


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
