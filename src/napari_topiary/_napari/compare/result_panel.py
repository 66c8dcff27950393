"""What a comparison says: how it is shown, what the colours mean, where they differ."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QLabel, QVBoxLayout, QWidget

from napari_topiary._napari.compare.comparing import Match
from napari_topiary._napari.compare.legend import ComparisonLegend
from napari_topiary._napari.compare.metrics_table import MetricsTable
from napari_topiary._napari.compare.mode_bar import ModeBar
from napari_topiary._napari.compare.view import ComparisonView
from napari_topiary._napari.widgets import look, words
from napari_topiary._napari.widgets.page import button, row

PREVIOUS_KEY, NEXT_KEY = ",", "."


class ResultPanel(QWidget):
    """Modes, marks, legend, the way through the disagreements, and the figures.

    Parameters
    ----------
    view
        Shows the match on the image; follows what is chosen here.
    """

    def __init__(self, view: ComparisonView) -> None:
        super().__init__()
        self.view = view
        self.match: Match | None = None
        self.place = -1
        self.modes = ModeBar(view)
        self.legend = ComparisonLegend()
        self.things_switch = QCheckBox("Mark kept, lost, gained")
        self.things_switch.setToolTip("Mark every particle or object on the image.")
        self.things_switch.setChecked(True)
        self.labels_switch = QCheckBox("Other labels")
        self.labels_switch.setToolTip("Outline where the two paint different labels.")
        self.previous_button = button(
            "‹ Previous",
            f"Go back one disagreement (key {PREVIOUS_KEY}).",
            self.previous,
        )
        self.next_button = button(
            "Next ›", f"Go to the next disagreement, the worst first (key {NEXT_KEY}).",
            self.next,
        )  # fmt: skip
        self.place_label = QLabel("")
        self.metrics = MetricsTable()
        self.notes = look.paragraph("", role="hint")
        self.desk = QWidget()
        self._build()
        self.modes.changed.connect(self._show_legend)
        self.things_switch.toggled.connect(view.show_things)
        self.labels_switch.toggled.connect(view.show_labels)
        self.show_match(None)

    def _build(self) -> None:
        desk = QVBoxLayout(self.desk)
        desk.setContentsMargins(0, 0, 0, 0)
        desk.setSpacing(8)
        desk.addWidget(self.modes)
        desk.addLayout(row(self.things_switch, self.labels_switch, 1))
        desk.addWidget(self.legend)
        desk.addLayout(row(self.previous_button, self.next_button, self.place_label, 1))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.desk)
        layout.addWidget(self.metrics)
        layout.addWidget(self.notes)

    # -- what is shown ------------------------------------------------------------

    def show_match(self, match: Match | None) -> None:
        """Show what came of a comparison.

        Parameters
        ----------
        match
            None while there is none.
        """
        if match is not self.match:
            self.match, self.place = match, -1
        self.desk.setVisible(match is not None)
        self.notes.setVisible(match is not None and bool(match.notes))
        if match is None:
            self.metrics.show_metrics(None, "")
            return
        comparison = match.comparison
        marked = [
            key
            for key, s in zip("ab", match.sides, strict=True)
            if s.checkpoint is None
        ]
        self.metrics.show_metrics(
            comparison.metrics, comparison.task.kind, truth="".join(marked)
        )
        self.things_switch.setVisible(comparison.task.kind != "segment")
        self.modes.offer_classes(comparison.task.classes[1:])
        self.notes.setText(" ".join(match.notes))
        self._show_legend()
        self._show_place()

    def renew(self) -> None:
        """Follow the view, which has drawn the match again."""
        self.modes.renew()
        self._show_legend()

    def _show_legend(self) -> None:
        if self.match is not None:
            shown = self.view.limit if self.view.mode == "difference" else None
            self.legend.show_comparison(self.match.comparison, difference=shown)

    # -- disagreements ------------------------------------------------------------

    def next(self) -> None:
        """Show the next disagreement, the worst first."""
        self._go(1)

    def previous(self) -> None:
        """Show the disagreement before."""
        self._go(-1)

    def _go(self, step: int) -> None:
        if self.match is None or not self.match.comparison.places:
            return
        places = self.match.comparison.places
        self.place = 0 if self.place < 0 else (self.place + step) % len(places)
        self.view.look_at(places[self.place])
        self._show_place()

    def _show_place(self) -> None:
        places = self.match.comparison.places if self.match is not None else ()
        for one in (self.previous_button, self.next_button):
            one.setEnabled(bool(places))
        if not places:
            self.place_label.setText("They agree everywhere.")
        elif self.place < 0:
            self.place_label.setText(words.plural(len(places), "disagreement"))
        else:
            what = places[self.place].what
            self.place_label.setText(f"{self.place + 1} of {len(places)}: {what}")
