"""What a comparison says: its legend, its figures, and where A and B differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_topiary import words
from napari_topiary._napari.compare.controls import ModeBar
from napari_topiary._napari.compare.layers import STATUSES, mark, ramp
from napari_topiary._napari.compare.view import ComparisonView
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import button, row
from napari_topiary.evaluation import Comparison
from napari_topiary.evaluation.disagreements import MOST_PLACES
from napari_topiary.jobs.comparing import At, Match

FIGURES = {
    "f1": ("F1", "Balance of precision and recall: 1 is perfect."),
    "precision": ("Precision", "Share of what was found that is right."),
    "recall": ("Recall", "Share of what is there that was found."),
    "found": ("Found", "Of what is marked, how many were found."),
    "wrong": ("Wrong", "How many finds are none of the marked."),
    "aji": ("AJI", "Overlap of the objects with the marked ones: 1 is perfect."),
    "pq": ("PQ", "Panoptic quality of the objects: 1 is perfect."),
    "dice": ("Dice", "Overlap of the areas with the marked ones: 1 is perfect."),
    "iou": ("IoU", "Shared area over joint area: 1 is perfect."),
}
SHOWN = {
    "detect": ("f1", "found", "wrong"),
    "instances": ("aji", "pq", "found", "wrong"),
    "segment": ("dice", "iou", "precision"),
}
HEADS = ("A\nat best", "B\nat best", "A\nat 0.5", "B\nat 0.5")
BEST: dict[At, str] = {"best": "own_best"}
"""Where the figures at each one's best are: where it learned that, or on this image."""
TIP = (
    "Pruning makes a network less sure before it costs quality: so each is judged at "
    "its best\nthreshold, the one of Predict and Prune, and both at 0.5. The better is "
    "bold.\nRead at the best on the marks of this image, that is meant by best."
)

FAR = 0.1
"""A figure that is lower by this much at 0.5 needs a word."""

COUNTS = {"found": "n_right", "wrong": "n_wrong"}
"""Rows that count, and where a report has their number."""
ONLY = {"lost": "label only in A", "gained": "label only in B"}
"""What the colours mean where areas are compared: there is nothing to count."""
CLEAR = "background: transparent; padding: 0px;"
"""Of what only holds things together on a card."""
PREVIOUS_KEY, NEXT_KEY = ",", "."


class MetricsTable(QTableWidget):
    """One row a figure; two columns at each one's own best threshold, two at 0.5."""

    def __init__(self) -> None:
        super().__init__(0, len(HEADS))
        self.setHorizontalHeaderLabels(HEADS)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setShowGrid(False)
        self.setToolTip(TIP)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)

    def show_metrics(
        self,
        metrics: Mapping[str, Any] | None,
        kind: str,
        *,
        truth: str = "",
        read_at: At = "learned",
    ) -> None:
        """Fill the table; it hides where nothing is known."""
        self.setVisible(metrics is not None)
        if metrics is None:
            return
        best = BEST.get(read_at, "as_shown")
        columns = [(s, at) for at in (best, "at_common_threshold") for s in "ab"]
        names = ["threshold", *SHOWN[kind]]
        counted = any("n_right" in metrics[side][at] for side, at in columns)
        if kind == "detect" and not counted:
            names = ["threshold", "f1", "precision", "recall"]  # lines are no number
        for x, (side, _) in enumerate(columns):
            self.setColumnHidden(x, side == truth)
        self.setRowCount(len(names))
        for y, name in enumerate(names):
            text, tip = FIGURES.get(
                name, ("Threshold", "Lowest probability that counts.")
            )
            header = QTableWidgetItem(text)
            header.setToolTip(tip)
            self.setVerticalHeaderItem(y, header)
            values = [
                None if side == truth else _value(metrics[side][at], name)
                for side, at in columns
            ]
            for x, (side, at) in enumerate(columns):
                value, other = values[x], values[x ^ 1]
                if name == "wrong":
                    value, other = other, value  # fewer are better
                    if not metrics[side][at].get("n_right"):
                        value = None  # of those that find something
                better = _is_better(value, other)
                text = "" if side == truth else _text(metrics[side][at], name)
                self.setItem(y, x, _item(text, bold=better))
        self.resizeRowsToContents()
        height = sum(self.rowHeight(y) for y in range(self.rowCount()))
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + height + 6)


