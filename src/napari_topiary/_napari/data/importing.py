"""Import folder…: the reviewed table of somebody else's images and annotations."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_topiary import words
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import button
from napari_topiary.io.dataset import Dataset
from napari_topiary.io.importing.meaning import ImportConfig
from napari_topiary.io.importing.reviewing import (
    ImportReview,
    import_reviewed,
    review_folder,
)
from napari_topiary.io.output_files import free_name

if TYPE_CHECKING:
    from napari_topiary._napari.data.page import DataPage

_COLUMNS = ("image", "annotation", "count", "confidence", "reason")
_TASKS = {
    "as the annotations suggest": None,
    "particles and filaments": "detect",
    "classes of pixels": "segment",
    "single objects": "instances",
}


_FIELDS = {
    "give --number-pieces": "tick “Number separate pieces”",
    "give --units": "choose what the coordinates are in",
    "--radius": "Radius",
    "--pixel-size": "nm per pixel",
    "--only": "Only files",
    **{
        f"--task {kind}": f"“{text}” under To find"
        for text, kind in _TASKS.items()
        if kind is not None
    },
}
"""What a command is given, and the field of the dialog for it."""


def in_the_dialog(sentence: str) -> str:
    """Name the fields of the dialog where a sentence names options of a command."""
    for option, field in _FIELDS.items():
        sentence = re.sub(rf"{option}\b", field, sentence)
        start = option.capitalize()
        sentence = re.sub(rf"{start}\b", field[0].upper() + field[1:], sentence)
    return re.sub(r"\bgive “", "choose “", sentence)


class FolderImport:
    """Reviews a folder, and opens what was taken over as the project."""

    def __init__(self, page: DataPage) -> None:
        self.page = page
        self.dialog: ReviewDialog | None = None

    def choose(self) -> None:
        """Ask for a folder and review it."""
        folder = QFileDialog.getExistingDirectory(self.page, "Folder to import")
        if folder:
            self.review(Path(folder), ImportConfig())

    def review(self, folder: Path, config: ImportConfig) -> None:
        """Pair what is in a folder, and show the table."""
        self._start(
            lambda: review_folder(folder, config), "Looking at the folder", self._show
        )

    def take_over(self, review: ImportReview) -> None:
        """Write the pairs as a data set beside the folder, and open it."""
        folder = review.folder.resolve()
        out = free_name(folder.with_name(f"{folder.name}-topiary"))

        finished = self.page.runner.finished

        def open_it() -> None:
            finished.disconnect(open_it)
            if isalive(self.page):
                self.page.projects.open_folder(out)

        def written(dataset: Dataset) -> None:
            # The job that wrote it is still running, and would be in the way.
            finished.connect(open_it)

        self._start(lambda: import_reviewed(review, out), "Taking over", written)

    def _start(self, job: Callable, title: str, done: Callable) -> None:
        runner = self.page.runner
        started = runner.start(
            job, title=title, on_result=done, on_error=self.page.refuse
        )
        if not started:
            self.page.refuse(runner.busy_sentence)

    def _show(self, review: ImportReview) -> None:
        if not review.rows:
            self.page.refuse(review.problem)
            return
        if self.dialog is not None:
            self.dialog.deleteLater()
        self.dialog = ReviewDialog(self.page, review)
        self.dialog.wanted = self.review
        self.dialog.taken = self.take_over
        self.dialog.show()


class ReviewDialog(QDialog):
    """Every pair with its reason; nothing is used before *Take over*."""

    def __init__(self, parent: QWidget, review: ImportReview) -> None:
        super().__init__(parent)
        self.review = review
        self.wanted: Callable[[Path, ImportConfig], None] = lambda *_: None
        self.taken: Callable[[ImportReview], None] = lambda _: None
        self.setWindowTitle(f"Import {review.folder.name}")
        self.resize(820, 520)
        layout = QVBoxLayout(self)
        self.table = self._table()
        layout.addWidget(self.table, 1)
        self.text = QLabel(self._words())
        self.text.setWordWrap(True)
        layout.addWidget(self.text)
        layout.addLayout(self._form())
        self.take_button = button(
            f"Take over {words.plural(len(review.used), 'image')}",
            "Write these pairs as a data set beside the folder, and open it. Ambiguous "
            "and refused ones are left out.",
            self._take,
        )
        self.take_button.setEnabled(bool(review.used) and not review.problem)
        self.again_button = button(
            "Look again", "Read the folder with these settings.", self._again
        )
        line = filled(
            QHBoxLayout(), 1, self.again_button, self.take_button, spacing=None
        )
        layout.addLayout(line)

    def config(self) -> ImportConfig:
        """The settings of the form."""
        radius = {"": value} if (value := _number(self.radius.text())) else {}
        in_nm = self.radius_unit.currentText() == "nm"
        return ImportConfig(
            task=_TASKS[self.task.currentText()],
            radius_nm=radius if in_nm else {},
            radius_px={} if in_nm else radius,
            pixel_size_nm=_number(self.pixel_size.text()),
            only=self.only.text().strip(),
            number_pieces=self.pieces.isChecked(),
            invert_masks=self.invert.isChecked(),
            binned=_number(self.binned.text()) or 1.0,
            units=self.units.currentText(),
            flip_y=self.flip.isChecked(),
            swap_axes=self.swap.isChecked(),
        )

    def _table(self) -> QTableWidget:
        rows = self.review.table()
        table = QTableWidget(len(rows), len(_COLUMNS))
        table.setHorizontalHeaderLabels(_COLUMNS)
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        for y, row in enumerate(rows):
            for x, name in enumerate(_COLUMNS):
                item = QTableWidgetItem(str(row[name]))
                item.setToolTip("\n".join((str(row["reason"]), *row["notes"])))
                table.setItem(y, x, item)
        table.resizeColumnsToContents()
        return table

    def _words(self) -> str:
        review, lines = self.review, list[str]()
        if review.meaning is not None:
            task = review.meaning.task
            classes = ", ".join(task.classes[1:])
            lines.append(f"{len(review.used)} of {len(review.rows)} pairs; {classes}.")
        lines += [review.problem, *review.notes]
        lines += [note for row in review.used[:3] for note in row.notes]
        if review.unused:
            names = ", ".join(one.path.name for one in review.unused[:4])
            lines.append(f"Not used: {names}{' ...' * (len(review.unused) > 4)}")
        return "\n".join(dict.fromkeys(in_the_dialog(line) for line in lines if line))

    def _form(self) -> QVBoxLayout:
        config = self.review.config
        self.task, self.units, self.radius_unit = QComboBox(), QComboBox(), QComboBox()
        self.task.addItems(list(_TASKS))
        self.task.setCurrentIndex(list(_TASKS.values()).index(config.task))
        self.units.addItems(["px", "nm", "angstrom", "um"])
        self.units.setCurrentText(config.units)
        self.radius_unit.addItems(["nm", "px"])
        radius = config.radius_nm.get("") or config.radius_px.get("")
        if config.radius_px:
            self.radius_unit.setCurrentText("px")
        self.radius = QLineEdit("" if radius is None else f"{radius:g}")
        size = config.pixel_size_nm
        self.pixel_size = QLineEdit("" if size is None else f"{size:g}")
        self.only = QLineEdit(config.only)
        self.only.setPlaceholderText("*.star")
        self.pieces = QCheckBox("Number separate pieces")
        self.flip, self.swap = QCheckBox("y from below"), QCheckBox("Swap y and x")
        self.pieces.setChecked(config.number_pieces)
        self.invert = QCheckBox("Invert masks")
        self.invert.setToolTip("What is painted is the background, and 0 the objects.")
        self.invert.setChecked(config.invert_masks)
        self.binned = QLineEdit(f"{config.binned:g}")
        self.binned.setToolTip(
            "How many pixels of the tables are one of the images, along an axis."
        )
        self.flip.setChecked(config.flip_y)
        self.swap.setChecked(config.swap_axes)
        lines = (
            ("To find", self.task, "Radius", self.radius, self.radius_unit),
            ("nm per pixel", self.pixel_size, "Only files", self.only),
            ("Coordinates in", self.units, "binned", self.binned, self.flip, self.swap),
            ("Masks", self.pieces, self.invert),
        )
        layout = QVBoxLayout()
        for line in lines:
            row = QHBoxLayout()
            for one in line:
                row.addWidget(QLabel(one) if isinstance(one, str) else one)
            layout.addLayout(row)
        return layout

    def _again(self) -> None:
        self.close()
        self.wanted(self.review.folder, self.config())

    def _take(self) -> None:
        self.close()
        self.taken(self.review)


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None
