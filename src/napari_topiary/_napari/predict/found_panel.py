"""What was found: counts of every image, notes about the shown one, and Export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_topiary._napari.predict.counts_table import CountsTable
from napari_topiary._napari.predict.export_row import ExportRow
from napari_topiary._napari.predict.live_reading import Result
from napari_topiary._napari.widgets import look


class FoundPanel(QWidget):
    """Table, notes and Export.

    Parameters
    ----------
    results
        Returns the results of all images.

    Signals
    -------
    chosen(str)
        The user clicked an image in the table.
    """

    chosen = Signal(str)

    def __init__(self, results: Callable[[], Mapping[str, Result]]) -> None:
        super().__init__()
        self._results = results
        self.table = CountsTable()
        self.notes = look.paragraph("", role="hint")
        self.export_row = ExportRow(
            lambda: {name: one.prediction for name, one in results().items()}
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addWidget(self.notes)
        layout.addWidget(self.export_row)
        self.table.chosen.connect(self.chosen)

    def show_counts(self, shown: str | None, problems: Sequence[str]) -> None:
        """Count what was found.

        Parameters
        ----------
        shown
            Name of the image that is shown.
        problems
            Sentences about images that could not be predicted.
        """
        results = self._results()
        found = {name: one.prediction for name, one in results.items()}
        self.table.setVisible(bool(found))
        self.table.show_counts(found, shown)
        current = results.get(shown or "")
        sentences = list(problems)
        if current is not None:
            sentences += current.prediction.notes
            part = current.wanted.window is not None
            if part and current.prediction.done is not None:
                sentences.append("Only the area that was visible has been looked at.")
        elif not found:
            sentences.append("Nothing was predicted yet.")
        self.notes.setText(" ".join(sentences))
        self.notes.setVisible(bool(sentences))
