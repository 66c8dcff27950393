"""How a probability is read, live: threshold, spacing, size, and where to cut."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QWidget
from superqt import QLabeledDoubleSlider, QLabeledSlider

from napari_topiary._napari.network_traits import traits_of
from napari_topiary._napari.predict.cutting_form import CuttingForm
from napari_topiary._napari.widgets.page import button
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.instances import threshold_of

LARGEST_SIZE = 2000
_TIPS = {
    "threshold": "How sure the network has to be. Lower finds more, higher finds fewer "
    "but surer ones.",
    "spacing": "How near two particles may be to each other, in radii of a particle. "
    "Raise it where\none particle is found twice.",
    "size": "Labelled areas with fewer pixels than this are dropped.",
}


class ReadingForm(QWidget):
    """Sliders; moving them needs no new run of the network.

    Signals
    -------
    changed()
        The user moved a slider.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._best: float | None = None
        self._is_best = True
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
        self.size = QLabeledSlider(Qt.Orientation.Horizontal)
        self.size.setRange(0, LARGEST_SIZE)
        self.best_button = button("Best", "", self.use_best)
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setHorizontalSpacing(10)
        self._rows.setVerticalSpacing(4)
        both = QHBoxLayout()
        both.setContentsMargins(0, 0, 0, 0)
        both.addWidget(self.threshold, 1)
        both.addWidget(self.best_button)
        self._add("Threshold", both, "threshold", self.threshold)
        self._add("Spacing", self.spacing, "spacing", self.spacing)
        self._add("Smallest area", self.size, "size", self.size)
        self.cutting = CuttingForm()
        self._rows.addRow(self.cutting)
        self.threshold.valueChanged.connect(self._on_threshold)
        self.spacing.valueChanged.connect(self._on_change)
        self.size.valueChanged.connect(self._on_change)
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
            threshold,
            float(self.spacing.value()),
            self.size.value(),
            **self.cutting.values(),
        )

    def show_checkpoint(self, checkpoint: Checkpoint | None) -> None:
        """Offer what makes sense for a checkpoint, and its own best threshold.

        Parameters
        ----------
        checkpoint
            None disables all.
        """
        self.setEnabled(checkpoint is not None)
        if checkpoint is None:
            return
        detects = checkpoint.task.kind == "detect"
        self._rows.setRowVisible(1, detects)
        self._rows.setRowVisible(2, not detects)
        cuts = traits_of(checkpoint.network).has_distance and not detects
        self._rows.setRowVisible(self.cutting, cuts)
        limits = [
            threshold_of(n, checkpoint.thresholds) for n in checkpoint.task.classes[1:]
        ]
        self._best = min(limits, default=0.5)
        known = bool(checkpoint.thresholds)
        self.best_button.setToolTip(
            f"Back to {self._best:.2f}, the threshold at which this network was best "
            "on areas it had not seen."
            if known
            else "Back to 0.50: this network was not judged on other areas yet."
        )
        self._show_best()

    def use_best(self) -> None:
        """Take the threshold that was best when the network was judged."""
        self._is_best = True
        self._show_best()
        self.changed.emit()

    def _show_best(self) -> None:
        if self._is_best and self._best is not None:
            with QSignalBlocker(self.threshold):
                self.threshold.setValue(min(max(self._best, 0.01), 0.99))
        self.best_button.setEnabled(not self._is_best)

    def _on_threshold(self, _value: float) -> None:
        self._is_best = False
        self._show_best()
        self.changed.emit()

    def _on_change(self, _value: float) -> None:
        self.changed.emit()
