"""Small tools for painted labels: sliders tidy them, clicks cut and join objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QFormLayout, QFrame, QLabel, QVBoxLayout, QWidget
from scipy import ndimage as ndi
from superqt import QLabeledSlider

from napari_topiary._napari.canvas.layers import image_layer, put_layer, remove_layer
from napari_topiary._napari.canvas.overlay import Aside
from napari_topiary._napari.drawing import marks
from napari_topiary._napari.jobs.latest import Latest, at_end_of
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.page import button, row
from napari_topiary.annotations import Labels
from napari_topiary.annotations.label_images import EIGHT
from napari_topiary.config import HOLES
from napari_topiary.postprocessing.labels import Tidied, all_cut, cut_object, tidied
from napari_topiary.types import Job, LabelImage, Progress
from napari_topiary.words import plural

if TYPE_CHECKING:
    from napari.layers import Labels as LabelsLayer

    from napari_topiary._napari.drawing.drawing import Drawing

LARGEST = 2000
_TIPS = {
    "smallest": "Pieces of fewer pixels than this go.",
    "hole": HOLES,
}
_ASK = "Move a slider: the image shows what would be left."


class CleanUp(QFrame):
    """Sliders that show at once what they would do to what is painted."""

    said = Signal(str)

    def __init__(self, drawing: Drawing) -> None:
        super().__init__()
        self.drawing = drawing
        self.setProperty("role", "card")
        self._lane, self._aside = Latest(finish_current=True), Aside()
        self._before: LabelImage | None = None
        self._tidied: Tidied | None = None
        self._shown_on: str | None = None
        self.smallest, self.hole = (
            QLabeledSlider(Qt.Orientation.Horizontal) for _ in range(2)
        )
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setHorizontalSpacing(10)
        for text, name in (("Drop below", "smallest"), ("Fill holes to", "hole")):
            slider, label = getattr(self, name), QLabel(f"{text} (px)")
            slider.setRange(0, LARGEST)
            slider.setMinimumWidth(90)
            for one in (label, slider, *slider.findChildren(QWidget)):
                one.setToolTip(_TIPS[name])
            rows.addRow(label, slider)
            slider.valueChanged.connect(self._on_slider)
        self.words = look.paragraph(_ASK, role="hint")
        self.take_button = button(
            "Clean up", "Do it; one step of undo.", self.take, primary=True
        )
        self.leave_button = button("Leave it", "Change nothing.", self.leave)
        self.cut_button = button(
            "Cut all at necks",
            "Objects that are narrow in one place become two, all over the image; one "
            "step of undo. Single ones: the tool Split.",
            self.cut_all,
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(6)
        heading = QLabel("Clean up what is painted")
        look.set_role(heading, "title")
        layout.addWidget(heading)
        layout.addLayout(rows)
        layout.addWidget(self.words)
        layout.addLayout(row(self.take_button, self.leave_button, self.cut_button, 1))
        drawing.changed.connect(self.refresh)
        at_end_of(self, self._lane.close)
        self.hide()

    def refresh(self) -> None:
        """Follow what is painted; what was shown of something else goes."""
        painted = self.drawing.of_kind("labels")
        self.setVisible(painted is not None)
        self.cut_button.setVisible(self.drawing.session.task.kind == "instances")
        if self._before is not None and not self._is_meant(painted):
            self.leave()
        moved = bool(self.smallest.value() or self.hole.value())
        self.take_button.setVisible(moved)
        self.leave_button.setVisible(moved)

    def _is_meant(self, painted: Labels | None) -> bool:
        """Whether what is painted is what is being tidied; it may be read anew."""
        if painted is None or self._before is None:
            return False
        return painted.labels is self._before or np.array_equal(
            painted.labels, self._before
        )

    @property
    def busy(self) -> bool:
        """Whether something is being tidied."""
        return self._lane.busy

    def leave(self) -> None:
        """Put the sliders back, and show what is painted."""
        self._lane.drop()
        self._tidied = self._before = None
        for slider in (self.smallest, self.hole):
            with QSignalBlocker(slider):
                slider.setValue(0)
        self.words.setText(_ASK)
        self._clear()
        for one in (self.take_button, self.leave_button):
            one.hide()

    def _clear(self) -> None:
        viewer, name = self.drawing.viewer, self._shown_on
        self._shown_on = None
        if viewer is not None and name is not None:
            remove_layer(viewer, ("tidied", name))
            self._aside.restore()

    def _on_slider(self, _value: int) -> None:
        self.drawing.gather()
        painted = self.drawing.of_kind("labels")
        if painted is None:
            return
        labels = self._before = painted.labels
        smallest, hole = self.smallest.value(), self.hole.value()
        if not (smallest or hole):
            self.leave()
            return

        def job() -> Job[Tidied]:
            yield Progress(0, 0, "Cleaning up")
            return tidied(labels, smallest_px=smallest, largest_hole_px=hole)

        self._lane.ask(job, title="Cleaning up", on_result=self._on_tidied)
        self.take_button.show()
        self.leave_button.show()

    def _on_tidied(self, made: Tidied) -> None:
        painted, name = self.drawing.of_kind("labels"), self.drawing.name
        if name is None or not self._is_meant(painted):
            return
        viewer = self.drawing.viewer
        self._tidied, self._shown_on = made, name
        layer = put_layer(
            viewer,
            ("tidied", name),
            made.labels,
            "labels",
            like=image_layer(viewer, name),
            name=f"{name} · cleaned up",
            opacity=0.5,
        )
        marks.colour_labels(layer, self.drawing.session)
        own = self.drawing.layer("labels")
        self._aside.hide([] if own is None else [own])
        self.words.setText(_in_words(made, "would be"))

    def take(self) -> None:
        """Do what is shown."""
        made = self._tidied
        if made is not None:
            self._put(made, _in_words(made, "are"))

    def cut_all(self) -> None:
        """Cut all objects at their necks."""
        self.drawing.gather()
        painted = self.drawing.of_kind("labels")
        if painted is None:
            return
        labels = self._before = painted.labels

        def job() -> Job[Tidied]:
            yield Progress(0, 0, "Cutting")
            return all_cut(labels)

        def taken(made: Tidied) -> None:
            if not self._is_meant(self.drawing.of_kind("labels")):
                return
            if made.cut:
                self._put(made, f"{plural(made.cut, 'new object')}.")
            else:
                self.said.emit("No object has a narrow neck: cut one with Split.")

        self._lane.ask(job, title="Cutting", on_result=taken)

    def _put(self, made: Tidied, said: str) -> None:
        objects = self.drawing.session.task.kind == "instances"
        self.leave()
        self.drawing.replace_kind("labels", Labels(made.labels, objects))
        self.said.emit(f"{said} Undo takes it back.")


def _in_words(made: Tidied, verb: str) -> str:
    pieces, holes = plural(made.dropped, "piece"), plural(made.filled, "hole")
    return f"{pieces} {verb} gone, {holes} {verb} filled."


class ObjectEdits(QObject):
    """Cuts or joins the objects that are clicked, while such a tool is in the hand."""

    said = Signal(str)

    def __init__(self, drawing: Drawing, tool: Callable[[], str]) -> None:
        super().__init__()
        self.drawing, self._tool = drawing, tool
        self._joined: tuple[str | None, int] = (None, 0)
        drawing.picked.connect(self._on_picked)

    def _on_picked(self, place: NDArray[np.floating]) -> None:
        layer, tool = self.drawing.layer("labels"), self._tool()
        if layer is None or tool not in ("split", "merge"):
            return
        number = number_at(layer, place)
        if not number:
            self._joined = (None, 0)
            self.said.emit("Click on an object.")
        elif tool == "split":
            parts = split(layer, place)
            self.drawing.gather()  # before it is told: reading takes words away
            self.said.emit(
                f"Cut in {parts}. Undo takes it back."
                if parts > 1
                else "It is narrow nowhere: erase a line through it (E), then Split."
            )
        else:
            self._merge(layer, number)

    def _merge(self, layer: LabelsLayer, number: int) -> None:
        image, first = self._joined
        if image != self.drawing.name or first == number or not first:
            self._joined = (self.drawing.name, number)
            self.said.emit("Now click what belongs to it.")
            return
        merge(layer, first, number)
        self.drawing.gather()
        self.said.emit("Joined. Click what else belongs to it, or the background.")


def number_at(layer: LabelsLayer, place: NDArray[np.floating]) -> int:
    """Number of the object at a place `(y, x)` in pixels; 0 where there is none."""
    labels = np.asarray(layer.data)
    y, x = (round(float(one)) for one in place)
    inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
    return int(labels[y, x]) if inside else 0


def split(layer: LabelsLayer, place: NDArray[np.floating]) -> int:
    """Cut the object at a place; returns in how many. One step of napari's undo."""
    labels, number = np.asarray(layer.data), number_at(layer, place)
    mask = labels == number
    (box,) = ndi.find_objects(mask.astype(np.uint8))
    pieces, count = ndi.label(mask[box], structure=EIGHT)
    # What is in several pieces already is several objects.
    parts = pieces if count > 1 else cut_object(mask[box])
    sizes = np.bincount(parts.ravel())[1:]
    new = int(labels.max())
    corner = [one.start for one in box]
    with layer.block_history():
        for part in np.argsort(-sizes, kind="stable")[1:].tolist():
            new += 1
            y, x = np.nonzero(parts == part + 1)
            layer.data_setitem((y + corner[0], x + corner[1]), new)
    return len(sizes)


def merge(layer: LabelsLayer, first: int, second: int) -> None:
    """Give an object the number of another one. One step of napari's undo."""
    with layer.block_history():
        layer.data_setitem(np.nonzero(np.asarray(layer.data) == second), first)
