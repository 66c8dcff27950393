"""The classes as a table: which is drawn, colour, name, radius, how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from napari_topiary._napari.annotate import class_edits
from napari_topiary._napari.annotate.class_row import ClassRow
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.page import button
from napari_topiary.errors import TopiaryError

if TYPE_CHECKING:
    from napari_topiary.session import Session

KEYS = "QWUHJK89"
"""Keys of the classes: free in napari, where digits and most letters mean something."""
NEGATIVE_KEY = "0"
_KINDS = (
    ("Particles and filaments", "detect"),
    ("Areas, by painting", "segment"),
    ("Separate objects, by painting", "instances"),
)
_HEADINGS = ("", "", "Name", "", "Marks", "")


class ClassTable(QWidget):
    """Rows of classes and a line to add one.

    Parameters
    ----------
    session
        The project.

    Signals
    -------
    picked(str)
        This class is drawn from now on.
    refused(str)
        Why a change is not possible.
    removing(str)
        The user wants to remove a class that has marks.
    kind_changed()
        Something else is to be found: particles, areas or objects.
    """

    picked = Signal(str)
    refused = Signal(str)
    removing = Signal(str)
    kind_changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.image: str | None = None
        self.rows: dict[str, ClassRow] = {}
        self._group = QButtonGroup(self)
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(5)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(2, 1)
        self.kind = QComboBox()
        for text, kind in _KINDS:
            self.kind.addItem(text, kind)
        self.kind.setToolTip(
            "Particles and filaments are marked by clicks; areas and objects are "
            "painted. It can be changed until something is painted."
        )
        self.kind.activated.connect(self._on_kind)
        self._headings = [QLabel(text) for text in _HEADINGS]
        for column, heading in enumerate(self._headings):
            look.set_role(heading, "hint")
            self._grid.addWidget(heading, 0, column)
        self.new_name = QLineEdit()
        self.new_name.setPlaceholderText("What to look for, e.g. adenovirus")
        self.new_name.setToolTip("Name of something that is to be found in the images.")
        self.new_name.returnPressed.connect(self._on_add)
        self.add_button = button(
            "Add class", "Add it to what is to be found.", self._on_add
        )
        adding = QHBoxLayout()
        adding.setSpacing(6)
        adding.addWidget(self.new_name, 1)
        adding.addWidget(self.add_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.kind)
        layout.addLayout(self._grid)
        layout.addLayout(adding)

    @property
    def current(self) -> str:
        """Name of the class that is drawn; empty without classes."""
        for name, row in self.rows.items():
            if row.radio.isChecked():
                return name
        return ""

    def refresh(self, image: str | None) -> None:
        """Show the classes as they are now.

        Parameters
        ----------
        image
            Name of the image that is shown.
        """
        self.image = image
        names = list(self.session.task.classes[1:])
        if names != list(self.rows):
            self._rebuild(names)
        scale = None if image is None else self.session.images[image].scale
        detects = self.session.task.kind == "detect"
        self._headings[3].setText(f"Radius ({'px' if scale is None else 'nm'})")
        for column, heading in enumerate(self._headings):
            heading.setVisible(bool(names) and (column != 3 or detects))
        for row in self.rows.values():
            row.refresh(image, scale)
        look.emphasize(self.add_button, not names)
        self.kind.setCurrentIndex(self.kind.findData(self.session.task.kind))
        self.kind.setEnabled(not _is_painted(self.session))

    def pick(self, name: str) -> None:
        """Draw a class from now on.

        Parameters
        ----------
        name
            One of the classes.
        """
        self.rows[name].radio.setChecked(True)
        self.picked.emit(name)

    def _rebuild(self, names: list[str]) -> None:
        before = self.current
        for row in self.rows.values():
            row.take_away(self._grid, self._group)
        self.rows = {}
        for number, name in enumerate(names):
            row = ClassRow(self, name, KEYS[number : number + 1])
            row.put(self._grid, number + 1, self._group)
            self.rows[name] = row
        if names:
            chosen = before if before in names else names[0]
            self.rows[chosen].radio.setChecked(True)

    def attempt(self, change: object, *arguments: object) -> bool:
        """Make a change to the session; say why when it is refused."""
        try:
            change(*arguments)  # type: ignore[operator]
        except TopiaryError as reason:
            self.refused.emit(str(reason))
            self.refresh(self.image)
            return False
        self.refused.emit("")
        return True

    def _on_kind(self, index: int) -> None:
        class_edits.set_kind(self.session, self.kind.itemData(index))
        self.kind_changed.emit()

    def _on_add(self) -> None:
        name = self.new_name.text()
        if self.attempt(class_edits.add_class, self.session, name, self.image):
            self.new_name.clear()
            self.pick(self.session.task.classes[-1])


def _is_painted(session: Session) -> bool:
    drawn = (one for image in session.annotations.values() for one in image)
    return any(one.kind == "labels" for one in drawn)
