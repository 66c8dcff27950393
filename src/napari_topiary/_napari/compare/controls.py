"""The controls of the Compare page: what is compared, and how it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.checkpoint_choice import combo, fill
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import button, row
from napari_topiary.jobs.comparing import TRUTH
from napari_topiary.jobs.pruning import parent_of

if TYPE_CHECKING:
    from napari_topiary.session import Session

RUN, RUNNING, STOPPING = "Compare", "Comparing…", "Stopping…"
AT = {
    "learned": "each one's best threshold",
    "best": "the best on the marks of this image",
    "common": "0.5 for both",
}
AT_TIP = (
    "At which probability something counts as found. A network's own best threshold "
    "is from what\nwas held back when it was trained or pruned: Predict and Prune use "
    "the same. Pruning makes\na network less sure before it costs quality: at its own "
    "best it may still find everything."
)

FLIP_KEY = "Q"
STEPS = 1000
ANY_CLASS = "anything but background"
MODES = {
    "curtain": ("Curtain", "A left of a line, B right of it; drag the line."),
    "flicker": ("Flicker", f"A and B in turn: press {FLIP_KEY}. Changes jump out."),
    "side": ("Side by side", "A and B in two views that move together."),
    "difference": ("Difference", "Where B is surer than A, and where less."),
}


class ChoicePanel(QWidget):
    """Which two are compared, and how they are read."""

    chosen = Signal()  #: The user chose something else
    pressed = Signal()  #: The button was
    stopped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.touched = False
        self.a = combo("What was: for instance the network before pruning.")
        self.b = combo("What is: for instance the pruned network.")
        self.at = combo(AT_TIP)
        for key, text in AT.items():
            self.at.addItem(text, key)
        rows = look.rows()
        rows.addRow("A", self.a)
        rows.addRow("B", self.b)
        rows.addRow("Read at", self.at)
        self.visible_only = QCheckBox("Only the visible area")
        self.visible_only.setToolTip(
            "Compare the part of the image that you see: faster on large images. "
            "What lies outside\ndoes not count; move the image and compare again."
        )
        self.run_button = button(RUN, "", self.pressed.emit, primary=True)
        self.swap_button = button("Swap", "A becomes B, and B becomes A.", self.swap)
        layout = filled(QVBoxLayout(self), rows, self.visible_only, spacing=8)
        self.stop_button = button(
            "Stop", "End it; what is known so far is kept.", self.stopped.emit
        )
        self.stop_button.hide()
        line = row(self.run_button, self.swap_button, self.stop_button)
        line.setStretch(0, 1)
        layout.addLayout(line)
        for box in (self.a, self.b, self.at):
            box.activated.connect(self._on_choice)

    @property
    def names(self) -> tuple[str, str]:
        """Names of A and B; empty where there is nothing to choose."""
        return self.a.currentText(), self.b.currentText()

    def offer(self, session: Session) -> None:
        """Offer the networks of a session, and what is marked."""
        names = list(session.checkpoints)
        a, b = self.names if self.touched else ("", "")
        offered = [*names, TRUTH] if names else []
        first, second = proposed(session)
        fill(self.a, offered, a if a in offered else first)
        fill(self.b, offered, b if b in offered else second)

    def swap(self) -> None:
        """Exchange A and B."""
        a, b = self.a.currentIndex(), self.b.currentIndex()
        for box, index in ((self.a, b), (self.b, a)):
            with QSignalBlocker(box):
                box.setCurrentIndex(index)
        self._on_choice()

    def show_state(
        self, *, comparing: bool, ready: bool, fresh: bool, busy: str = ""
    ) -> None:
        """Let the buttons say what they do now."""
        a, b = self.names
        possible = ready and bool(a) and a != b and not busy
        self.run_button.setText(RUNNING if comparing else RUN)
        self.run_button.setEnabled(possible and not comparing)
        tip = "Run both on the image that is shown, and hold them against each other."
        if a and a == b:
            tip = "A and B are the same: choose another one for B."
        elif busy:
            tip = f"{busy} is still running."
        self.run_button.setToolTip(tip)
        self.swap_button.setEnabled(bool(a))
        # Another button stops: a second click on Compare does not undo the first.
        self.swap_button.setVisible(not comparing)
        self.stop_button.setVisible(comparing)
        self.stop_button.setEnabled(comparing)
        look.emphasize(self.run_button, fresh)

    def show_stopping(self) -> None:
        """Say that the button was pressed to stop."""
        self.run_button.setText(STOPPING)
        self.stop_button.setEnabled(False)

    def _on_choice(self, _index: int = 0) -> None:
        self.touched = True
        self.chosen.emit()


def proposed(session: Session) -> tuple[str | None, str | None]:
    """A and B that are worth comparing first."""
    names = list(session.checkpoints)
    if not names:
        return None, None
    if len(names) == 1:
        return TRUTH, names[0]
    pruned = [name for name in names if session.checkpoints[name].pruning]
    second = pruned[-1] if pruned else names[-1]
    others = [name for name in names if name != second]
    return parent_of(session.checkpoints[second], session.checkpoints) or others[
        0
    ], second


class ModeBar(QWidget):
    """Four buttons, and a line for what the chosen mode needs."""

    changed = Signal()  #: Another mode was chosen

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
        layout = filled(QVBoxLayout(self), bar, spacing=4)
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
