"""A card of two columns: the network before pruning and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QGridLayout, QLabel, QWidget

from napari_topiary._napari.widgets import look, words


@dataclass(frozen=True)
class Row:
    """One line of the card.

    Parameters
    ----------
    key
        How it is found again.
    title
        What is compared.
    tip
        What exactly it means, in plain words.
    """

    key: str
    title: str
    tip: str


class BeforeAfter(QFrame):
    """Title, before, after and the change, row by row.

    Parameters
    ----------
    rows
        What is compared; all rows are there from the start, so that nothing jumps.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__()
        self.setProperty("role", "card")
        grid = QGridLayout(self)
        grid.setContentsMargins(8, 6, 8, 6)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(0, 1)
        self._cells: dict[str, tuple[QLabel, QLabel, QLabel]] = {}
        self._titles: dict[str, QLabel] = {}
        for column, text in enumerate(("before", "after"), start=1):
            grid.addWidget(_cell(text, role="hint"), 0, column)
        for line, row in enumerate(rows, start=1):
            title = QLabel(row.title)
            cells = _cell(words.NONE), _cell(words.NONE), _cell("", role="hint")
            for column, cell in enumerate((title, *cells)):
                cell.setToolTip(row.tip)
                grid.addWidget(cell, line, column)
            self._cells[row.key], self._titles[row.key] = cells, title

    def set_row(
        self,
        key: str,
        *,
        before: str | None = None,
        after: str | None = None,
        change: str | None = None,
        role: str = "hint",
    ) -> None:
        """Fill in one row; what is None stays.

        Parameters
        ----------
        key
            Of the row.
        before, after, change
            What its cells say.
        role
            How the change looks: "hint", "good" or "problem".
        """
        for cell, text in zip(self._cells[key], (before, after, change), strict=True):
            if text is not None and cell.text() != text:
                cell.setText(text)
        if change is not None:
            look.set_role(self._cells[key][2], role)

    def set_title(self, key: str, title: str) -> None:
        """Rename a row.

        Parameters
        ----------
        key
            Of the row.
        title
            What is compared.
        """
        self._titles[key].setText(title)

    def show_row(self, key: str, visible: bool) -> None:
        """Show or hide a row.

        Parameters
        ----------
        key
            Of the row.
        visible
            Whether it is shown.
        """
        for cell in (self._titles[key], *self._cells[key]):
            cell.setVisible(visible)

    def fade(self, key: str, *, on: bool = True) -> None:
        """Mark what a row says as not up to date (it is being measured).

        Parameters
        ----------
        key
            Of the row.
        on
            Whether it is marked.
        """
        look.set_role(self._cells[key][1], "hint" if on else "info")

    def text(self, key: str) -> tuple[str, str, str]:
        """What a row says: before, after, change.

        Parameters
        ----------
        key
            Of the row.
        """
        before, after, change = (cell.text() for cell in self._cells[key])
        return before, after, change


def _cell(text: str, *, role: str = "info") -> QLabel:
    cell: QWidget = QLabel(text)
    cell.setProperty("role", role)
    cell.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return cell
