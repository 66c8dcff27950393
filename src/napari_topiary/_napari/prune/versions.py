"""All kept versions of a network: the plot, and the smallest that is still good."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_topiary._napari.prune.resting import Findings
from napari_topiary._napari.prune.tradeoff import TradeOffPlot, Version, smallest_good
from napari_topiary._napari.widgets import look, words
from napari_topiary.checkpoint import Checkpoint

FEWER = "Keep a pruned version, and it appears here beside the original."


class Versions(QWidget):
    """Trade-off plot and the recommendation.

    Signals
    -------
    chosen(str)
        A point was clicked.
    preferred(str)
        The recommended version is to be used from now on.
    """

    chosen = Signal(str)
    preferred = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._smallest = ""
        self.plot = TradeOffPlot(118)
        self.hint = look.paragraph(FEWER, role="hint")
        self.use_button = QPushButton()
        self.use_button.setToolTip(
            "The version with the fewest weights whose quality is within 0.01 of the "
            "best one (the star).\nUse it from now on, for Predict and Compare."
        )
        self.use_button.clicked.connect(lambda _=False: self._on_use())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.plot)
        layout.addWidget(self.hint)
        layout.addWidget(self.use_button)
        self.plot.chosen.connect(self.chosen)

    def show_versions(
        self, checkpoints: Mapping[str, Checkpoint], findings: Findings, active: str
    ) -> None:
        """Show what is kept.

        Parameters
        ----------
        checkpoints
            Comparable ones, by name.
        findings
            Their qualities, where known.
        active
            Name of the one in use.
        """
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
        self.hint.setVisible(not several)
        self.use_button.setVisible(several)
        if smallest is not None:
            self._smallest = smallest.name
            used = smallest.name == active
            self.use_button.setText(
                f"{'In use' if used else 'Use'}: smallest within 1 % "
                f"({words.count(smallest.weights)} weights)"
            )
            self.use_button.setEnabled(not used)

    def _on_use(self) -> None:
        self.preferred.emit(self._smallest)
