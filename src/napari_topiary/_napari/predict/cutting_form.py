"""Where touching objects are cut apart: sliders that act without a new run."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget
from superqt import QLabeledDoubleSlider, QLabeledSlider

from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.page import button, row
from napari_topiary.config import DetectConfig

HINT = "Touching objects are cut between their middles:"
_TIPS = {
    "seed_smoothing_px": "How much the distance map is smoothed before middles are "
    "looked for, in pixels.\nMore: fewer pieces. Less: objects come apart more easily.",
    "seed_spacing_px": "Two middles are at least this far apart, in pixels. Raise it "
    "where one object\nis cut into several.",
    "seed_height": "How clearly a middle has to stand out from the dip between it and "
    "its neighbour\n(1 = as much as from the edge to the middle). Lower cuts more.",
}
_USUAL = DetectConfig()


class CuttingForm(QWidget):
    """Smoothing, distance of middles, and how clear a middle has to be.

    Signals
    -------
    changed()
        The user moved a slider.
    """

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
                one.setToolTip(_TIPS[field])
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
