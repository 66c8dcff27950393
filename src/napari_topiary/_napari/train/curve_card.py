"""Would more annotations help? Quality against how much was learned from."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QVBoxLayout

from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.plot import PlotColours, SmallPlot
from napari_topiary.studies.learning_curve import LearningCurve

TICKS = ((0.125, "⅛"), (0.25, "¼"), (0.5, "½"), (1.0, "all"), (2.0, "twice"))
TIP = (
    "Points: trained on this share of your annotations, judged on what was held back."
    "\nLine: what the points say; shaded: what is likely, up to twice as many."
)


class CurvePicture(SmallPlot):
    """Measured points, the law through them, and what it likely lies between.

    Parameters
    ----------
    height
        Of the widget in pixels.
    """

    def __init__(self, height: int = 120) -> None:
        super().__init__(height)
        item = self.getPlotItem()
        item.getAxis("bottom").setTicks([[(np.log2(x), t) for x, t in TICKS]])
        item.setXRange(np.log2(0.11), np.log2(2.2), padding=0)
        self._low, self._high = pg.PlotCurveItem(), pg.PlotCurveItem()
        self._band = pg.FillBetweenItem(self._low, self._high)
        self._law = pg.PlotCurveItem(antialias=True)
        self._points = pg.ScatterPlotItem(size=9)
        self.quality_name = "quality"
        for one in (self._band, self._law, self._points):
            item.addItem(one)
        self.setToolTip(TIP)
        self.restyle(self.colours)

    def show_curve(self, curve: LearningCurve) -> None:
        """Show what is known so far.

        Parameters
        ----------
        curve
            May be empty.
        """
        self.quality_name = curve.quality_name or "quality"
        self._points.setData(np.log2(curve.fractions), list(curve.qualities))
        x, law, low, high = np.array(curve.curve or np.zeros((0, 4))).reshape(-1, 4).T
        x = np.log2(x)
        for one, y in ((self._law, law), (self._low, low), (self._high, high)):
            one.setData(x, np.clip(y, 0.0, 1.0))
        seen = [*curve.qualities, *np.clip(np.r_[low, high], 0.0, 1.0)]
        if seen:
            room = max(0.02, 0.1 * (max(seen) - min(seen)))
            self.getPlotItem().setYRange(min(seen) - room, max(seen) + room, padding=0)
        self.restyle(self.colours)

    def restyle(self, colours: PlotColours) -> None:
        """Take over the colours of a theme."""
        super().restyle(colours)
        if not hasattr(self, "_points"):
            return
        item = self.getPlotItem()
        item.setLabel("left", self.quality_name, color=colours.text)
        item.setLabel("bottom", "share of your annotations", color=colours.text)
        faint = pg.mkColor(colours.first)
        faint.setAlpha(50)
        self._band.setBrush(faint)
        self._law.setPen(pg.mkPen(colours.first, width=2))
        for edge in (self._low, self._high):
            edge.setPen(pg.mkPen(None))
        self._points.setBrush(colours.second)
        self._points.setPen(pg.mkPen(None))


class CurveCard(QFrame):
    """The picture and what it says; hidden until there is something."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.sentence = look.paragraph("", role="title")
        self.sentence.setTextFormat(Qt.TextFormat.PlainText)
        self.picture = CurvePicture()
        self.picture.setStyleSheet("background: transparent;")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(3)
        layout.addWidget(self.picture)
        layout.addWidget(self.sentence)
        self.hide()

    def show_curve(self, curve: LearningCurve, *, finished: bool) -> None:
        """Show the curve so far.

        Parameters
        ----------
        curve
            What is known.
        finished
            Whether nothing more will come.
        """
        self.picture.show_curve(curve)
        trained = len(curve.fractions)
        waiting = f"{trained} of 4 trainings done…"
        self.sentence.setText(curve.sentence if finished else waiting)
        self.show()
