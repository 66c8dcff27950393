"""Below the slider: layers, what they are worth, kept versions, fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, Signal
from qtpy.QtWidgets import QSizePolicy, QTabWidget, QToolTip, QVBoxLayout, QWidget

from napari_topiary._napari.jobs.runner import ButtonWords, JobButton
from napari_topiary._napari.prune.versions import Versions
from napari_topiary._napari.state import preferences
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.plot import CurvePlot, PlotColours, SmallPlot
from napari_topiary.pruning import LayerKept, PlanStatistics
from napari_topiary.pruning.sensitivity import Sensitivity, sensitivity
from napari_topiary.types import Job

if TYPE_CHECKING:
    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.io.dataset import Sample

    Asked = Callable[[], tuple[Checkpoint, tuple[Sample, ...]] | None]

WORDS = ButtonWords(
    "Measure what each layer is worth",
    "Measuring layers",
    "Takes a quarter, half and three quarters of the filters out of one layer at a "
    "time, and measures\nhow much more the network is wrong on your annotated images.",
)
HINT = "Low bars: layers that can spare filters. High bars: layers that need them."
EMPTY = "Where can this network spare filters? Measured on your annotated images."
ALPHAS = (90, 165, 255)
"""Of the bars for 25, 50 and 75 %: the more is gone, the stronger."""
WIDTH = 0.26
_CURVES_HEIGHT = 120


class HoverBars(SmallPlot):
    """Bars, one place for each layer; hovering a place says what it means."""

    def __init__(self, height: int) -> None:
        super().__init__(height)
        self.getPlotItem().getAxis("bottom").setTicks([[]])
        self.scene().sigMouseMoved.connect(self._on_hover)

    def describe(self, index: int) -> str:
        """One layer in words; empty where there is none."""
        raise NotImplementedError

    def _on_hover(self, position: QPointF) -> None:
        box = self.getPlotItem().vb
        if not box.sceneBoundingRect().contains(position):
            return
        words = self.describe(round(box.mapSceneToView(position).x()))
        if words:
            corner = self.mapToGlobal(self.mapFromScene(position))
            QToolTip.showText(corner, words, self)

    def leaveEvent(self, event: Any) -> None:
        """Take the words away with the mouse."""
        QToolTip.hideText()
        super().leaveEvent(event)


class LayerBars(HoverBars):
    """Bars from 0 to 100 % of what each layer keeps."""

    def __init__(self) -> None:
        super().__init__(126)
        self.fill_room()  # the highest of the tabs gives all their height
        self.unit = "maps"
        self.bars: tuple[LayerKept, ...] = ()
        item = self.getPlotItem()
        item.setYRange(0, 108, padding=0)
        item.getAxis("left").setTicks([[(0, "0 %"), (50, "50 %"), (100, "100 %")]])
        self._whole = pg.BarGraphItem(x=[], height=[], width=0.8)
        self._kept = pg.BarGraphItem(x=[], height=[], width=0.8)
        item.addItem(self._whole)
        item.addItem(self._kept)
        self.restyle(self.colours)

    def set_bars(self, bars: Sequence[LayerKept], unit: str) -> None:
        """Show what the layers keep."""
        self.bars, self.unit = tuple(bars), unit
        place = list(range(len(bars)))
        self._whole.setOpts(x=place, height=[100.0] * len(bars))
        self._kept.setOpts(x=place, height=[100 * bar.share for bar in bars])
        self.getPlotItem().setXRange(-0.6, max(0.6, len(bars) - 0.4), padding=0)

    def describe(self, index: int) -> str:
        """One bar in words."""
        if not 0 <= index < len(self.bars):
            return ""
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


class SensitivityBars(HoverBars):
    """Three bars for each layer: how much is lost."""

    def __init__(self) -> None:
        super().__init__(118)
        self.found: Sensitivity | None = None
        item = self.getPlotItem()
        self._bars = [pg.BarGraphItem(x=[], height=[], width=WIDTH) for _ in ALPHAS]
        for bars in self._bars:
            item.addItem(bars)
        self.restyle(self.colours)

    def show_sensitivity(self, found: Sensitivity | None) -> None:
        """Show what was measured."""
        self.found = found
        if found is None:
            for bars in self._bars:
                bars.setOpts(x=[], height=[])
            return
        rise = np.nan_to_num(found.rise)
        place = np.arange(len(found.layers), dtype=float)
        for column, bars in enumerate(self._bars[: rise.shape[1]]):
            shift = (column - (rise.shape[1] - 1) / 2) * WIDTH
            bars.setOpts(x=place + shift, height=rise[:, column])
        item = self.getPlotItem()
        low, high = min(0.0, rise.min(initial=0.0)), rise.max(initial=1e-3)
        item.setYRange(low, 1.08 * high, padding=0)
        item.setXRange(-0.6, max(0.6, len(place) - 0.4), padding=0)

    def describe(self, index: int) -> str:
        """One layer in words."""
        if self.found is None or not 0 <= index < len(self.found.layers):
            return ""
        lines = [self.found.layers[index]]
        for share, rise, removed in zip(
            self.found.shares,
            self.found.rise[index],
            self.found.removed[index],
            strict=True,
        ):
            text = "not measured" if np.isnan(rise) else f"loss {rise:+.3f}"
            lines.append(f"without {share:.0%} ({removed} maps): {text}")
        return "\n".join(lines).replace("-", "−")

    def restyle(self, colours: PlotColours) -> None:
        """Take over the colours of a theme."""
        super().restyle(colours)
        if not hasattr(self, "_bars"):
            return
        for bars, alpha in zip(self._bars, ALPHAS, strict=True):
            colour = pg.mkColor(colours.second)
            colour.setAlpha(alpha)
            bars.setOpts(brush=colour, pen=None)
        item = self.getPlotItem()
        item.setLabel("left", "loss rises by", color=colours.text)
        item.setLabel("bottom", "layers, from image to answer", color=colours.text)


class SensitivityTab(QWidget):
    """Bars of one network, measured when asked for."""

    problem = Signal(str)

    def __init__(self, runner: JobRunner, asked: Asked) -> None:
        super().__init__()
        self._asked = asked
        self._known: dict[Checkpoint, Sensitivity] = {}
        self._measured: Checkpoint | None = None
        self.bars = SensitivityBars()
        self.hint = look.paragraph(EMPTY, role="hint")
        self.button = JobButton(runner, self._make, WORDS)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.bars)
        layout.addWidget(self.hint)
        layout.addWidget(self.button)
        self.button.result.connect(self._on_result)
        self.button.problem.connect(self.problem)

    def refresh(self) -> None:
        """Show what is known about the network that is pruned now."""
        asked = self._asked()
        found = None if asked is None else self._known.get(asked[0])
        self.bars.show_sensitivity(found)
        self.bars.setVisible(found is not None)
        self.hint.setText(EMPTY if found is None else HINT)
        self.button.show_state(possible=asked is not None and bool(asked[1]))

    def _make(self) -> Callable[[], Job[Sensitivity]] | None:
        asked = self._asked()
        if asked is None:
            return None
        self._measured, samples = asked
        checkpoint = self._measured
        device = preferences().device
        return lambda: sensitivity(checkpoint, samples, device=device)

    def _on_result(self, found: Sensitivity) -> None:
        if self._measured is not None:
            self._known = {self._measured: found}
        self.refresh()


class PruneTabs(QTabWidget):
    """Four pictures that share one place."""

    def __init__(self, runner: JobRunner, asked: Asked) -> None:
        super().__init__()
        self.bars = LayerBars()
        self.sensitivity = SensitivityTab(runner, asked)
        self.versions = Versions()
        self.curves = CurvePlot(_CURVES_HEIGHT)
        self.curves.fill_room()
        for widget, title, tip in (
            (self.bars, "Layers", "What each layer keeps."),
            (
                self.sensitivity,
                "Worth",
                "What it costs to take filters out of each layer (its sensitivity).",
            ),
            (
                self.versions,
                "Kept versions",
                "Quality against size of everything that was kept.",
            ),
            (self.curves, "Fine-tuning", "How the pruned network learns."),
        ):
            self.setTabToolTip(self.addTab(widget, title), tip)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def restyle(self, colours: PlotColours) -> None:
        """Take over the colours of a theme."""
        for plot in (self.bars, self.sensitivity.bars, self.versions.plot, self.curves):
            plot.restyle(colours)

    def show_layers(self, statistics: PlanStatistics, *, kind: str) -> None:
        """Show what each layer keeps."""
        unit = "maps" if kind == "filters" else "weights"
        self.bars.set_bars(statistics.layers, unit)
