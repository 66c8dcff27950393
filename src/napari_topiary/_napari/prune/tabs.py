"""Below the slider: what each layer keeps, all kept versions, and fine-tuning."""

from __future__ import annotations

from qtpy.QtWidgets import QSizePolicy, QTabWidget

from napari_topiary._napari.prune.layer_bars import Bar, LayerBars
from napari_topiary._napari.prune.versions import Versions
from napari_topiary._napari.widgets.plot import CurvePlot, PlotColours
from napari_topiary.pruning import PlanStatistics

_CURVES_HEIGHT = 120


class PruneTabs(QTabWidget):
    """Three pictures that share one place."""

    def __init__(self) -> None:
        super().__init__()
        self.bars = LayerBars()
        self.versions = Versions()
        self.curves = CurvePlot(_CURVES_HEIGHT)
        for widget, title, tip in (
            (self.bars, "Layers", "What each layer keeps."),
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
        """Take over the colours of a theme.

        Parameters
        ----------
        colours
            From `plot_colours`.
        """
        for plot in (self.bars, self.versions.plot, self.curves):
            plot.restyle(colours)

    def show_layers(self, statistics: PlanStatistics, *, kind: str) -> None:
        """Show what each layer keeps.

        Parameters
        ----------
        statistics
            Of the present position.
        kind
            "filters" or "weights".
        """
        unit = "maps" if kind == "filters" else "weights"
        layers = statistics.layers
        self.bars.set_bars([Bar(o.name, o.kept, o.total) for o in layers], unit)
