"""What happens when the window closes: the job stops, what was drawn is saved."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget

from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.saving import saver_of
from napari_topiary._napari.state import runner_of, state_of, unwrap

if TYPE_CHECKING:
    import napari.viewer

_LONGEST_WAIT_S = 4.0


class Closing(QObject):
    """Watches the window of a viewer."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrap(viewer))
        self._window: weakref.ref[QWidget] | None = None

    def watch(self, window: QWidget) -> None:
        """Notice when a window closes, and no other one any more."""
        known = None if self._window is None else self._window()
        if known is window:
            return
        if known is not None:
            known.removeEventFilter(self)
        self._window = weakref.ref(window)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Act once the window is really closing.

        A close by the user may still be called off in napari's dialog; only the hiding
        that follows is final. A close from code is final at once.
        """
        final = (QEvent.Type.Hide, QEvent.Type.Close)
        viewer = self._viewer()
        if viewer is not None and event.type() in final and not event.spontaneous():
            close_down(viewer)
        return False


def close_down(viewer: napari.viewer.Viewer) -> None:
    """Stop the running job, take what it kept, and save what was drawn."""
    drawing_of(viewer).gather()
    runner_of(viewer).close(_LONGEST_WAIT_S)
    saver_of(viewer).save_and_wait()
    gc.unfreeze()  # what belongs to this window may be freed now


def watch_window(viewer: napari.viewer.Viewer, widget: QWidget) -> None:
    """Close down in good order when the window that a widget is docked in closes."""
    window = widget.window()
    if window is widget or window is None:
        return
    parts = state_of(viewer).parts
    if Closing not in parts:
        parts[Closing] = Closing(viewer)
    parts[Closing].watch(window)
