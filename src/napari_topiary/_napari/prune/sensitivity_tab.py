"""What cutting each layer costs: bars, and the button that measures them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, Signal
from qtpy.QtWidgets import QToolTip, QVBoxLayout, QWidget

from napari_topiary._napari.jobs.job_button import ButtonWords, JobButton
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.plot import PlotColours, SmallPlot
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


class SensitivityBars(SmallPlot):
    """Three bars for each layer; hovering them says how much is lost.

    Parameters
    ----------
    height
        Of the widget in pixels.
    """

    def __init__(self, height: int = 118) -> None:
        super().__init__(height)
        self.found: Sensitivity | None = None
        item = self.getPlotItem()
        item.getAxis("bottom").setTicks([[]])
        self._bars = [pg.BarGraphItem(x=[], height=[], width=WIDTH) for _ in ALPHAS]
        for bars in self._bars:
            item.addItem(bars)
        self.scene().sigMouseMoved.connect(self._on_hover)
        self.restyle(self.colours)

    def show_sensitivity(self, found: Sensitivity | None) -> None:
        """Show what was measured.

        Parameters
        ----------
        found
            None shows nothing.
        """
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
        """One layer in words.

        Parameters
        ----------
        index
            Of the layer.
        """
        if self.found is None:
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

    def _on_hover(self, position: QPointF) -> None:
        box = self.getPlotItem().vb
        if self.found is None or not box.sceneBoundingRect().contains(position):
            return
        index = round(box.mapSceneToView(position).x())
        if 0 <= index < len(self.found.layers):
            corner = self.mapToGlobal(self.mapFromScene(position))
            QToolTip.showText(corner, self.describe(index), self)

    def leaveEvent(self, event: Any) -> None:
        """Take the words away with the mouse."""
        QToolTip.hideText()
        super().leaveEvent(event)


class SensitivityTab(QWidget):
    """Bars of one network, measured when asked for.

    Parameters
    ----------
    runner
        Measures.
    asked
        Returns the network that is pruned, and annotated images; None = no network.

    Signals
    -------
    problem(str)
        Why there is nothing to show.
    """

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
        return lambda: sensitivity(checkpoint, samples)

    def _on_result(self, found: Sensitivity) -> None:
        if self._measured is not None:
            self._known = {self._measured: found}
        self.refresh()
