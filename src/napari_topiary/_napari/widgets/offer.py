"""A sentence with a choice, shown in the page instead of a dialog that blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QBoxLayout, QFrame, QPushButton, QSizePolicy, QVBoxLayout

from napari_topiary._napari.widgets import look


class Offer(QFrame):
    """What was refused or needs a decision, and what can be done about it."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.text = look.paragraph("", role="problem")
        self.buttons: dict[str, QPushButton] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.addWidget(self.text)
        self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._row.setSpacing(6)
        layout.addLayout(self._row)
        self.hide()

    def show_choice(
        self,
        sentence: str,
        actions: Mapping[str, Callable[[], object]],
        *,
        problem: bool = True,
    ) -> None:
        """Ask; the first action is the proposed one. Any answer closes the offer.

        `actions`: text of a button -> what it does · `problem`: whether something is in
        the way; False for a friendly proposal.
        """
        self.close_offer()
        look.set_role(self.text, "problem" if problem else "info")
        self.text.setText(sentence)
        for number, (text, action) in enumerate(actions.items()):
            button = QPushButton(text.replace("&", "&&"))
            # It may give way: a narrow page puts the answers under one another.
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.setToolTip(sentence)
            look.emphasize(button, number == 0)
            button.clicked.connect(lambda _=False, do=action: self._answer(do))
            self._row.addWidget(button)
            self.buttons[text] = button
        self._arrange()
        self.show()

    def close_offer(self) -> None:
        """Take the question away."""
        self.hide()
        for button in self.buttons.values():
            self._row.removeWidget(button)
            button.hide()
            button.deleteLater()
        self.buttons = {}

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put the answers under one another where they do not fit side by side."""
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        wanted = sum(one.sizeHint().width() + 6 for one in self.buttons.values())
        fits = wanted <= max(self.width(), self.minimumWidth()) - 20
        across, down = (
            QBoxLayout.Direction.LeftToRight,
            QBoxLayout.Direction.TopToBottom,
        )
        self._row.setDirection(across if fits else down)

    def _answer(self, action: Callable[[], object]) -> None:
        self.close_offer()
        action()
