"""Export…: asks for a folder, asks before it replaces, says what was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from napari_topiary._napari.jobs.runner import in_background
from napari_topiary._napari.predict.exporting import already_there, export
from napari_topiary._napari.widgets import words
from napari_topiary._napari.widgets.offer import Offer
from napari_topiary._napari.widgets.page import button
from napari_topiary.types import Prediction


class ExportRow(QWidget):
    """A button that writes predictions into a folder.

    Parameters
    ----------
    predictions
        Returns what is to be written, by image.

    Signals
    -------
    said(str, bool)
        What was written, or (True) why not.
    """

    said = Signal(str, bool)

    def __init__(self, predictions: Callable[[], Mapping[str, Prediction]]) -> None:
        super().__init__()
        self._predictions = predictions
        self.button = button(
            "Export…",
            "Write probability, labels and tables of every image above into a folder,\n"
            "as the command line does.",
            self.ask,
        )
        self.offer = Offer()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.offer)
        layout.addWidget(self.button)

    def ask(self) -> None:
        """Let the user choose a folder."""
        folder = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if folder:
            self.export_to(Path(folder))

    def export_to(self, folder: Path, *, replace: bool = False) -> None:
        """Write everything into a folder.

        Parameters
        ----------
        folder
            Where to.
        replace
            Whether files of an earlier export may be replaced.
        """
        found = dict(self._predictions())
        there = already_there(folder, found)
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
            lambda: export(folder, found),
            title="Writing the results",
            on_result=self._on_written,
            on_error=self._on_failed,
        )

    def _on_written(self, files: list[Path]) -> None:
        self.button.setEnabled(True)
        count = words.plural(len(files), "file")
        self.said.emit(f"{count} written to {files[0].parent}.", False)

    def _on_failed(self, sentence: str) -> None:
        self.button.setEnabled(True)
        self.said.emit(sentence, True)
