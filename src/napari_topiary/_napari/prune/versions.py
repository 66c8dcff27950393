"""All kept versions of a network: the plot, and the smallest that is still good."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyqtgraph as pg
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_topiary import words
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.page import Offer, button, row
from napari_topiary._napari.widgets.plot import PlotColours, SmallPlot
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.jobs.pruning import Findings

ALLOWED_LOSS = 0.01
"""A version this much below the best is still as good, for most purposes."""

FEWER = "Keep a pruned version, and it appears here beside the original."
WAITING = "What is kept appears here as soon as its quality is known."
SMALLEST_TIP = (
    "The version with the fewest weights whose quality is within 0.01 of the best one "
    "(the star).\nUse it from now on, for Predict and Compare."
)


@dataclass(frozen=True)
class Version:
    """One kept network."""

    name: str
    weights: int
    quality: float | None


def smallest_good(versions: Sequence[Version]) -> Version | None:
    """The version with the fewest weights that is within 1 % of the best one."""
    known = [v for v in versions if v.quality is not None]
    if not known:
        return None
    best = max(v.quality or 0.0 for v in known)
    good = [v for v in known if (v.quality or 0.0) >= best - ALLOWED_LOSS - 1e-9]
    return min(good, key=lambda v: (v.weights, -(v.quality or 0.0)))


class TradeOffPlot(SmallPlot):
    """Quality over weights (logarithmic); clicking a point chooses that version."""

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
        """Show versions."""
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


class Versions(QWidget):
    """Trade-off plot and the recommendation."""

    chosen = Signal(str)
    preferred = Signal(str)
    unwanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._smallest = ""
        self.plot = TradeOffPlot(118)
        self.hint = look.paragraph(FEWER, role="hint")
        self.use_button = QPushButton()
        self.use_button.clicked.connect(lambda _=False: self._on_use())
        self.delete_button = button("Delete…", "", self.ask_delete)
        self.offer = Offer()
        self._opened = ""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.plot)
        layout.addWidget(self.hint)
        layout.addLayout(row(self.use_button, 1, self.delete_button))
        layout.addWidget(self.offer)
        self.plot.chosen.connect(self.chosen)

    def show_versions(
        self,
        checkpoints: Mapping[str, Checkpoint],
        findings: Findings,
        active: str,
        opened: str = "",
    ) -> None:
        """Show what is kept; `opened` is the one that is being pruned."""
        if opened != self._opened:
            self.offer.close_offer()
        self._opened = opened
        self.delete_button.setVisible(bool(opened))
        self.delete_button.setToolTip(
            f"Delete “{opened}”, the version that is open here.\n"
            "Click another point to open that one."
        )
        qualities = {n: findings.quality_of(c) for n, c in checkpoints.items()}
        versions = [
            Version(name, each.parameters_nonzero, None if q is None else q.value)
            for (name, each), q in zip(
                checkpoints.items(), qualities.values(), strict=True
            )
        ]
        figure = next((q.name for q in qualities.values() if q is not None), "quality")
        self.plot.set_versions(versions, active=active, quality_name=figure)
        smallest = smallest_good(versions)
        several = sum(v.quality is not None for v in versions) > 1
        self.hint.setText(FEWER if len(versions) < 2 else WAITING)
        self.hint.setVisible(not several)
        self.use_button.setVisible(several)
        if smallest is not None:
            self._smallest = smallest.name
            used = smallest.name == active
            what = f"smallest within 1 % ({words.count(smallest.weights)} weights)"
            self.use_button.setText("Use the smallest within 1 %")
            self.use_button.setToolTip(f"{SMALLEST_TIP}\nThat is the {what}.")
            if used and several:  # nothing to press
                self.hint.setText(f"In use: {what}.")
                self.hint.show()
                self.use_button.hide()

    def ask_delete(self) -> None:
        """Ask before the version that is open is deleted."""
        name = self._opened
        self.offer.show_choice(
            f"Delete “{name}”? It cannot be brought back.",
            {"Keep it": lambda: None, "Delete": lambda: self.unwanted.emit(name)},
        )

    def _on_use(self) -> None:
        self.preferred.emit(self._smallest)
