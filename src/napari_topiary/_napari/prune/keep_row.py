"""Keep as: a name, proposed until the person writes another."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QWidget


class KeepRow(QWidget):
    """A button and a name.

    Signals
    -------
    asked(str)
        Keep it under this name.
    refused(str)
        Why not, in a sentence.
    """

    asked = Signal(str)
    refused = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._own = False
        self.button = QPushButton("Keep as")
        self.button.setToolTip(
            "Keep the pruned network as a version of its own; the original stays."
        )
        self.name = QLineEdit()
        self.name.setToolTip("Name of the version that is kept.")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.button)
        layout.addWidget(self.name, 1)
        self.button.clicked.connect(lambda _checked=False: self.keep())
        self.name.returnPressed.connect(self.keep)
        self.name.textEdited.connect(self._on_edited)

    def propose(self, base: str, kind: str, share: float) -> None:
        """Propose a name, unless the user wrote one.

        Parameters
        ----------
        base
            Name of the network that is pruned.
        kind
            "filters" or "weights".
        share
            Of the weights removed.
        """
        if not self._own:
            self.name.setText(f"{base}, {kind} -{100 * share:.4g}%")
            self.name.setCursorPosition(0)

    def forget(self) -> None:
        """The name was used: propose again from now on."""
        self._own = False

    def keep(self) -> None:
        """Ask for it to be kept."""
        text = self.name.text().strip()
        if text:
            self.asked.emit(text)
        else:
            self.refused.emit("Give the version a name to keep it under.")

    def _on_edited(self, text: str) -> None:
        self._own = bool(text.strip())
