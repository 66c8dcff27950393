"""How a probability is read, live, and which layers of it are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledDoubleSlider, QLabeledSlider

from napari_topiary import words
from napari_topiary._napari.canvas.result_layers import KINDS, shown_kinds
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import button, row
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import HOLES, DetectConfig
from napari_topiary.jobs.network_cost import traits_of
from napari_topiary.postprocessing import threshold_of
from napari_topiary.postprocessing.interpret import usual_smallest_px
from napari_topiary.types import Task

HINT = "Touching objects are cut between their middles:"
_CUTTING_TIPS = {
    "seed_smoothing_px": "How much the distance map is smoothed before middles are "
    "looked for, in pixels.\nMore: fewer pieces. Less: objects come apart more easily.",
    "seed_spacing_px": "Two middles are at least this far apart, in pixels. Raise it "
    "where one object\nis cut into several.",
    "seed_height": "How clearly a middle has to stand out from the dip between it and "
    "its neighbour\n(1 = as much as from the edge to the middle). Lower cuts more.",
}
_USUAL = DetectConfig()

LARGEST_SIZE = 2000
_TIPS = {
    "threshold": "How sure the network has to be. Lower finds more, higher finds fewer "
    "but surer ones.",
    "spacing": "How near two particles may be to each other, in radii of a particle. "
    "Raise it where\none particle is found twice.",
    "size": "Labelled areas with fewer pixels than this are dropped. For objects it "
    "begins at half the size\nof the small ones that the network has learned from.",
    "hole": HOLES,
}
_KIND_TIPS = {
    "probability": "How sure the network is, in the colour of the class.",
    "detections": "A thin ring around everything that was found, in another colour "
    "than your marks.",
    "lines": "The filaments that were traced, in another colour than your own.",
    "result-labels": "The class, or the number of the object, at every pixel.",
    "distance": "How far each pixel is from the edge of its object: objects are cut "
    "apart in its valleys.",
}
_AT_FIRST = ("probability", "detections", "lines")
ONE_ROW = 3
"""So many switches have room beside one another."""


class CuttingForm(QWidget):
    """Smoothing, distance of middles, and how clear a middle has to be."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.smoothing = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.smoothing.setRange(0.0, 10.0)
        self.smoothing.setDecimals(1)
        self.smoothing.setSingleStep(0.1)
        self.spacing = QLabeledSlider(Qt.Orientation.Horizontal)
        self.spacing.setRange(1, 40)
        self.height_slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.height_slider.setRange(0.0, 1.0)
        self.height_slider.setDecimals(2)
        self.height_slider.setSingleStep(0.01)
        self.sliders = {
            "seed_smoothing_px": self.smoothing,
            "seed_spacing_px": self.spacing,
            "seed_height": self.height_slider,
        }
        self.usual_button = button(
            "As usual", "Back to the settings that suit most images.", self.use_usual
        )
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setHorizontalSpacing(10)
        rows.setVerticalSpacing(4)
        names = ("Smoothing", "Between middles", "Clearness")
        for text, (field, slider) in zip(names, self.sliders.items(), strict=True):
            label = QLabel(text)
            for one in (label, slider):
                one.setToolTip(_CUTTING_TIPS[field])
            slider.setMinimumWidth(90)
            rows.addRow(label, slider)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row(look.paragraph(HINT, role="hint"), self.usual_button))
        layout.addLayout(rows)
        self._show_usual()
        for slider in self.sliders.values():
            slider.valueChanged.connect(self._on_slider)

    def values(self) -> dict[str, Any]:
        """Fields of a `DetectConfig`."""
        return {
            "seed_smoothing_px": float(self.smoothing.value()),
            "seed_spacing_px": int(self.spacing.value()),
            "seed_height": float(self.height_slider.value()),
        }

    def use_usual(self) -> None:
        """Go back to the usual settings."""
        self._show_usual()
        self.changed.emit()

    def _show_usual(self) -> None:
        for field, slider in self.sliders.items():
            with QSignalBlocker(slider):
                slider.setValue(getattr(_USUAL, field))
        self.usual_button.setEnabled(False)

    def _on_slider(self, _value: float) -> None:
        usual = {field: getattr(_USUAL, field) for field in self.sliders}
        self.usual_button.setEnabled(self.values() != usual)
        self.changed.emit()


