"""Live curves of a training: the loss falls, the quality on the hold-out rises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QSizePolicy

from napari_topiary._napari.jobs.latest import later
from napari_topiary._napari.widgets import look

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary.training import TrainReport

MOST_POINTS = 1500
"""A curve with more points is thinned out: drawing it must stay instant."""
REDRAW_MS = 200
HEADROOM = 1.05


@dataclass(frozen=True)
class PlotColours:
    """Colours of a plot, as `#rrggbb`."""

    #: `text`, `grid`: axes and their labels; what is less important
    text: str = "#909090"
    grid: str = "#808080"
    #: `first`, `second`, `good`: the two curves or kinds of point, and what is
    #: recommended
    first: str = "#5ac8fa"
    second: str = "#ffa94d"
    good: str = "#6fcf97"


def plot_colours(viewer: napari.viewer.Viewer) -> PlotColours:
    """Colours that read well on the viewer's theme."""
    theme = get_theme(viewer.theme)
    return PlotColours(
        text=theme.text.as_hex(format="long"),
        grid=theme.highlight.as_hex(format="long"),
        first=look.colour(viewer, "a"),
        second=look.colour(viewer, "b"),
        good=look.colour(viewer, "good"),
    )


QWIDGETSIZE_MAX = 2**24 - 1
"""Of Qt: no limit."""


class SmallPlot(pg.PlotWidget):
    """A plot for a narrow dock: transparent, no menus, nothing to drag by accident."""

    def __init__(self, height: int) -> None:
        super().__init__(background=None)
        self.colours = PlotColours()
        self.setFixedHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setMenuEnabled(False)
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        self.setFrameShape(self.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        item = self.getPlotItem()
        half_a_number = -(-self.fontMetrics().height() // 2)  # above the highest line
        item.layout.setContentsMargins(0, half_a_number, 4, 3)
        for side in ("left", "bottom", "right"):
            axis = item.getAxis(side)
            axis.enableAutoSIPrefix(False)
            axis.setStyle(tickLength=-4, autoExpandTextSpace=True)

    def fill_room(self) -> None:
        """Grow with what is around it; its height is the least."""
        self.setMaximumHeight(QWIDGETSIZE_MAX)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """As high as it is going to be: a plot that was never shown asks for 480."""
        return QSize(super().sizeHint().width(), self.minimumHeight())

    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to the scroll area around."""
        event.ignore()

    def restyle(self, colours: PlotColours) -> None:
        """Take over the colours of a theme."""
        self.colours = colours
        for side in ("left", "bottom", "right"):
            axis = self.getPlotItem().getAxis(side)
            axis.setPen(pg.mkPen(colours.grid))
            axis.setTextPen(pg.mkPen(colours.text))


class CurvePlot(SmallPlot):
    """Loss on the left axis, quality on the hold-out on the right one, over seconds."""

    def __init__(self, height: int = 140) -> None:
        super().__init__(height)
        item = self.getPlotItem()
        item.setLabel("bottom", "seconds")
        item.showAxis("right")
        self._right = pg.ViewBox(enableMenu=False)
        self._right.setMouseEnabled(x=False, y=False)
        item.scene().addItem(self._right)
        item.getAxis("right").linkToView(self._right)
        self._right.setXLink(item)
        self._right.setYRange(0, 1, padding=0.03)
        item.vb.sigResized.connect(self._follow_size)
        item.vb.setLimits(yMin=0)
        self._loss = pg.PlotCurveItem(antialias=True)
        item.addItem(self._loss)
        self._quality = pg.PlotDataItem(symbol="o", symbolSize=6, antialias=True)
        self._right.addItem(self._quality)
        self._best = pg.InfiniteLine(angle=0)
        self._best.hide()
        self._right.addItem(self._best)
        self.quality_name = "quality"
        self._soon = later(self, REDRAW_MS, self.redraw)
        self.reset()
        self.restyle(self.colours)

    def reset(self) -> None:
        """Forget both curves."""
        self.losses: list[tuple[float, float]] = []
        self.qualities: list[tuple[float, float]] = []
        self._loss.setData([], [])
        self._quality.setData([], [])
        self._best.hide()
        self.getPlotItem().setXRange(0, 1, padding=0.02)
        self.getPlotItem().setYRange(0, HEADROOM, padding=0)  # room for "1.0"

    def set_quality_name(self, name: str) -> None:
        """Say what the right axis shows."""
        self.quality_name = name
        self.getPlotItem().setLabel("right", name, color=self.colours.second)

    def follow(self, report: TrainReport) -> None:
        """Take in the state of a running training; drawn a little later."""
        self.add_loss(report.seconds, report.loss)
        if report.quality is not None and report.quality.known:
            self.set_quality_name(report.quality.name)
            self.add_quality(report.seconds, report.quality.value)
        if not self._soon.isActive():
            self._soon.start()

    def add_loss(self, seconds: float, loss: float) -> None:
        """Append to the loss; call `redraw` afterwards."""
        if len(self.losses) >= MOST_POINTS:
            self.losses = self.losses[::2]
        self.losses.append((seconds, loss))

    def add_quality(self, seconds: float, quality: float) -> None:
        """Append to the quality; call `redraw` afterwards.

        `quality`: 0..1.
        """
        self.qualities.append((seconds, quality))

    def redraw(self) -> None:
        """Show what was added."""
        if self.losses:
            seconds, values = np.array(self.losses).T
            self._loss.setData(seconds, values)
            # A high first loss must not flatten all that follows.
            settled = values[len(values) // 20 :]
            top = max(float(settled.max()) * HEADROOM, 1e-3)
            self.getPlotItem().setYRange(0, top, padding=0)
            self.getPlotItem().setXRange(0, max(1.0, seconds[-1]), padding=0.02)
        if self.qualities:
            seconds, values = np.array(self.qualities).T
            self._quality.setData(seconds, values)
            self._best.setValue(values.max())
            self._best.show()

    def restyle(self, colours: PlotColours) -> None:
        """Take over the colours of a theme."""
        super().restyle(colours)
        if not hasattr(self, "_loss"):
            return
        item = self.getPlotItem()
        item.setLabel("left", "loss", color=colours.first)
        item.setLabel("right", self.quality_name, color=colours.second)
        self._loss.setPen(pg.mkPen(colours.first, width=2))
        self._quality.setPen(pg.mkPen(colours.second, width=2))
        self._quality.setSymbolBrush(colours.second)
        self._quality.setSymbolPen(None)
        self._best.setPen(pg.mkPen(colours.second, width=1, style=Qt.PenStyle.DotLine))

    def _follow_size(self) -> None:
        self._right.setGeometry(self.getPlotItem().vb.sceneBoundingRect())
