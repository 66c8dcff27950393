"""One class of the table: its widgets, and what they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QButtonGroup,
    QColorDialog,
    QGridLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QSizePolicy,
    QWidget,
)

from napari_topiary._napari.annotate import class_edits
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.fields import LengthField

if TYPE_CHECKING:
    from napari_topiary._napari.annotate.classes import ClassTable


class ClassRow:
    """The widgets of one class.

    Parameters
    ----------
    table
        The table that it is in.
    name
        Name of the class.
    key
        Key that picks it; empty for none.
    """

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
        self.title.setToolTip("Name of the class: type to rename it.")
        self.title.setMinimumWidth(60)
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.title.editingFinished.connect(self._on_rename)
        self.title.returnPressed.connect(table.named)
        self.radius = LengthField(
            "",
            f"Radius of {name}: the circles show it. For filaments half their width.",
        )
        self.radius.setFixedWidth(88)
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
            f"background: {colour}; border-radius: 4px; padding: 0px;"
        )
        if not self.title.hasFocus():
            self.title.setText(self.name)
            self.title.setCursorPosition(0)  # a long name shows its beginning
        radius = session.task.radius(self.name, scale)
        self.radius.setVisible(session.task.kind == "detect")
        self.radius.show_value(None if radius is None else radius * (scale or 1.0))
        here = 0 if image is None else class_edits.count(session, image, self.name)
        painted = session.task.kind != "detect"
        self.count.setText(("✓" if here else "–") if painted else str(here))
        self.count.setToolTip(
            f"{here} on this image, "
            f"{class_edits.marks_of(session, self.name)} in the project"
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
        class_edits.set_radius(session, self.name, value or None, scale)

    def _on_remove(self) -> None:
        if class_edits.marks_of(self.table.session, self.name):
            self.table.removing.emit(self.name)
        else:
            self.table.session.remove_class(self.name)
