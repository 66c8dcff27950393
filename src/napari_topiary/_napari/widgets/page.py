"""What all pages have in common: what they follow, say and ask, their keys."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_topiary._napari.saving import saver_of, watch_window
from napari_topiary._napari.state import state_of, unwrap
from napari_topiary._napari.status import StatusLine
from napari_topiary._napari.widgets import look

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.session import Session

NO_IMAGE = "Open an image on the <b>Data</b> page first."
NOT_SHOWN = "No image is shown: choose one on the Data page first."


class Listening:
    """Connects signals of psygnal and napari for as long as a widget lives.

    A widget can be deleted by Qt while Python still holds it; a signal that reaches it
    then would raise.
    """

    def __init__(self, widget: QWidget) -> None:
        self._endings: list[Callable[[], None]] = []
        # Not a method of the widget: it has to work when that is already gone.
        widget.destroyed.connect(self._end)

    def to(self, signal: Any, callback: Callable[..., Any]) -> None:
        """Call a method of the widget whenever a signal is emitted."""
        signal.connect(callback)

        def end() -> None:
            try:
                signal.disconnect(callback)
            except (ValueError, KeyError, RuntimeError, TypeError):
                return  # it went with its owner

        self._endings.append(end)

    def _end(self, *_: object) -> None:
        for end in self._endings:
            end()
        self._endings.clear()


NARROWEST = 298
"""A page in a dock of 320 pixels, beside its margins and the scroll bar."""


class Page(QWidget):
    """One page of the workbench; also a dock widget of its own.

    A page fills `self.body` in `build`, listens to the session with `self.listen`, and
    refreshes itself in `activated`, which is called each time it comes to the front.
    """

    title: ClassVar[str] = ""
    keys: Keys | None = None
    """Act on the canvas while the page is in front."""

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        session: Session | None = None,
        runner: JobRunner | None = None,
    ) -> None:
        super().__init__()
        state = state_of(viewer, session)
        saver_of(viewer)  # saves what is drawn from now on
        self.viewer = viewer
        self.session = state.session
        self.runner = runner if runner is not None else state.runner
        self.setMinimumWidth(NARROWEST)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(6, 6, 6, 6)
        outer.setSpacing(6)
        self.empty_label = look.paragraph("", role="empty")
        self.empty_label.hide()
        self.message = look.paragraph("", role="info")
        self.message.hide()
        self.body = QVBoxLayout()
        self.body.setSpacing(8)
        if runner is None:  # alone in a dock: what does not fit is scrolled to
            inside, inner = QWidget(), QVBoxLayout()
            inner.setContentsMargins(0, 0, 0, 0)
            inside.setLayout(inner)
            outer.addWidget(look.scrolled(inside), 1)
        else:
            inner = outer
        inner.addWidget(self.empty_label)
        inner.addLayout(self.body, 1)
        outer.addWidget(self.message)
        self._listening = Listening(self)
        self.listen(self.session.opened, self.on_other_project)
        if runner is None:
            outer.addWidget(StatusLine(self.runner))
            look.dress(self, viewer)
        self.build()

    def build(self) -> None:
        """Fill the page."""

    def activated(self) -> None:
        """Called each time the page comes to the front; refresh here."""

    def showEvent(self, event: Any) -> None:
        """A page that stands alone becomes active when it is shown."""
        super().showEvent(event)
        if not event.spontaneous():
            watch_window(self.viewer, self)
            self.activated()
        if self.keys is not None:
            self.keys.bind()

    def hideEvent(self, event: Any) -> None:
        """Other pages may want the same keys."""
        super().hideEvent(event)
        if self.keys is not None:
            self.keys.free()

    def on_other_project(self) -> None:
        """Another project was opened: what was said was about the one before."""
        self.say("")

    def listen(self, signal: Any, callback: Callable[..., Any]) -> None:
        """Connect a psygnal or napari signal for as long as this page lives."""
        self._listening.to(signal, callback)

    def say(self, sentence: str, *, problem: bool = False) -> None:
        """Show one sentence at the foot of the page; empty hides it."""
        look.set_role(self.message, "problem" if problem else "info")
        self.message.setText(sentence)
        self.message.setVisible(bool(sentence))

    def refuse(self, sentence: str) -> None:
        """Show why something did not work."""
        self.say(sentence, problem=True)

    def show_empty(self, sentence: str) -> None:
        """Say what to do first, at the top of the page; empty hides it."""
        self.empty_label.setText(sentence)
        self.empty_label.setVisible(bool(sentence))

    def section(self, title: str, *, hint: str = "") -> QVBoxLayout:
        """Add a titled group to the page and return the layout to fill."""
        layout, frame = look.section(title, hint=hint)
        self.body.addWidget(frame)
        return layout


class Keys:
    """Binds and frees the keys of a page on the canvas.

    `actions`: key, in napari's way of writing ("Q", "Shift-A") -> what it does.
    """

    def __init__(
        self, viewer: napari.viewer.Viewer, actions: Mapping[str, Callable[[], object]]
    ) -> None:
        self._viewer = weakref.ref(unwrap(viewer))
        self._actions = dict(actions)
        self._bound = False

    def bind(self) -> None:
        """Let the keys act from now on."""
        viewer = self._viewer()
        if viewer is None or self._bound:
            return
        self._bound = True
        for key in self._actions:
            viewer.bind_key(key, _Press(self, key), overwrite=True)

    def free(self) -> None:
        """Let the keys be as they were."""
        viewer = self._viewer()
        if viewer is None or not self._bound:
            return
        self._bound = False
        for key in self._actions:
            viewer.bind_key(key, None)

    def press(self, key: str) -> None:
        """Do what a key does."""
        self._actions[key]()


class _Press:
    """What napari calls; it keeps neither the page nor the viewer alive."""

    def __init__(self, keys: Keys, key: str) -> None:
        self._keys = weakref.ref(keys)
        self._key = key
        self.__name__ = self.__qualname__ = f"topiary_{key}"
        self.__doc__ = f"Topiary: {key}"

    def __call__(self, _viewer: Any) -> None:
        keys = self._keys()
        if keys is not None:
            keys.press(self._key)


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
        across = QBoxLayout.Direction.LeftToRight
        down = QBoxLayout.Direction.TopToBottom
        self._row.setDirection(across if fits else down)
        for number, one in enumerate(self.buttons.values()):
            # Side by side each is as wide as its words want.
            self._row.setStretch(number, one.sizeHint().width() if fits else 0)

    def _answer(self, action: Callable[[], object]) -> None:
        self.close_offer()
        action()


def button(
    text: str, tip: str, clicked: Callable[[], object], *, primary: bool = False
) -> QPushButton:
    """Make a push button that says what it does."""
    made = QPushButton(text)
    made.setToolTip(look.lines(tip))
    made.setAutoDefault(False)
    # A click leaves the keyboard to the canvas; Tab still reaches the button.
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    made.clicked.connect(lambda _checked=False: clicked())
    look.emphasize(made, primary)
    return made


def bring_into_view(widget: QWidget) -> None:
    """Scroll to a widget that has just appeared, once it has its place."""

    def scroll() -> None:
        above = widget.parentWidget() if isalive(widget) else None
        while above is not None and not isinstance(above, QScrollArea):
            above = above.parentWidget()
        if above is not None:
            above.ensureWidgetVisible(widget, 0, 8)

    QTimer.singleShot(0, scroll)


def row(*widgets: QWidget | int) -> QBoxLayout:
    """Put widgets side by side; a number is a stretch of that factor."""
    return look.filled(QHBoxLayout(), *widgets)


def line() -> QFrame:
    """Draw a thin horizontal line."""
    frame = QFrame()
    frame.setFrameShape(QFrame.Shape.HLine)
    frame.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return frame


def label(text: str, tip: str = "") -> QLabel:
    """Make a plain label on one line, with a tooltip."""
    made = QLabel(text)
    made.setToolTip(tip)
    made.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    return made
