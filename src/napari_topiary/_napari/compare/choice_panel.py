"""At the top of the Compare page: A and B, at which threshold, and the button."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QVBoxLayout, QWidget

from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.checkpoint_choice import combo, fill
from napari_topiary._napari.widgets.page import button, row
from napari_topiary.jobs.comparing import TRUTH
from napari_topiary.jobs.pruning import parent_of

if TYPE_CHECKING:
    from napari_topiary.session import Session

RUN, RUNNING, STOPPING = "Compare", "Comparing…", "Stopping…"
AT = {
    "learned": "each one's own best threshold",
    "best": "the best on the marks of this image",
    "common": "0.5 for both",
}
AT_TIP = (
    "At which probability something counts as found. A network's own best threshold "
    "is from what\nwas held back when it was trained or pruned: Predict and Prune use "
    "the same. Pruning makes\na network less sure before it costs quality: at its own "
    "best it may still find everything."
)


class ChoicePanel(QWidget):
    """Which two are compared, and how they are read.

    Signals
    -------
    chosen()
        The user chose something else.
    pressed()
        The button was.
    """

    chosen = Signal()
    pressed = Signal()
    stopped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.touched = False
        self.a = combo("What was: for instance the network before pruning.")
        self.b = combo("What is: for instance the pruned network.")
        self.at = combo(AT_TIP)
        for key, text in AT.items():
            self.at.addItem(text, key)
        rows = QFormLayout()
        rows.setHorizontalSpacing(10)
        rows.setVerticalSpacing(6)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
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
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(rows)
        layout.addWidget(self.visible_only)
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
