"""Saving off the main thread, of a copy that nobody changes, and when closing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.jobs.runner import JobRunner, in_background
from napari_topiary._napari.state import preferences, state_of, unwrap
from napari_topiary.errors import TopiaryError
from napari_topiary.session import OpenMark, remember_project

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary.session import Session

_LONGEST_WAIT_S = 5.0


class Saver(QObject):
    """Saves a session without stopping the window: when told, and every so often."""

    # A signal, not a callback: the viewer's state holds this, and a page of the viewer
    # held here in turn would keep both, and the saving, after the window is gone.
    #: Why something could not be saved, or who else saves the same project
    problem = Signal(str)

    def __init__(
        self,
        session: Session,
        shown: Callable[[], str | None],
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__()
        self.session, self.shown, self._is_open = session, shown, is_open
        self._writing: JobRunner | None = None
        self._looking: JobRunner | None = None
        self._again: tuple[Path | None, Callable[[], object] | None] | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._on_timer)
        self._timer.start(1000 * max(1, preferences().autosave_seconds))
        self._mark = OpenMark()
        self._warned: Path | None = None

    def save(
        self, folder: Path | None = None, *, then: Callable[[], object] | None = None
    ) -> None:
        """Save to a folder and stay there; later saves go there too."""
        if self._writing is not None:
            if folder is not None or self._again is None:
                self._again = (folder, then)
            return
        if folder is None and not self.session.changed:
            if then is not None:
                then()
            return
        copy = self.session.frozen()

        def write() -> Session:
            copy.autosave() if folder is None else copy.save(folder)
            return copy

        def failed(sentence: str) -> None:
            self._writing = None
            self.session.settle(copy)
            self.problem.emit(sentence)
            self._save_what_waits()

        def written(copy: Session) -> None:
            self._writing = None
            self.session.settle(copy)
            self.remember()
            if then is not None:
                then()
            self._save_what_waits()

        self._writing = in_background(
            write, title="Saving the project", on_result=written, on_error=failed
        )

    def save_and_wait(self) -> None:
        """Save what changed before this returns (the window is closing)."""
        # Where a script ends with its window open, Qt's half may be gone already.
        with suppress(RuntimeError):
            self._timer.stop()
        if self._looking is not None:
            self._looking.close(_LONGEST_WAIT_S)
        self._mark.drop()
        self.remember()
        if self._writing is not None:
            self._writing.close(_LONGEST_WAIT_S)
        try:
            self.session.autosave()
        except TopiaryError as reason:
            with suppress(RuntimeError):
                self.problem.emit(str(reason))

    def remember(self) -> None:
        """Note which project is open and what is looked at, for the next start."""
        if self.session.folder is not None:
            remember_project(self.session.folder, self.shown() or "")

    def _on_timer(self) -> None:
        if not self._is_open():
            self._timer.stop()
            self._mark.drop()
            return
        self.save()
        folder = self.session.folder
        if folder is None:
            self._mark.drop()
        elif self._looking is None or not self._looking.running:
            self._looking = in_background(
                lambda: self._mark.note(folder),
                title="Looking for other windows",
                on_result=lambda others: self._on_others(folder, others),
            )

    def _on_others(self, folder: Path, others: int) -> None:
        """Say once that another window has the same project open."""
        if not others:
            self._warned = None
        elif self._warned != folder:
            self._warned = folder
            self.problem.emit(
                f"{folder.name} is open in another window too, and each saves what is "
                "drawn in it: close one of them. What one replaces of the other stays "
                "in the folders versions and kept."
            )

    def _save_what_waits(self) -> None:
        """Do what was asked for while another save was under way."""
        if self._again is not None:
            (folder, then), self._again = self._again, None
            self.save(folder, then=then)


def saver_of(viewer: napari.viewer.Viewer) -> Saver:
    """The saver of a viewer's session, made when first asked for."""
    state = state_of(viewer)
    if Saver not in state.parts:
        seen = weakref.ref(unwrap(viewer))
        state.parts[Saver] = Saver(
            state.session, lambda: state.shown, lambda: seen() is not None
        )
    saver: Saver = state.parts[Saver]
    return saver


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
    state_of(viewer).runner.close(_LONGEST_WAIT_S)
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
