"""The classes as a table: which is drawn, colour, name, radius, how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
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
from napari_topiary.types import BACKGROUND

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
    changing()
        The classes are about to change: what is drawn is to be read before.
    named()
        A name was typed and taken: the keyboard is wanted elsewhere.
    """

    picked = Signal(str)
    refused = Signal(str)
    removing = Signal(str)
    kind_changed = Signal()
    changing = Signal()
    named = Signal()

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
        self.new_name.setToolTip("Name of something that is to be found in the images.")
        self.new_name.returnPressed.connect(self._on_add)
        self.unlike = QLabel("Not this")
        self.unlike.setToolTip(
            "Marks of what only looks like one: a network learns not to find it."
        )
        self.unlike_count = QLabel()
        self.unlike_count.setAlignment(
            Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        )
        for label in (self.unlike, self.unlike_count):
            look.set_role(label, "hint")
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
        self._refresh_unlike(image, detects=detects)
        self._headings[4].setText("Marks" if detects else "Painted")
        example = class_edits.EXAMPLES[self.session.task.kind]
        self.new_name.setPlaceholderText(f"What to look for, e.g. {example}")
        look.emphasize(self.add_button, not names)
        self.kind.setCurrentIndex(self.kind.findData(self.session.task.kind))
        self.kind.setEnabled(not _is_painted(self.session))

    def _refresh_unlike(self, image: str | None, *, detects: bool) -> None:
        """Count the marks of what is none, where there are any."""
        every = class_edits.marks_of(self.session, BACKGROUND) if detects else 0
        here = 0
        if every and image is not None:
            here = class_edits.count(self.session, image, BACKGROUND)
        self.unlike_count.setText(str(here))
        self.unlike_count.setToolTip(f"{here} on this image, {every} in the project")
        for label in (self.unlike, self.unlike_count):
            label.setVisible(every > 0)

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
        line = len(names) + 1
        self._grid.addWidget(self.unlike, line, 2)
        self._grid.addWidget(self.unlike_count, line, 4)
        if names:
            chosen = before if before in names else names[0]
            self.rows[chosen].radio.setChecked(True)

    def attempt(self, change: object, *arguments: object) -> bool:
        """Make a change to the session; say why when it is refused."""
        self.changing.emit()
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
            self.named.emit()


def _is_painted(session: Session) -> bool:
    drawn = (one for image in session.annotations.values() for one in image)
    return any(one.kind == "labels" for one in drawn)
