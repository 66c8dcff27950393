"""What can be drawn, and which layer and mode of napari does it."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QPushButton, QSizePolicy, QWidget

from napari_topiary._napari.annotate.classes import KEYS, NEGATIVE_KEY


@dataclass(frozen=True)
class Tool:
    """One way to draw.

    Parameters
    ----------
    text
        On its button.
    kind
        Kind of annotation that it draws.
    mode
        napari's mode of that layer.
    tip
        Tooltip: when to use it.
    hint
        How to use it, while it is in the hand.
    tasks
        Kinds of task that it makes sense for.
    key
        That puts it into the hand: free in napari, as those of `KEYS`.
    object_hint
        The hint where each thing is painted with a number of its own.
    """

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
}


class ToolBox(QWidget):
    """The tools as buttons; the one in the hand is pressed.

    Signals
    -------
    picked(str)
        A tool was chosen.
    """

    picked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: dict[str, QPushButton] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(6)
        for name, tool in TOOLS.items():
            made = QPushButton(tool.text)
            made.setCheckable(True)
            made.setToolTip(tool.tip_with_key)
            made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            made.clicked.connect(lambda _=False, one=name: self.picked.emit(one))
            self.buttons[name] = made

    def refresh(self, task_kind: str, current: str, *, enabled: bool) -> None:
        """Show the tools that fit, and which one is in the hand.

        Parameters
        ----------
        task_kind
            Kind of the project's task.
        current
            Name of the tool in the hand; empty for none.
        enabled
            Whether there is an image and a class to draw.
        """
        fitting = [name for name, tool in TOOLS.items() if task_kind in tool.tasks]
        columns = 3
        for name, made in self.buttons.items():
            made.setVisible(name in fitting)
            made.setEnabled(enabled)
            made.setChecked(name == current)
            if name in fitting:
                place = fitting.index(name)
                self._grid.addWidget(made, place // columns, place % columns)
