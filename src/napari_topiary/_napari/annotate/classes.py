"""The list of classes: colour, name, radius, count and key of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QButtonGroup,
    QColorDialog,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.form import LengthField
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import button
from napari_topiary.errors import TopiaryError
from napari_topiary.session import contents
from napari_topiary.types import BACKGROUND

if TYPE_CHECKING:
    from napari_topiary.session import Session

KEYS = "QWUHJK89"
"""Keys of the classes: free in napari, where digits and most letters mean something."""
_RADIUS_WIDE = "QAbstractSpinBox { min-width: 46px; max-width: 46px; }"
"""Five digits: what a theme makes wider leaves no room for a name in a narrow dock."""
_KINDS = (
    ("Particles and filaments", "detect"),
    ("Areas, by painting", "segment"),
    ("Separate objects, by painting", "instances"),
)
_HEADINGS = ("", "", "Name", "", "Marks", "")


class ClassRow:
    """The widgets of one class."""

    def __init__(self, table: ClassTable, name: str, key: str) -> None:
        self.table, self.name, self.key = table, name, key
        self.radio = QRadioButton(key)
        self.radio.setToolTip(
            f"Draw {name} from now on" + (f" (key {key})." if key else ".")
        )
        self.radio.clicked.connect(lambda: table.picked.emit(self.name))
        self.swatch = QPushButton()
        self.swatch.setFixedSize(18, 18)
        self.swatch.setToolTip(f"Colour of {name}: click to choose another.")
        self.swatch.clicked.connect(self._on_colour)
        self.title = QLineEdit(name)
        self.title.setToolTip(f"{name}: type here to rename this class.")
        self.title.setMinimumWidth(50)
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.title.editingFinished.connect(self._on_rename)
        self.title.returnPressed.connect(table.named)
        self.radius = LengthField(
            "",
            f"Radius of {name}: the circles show it. For filaments half their width.",
        )
        # Typed, not stepped: all of a number like 65000 or 12.25 is to be read, beside
        # the whole of a name.
        self.radius.setButtonSymbols(LengthField.ButtonSymbols.NoButtons)
        self.radius.setStyleSheet(_RADIUS_WIDE)
        self.radius.valueChanged.connect(self._on_radius)
        self.radius.lineEdit().returnPressed.connect(table.named)
        self.count = QLabel()
        self.count.setAlignment(
            Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        )
        self.remove = QPushButton("×")
        self.remove.setFixedSize(18, 18)
        look.set_role(self.remove, "small")
        self.remove.setToolTip(f"Remove {name} from what is to be found.")
        self.remove.clicked.connect(self._on_remove)

    @property
    def widgets(self) -> tuple[QWidget, ...]:
        """In the order of the columns."""
        return (
            self.radio,
            self.swatch,
            self.title,
            self.radius,
            self.count,
            self.remove,
        )

    def put(self, grid: QGridLayout, line: int, group: QButtonGroup) -> None:
        """Place the widgets."""
        group.addButton(self.radio)
        for column, widget in enumerate(self.widgets):
            grid.addWidget(widget, line, column)

    def take_away(self, grid: QGridLayout, group: QButtonGroup) -> None:
        """Remove the widgets."""
        group.removeButton(self.radio)
        for widget in self.widgets:
            grid.removeWidget(widget)
            widget.hide()
            widget.deleteLater()

    def refresh(self, image: str | None, scale: float | None) -> None:
        """Show colour, radius and count as they are now."""
        session = self.table.session
        colour = session.colours[self.name]
        self.swatch.setStyleSheet(
            # Of the button alone: its tooltip is not to be in this colour.
            f"QPushButton {{ background: {colour}; border-radius: 4px; padding: 0px; }}"
        )
        if not self.title.hasFocus():
            self.title.setText(self.name)
            self.title.setCursorPosition(0)  # a long name shows its beginning
        radius = session.task.radius(self.name, scale)
        self.radius.setVisible(session.task.kind == "detect")
        self.radius.show_value(None if radius is None else radius * (scale or 1.0))
        here = 0 if image is None else contents.count(session, image, self.name)
        painted = session.task.kind != "detect"
        self.count.setText(("✓" if here else "–") if painted else str(here))
        self.count.setToolTip(
            f"{here} on this image, "
            f"{contents.marks_of(session, self.name)} in the project"
            if not painted
            else "Whether it is painted on this image."
        )

    def _on_colour(self) -> None:
        session = self.table.session
        chosen = QColorDialog.getColor(
            QColor(session.colours[self.name]), self.table, f"Colour of {self.name}"
        )
        if chosen.isValid():
            session.set_colour(self.name, chosen.name())

    def _on_rename(self) -> None:
        new = " ".join(self.title.text().split())
        if new and new != self.name:
            self.table.attempt(self.table.session.rename_class, self.name, new)
        else:
            self.title.setText(self.name)

    def _on_radius(self, value: float) -> None:
        image, session = self.table.image, self.table.session
        scale = None if image is None else session.images[image].scale
        contents.set_radius(session, self.name, value or None, scale)

    def _on_remove(self) -> None:
        if contents.marks_of(self.table.session, self.name):
            self.table.removing.emit(self.name)
        else:
            self.table.session.remove_class(self.name)


class ClassTable(QWidget):
    """Rows of classes and a line to add one."""

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
        self._grid.setHorizontalSpacing(4)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(2, 1)
        self.kind = QComboBox()
        for text, kind in _KINDS:
            self.kind.addItem(text, kind)
        self.kind.setToolTip(
            "Particles and filaments are marked by clicks; areas and objects are "
            "painted.\nIt can be changed until something is painted."
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
        adding = filled(QHBoxLayout(), (self.new_name, 1), self.add_button)
        filled(QVBoxLayout(self), self.kind, self._grid, adding)

    @property
    def current(self) -> str:
        """Name of the class that is drawn; empty without classes."""
        for name, row in self.rows.items():
            if row.radio.isChecked():
                return name
        return ""

    def refresh(self, image: str | None) -> None:
        """Show the classes as they are now."""
        self.image = image
        names = list(self.session.task.classes[1:])
        if names != list(self.rows):
            self._rebuild(names)
        scale = None if image is None else self.session.images[image].scale
        detects = self.session.task.kind == "detect"
        self._headings[3].setText(f"Radius\n({'px' if scale is None else 'nm'})")
        for column, heading in enumerate(self._headings):
            heading.setVisible(bool(names) and (column != 3 or detects))
        for row in self.rows.values():
            row.refresh(image, scale)
        self._refresh_unlike(image, detects=detects)
        self._headings[4].setText("Marks" if detects else "Painted")
        example = contents.EXAMPLES[self.session.task.kind]
        self.new_name.setPlaceholderText(f"What to look for, e.g. {example}")
        look.emphasize(self.add_button, not names)
        self.kind.setCurrentIndex(self.kind.findData(self.session.task.kind))
        self.kind.setEnabled(not _is_painted(self.session))

    def _refresh_unlike(self, image: str | None, *, detects: bool) -> None:
        """Count the marks of what is none, where there are any."""
        every = contents.marks_of(self.session, BACKGROUND) if detects else 0
        here = 0
        if every and image is not None:
            here = contents.count(self.session, image, BACKGROUND)
        self.unlike_count.setText(str(here))
        self.unlike_count.setToolTip(f"{here} on this image, {every} in the project")
        for label in (self.unlike, self.unlike_count):
            label.setVisible(every > 0)

    def pick(self, name: str) -> None:
        """Draw a class from now on."""
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
        contents.set_kind(self.session, self.kind.itemData(index))
        self.kind_changed.emit()

    def _on_add(self) -> None:
        name = self.new_name.text()
        if self.attempt(contents.add_class, self.session, name, self.image):
            self.new_name.clear()
            self.pick(self.session.task.classes[-1])
            self.named.emit()


def _is_painted(session: Session) -> bool:
    drawn = (one for image in session.annotations.values() for one in image)
    return any(one.layer_type == "labels" for one in drawn)
