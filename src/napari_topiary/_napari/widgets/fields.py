"""Small input fields that several pages share."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QDoubleSpinBox

from napari_topiary._napari.widgets import look


class LengthField(QDoubleSpinBox):
    """A length or size in world units; 0 stands for "unknown" and shows that word."""

    def __init__(self, unit: str, tip: str, *, digits: int = 6) -> None:
        super().__init__()
        self._digits = digits
        self.setDecimals(4)
        self.setRange(0, 1e6)
        self.setSpecialValueText("unknown")
        self.setSuffix(f" {unit}" if unit else "")
        self.setKeyboardTracking(False)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip(look.lines(tip))

    def textFromValue(self, value: float) -> str:
        """Write no more digits than there are."""
        return f"{value:.{self._digits}g}"

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the wheel to the scroll area until the field is clicked."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def show_value(self, value: float | None) -> None:
        """Show a value without announcing a change; not while it is being typed."""
        if self.hasFocus() and self.lineEdit().isModified():
            return
        was = self.blockSignals(True)
        self.setValue(value or 0.0)
        self.blockSignals(was)
