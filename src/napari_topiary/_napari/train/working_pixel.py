"""The pixel size that the network sees: proposed, and adjustable."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QPushButton, QWidget

from napari_topiary._napari.widgets.fields import LengthField

NAME = "Works at"
TIP = (
    "The pixel size that the network works at, not that of the image: images are "
    "shrunk before\nit reads them. Twice the pixel size is four times faster and sees "
    "twice as far; too coarse,\nand particles melt into one another.\nProposed: the "
    "coarsest that leaves the smallest particle a radius of about 6 pixels; painted\n"
    "areas keep the image's own pixels."
)


class WorkingPixel(QWidget):
    """A length in nm where the pixel size of the images is known, else a factor.

    Signals
    -------
    changed()
        The user chose another size.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._scale: float | None = None
        self._proposed = 1.0
        self._factor: float | None = None
        self.number = LengthField("", TIP)
        self.number.setSpecialValueText("")
        self.number.setStepType(QDoubleSpinBox.StepType.DefaultStepType)
        self.reset_button = QPushButton("Use proposed")
        self.reset_button.setToolTip("Go back to the proposed pixel size.")
        self.reset_button.clicked.connect(self._reset)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.number, 1)
        layout.addWidget(self.reset_button)
        self.number.valueChanged.connect(self._on_number)
        self.propose(1.0, None)

    def propose(self, factor: float, scale: float | None) -> None:
        """Set what is proposed, and show it unless the user chose otherwise.

        Parameters
        ----------
        factor
            Image pixels per working pixel.
        scale
            nm per image pixel, None if unknown.
        """
        self._proposed, self._scale = factor, scale
        self._show()

    def set_fixed(self, factor: float | None) -> None:
        """Show the size that a checkpoint brings with it.

        Parameters
        ----------
        factor
            Image pixels per working pixel; None gives the choice back.
        """
        self.setEnabled(factor is None)
        if factor is not None:
            self._factor = None
            self._proposed = factor
        self._show()

    @property
    def factor(self) -> float:
        """Image pixels per working pixel."""
        return self._proposed if self._factor is None else self._factor

    def values(self) -> dict[str, float | None]:
        """Fields of a `TrainConfig`; empty while the proposal stands."""
        if self._factor is None:
            return {}
        if self._scale is None:
            return {"working_factor": self._factor}
        return {"working_pixel_size_nm": self._factor * self._scale}

    def _show(self) -> None:
        unit = 1.0 if self._scale is None else self._scale
        with QSignalBlocker(self.number):
            self.number.setRange(unit, 64 * unit)
            self.number.setSingleStep(unit / 4)
            self.number.setSuffix(
                " nm per pixel" if self._scale is not None else " × the image's pixels"
            )
            self.number.setValue(self.factor * unit)
        self.reset_button.setVisible(self._factor is not None)

    def _on_number(self, value: float) -> None:
        unit = 1.0 if self._scale is None else self._scale
        self._factor = max(1.0, value / unit)
        self.reset_button.setVisible(True)
        self.changed.emit()

    def _reset(self) -> None:
        self._factor = None
        self._show()
        self.changed.emit()
