"""Every kept version as a point: how good it is against how many weights it needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pyqtgraph as pg
from qtpy.QtCore import Signal

from napari_topiary._napari.widgets import words
from napari_topiary._napari.widgets.plot import PlotColours, SmallPlot

ALLOWED_LOSS = 0.01
"""A version this much below the best is still as good, for most purposes."""


@dataclass(frozen=True)
class Version:
    """One kept network.

    Parameters
    ----------
    name
        As the person called it.
    weights
        That are not zero.
    quality
        On the hold-out, 0..1; None while it is not known.
    """

    name: str
    weights: int
    quality: float | None


def smallest_good(versions: Sequence[Version]) -> Version | None:
    """The version with the fewest weights that is within 1 % of the best one.

    Parameters
    ----------
    versions
        All of them; those of unknown quality are passed over.
    """
    known = [v for v in versions if v.quality is not None]
    if not known:
        return None
    best = max(v.quality or 0.0 for v in known)
    good = [v for v in known if (v.quality or 0.0) >= best - ALLOWED_LOSS - 1e-9]
    return min(good, key=lambda v: (v.weights, -(v.quality or 0.0)))


class TradeOffPlot(SmallPlot):
    """Quality over weights (logarithmic); clicking a point chooses that version.

    Parameters
    ----------
    height
        Of the widget in pixels.
    """

    chosen = Signal(str)

    def __init__(self, height: int = 140) -> None:
        super().__init__(height)
        self.versions: tuple[Version, ...] = ()
        self.quality_name = "quality"
        self._active = ""
        self._points = pg.ScatterPlotItem(
            hoverable=True, tip=self._tip, hoverSize=13, pxMode=True
        )
        self._limit = pg.InfiniteLine(angle=0)
        self.getPlotItem().addItem(self._limit)
        self.getPlotItem().addItem(self._points)
        self._points.sigClicked.connect(self._on_clicked)
        self.restyle(self.colours)

    def set_versions(
        self, versions: Sequence[Version], *, active: str, quality_name: str
    ) -> None:
        """Show versions.

        Parameters
        ----------
        versions
            All that are kept.
        active
            Name of the one that is in use.
        quality_name
            "F1", "Dice".
        """
        self.versions = tuple(v for v in versions if v.quality is not None)
        self.quality_name, self._active = quality_name, active
        self.getPlotItem().setLabel("left", quality_name, color=self.colours.text)
        self._draw()

    def _draw(self) -> None:
        small, colours = smallest_good(self.versions), self.colours
        self._points.setData(
            [
                {
                    "pos": (math.log10(max(v.weights, 1)), v.quality),
                    "data": v.name,
                    "size": 12 if v is small else 9,
                    "symbol": "star" if v is small else "o",
                    "brush": colours.good if v is small else colours.first,
                    "pen": pg.mkPen(colours.text, width=2)
                    if v.name == self._active
                    else None,
                }
                for v in self.versions
            ]
        )
        self._limit.setVisible(bool(self.versions))
        if self.versions:
            self._fit()

    def _fit(self) -> None:
        item = self.getPlotItem()
        places = [math.log10(max(v.weights, 1)) for v in self.versions]
        values = [v.quality or 0.0 for v in self.versions]
        self._limit.setValue(max(values) - ALLOWED_LOSS)
        low, high = min(places) - 0.15, max(places) + 0.15
        item.setXRange(low, high, padding=0)
        item.getAxis("bottom").setTicks([_decades(low, high)])
        room = max(0.02, 0.15 * (max(values) - min(values)))
        item.setYRange(min(values) - room, min(1.0, max(values)) + room, padding=0)

    def restyle(self, colours: PlotColours) -> None:
        """Take over the colours of a theme."""
        super().restyle(colours)
        if hasattr(self, "_points"):
            item = self.getPlotItem()
            item.setLabel("bottom", "weights", color=colours.text)
            item.setLabel("left", self.quality_name, color=colours.text)
            self._limit.setPen(pg.mkPen(colours.good, width=1, dash=[4, 4]))
            self._draw()

    def _tip(self, x: float, y: float, data: str) -> str:
        return f"{data}\n{words.count(10**x)} weights · {self.quality_name} {y:.3f}"

    def _on_clicked(self, _item: object, points: Sequence[pg.SpotItem]) -> None:
        if len(points):
            self.chosen.emit(str(points[0].data()))


def _round(weights: int) -> str:
    """A round number without decimals: 20 k, 1 M."""
    return words.count(weights).replace(".00", "").replace(".0", "")


def _decades(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks at round numbers of weights between two logarithms, at most about five."""
    steps = (1, 2, 5) if high - low < 1.5 else (1,)
    return [
        (place, _round(step * 10**power))
        for power in range(max(0, math.floor(low)), math.ceil(high) + 1)
        for step in steps
        if low <= (place := math.log10(step * 10.0**power)) <= high
    ]
