"""What was found: counts of every image, notes about the shown one, and Export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QBrush, QPalette
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFileDialog,
    QHeaderView,
    QMenu,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
    QWidgetAction,
)

from napari_topiary import words
from napari_topiary._napari.jobs.runner import in_background
from napari_topiary._napari.predict.live_postprocessing import Result
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import Offer, button, row
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.measures import Counted, summary_rows
from napari_topiary.inference.result_exports import PICTURE, export_title
from napari_topiary.io.annotation_formats import writing_formats
from napari_topiary.jobs.exporting import Found, already_there, export, kinds_for
from napari_topiary.session import Session
from napari_topiary.types import Prediction

MOST_ROWS = 7
"""More rows than this are scrolled."""
TOTAL = "All images"


def counts_of(prediction: Prediction | Counted) -> dict[str, str]:
    """What was found in one image, in words, by class."""
    return {row["class"]: _in_words(row, prediction) for row in _rows(prediction)}


def _rows(prediction: Prediction | Counted) -> list[dict[str, Any]]:
    return summary_rows("", prediction)


def _in_words(row: Mapping[str, Any], prediction: Prediction | Counted) -> str:
    if prediction.task.kind == "segment":
        return words.percent(min(1.0, row["covered_share"] or 0.0))
    if not row["lines"]:
        return str(row["count"])
    nm = row["lines_length_nm"]
    text = words.plural(row["lines"], "line")
    if nm is not None:
        text += f", {nm / 1000:.3g} µm" if nm >= 1000 else f", {nm:.0f} nm"
    return f"{row['count']} + {text}" if row["count"] else text


def totals_of(predictions: Mapping[str, Prediction | Counted]) -> dict[str, str]:
    """Particles or objects of all images together; empty for areas and lines."""
    sums: dict[str, int] = {}
    for prediction in predictions.values():
        for line in _rows(prediction):
            if prediction.task.kind == "segment" or line["lines"]:
                return {}
            sums[line["class"]] = sums.get(line["class"], 0) + line["count"]
    return {name: str(number) for name, number in sums.items()}


class CountsTable(QTableWidget):
    """One row an image, one column a class."""

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
        self, results: Mapping[str, Result], shown: str | None, network: object
    ) -> None:
        """Fill the table; what another network than the chosen one found is grey."""
        rows = {name: counts_of(one.counted) for name, one in results.items()}
        own = {n: one for n, one in results.items() if one.checkpoint is network}
        classes = list(dict.fromkeys(key for row in rows.values() for key in row))
        self.names = list(rows)
        totals = totals_of({name: one.counted for name, one in own.items()})
        if len(own) > 1 and totals:
            rows[TOTAL] = totals
        self.clear()
        self.setColumnCount(1 + len(classes))
        self.setRowCount(len(rows))
        self.setHorizontalHeaderLabels(["Image", *classes])
        for y, (name, counts) in enumerate(rows.items()):
            title, old = name, name in results and name not in own
            if old:
                title += f" (from {results[name].network})"
            elif name in results and results[name].is_part:
                title += " (a part)"
            items = [
                _item(title),
                *(_item(counts.get(key, words.NONE)) for key in classes),
            ]
            for x, item in enumerate(items):
                if name == TOTAL:
                    _embolden(item)
                if old:
                    item.setForeground(self._faint())
                if x:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.setItem(y, x, item)
        self._fit(len(rows))
        self.clearSelection()
        if shown in self.names:
            self.selectRow(self.names.index(shown))

    def _faint(self) -> QBrush:
        colour = self.palette().color(QPalette.ColorRole.WindowText)
        colour.setAlphaF(0.45)
        return QBrush(colour)

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


def _item(text: str) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setToolTip(text)
    return item


def _embolden(item: QTableWidgetItem) -> None:
    font = item.font()
    font.setBold(True)
    item.setFont(font)


class AlsoAs(QPushButton):
    """A list to tick what is written beside maps and tables."""

    def __init__(self, possible: Callable[[], Sequence[str]]) -> None:
        super().__init__()
        self._possible = possible
        self.boxes: dict[str, QCheckBox] = {}
        self.setToolTip(
            look.lines(
                "Write what was found for other programs too: a picture, RELION, EMAN, "
                "crYOLO, QuPath, ImageJ."
            )
        )
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        choices = QMenu(self)
        for kind in (PICTURE, *writing_formats()):
            box = self.boxes[kind] = QCheckBox(export_title(kind))
            box.setContentsMargins(8, 2, 8, 2)
            box.toggled.connect(self.refresh)
            holder = QWidgetAction(choices)  # the list stays open at a click
            holder.setDefaultWidget(box)
            choices.addAction(holder)
        choices.aboutToShow.connect(self._offer)
        self.setMenu(choices)
        self.refresh()

    def kinds(self) -> tuple[str, ...]:
        """What is ticked and can be written."""
        possible = self._possible()
        return tuple(
            kind
            for kind, box in self.boxes.items()
            if box.isChecked() and kind in possible
        )

    def _offer(self) -> None:
        possible = self._possible()
        for kind, box in self.boxes.items():
            box.setEnabled(kind in possible)
            told = "" if kind in possible else "It holds places; this network paints."
            box.setToolTip(told)

    def refresh(self, *_: object) -> None:
        """Say how many of the ticked ones will be written."""
        count = len(self.kinds())
        self.setText(f"and {count} more" if count else "Also as…")


class ExportRow(QWidget):
    """A button that writes what was found into a folder."""

    said = Signal(str, bool)

    def __init__(
        self, session: Session, results: Callable[[], Mapping[str, Result]]
    ) -> None:
        super().__init__()
        self._session, self._results = session, results
        self.button = button(
            "Export…",
            "Write probability, labels and particles of every image above into a\n"
            "folder, as the command line does; and tables: summary.csv (counts,\n"
            "number per µm², threshold, network), and all particles or objects of\n"
            "each image, in nm.",
            self.ask,
        )
        self.also = AlsoAs(lambda: kinds_for(self._found().values()))
        self.offer = Offer()
        buttons = row(self.button, self.also, 1)
        filled(QVBoxLayout(self), self.offer, buttons, spacing=None)

    def ask(self) -> None:
        """Let the user choose a folder."""
        folder = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if folder:
            self.export_to(Path(folder))

    def export_to(self, folder: Path, *, replace: bool = False) -> None:
        """Write everything into a folder."""
        found, kinds = self._found(), self.also.kinds()
        project = self._session.folder
        try:
            there = already_there(folder, found, kinds)
        except TopiaryError as reason:
            self.said.emit(str(reason), True)
            return
        if there and not replace:
            files = words.plural(len(there), "file")
            self.offer.show_choice(
                f"{files} of an earlier export, such as {there[0].name}, would be "
                "replaced.",
                {
                    "Cancel": lambda: None,
                    "Replace": lambda: self.export_to(folder, replace=True),
                },
            )
            return
        self.button.setEnabled(False)
        self.said.emit("Writing…", False)
        in_background(
            lambda: export(folder, found, kinds=kinds, project=project),
            title="Writing the results",
            on_result=self._on_written,
            on_error=self._on_failed,
        )

    def _found(self) -> dict[str, Found]:
        """All results, with the images that they are of."""
        images = self._session.images
        return {
            name: Found(
                prediction=one.prediction,
                checkpoint=one.checkpoint,
                network=one.network,
                config=one.config,
                source=images[name].path if name in images else None,
                image=images[name].image if name in images else None,
            )
            for name, one in self._results().items()
        }

    def _on_written(self, files: list[Path]) -> None:
        self.button.setEnabled(True)
        count = words.plural(len(files), "file")
        self.said.emit(f"{count} written to {files[0].parent}.", False)

    def _on_failed(self, sentence: str) -> None:
        self.button.setEnabled(True)
        self.said.emit(sentence, True)


class FoundPanel(QWidget):
    """Table, notes and Export."""

    chosen = Signal(str)

    def __init__(
        self, session: Session, results: Callable[[], Mapping[str, Result]]
    ) -> None:
        super().__init__()
        self._results = results
        self.table = CountsTable()
        self.notes = look.paragraph("", role="hint")
        self.export_row = ExportRow(session, results)
        filled(QVBoxLayout(self), self.table, self.notes, self.export_row, spacing=None)
        self.table.chosen.connect(self.chosen)

    def show_counts(
        self,
        shown: str | None,
        problems: Sequence[str],
        network: object,
        *,
        marked: bool = False,
    ) -> None:
        """Count what was found; `network` is the checkpoint that is chosen now."""
        results = self._results()
        self.export_row.also.refresh()
        self.table.setVisible(bool(results))
        self.table.show_counts(results, shown, network)
        current = results.get(shown or "")
        sentences = list(problems)
        if current is not None and current.checkpoint is not network:
            sentences.append(
                f"What {current.network} found is grey and not drawn: press Predict to "
                "see what the chosen network finds."
            )
        elif current is not None:
            sentences += current.prediction.problems + current.prediction.notes
            if current.wanted.window is not None and current.is_part:
                sentences.append("Only the area that was visible has been looked at.")
            if marked and len(current.counted.detections):
                sentences.append("Thin rings: found. Thicker ones: your marks.")
            if current.at_hand is None:
                sentences.append(
                    "Of an image of this size thresholds are read anew by Predict; the "
                    "network does not run again."
                )
        elif not results:
            sentences.append("Nothing was predicted yet.")
        self.notes.setText(" ".join(sentences))
        self.notes.setVisible(bool(sentences))
