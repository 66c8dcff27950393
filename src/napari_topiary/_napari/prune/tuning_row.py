"""Fine-tune: for how long, and whether little by little."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from napari_topiary._napari.prune.jobs import Tuning
from napari_topiary._napari.widgets import look
from napari_topiary.config import share_to_ratio
from napari_topiary.pruning import ABOVE_RATIO

TUNE = "Fine-tune"
TIP = (
    "Let the pruned network learn on from the annotated images: most of what pruning "
    "cost\ncomes back. What is removed stays removed. The result is kept as a version "
    "of its own."
)
GRADUAL_TIP = (
    "Remove little by little while it learns, ending exactly where the slider stands,\n"
    "instead of everything at once before. Better when much is removed: the proposed\n"
    f"way above CR {ABOVE_RATIO:g}."
)


class TuningRow(QWidget):
    """A button, a time and a choice.

    Signals
    -------
    pressed()
        The button: start, or stop.
    """

    pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.button = QPushButton(TUNE)
        self.button.setToolTip(TIP)
        self.button.setSizePolicy(
            QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
        )
        look.emphasize(self.button)
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.1, 600.0)
        self.minutes.setDecimals(1)
        self.minutes.setSingleStep(0.5)
        self.minutes.setValue(0.5)
        self.minutes.setSuffix(" min")
        self.minutes.setToolTip("How long to fine-tune; you can stop at any time.")
        self.gradual = QCheckBox("gradually")
        self.gradual.setToolTip(GRADUAL_TIP)
        self._chosen = False
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.button, 1)
        layout.addWidget(self.minutes)
        layout.addWidget(self.gradual)
        self.button.clicked.connect(lambda _checked=False: self.pressed.emit())
        self.gradual.clicked.connect(self._on_gradual)

    def tuning(self) -> Tuning:
        """How to fine-tune."""
        return Tuning(self.minutes.value(), self.gradual.isChecked())

    def propose(self, share: float) -> None:
        """Propose the way that suits how much is removed, unless the user chose.

        Parameters
        ----------
        share
            Of the weights removed.
        """
        if not self._chosen:
            with QSignalBlocker(self.gradual):
                self.gradual.setChecked(share_to_ratio(share) > ABOVE_RATIO * 1.000001)

    def set_state(self, text: str, *, enabled: bool) -> None:
        """Show what the button does now.

        Parameters
        ----------
        text
            `TUNE`, or how it is stopped.
        enabled
            Whether it can be pressed.
        """
        self.button.setText(text)
        self.button.setEnabled(enabled)
        for widget in (self.minutes, self.gradual):
            widget.setVisible(text == TUNE)

    def _on_gradual(self) -> None:
        self._chosen = True