class PostProcessingForm(QWidget):
    """Sliders; moving them needs no new run of the network."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._best: float | None = None
        self._objects = False
        self._said = ""
        self._is_best = self._is_usual_size = True
        self._origin = ""
        self.origin = look.paragraph("", role="hint")
        self.threshold = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(0.01, 0.99)
        self.threshold.setSingleStep(0.01)
        self.threshold.setDecimals(2)
        self.threshold.setValue(0.5)
        self.spacing = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.spacing.setRange(0.2, 4.0)
        self.spacing.setDecimals(1)
        self.spacing.setSingleStep(0.1)
        self.spacing.setValue(1.0)
        self.smallest = QLabeledSlider(Qt.Orientation.Horizontal)
        self.smallest.setRange(0, LARGEST_SIZE)
        self.hole = QLabeledSlider(Qt.Orientation.Horizontal)
        self.hole.setRange(0, LARGEST_SIZE)
        self.best_button = button("Best", "", self.use_best)
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setHorizontalSpacing(10)
        self._rows.setVerticalSpacing(4)
        both = filled(
            QHBoxLayout(), (self.threshold, 1), self.best_button, spacing=None
        )
        self._add("Threshold", both, "threshold", self.threshold)
        self._rows.addRow(self.origin)
        self._add("Spacing", self.spacing, "spacing", self.spacing)
        self._add("Drop below (px)", self.smallest, "size", self.smallest)
        self._add("Fill holes to (px)", self.hole, "hole", self.hole)
        self.cutting = CuttingForm()
        self._rows.addRow(self.cutting)
        self.threshold.valueChanged.connect(self._on_threshold)
        self.spacing.valueChanged.connect(self._on_change)
        self.smallest.valueChanged.connect(self._on_smallest)
        self.hole.valueChanged.connect(self._on_change)
        self.cutting.changed.connect(self.changed)

    def _add(self, text: str, what: object, tip: str, slider: QWidget) -> None:
        label = QLabel(text)
        label.setToolTip(_TIPS[tip])
        slider.setToolTip(_TIPS[tip])
        slider.setMinimumWidth(90)
        self._rows.addRow(label, what)

    def value(self) -> DetectConfig:
        """What the sliders say; the threshold is open while it is the best one."""
        threshold = None if self._is_best else float(self.threshold.value())
        return DetectConfig(
            threshold=threshold,
            spacing=float(self.spacing.value()),
            min_size_px=self._smallest(),
            largest_hole_px=self.hole.value(),
            **self.cutting.values(),
        )

    def show_checkpoint(self, checkpoint: Checkpoint | None) -> None:
        """Offer what makes sense for a checkpoint, and its own best threshold."""
        self.setEnabled(checkpoint is not None)
        if checkpoint is None:
            return
        detects = checkpoint.task.kind == "detect"
        self._rows.setRowVisible(self.spacing, detects)
        self._rows.setRowVisible(self.smallest, not detects)
        self._rows.setRowVisible(self.hole, not detects)
        cuts = traits_of(checkpoint.network).has_distance and not detects
        self._objects = checkpoint.task.kind == "instances"
        if self._is_usual_size:
            usual = usual_smallest_px(checkpoint, has_distance=cuts)
            with QSignalBlocker(self.smallest):
                self.smallest.setMaximum(max(LARGEST_SIZE, 4 * usual))
                self.smallest.setValue(usual)
        self._rows.setRowVisible(self.cutting, cuts)
        limits = [
            threshold_of(n, checkpoint.thresholds) for n in checkpoint.task.classes[1:]
        ]
        self._best, self._said = min(limits, default=0.5), words.thresholds(limits)
        known = bool(checkpoint.thresholds)
        held = checkpoint.metrics.get("held_out")
        origin = f"best on what was held back: {held}" if held else "best when judged"
        why = (
            f"too little was held back ({held}) to choose another"
            if held
            else "not judged on other areas yet"
        )
        self._origin = origin if known else why
        self.best_button.setToolTip(
            f"Back to {self._said}, the threshold at which this network was best "
            "on areas it had not seen."
            if known
            else f"Back to 0.50: {why}."
        )
        self._show_best()

    def _smallest(self) -> int:
        """Smallest size that counts; 0 leaves that of objects to the network."""
        size = int(self.smallest.value())
        return (0 if self._is_usual_size else max(1, size)) if self._objects else size

    def use_best(self) -> None:
        """Take the threshold that was best when the network was judged."""
        self._is_best = True
        self._show_best()
        self.changed.emit()

    def _show_best(self) -> None:
        if self._is_best and self._best is not None:
            with QSignalBlocker(self.threshold):
                self.threshold.setValue(min(max(self._best, 0.01), 0.99))
            self.origin.setText(f"{self._said}: {self._origin}")
        elif self._best is not None:
            self.origin.setText(f"set by hand; {self._said}: {self._origin}")
        self.best_button.setEnabled(not self._is_best)

    def _on_threshold(self, _value: float) -> None:
        self._is_best = False
        self._show_best()
        self.changed.emit()

    def _on_smallest(self, _value: float) -> None:
        self._is_usual_size = False
        self.changed.emit()

    def _on_change(self, _value: float) -> None:
        self.changed.emit()


class KindSwitches(QWidget):
    """Switches for the layers of a result, in one row or two."""

    toggled = Signal(str, bool)

    def __init__(self) -> None:
        super().__init__()
        self._task_kind = "detect"
        self.switches: dict[str, QCheckBox] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(10)
        self._grid.setColumnStretch(ONE_ROW, 1)
        for kind, text in KINDS.items():
            one = self.switches[kind] = QCheckBox(text)
            one.setToolTip(_KIND_TIPS[kind])
            one.setChecked(kind in _AT_FIRST)
            one.toggled.connect(lambda on, kind=kind: self.toggled.emit(kind, on))
        self._arrange(tuple(KINDS))

    def show_checkpoint(self, checkpoint: Checkpoint | None) -> None:
        """Offer the layers that a network's answers have."""
        known = shown_kinds(checkpoint.task) if checkpoint else ()
        lines = checkpoint is not None and bool(
            checkpoint.annotations_summary.get("line_classes")
        )
        if checkpoint is not None and checkpoint.task.kind != self._task_kind:
            self._task_kind = checkpoint.task.kind
            self.switches["result-labels"].setChecked(self._task_kind != "detect")
        distance = checkpoint is not None and traits_of(checkpoint.network).has_distance
        here = {"lines": lines, "distance": distance}
        shown = tuple(k for k in KINDS if k in known and here.get(k, True))
        for kind, one in self.switches.items():
            one.setVisible(kind in shown)
        self._arrange(shown)

    def _arrange(self, shown: Sequence[str]) -> None:
        """Put those that are shown where their words are whole in a narrow dock."""
        across = ONE_ROW if len(shown) <= ONE_ROW else 2
        for place, kind in enumerate(shown):
            self._grid.addWidget(self.switches[kind], *divmod(place, across))

    def is_on(self, kind: str) -> bool:
        """Whether a kind of layer is wanted."""
        return self.switches[kind].isChecked()

    def wanted(self, task: Task, *, without: tuple[str, ...] = ()) -> dict[str, bool]:
        """Kind -> whether it is visible, for the answers to a task."""
        return {
            kind: self.is_on(kind) for kind in shown_kinds(task) if kind not in without
        }
