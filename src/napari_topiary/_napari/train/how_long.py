"""For how long to train: minutes by the clock, or passes over what is marked."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QWidget

MINUTES, PASSES = "min", "passes"
TIP = "How long to train; you can stop at any time."
USUAL_PASSES = 50


class HowLong(QWidget):
    """A number and its unit.

    Parameters
    ----------
    minutes
        Proposed.

    Signals
    -------
    changed()
        The user changed it.
    """

    changed = Signal()

    def __init__(self, minutes: float) -> None:
        super().__init__()
        self._minutes = minutes
        self.amount = QDoubleSpinBox()
        self.amount.setKeyboardTracking(False)
        self.amount.setToolTip(TIP)
        self.unit = QComboBox()
        self.unit.addItems([MINUTES, PASSES])
        self.unit.setToolTip(
            "Minutes by the clock, or passes over everything that is marked (epochs)."
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.amount, 1)
        layout.addWidget(self.unit)
        self._show()
        self.amount.valueChanged.connect(self.changed)
        self.unit.currentTextChanged.connect(self._on_unit)

    @property
    def minutes(self) -> float | None:
        """Minutes by the clock; None where passes are counted."""
        by_time = self.unit.currentText() == MINUTES
        return self.amount.value() if by_time else None

    def values(self) -> dict[str, Any]:
        """Fields of a `TrainConfig`."""
        minutes = self.minutes
        passes = None if minutes is not None else round(self.amount.value())
        return {"minutes": minutes, "epochs": passes}

    def _on_unit(self) -> None:
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        minutes = self.unit.currentText() == MINUTES
        with QSignalBlocker(self.amount):
            self.amount.setDecimals(1 if minutes else 0)
            self.amount.setRange(0.1 if minutes else 1, 600 if minutes else 10000)
            self.amount.setSingleStep(0.5 if minutes else 10)
            self.amount.setValue(self._minutes if minutes else USUAL_PASSES)
