"""Saving off the main thread: one write at a time, of a copy that nobody changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

from napari_topiary._napari.jobs.runner import JobRunner, in_background
from napari_topiary._napari.state import preferences, state_of
from napari_topiary.errors import TopiaryError
from napari_topiary.session import OpenMark, remember_project

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary.session import Session


class Saver(QObject):
    """Saves a session without stopping the window: when told, and every so often."""

    def __init__(self, session: Session, shown: Callable[[], str | None]) -> None:
        super().__init__()
        self.session, self.shown = session, shown
        self.on_problem: Callable[[str], object] | None = None
        self._writing: JobRunner | None = None
        self._looking: JobRunner | None = None
        self._again: tuple[Path | None, Callable[[], object] | None] | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._on_timer)
        self._timer.start(1000 * max(1, preferences().autosave_seconds))
        self.on_others: Callable[[str], object] | None = None
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
            self._done()
            self.session.settle(copy)
            if self.on_problem is not None:
                self.on_problem(sentence)

        def written(copy: Session) -> None:
            self._done()
            self.session.settle(copy)
            self.remember()
            if then is not None:
                then()
            if self._again is not None:
                (again, after), self._again = self._again, None
                self.save(again, then=after)

        self._writing = in_background(
            write, title="Saving the project", on_result=written, on_error=failed
        )

    def save_and_wait(self, timeout_s: float = 5.0) -> None:
        """Save what changed before this returns (the window is closing)."""
        # Where a script ends with its window open, Qt's half may be gone already.
        with suppress(RuntimeError):
            self._timer.stop()
        if self._looking is not None:
            self._looking.close(timeout_s)
        self._mark.drop()
        self.remember()
        if self._writing is not None:
            self._writing.close(timeout_s)
        try:
            self.session.autosave()
        except TopiaryError as reason:
            if self.on_problem is not None:
                self.on_problem(str(reason))

    def remember(self) -> None:
        """Note which project is open and what is looked at, for the next start."""
        if self.session.folder is not None:
            remember_project(self.session.folder, self.shown() or "")

    def _on_timer(self) -> None:
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
        tell = self.on_others
        owner = getattr(tell, "__self__", None)
        if tell is None or (isinstance(owner, QObject) and not isalive(owner)):
            return
        if not others:
            self._warned = None
        elif self._warned != folder:
            self._warned = folder
            tell(
                f"{folder.name} is open in another window too, and each saves what is "
                "drawn in it: close one of them. What one replaces of the other stays "
                "in the folders versions and kept."
            )

    def _done(self) -> None:
        self._writing = None


def saver_of(viewer: napari.viewer.Viewer) -> Saver:
    """The saver of a viewer's session, made when first asked for."""
    state = state_of(viewer)
    if Saver not in state.parts:
        state.parts[Saver] = Saver(state.session, lambda: state.shown)
    saver: Saver = state.parts[Saver]
    return saver