def untuned(metrics: Mapping[str, Any] | None, kind: str, read_at: At) -> str:
    """Why figures at 0.5 are far below those at the best threshold, where they are."""
    limits: list[str] = []
    for side in (metrics or {}).values():
        best, common = side[BEST.get(read_at, "as_shown")], side["at_common_threshold"]
        tuned, plain = (_value(one, SHOWN[kind][0]) for one in (best, common))
        if tuned is not None and plain is not None and tuned - plain > FAR:
            limits.append(words.thresholds(best["thresholds"].values()))
    if not limits:
        return ""
    both = len(limits) == 2
    return (
        f"The columns at 0.5 read {'both' if both else 'one'} at 0.50 instead of "
        f"{' and '.join(dict.fromkeys(limits))}, where "
        f"{'these networks were' if both else 'that network was'} not tuned: judge "
        "by the columns at best."
    )


def _text(report: Mapping[str, Any], name: str) -> str:
    if name == "threshold":
        return words.thresholds(report["thresholds"].values()).replace("–", "–\n")
    value = _value(report, name)
    if value is None:
        return words.NONE
    if name == "found":
        return f"{value:.0f}/{report['n_true']}"  # columns are narrow
    return f"{value:.0f}" if name in COUNTS else words.quality(value, digits=3)


def _value(report: Mapping[str, Any], name: str) -> float | None:
    if name == "threshold":
        return None  # neither is better
    value = report.get(COUNTS.get(name, name))
    return None if value is None else float(value)


def _is_better(value: float | None, other: float | None) -> bool:
    return value is not None and other is not None and value > other + 5e-4


def _item(text: str, *, bold: bool) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
    if bold:
        font = item.font()
        font.setBold(True)
        item.setFont(font)
    return item


class ComparisonLegend(QFrame):
    """Counts beside their marks, the agreement, and the ramp of the difference."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(6)
        self.counts: dict[str, QLabel] = {}
        self._entries: dict[str, QWidget] = {}
        marks, others = QHBoxLayout(), QHBoxLayout()  # four do not fit beside another
        for status, one in STATUSES.items():
            entry = self._entries[status] = _entry(status, one.tip)
            self.counts[status] = entry.findChildren(QLabel)[1]
            (others if status == "changed" else marks).addWidget(entry)
        for line in (marks, others):
            line.setSpacing(7)
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
        """Show what is different."""
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


class ResultPanel(QWidget):
    """Modes, marks, legend, the way through the disagreements, and the figures."""

    def __init__(self, view: ComparisonView) -> None:
        super().__init__()
        self.view = view
        self.match: Match | None = None
        self.place = -1
        self.modes = ModeBar(view)
        self.legend = ComparisonLegend()
        self.things_switch = QCheckBox("Kept, lost, gained")
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
        self.place_label = look.paragraph("")
        self.metrics = MetricsTable()
        self.untuned = look.paragraph("", role="hint")
        self.notes = look.paragraph("", role="hint")
        self.shown = QWidget()
        self._build()
        self.modes.changed.connect(self._show_legend)
        view.drawn.connect(self.renew)
        self.things_switch.toggled.connect(view.show_things)
        self.labels_switch.toggled.connect(view.show_labels)
        self.show_match(None)

    def _build(self) -> None:
        steps = self.previous_button, self.next_button
        filled(
            QVBoxLayout(self.shown),
            self.modes,
            row(self.things_switch, self.labels_switch, 1),
            self.legend,
            filled(QHBoxLayout(), *steps, (self.place_label, 1)),
            spacing=8,
        )
        figures = (self.metrics, self.untuned)
        filled(QVBoxLayout(self), self.shown, *figures, self.notes, spacing=8)

    # -- what is shown ------------------------------------------------------------

    def show_match(self, match: Match | None) -> None:
        """Show what came of a comparison."""
        if match is not self.match:
            self.match, self.place = match, -1
        self.shown.setVisible(match is not None)
        self.notes.setVisible(match is not None and bool(match.notes))
        self.untuned.hide()
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
            comparison.metrics,
            comparison.task.kind,
            truth="".join(marked),
            read_at=match.at,
        )
        text = untuned(comparison.metrics, comparison.task.kind, match.at)
        self.untuned.setText(text)
        self.untuned.setVisible(bool(text))
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
            text = words.plural(len(places), "disagreement")
            many = len(places) == MOST_PLACES
            self.place_label.setText(f"The worst {text}" if many else text)
        else:
            what = places[self.place].what
            self.place_label.setText(f"{self.place + 1} of {len(places)}: {what}")
