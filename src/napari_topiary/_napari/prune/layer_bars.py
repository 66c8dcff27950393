"""What each layer keeps: one bar per layer, in the order the network runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import QPointF
from qtpy.QtWidgets import QToolTip

from napari_topiary._napari.widgets.plot import PlotColours, SmallPlot


@dataclass(frozen=True)
class Bar:
    """What one layer keeps.

    Parameters
    ----------
    name
        Of the layer.
    kept, total
        Maps or weights.
    """

    name: str
    kept: int
    total: int

    @property
    def share(self) -> float:
        """Share kept, 0..1."""
        return self.kept / self.total if self.total else 1.0


class LayerBars(SmallPlot):
    """Bars from 0 to 100 %; hovering one names the layer and its numbers.

    Parameters
    ----------
    height
        Of the widget in pixels.
    """

    def __init__(self, height: int = 126) -> None:
        super().__init__(height)
        self.unit = "maps"
        self.bars: tuple[Bar, ...] = ()
        item = self.getPlotItem()
        item.setYRange(0, 108, padding=0)
        item.getAxis("left").setTicks([[(0, "0 %"), (50, "50 %"), (100, "100 %")]])
        item.getAxis("bottom").setTicks([[]])
        item.setLabel("bottom", "layers, from the image in to the answer out")
        self._whole = pg.BarGraphItem(x=[], height=[], width=0.8)
        self._kept = pg.BarGraphItem(x=[], height=[], width=0.8)
        item.addItem(self._whole)
        item.addItem(self._kept)
        self.scene().sigMouseMoved.connect(self._on_hover)
        self.restyle(self.colours)

    def set_bars(self, bars: Sequence[Bar], unit: str) -> None:
        """Show what the layers keep.

        Parameters
        ----------
        bars
            One for each layer.
        unit
            What is counted: "maps" or "weights".
        """
        self.bars, self.unit = tuple(bars), unit
        place = list(range(len(bars)))
        self._whole.setOpts(x=place, height=[100.0] * len(bars))
        self._kept.setOpts(x=place, height=[100 * bar.share for bar in bars])
        self.getPlotItem().setXRange(-0.6, max(0.6, len(bars) - 0.4), padding=0)

    def describe(self, index: int) -> str:
        """One bar in words.

        Parameters
        ----------
        index
            Of the bar.
        """
        bar = self.bars[index]
        return f"{bar.name}: {bar.kept:,} of {bar.total:,} {self.unit} stay"

    def restyle(self, colours: PlotColours) -> None:
        """Take over the colours of a theme."""
        super().restyle(colours)
        if hasattr(self, "_kept"):
            faint = pg.mkColor(colours.grid)
            faint.setAlpha(70)
            self._whole.setOpts(brush=faint, pen=None)
            self._kept.setOpts(brush=colours.first, pen=None)
            self.getPlotItem().setLabel(
                "bottom", "layers, from image to answer", color=colours.text
            )

    def _on_hover(self, position: QPointF) -> None:
        box = self.getPlotItem().vb
        if not box.sceneBoundingRect().contains(position):
            return
        index = round(box.mapSceneToView(position).x())
        if 0 <= index < len(self.bars):
            corner = self.mapToGlobal(self.mapFromScene(position))
            QToolTip.showText(corner, self.describe(index), self)

    def leaveEvent(self, event: Any) -> None:
        """Take the words away with the mouse."""
        QToolTip.hideText()
        super().leaveEvent(event)
