"""What is slow on the canvas, one thing after the other: the window lives between."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget

from napari_topiary._napari.state import state_of, unwrap

if TYPE_CHECKING:
    import napari.viewer

Step = Callable[[], object]
BREATH_MS = 5
"""What a person does, and what else is due, goes before the next step."""


class Turns(QObject):
    """Takes one step in each turn of the event loop; all at once where nobody looks.

    napari takes a tenth of a second and more to make a layer, to take one out, and to
    draw a new one for the first time. Each is a turn of its own.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrap(viewer))
        self._waiting: list[tuple[str, Step]] = []
        self._held: weakref.ref[Any] | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(BREATH_MS)
        self._timer.timeout.connect(self._on_turn)

    @property
    def seen(self) -> bool:
        """Whether the window is on the screen."""
        window = self._window()
        return window is not None and isalive(window) and bool(window.isVisible())

    @property
    def busy(self) -> bool:
        """Whether anything is left to do."""
        return bool(self._waiting) or self.holding

    def take(self, owner: str, steps: Iterable[Step]) -> None:
        """Do these in place of what waits of the same owner."""
        self.drop(owner)
        self.add(owner, steps)

    def add(self, owner: str, steps: Iterable[Step]) -> None:
        """Do these after what waits."""
        self._waiting += [(owner, step) for step in steps]
        if not self.seen:
            self.finish()
        elif self._waiting:
            self._timer.start()

    def drop(self, owner: str) -> None:
        """Forget what waits of an owner."""
        self._waiting = [one for one in self._waiting if one[0] != owner]

    def finish(self) -> None:
        """Do at once what waits."""
        while self.busy:
            self._next()

    @property
    def holding(self) -> bool:
        """Whether what is new on the canvas waits to be drawn."""
        return self._held is not None

    def hold_painting(self) -> None:
        """Let the canvas draw what is changed on it from now on in the next turn.

        Until then it shows what it has drawn last: its scene takes a drawing for
        ordered, and orders none.
        """
        scene = getattr(self._window(), "_qt_viewer", None) if self.seen else None
        if scene is None or self._held is not None:
            return
        scene = scene.canvas._scene_canvas
        if not scene._update_pending:
            scene._update_pending, self._held = True, weakref.ref(scene)
            self._timer.start()

    def _window(self) -> Any:
        window = getattr(self._viewer(), "window", None)
        return getattr(window, "_qt_window", None)  # a closed one has none

    def _on_turn(self) -> None:
        window = self._window()
        if window is None or not isalive(window):  # closed: nothing is drawn any more
            self._waiting, self._held = [], None
            if isalive(self._timer):
                self._timer.stop()
            return
        self._next()

    def _next(self) -> None:
        if self._held is not None:
            scene, self._held = self._held(), None
            if scene is not None and self.seen:
                scene._update_pending = False
                scene.update()
        elif self._waiting:
            _, step = self._waiting.pop(0)
            self.hold_painting()  # drawing what it did is a turn of its own
            step()
        if not self.busy and isalive(self._timer):
            self._timer.stop()


def turns_of(viewer: napari.viewer.Viewer) -> Turns:
    """The turns of a viewer, made when first asked for."""
    parts = state_of(viewer).parts
    if Turns not in parts:
        parts[Turns] = Turns(viewer)
    turns: Turns = parts[Turns]
    return turns


def canvases(viewer: Any) -> list[QOpenGLWidget]:
    """What a viewer draws on."""
    window = getattr(getattr(unwrap(viewer), "window", None), "_qt_window", None)
    return [] if window is None else [window._qt_viewer.canvas.native]
