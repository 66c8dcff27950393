"""Where the order has to be searched for: what that means, and the button."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.page import button

FIND, STOP, STOPPING = "Try all filters", "Stop and use what is known", "Stopping…"
HINT = (
    "Every filter is tried out on your annotated images. This may take some minutes; "
    "then the slider moves as fast as ever."
)
NO_SAMPLES = (
    "This needs annotated images, to see on them what each filter is worth: annotate "
    "one, or rank by L1 norm."
)
TIP = (
    "Leaves out one filter after the other and measures how much more the network is "
    "wrong on your\nannotated images (the training loss); those that cost least go "
    "first."
)


class SearchRow(QWidget):
    """A sentence and a button that starts and stops the search.

    Signals
    -------
    pressed()
        The button was.
    """

    pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.wanted = False
        self.hint = look.paragraph(HINT, role="hint")
        self.button = button(FIND, TIP, self.pressed.emit, primary=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.hint)
        layout.addWidget(self.button)
        self.hide()

    def show_state(
        self, *, wanted: bool, searching: bool, possible: bool, busy: str = ""
    ) -> None:
        """Say what has to be done before the slider works.

        Parameters
        ----------
        wanted
            Whether an order has to be searched for; otherwise nothing is shown.
        searching
            Whether the search runs.
        possible
            Whether there are annotated images.
        busy
            What else runs; empty = nothing.
        """
        self.wanted = wanted
        self.setVisible(wanted)
        self.hint.setText(HINT if possible else NO_SAMPLES)
        look.set_role(self.hint, "hint" if possible else "problem")
        self.button.setVisible(possible)
        self.button.setText(STOP if searching else FIND)
        self.button.setToolTip(f"{busy} is still running." if busy else TIP)
        self.button.setEnabled(searching or not busy)

    def show_stopping(self) -> None:
        """Say that the button was pressed to stop."""
        self.button.setText(STOPPING)
        self.button.setEnabled(False)
