"""Curtain, flicker, side by side or difference, and what belongs to each."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_topiary._napari.compare.view import ComparisonView
from napari_topiary._napari.widgets.checkpoint_choice import combo, fill
from napari_topiary._napari.widgets.page import button

FLIP_KEY = "Q"
STEPS = 1000
ANY_CLASS = "anything but background"
MODES = {
    "curtain": ("Curtain", "A left of a line, B right of it; drag the line."),
    "flicker": ("Flicker", f"A and B in turn: press {FLIP_KEY}. Changes jump out."),
    "side": ("Side by side", "A and B in two views that move together."),
    "difference": ("Difference", "Where B is surer than A, and where less."),
}


class ModeBar(QWidget):
    """Four buttons, and a line for what the chosen mode needs.

    Signals
    -------
    changed()
        Another mode was chosen.
    """

    changed = Signal()

    def __init__(self, view: ComparisonView) -> None:
        super().__init__()
        self.view = view
        self.buttons: dict[str, QPushButton] = {}
        group, bar = QButtonGroup(self), QHBoxLayout()
        bar.setSpacing(2)
        for mode, (text, tip) in MODES.items():
            one = self.buttons[mode] = button(text, tip, lambda m=mode: self.choose(m))
            one.setCheckable(True)
            one.setProperty("role", "tab")
            one.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            group.addButton(one)
            bar.addWidget(one)
        self.buttons[view.mode].setChecked(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(bar)
        self._make_curtain(layout)
        self._make_flicker(layout)
        self._make_difference(layout)
        view.curtain.moved.connect(self._on_moved)
        view.flicker.flipped.connect(self._on_flipped)
        self._show_needed()

    def _make_curtain(self, layout: QVBoxLayout) -> None:
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.slider.setValue(STEPS // 2)
        self.slider.setToolTip("Move the curtain; or drag its line on the image.")
        self.curtain_row = _row(QLabel("A"), self.slider, QLabel("B"))
        layout.addWidget(self.curtain_row)
        self.slider.valueChanged.connect(
            lambda value: self.view.curtain.move(value / STEPS)
        )

    def _make_flicker(self, layout: QVBoxLayout) -> None:
        self.flip_button = button(
            "", f"Show the other one (key {FLIP_KEY}).", self.view.flicker.flip
        )
        self.play_switch = QCheckBox("by itself")
        self.play_switch.setToolTip("Show A and B in turn without pressing anything.")
        self.play_switch.toggled.connect(self.view.flicker.play)
        self.flicker_row = _row(self.flip_button, self.play_switch)
        layout.addWidget(self.flicker_row)

    def _make_difference(self, layout: QVBoxLayout) -> None:
        self.class_box = combo("Of which class the difference is shown.")
        self.class_row = _row(QLabel("Class"), self.class_box)
        layout.addWidget(self.class_row)
        self.class_box.activated.connect(self._on_class)

    def offer_classes(self, names: Sequence[str]) -> None:
        """Offer the classes of a comparison; the choice stays if there is one."""
        fill(self.class_box, [ANY_CLASS, *names], self.class_box.currentText())
        if self.class_box.currentIndex() < 0:
            self.class_box.setCurrentIndex(0)
        self.view.class_index = self.class_box.currentIndex()
        self._show_needed()

    def _on_class(self, index: int) -> None:
        self.view.set_class(index)
        self.changed.emit()

    def choose(self, mode: str) -> None:
        """Switch to a mode."""
        self.buttons[mode].setChecked(True)
        if mode != self.view.mode:
            self.play_switch.setChecked(False)
            self.view.set_mode(mode)
        self._show_needed()
        self.changed.emit()

    def renew(self) -> None:
        """Go on as the switches say, after the view was opened again."""
        self.view.flicker.play(self.play_switch.isChecked())

    def _show_needed(self) -> None:
        self.curtain_row.setVisible(self.view.mode == "curtain")
        self.flicker_row.setVisible(self.view.mode == "flicker")
        several = self.class_box.count() > 2
        self.class_row.setVisible(self.view.mode == "difference" and several)

    def _on_moved(self, share: float) -> None:
        with QSignalBlocker(self.slider):
            self.slider.setValue(round(share * STEPS))

    def _on_flipped(self, which: str) -> None:
        other = "B" if which == "a" else "A"
        self.flip_button.setText(
            f"{which.upper()} is shown – show {other}  ({FLIP_KEY})"
        )


def _row(*widgets: QWidget) -> QWidget:
    made = QWidget()
    layout = QHBoxLayout(made)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(8)
    for widget in widgets:
        layout.addWidget(widget)
    return made
