"""What the marks and colours of a comparison mean, with how many there are."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_topiary._napari.compare.look import STATUSES, mark, ramp
from napari_topiary._napari.widgets import look, words
from napari_topiary.evaluation import Comparison

ONLY = {"lost": "label only in A", "gained": "label only in B"}
"""What the colours mean where areas are compared: there is nothing to count."""
CLEAR = "background: transparent;"
"""Of what only holds things together on a card."""


class ComparisonLegend(QFrame):
    """Counts beside their marks, the agreement, and the ramp of the difference."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(6)
        self.counts: dict[str, QLabel] = {}
        self._entries: dict[str, QWidget] = {}
        marks, others = QHBoxLayout(), QHBoxLayout()  # four do not fit beside another
        for status, one in STATUSES.items():
            entry = self._entries[status] = _entry(status, one.tip)
            self.counts[status] = entry.findChildren(QLabel)[1]
            (others if status == "changed" else marks).addWidget(entry)
        for line in (marks, others):
            line.setSpacing(10)
            line.addStretch(1)
        self.text = look.paragraph("")
        self.ramp = QWidget()
        self.ramp.setStyleSheet(CLEAR)
        row = QHBoxLayout(self.ramp)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        picture = QLabel()
        picture.setPixmap(ramp())
        for widget in (QLabel("B less sure"), picture, QLabel("B surer")):
            row.addWidget(widget)
        row.addStretch(1)
        layout.addLayout(marks)
        layout.addLayout(others)
        layout.addWidget(self.text)
        layout.addWidget(self.ramp)

    def show_comparison(
        self, comparison: Comparison, *, difference: float | None
    ) -> None:
        """Show what is different.

        Parameters
        ----------
        comparison
            Of the two.
        difference
            The difference that has full colour; None where it is not shown.
        """
        counts = comparison.things.counts()
        for status, number in comparison.lines.counts().items():
            counts[status] += number
        segments = comparison.task.kind == "segment"
        for status, entry in self._entries.items():
            text = f"{counts[status]} {status}"
            self.counts[status].setText(ONLY.get(status, "") if segments else text)
            is_asked = status in ONLY if segments else status != "changed"
            entry.setVisible(is_asked or (not segments and counts[status] > 0))
        differ = words.percent(comparison.disagreement_share)
        self.text.setText(
            f"Agreement {words.quality(comparison.agreement)} · "
            f"labels differ on {differ}"
        )
        self.text.setToolTip(
            "Agreement: how much of A is in B and nothing else (F1 of the particles "
            "or objects,\nDice of areas); 1 is the same. Labels: share of the pixels."
        )
        self.ramp.setVisible(difference is not None)
        if difference is not None:
            self.ramp.setToolTip(
                "Probability of B minus that of A; full colour at "
                f"−{difference:.2f} and +{difference:.2f}."
            )


def _entry(status: str, tip: str) -> QWidget:
    entry = QWidget()
    entry.setStyleSheet(CLEAR)
    entry.setToolTip(tip)
    row = QHBoxLayout(entry)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(5)
    picture, text = QLabel(), QLabel()
    picture.setPixmap(mark(status))
    text.setAlignment(Qt.AlignmentFlag.AlignVCenter)
    row.addWidget(picture)
    row.addWidget(text)
    return entry
