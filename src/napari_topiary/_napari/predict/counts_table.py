"""How many of each class were found in each image, as a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
)

from napari_topiary._napari.widgets import words
from napari_topiary.instances import line_lengths
from napari_topiary.types import Prediction

MOST_ROWS = 7
"""More rows than this are scrolled."""
TOTAL = "All images"


def counts_of(prediction: Prediction) -> dict[str, str]:
    """What was found in one image, in words, by class.

    Parameters
    ----------
    prediction
        Particles are counted (and lines, with their length), objects too; areas are
        given as shares of what was predicted.
    """
    task, found = prediction.task, prediction.detections
    result = {}
    for index, name in enumerate(task.classes):
        if index == 0:
            continue
        if task.kind == "instances":
            result[name] = str(len(np.unique(prediction.labels[prediction.labels > 0])))
        elif task.kind == "segment":
            seen = prediction.labels.size * _share_done(prediction)
            share = float((prediction.labels == index).sum()) / max(1.0, seen)
            result[name] = words.percent(min(1.0, share))
        else:
            particles = int((found.class_index == index).sum())
            lines = [
                line
                for line, own in zip(found.lines, found.line_class, strict=True)
                if own == index
            ]
            result[name] = str(particles)
            if lines:
                traced = _length(lines, prediction.scale)
                text = f"{words.plural(len(lines), 'line')}, {traced}"
                result[name] = f"{particles} + {text}" if particles else text
    return result


def totals_of(predictions: Mapping[str, Prediction]) -> dict[str, str]:
    """Particles or objects of all images together; empty for areas.

    Parameters
    ----------
    predictions
        By image.
    """
    sums: dict[str, int] = {}
    for prediction in predictions.values():
        for name, text in counts_of(prediction).items():
            if not text.isdigit():
                return {}
            sums[name] = sums.get(name, 0) + int(text)
    return {name: str(number) for name, number in sums.items()}


class CountsTable(QTableWidget):
    """One row an image, one column a class.

    Signals
    -------
    chosen(str)
        The row of this image was clicked.
    """

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setToolTip(
            "What was found with the settings above. Click a row to see that image."
        )
        self.verticalHeader().hide()
        self.setShowGrid(False)
        self.names: list[str] = []
        self.cellClicked.connect(self._on_cell)

    def show_counts(
        self, predictions: Mapping[str, Prediction], shown: str | None
    ) -> None:
        """Fill the table.

        Parameters
        ----------
        predictions
            By image.
        shown
            Name of the image that is shown; its row is marked.
        """
        rows = {name: counts_of(one) for name, one in predictions.items()}
        partly = {name for name, one in predictions.items() if one.done is not None}
        classes = list(dict.fromkeys(key for row in rows.values() for key in row))
        self.names = list(rows)
        if len(rows) > 1 and (totals := totals_of(predictions)):
            rows[TOTAL] = totals
        self.clear()
        self.setColumnCount(1 + len(classes))
        self.setRowCount(len(rows))
        self.setHorizontalHeaderLabels(["Image", *classes])
        for y, (name, row) in enumerate(rows.items()):
            part = " (a part)" if name in partly else ""
            self.setItem(y, 0, _item(f"{name}{part}", bold=name == TOTAL))
            for x, key in enumerate(classes, start=1):
                item = _item(row.get(key, words.NONE), bold=name == TOTAL)
                item.setTextAlignment(
                    Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                )
                self.setItem(y, x, item)
        self._fit(len(rows))
        self.clearSelection()
        if shown in self.names:
            self.selectRow(self.names.index(shown))

    def _fit(self, rows: int) -> None:
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setDefaultAlignment(
            Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        )
        first = self.horizontalHeaderItem(0)
        if first is not None:
            first.setTextAlignment(
                Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
            )
        self.resizeRowsToContents()
        height = sum(self.rowHeight(y) for y in range(min(rows, MOST_ROWS)))
        self.setFixedHeight(header.sizeHint().height() + height + 6)

    def _on_cell(self, y: int, _x: int) -> None:
        if y < len(self.names):
            self.chosen.emit(self.names[y])


def _item(text: str, *, bold: bool = False) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setToolTip(text)
    if bold:
        font = item.font()
        font.setBold(True)
        item.setFont(font)
    return item


def _share_done(prediction: Prediction) -> float:
    return 1.0 if prediction.done is None else float(prediction.done.mean())


def _length(lines: list, scale: float | None) -> str:
    total = float(np.sum(line_lengths(tuple(lines))))
    if scale is None:
        return f"{total:.0f} px"
    nm = total * scale
    return f"{nm / 1000:.3g} µm" if nm >= 1000 else f"{nm:.0f} nm"
