"""A and B in turn, at the press of a key or by themselves: changes catch the eye."""

from __future__ import annotations

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from napari_topiary._napari.compare.layers import ComparisonLayers

PERIOD_MS = 600


class Flicker(QObject):
    """Shows one of the two overlays at a time.

    Signals
    -------
    flipped(str)
        "a" or "b" is shown now.
    """

    flipped = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.layers: ComparisonLayers | None = None
        self.shown = "a"
        self._timer = QTimer(self)
        self._timer.setInterval(PERIOD_MS)
        self._timer.timeout.connect(self.flip)

    @property
    def active(self) -> bool:
        """Whether there is anything to flip."""
        return self.layers is not None

    def open(self, layers: ComparisonLayers) -> None:
        """Show A.

        Parameters
        ----------
        layers
            Of the comparison.
        """
        self.layers = layers
        layers.put_side("a")
        layers.put_side("b")
        self.show("a")

    def close(self) -> None:
        """Flip no more."""
        if isalive(self._timer):  # not so at the very end of the program
            self._timer.stop()
        self.layers = None

    def play(self, on: bool) -> None:
        """Flip again and again, or no longer.

        Parameters
        ----------
        on
            Whether to.
        """
        if on and self.active:
            self._timer.start()
        else:
            self._timer.stop()

    def flip(self) -> None:
        """Show the other one."""
        if self.active:
            self.show("b" if self.shown == "a" else "a")

    def show(self, which: str) -> None:
        """Show one of the two.

        Parameters
        ----------
        which
            "a" or "b".
        """
        if self.layers is None:
            return
        self.shown = which
        for what in "ab":
            layer = self.layers.layer(what)
            if layer is not None:
                layer.visible = what == which
        self.flipped.emit(which)
