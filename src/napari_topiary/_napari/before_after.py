"""A card of two columns: the network before pruning and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QGridLayout, QLabel, QWidget

from napari_topiary._napari import look, words


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
    """Title, before, arrow, after and the change, row by row.

    Parameters
    ----------
    rows
        What is compared; all rows are there from the start, so that nothing jumps.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__()
        self.setProperty("role", "card")
        grid = QGridLayout(self)
        grid.setContentsMargins(10, 6, 10, 6)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(0, 1)
        self._cells: dict[str, tuple[QLabel, QLabel, QLabel]] = {}
        self.headings = tuple(
            _cell(text, role="hint") for text in ("before", "after", "change")
        )
        for column, heading in zip((1, 3, 4), self.headings, strict=True):
            grid.addWidget(heading, 0, column)
        for line, row in enumerate(rows, start=1):
            title = QLabel(row.title)
            title.setToolTip(row.tip)
            cells = _cell(words.NONE), _cell(words.NONE), _cell("", role="hint")
            arrow = _cell("→", role="hint")
            grid.addWidget(title, line, 0)
            for column, cell in zip((1, 2, 3, 4), (cells[0], arrow, *cells[1:]), strict=True):
                cell.setToolTip(row.tip)
                grid.addWidget(cell, line, column)
            self._cells[row.key] = cells

    def set_row(
        self, key: str, *, before: str | None = None, after: str | None = None,
        change: str | None = None, role: str = "hint",
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

    def fade(self, key: str, *, on: bool = True) -> None:
        """Mark what a row says as not up to date (it is being measured).

        Parameters
        ----------
        key
            Of the row.
        on
            Whether it is marked.
        """
        for cell in self._cells[key][1:]:
            look.set_role(cell, "hint" if on else "info")

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
