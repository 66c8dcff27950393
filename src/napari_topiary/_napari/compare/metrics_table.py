"""Quality of both networks, each where it is best and both at the same threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
)

from napari_topiary._napari.widgets import words

FIGURES = {
    "f1": ("F1", "Balance of precision and recall: 1 is perfect."),
    "precision": ("Precision", "Share of what was found that is right."),
    "recall": ("Recall", "Share of what is there that was found."),
    "aji": ("AJI", "Overlap of the objects with the marked ones: 1 is perfect."),
    "pq": ("PQ", "Panoptic quality of the objects: 1 is perfect."),
    "dice": ("Dice", "Overlap of the areas with the marked ones: 1 is perfect."),
    "iou": ("IoU", "Shared area over joint area: 1 is perfect."),
}
SHOWN = {
    "detect": ("f1", "precision", "recall"),
    "instances": ("aji", "pq", "dice"),
    "segment": ("dice", "iou", "precision"),
}
COLUMNS = (
    ("a", "own_best", "A at best"),
    ("b", "own_best", "B at best"),
    ("a", "at_common_threshold", "A at 0.5"),
    ("b", "at_common_threshold", "B at 0.5"),
)
TIP = (
    "Pruning makes a network less sure before it costs quality: so each is judged at "
    "its own\nbest threshold, and both at 0.5. The better one is bold."
)


class MetricsTable(QTableWidget):
    """One row a figure; two columns at each one's own best threshold, two at 0.5."""

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setHorizontalHeaderLabels([text for _, _, text in COLUMNS])
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setShowGrid(False)
        self.setToolTip(TIP)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)

    def show_metrics(
        self, metrics: Mapping[str, Any] | None, kind: str, *, truth: str = ""
    ) -> None:
        """Fill the table; it hides where nothing is known.

        Parameters
        ----------
        metrics
            Of a comparison.
        kind
            Of the task.
        truth
            "a" or "b" where that side is the truth itself: it is not judged.
        """
        self.setVisible(metrics is not None)
        if metrics is None:
            return
        names = ["threshold", *SHOWN[kind]]
        for x, (side, _, _) in enumerate(COLUMNS):
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
                for side, at, _ in COLUMNS
            ]
            for x, value in enumerate(values):
                other = values[x ^ 1]
                best = name != "threshold" and _is_better(value, other)
                self.setItem(y, x, _item(value, bold=best))
        self.resizeRowsToContents()
        height = sum(self.rowHeight(y) for y in range(self.rowCount()))
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + height + 6)


def _value(report: Mapping[str, Any], name: str) -> float | None:
    if name == "threshold":
        limits = list(report["thresholds"].values())
        return float(sum(limits) / len(limits)) if limits else None
    value = report.get(name)
    return None if value is None else float(value)


def _is_better(value: float | None, other: float | None) -> bool:
    return value is not None and other is not None and value > other + 5e-4


def _item(value: float | None, *, bold: bool) -> QTableWidgetItem:
    item = QTableWidgetItem(words.NONE if value is None else words.quality(value))
    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
    if bold:
        font = item.font()
        font.setBold(True)
        item.setFont(font)
    return item
