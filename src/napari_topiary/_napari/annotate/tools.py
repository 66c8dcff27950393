"""The tools of the Annotate page: what each is for, and the one that is in use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QPushButton, QSizePolicy, QWidget

from napari_topiary._napari.annotate.classes import KEYS, NEGATIVE_KEY
from napari_topiary._napari.state import unwrap
from napari_topiary.types import BACKGROUND

if TYPE_CHECKING:
    from napari_topiary._napari.drawing.drawing import Drawing


def take_tool(drawing: Drawing, name: str, class_name: str) -> None:
    """Put a tool into the hand: the right layer is made, active and in its mode."""
    tool, viewer = TOOLS[name], drawing.viewer
    active = unwrap(viewer.layers.selection.active)
    if name == "select":
        layer = _selectable(drawing, active)
        mode = "pan_zoom" if layer is drawing.layer("labels") else "select"
    else:
        layer, mode = drawing.ensure(tool.kind), tool.mode
    if layer is None:
        return
    drawing.aim(BACKGROUND if name == "negative" else class_name)
    layer.visible = True
    viewer.layers.selection.active = layer
    layer.mode = mode


def _selectable(drawing: Drawing, active: Any) -> Any:
    """The layer to select in: the active one of ours, or one that has something."""
    kinds = ("points", "centerlines", "regions", "labels")
    layers = [drawing.layer(kind) for kind in kinds]
    if any(layer is active for layer in layers if layer is not None):
        return active
    return next(
        (layer for layer in layers if layer is not None and len(layer.data)), None
    )


def tool_in_hand(drawing: Drawing, wanted: str = "") -> str:
    """Name of the tool that napari's active layer and mode amount to; empty = none.

    Of several that look alike it is the `wanted` one.
    """
    active = unwrap(drawing.viewer.layers.selection.active)
    names = sorted(TOOLS, key=lambda name: name != wanted)
    for name, tool in ((name, TOOLS[name]) for name in names):
        kinds = (tool.kind,) if tool.kind else ("points", "centerlines", "regions")
        layers = [drawing.layer(kind) for kind in kinds]
        is_ours = active is not None and any(layer is active for layer in layers)
        negative = drawing.class_name == BACKGROUND
        if is_ours and str(active.mode) == tool.mode:
            if tool.kind == "points" and negative != (name == "negative"):
                continue
            return name
    return ""


def give_selected(drawing: Drawing, class_name: str) -> bool:
    """Give the marks that are selected another class."""
    layer = unwrap(drawing.viewer.layers.selection.active)
    kinds = [k for k in ("points", "centerlines") if drawing.layer(k) is layer]
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


@dataclass(frozen=True)
class Tool:
    """One way to draw."""

    text: str
    kind: str
    mode: str
    tip: str
    hint: str
    tasks: tuple[str, ...]
    key: str
    object_hint: str = ""

    def hint_for(self, task_kind: str) -> str:
        """How to use it for a kind of task."""
        of_objects = task_kind == "instances" and self.object_hint
        return self.object_hint if of_objects else self.hint

    @property
    def tip_with_key(self) -> str:
        """The tooltip, with the key as it is written on keyboards."""
        return f"{self.tip}\nKey {self.key.replace('-', '+')}."


FIRST = {"detect": "point", "segment": "paint", "instances": "paint"}
"""Kind of task -> the tool to begin with."""
TOOLS = {
    "point": Tool(
        "Point",
        "points",
        "add",
        "Mark round particles by their centres.",
        "Click the centre of every particle. The circle shows its radius.",
        ("detect",),
        "Shift-D",
    ),
    "centerline": Tool(
        "Centerline",
        "centerlines",
        "add_polyline",
        "Trace filaments along their middle.",
        "Click along the middle of a filament; double-click where it ends.",
        ("detect",),
        "Shift-C",
    ),
    "paint": Tool(
        "Paint",
        "labels",
        "paint",
        "Paint what belongs to the class, pixel by pixel.",
        "Paint over it; [ and ] change the brush, E erases, 2 paints again.",
        ("segment", "instances"),
        "Shift-B",
        f"Paint one object. A stroke apart from it begins the next one, and so does "
        f"{KEYS[0]}. [ and ] change the brush, E erases, 2 paints again.",
    ),
    "outline": Tool(
        "Outline",
        "labels",
        "polygon",
        "Click around it: what is inside is filled (napari's polygon).",
        "Click around it; a double-click closes it, and it fills itself. A right click "
        "takes the last corner back, Escape all.",
        ("segment", "instances"),
        "Shift-P",
        "Click around one object; a double-click closes it, and it fills itself. The "
        "next outline begins the next object. Escape gives up.",
    ),
    "region": Tool(
        "Finished area",
        "regions",
        "add_rectangle",
        "Say where everything is marked: only there do networks learn.",
        "Drag a box around a part in which everything is marked.",
        ("detect", "segment", "instances"),
        "Shift-F",
    ),
    "negative": Tool(
        "Not this",
        "points",
        "add",
        "Mark what looks like a particle but is none, so that it is not found again.",
        "Click what only looks like one: ice, dirt, edges.",
        ("detect",),
        NEGATIVE_KEY,
    ),
    "select": Tool(
        "Move · delete",
        "",
        "select",
        "Select marks to move or delete them.",
        "Click a mark, or drag around several; drag to move, Delete removes.",
        ("detect", "segment", "instances"),
        "Shift-S",
    ),
    "split": Tool(
        "Split",
        "labels",
        "pick",
        "Cut an object that is two at its narrowest place.",
        "Click an object: it is cut at its narrowest place.",
        ("instances",),
        "Shift-X",
    ),
    "merge": Tool(
        "Merge",
        "labels",
        "pick",
        "Join objects that are one.",
        "Click an object, then what belongs to it.",
        ("instances",),
        "Shift-V",
    ),
}


_TOO_LARGE = (
    "This image is too large to be painted on as a whole. Move to a part of it, select "
    "its layer, and on the Data page press <b>Use the selected layer</b> › <b>Add what "
    "is on the screen</b>: that part can be painted."
)
_VOLUME = "The canvas shows 3-D, where nothing can be drawn."


def hint_about(drawing: Drawing, in_hand: str, *, flat: bool) -> tuple[str, bool]:
    """What to do with the tool in the hand, and whether nothing can be drawn."""
    kind = drawing.session.task.kind
    if not flat:
        return _VOLUME, True
    large = drawing.is_large and kind != "detect"
    if large and (not in_hand or TOOLS[in_hand].kind == "labels"):
        return _TOO_LARGE, True
    if in_hand:
        return TOOLS[in_hand].hint_for(kind), large
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
        for name, tool in TOOLS.items():
            made = QPushButton(tool.text)
            made.setCheckable(True)
            made.setToolTip(tool.tip_with_key)
            made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            made.clicked.connect(lambda _=False, one=name: self.picked.emit(one))
            self.buttons[name] = made

    def refresh(self, task_kind: str, current: str, *, enabled: bool) -> None:
        """Show the tools that fit, and which one is in the hand."""
        fitting = [name for name, tool in TOOLS.items() if task_kind in tool.tasks]
        columns = 3
        for name, made in self.buttons.items():
            made.setVisible(name in fitting)
            made.setEnabled(enabled)
            made.setChecked(name == current)
            if name in fitting:
                place = fitting.index(name)
                self._grid.addWidget(made, place // columns, place % columns)
