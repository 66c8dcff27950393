"""Below the slider: layers, what they are worth, kept versions, fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QSizePolicy, QTabWidget

from napari_topiary._napari.prune.layer_bars import Bar, LayerBars
from napari_topiary._napari.prune.sensitivity_tab import SensitivityTab
from napari_topiary._napari.prune.versions import Versions
from napari_topiary._napari.widgets.plot import CurvePlot, PlotColours
from napari_topiary.pruning import PlanStatistics

if TYPE_CHECKING:
    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary._napari.prune.sensitivity_tab import Asked

_CURVES_HEIGHT = 120


class PruneTabs(QTabWidget):
    """Four pictures that share one place.

    Parameters
    ----------
    runner
        Measures what layers are worth.
    asked
        Returns the network that is pruned, and annotated images.
    """

    def __init__(self, runner: JobRunner, asked: Asked) -> None:
        super().__init__()
        self.bars = LayerBars()
        self.sensitivity = SensitivityTab(runner, asked)
        self.versions = Versions()
        self.curves = CurvePlot(_CURVES_HEIGHT)
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
        """Take over the colours of a theme.

        Parameters
        ----------
        colours
            From `plot_colours`.
        """
        for plot in (
            self.bars,
            self.sensitivity.bars,
            self.versions.plot,
            self.curves,
        ):
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
