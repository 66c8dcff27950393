"""One project in memory: what the pages of the workbench look at and change.

Nobody holds a global session: the window keeps one per viewer. Every change is
announced by a signal, so that pages never need to know one another.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Dataset
from napari_topiary.io.plain_files import DESCRIPTION
from napari_topiary.session import project, reopening
from napari_topiary.session.contents import Contents, ImageEntry, with_colours
from napari_topiary.session.recovery import (
    STATE_FILE,
    forget_recovery,
    new_recovery_folder,
)
from napari_topiary.session.versions import SavedVersion, go_back, versions
from napari_topiary.types import BACKGROUND, Task

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

UNTITLED = "Untitled"
NEVER_SAVED = "The project was not saved before: nothing to undo."


class Session(Contents):
    """A project that is opened, saved, recovered and taken back.

    Parameters
    ----------
    name
        Name of the project.
    """

    opened = Signal()
    """Another project has taken the place of the one before."""
    saved = Signal()

    def __init__(self, name: str = UNTITLED) -> None:
        super().__init__(name)
        self.folder: Path | None = None
        self.saved_at: float | None = None
        self.notes: tuple[str, ...] = ()
        self._recovery: Path | None = None
        self._record = project.SavedFiles()
        self._frozen_from: project.SavedFiles | None = None

    def clear(self, *, keep_checkpoints: bool = False) -> None:
        """Begin a new project; see `load_dataset`."""
        self.load_dataset(
            Dataset(UNTITLED, Task("detect", (BACKGROUND,)), {}, {}, None),
            keep_checkpoints=keep_checkpoints,
        )

    def load_dataset(self, dataset: Dataset, *, keep_checkpoints: bool = False) -> None:
        """Replace everything by the images, task and annotations of a dataset.

        The dataset's own folder is not written to: the project has none until it is
        saved. What was unsaved of another project stays where it can be recovered
        from.

        Parameters
        ----------
        dataset
            Its samples are read now.
        keep_checkpoints
            Whether the checkpoints of the project before come along.
        """
        checkpoints = self.checkpoints if keep_checkpoints else {}
        active = self.active_checkpoint if keep_checkpoints else None
        self._replace(dataset, checkpoints, active, {})
        self._changed = bool(checkpoints)
        self._announce()

    def _replace(
        self,
        dataset: Dataset,
        checkpoints: Mapping[str, Checkpoint],
        active: str | None,
        colours: Mapping[str, str],
    ) -> None:
        """Take over a project, without a word; nothing of the one before stays."""
        read = tuple(dataset.samples.values())
        self._recovery = None
        self.name, self.folder, self.saved_at = dataset.name, None, None
        self.images = {
            s.name: ImageEntry(s.name, s.image, s.scale, s.path) for s in read
        }
        self.annotations = {s.name: tuple(s.annotations) for s in read if s.annotations}
        self.split = {part: tuple(names) for part, names in dataset.split.items()}
        self.predictions = {}
        self.notes = dataset.notes
        self.task = dataset.task
        self.colours = with_colours(dataset.task.classes, colours)
        self.checkpoints, self.active_checkpoint = dict(checkpoints), active
        self._record = project.SavedFiles()

    def _announce(self) -> None:
        """Say that everything is another project's."""
        self.opened.emit()
        self.checkpoints_changed.emit()
        self.active_checkpoint_changed.emit()
        self.task_changed.emit()
        self.images_changed.emit()
        for name in self.annotations:
            self.annotations_changed.emit(name)

    def save(
        self, folder: Path | str | None = None, *, by_itself: bool = False
    ) -> Path:
        """Write the project as a dataset folder with its checkpoints.

        Parameters
        ----------
        folder
            Where to; None = where it was saved or opened last.
        by_itself
            Whether nobody has asked for it: such saves make one version together.
        """
        target = self.folder if folder is None else Path(folder)
        if target is None:
            raise TopiaryError("The project has no folder yet: say where to save it.")
        own = target == self.folder
        record = self._files_in(target) if own else project.SavedFiles()
        if self.name == UNTITLED or target != self.folder:
            self.name = target.name
        project.write(
            self, target, record, by_itself=by_itself, moving_from=self._recovery
        )
        self.folder, self._record = target, record
        self.close()
        self._settled()
        return target

    @classmethod
    def open(cls, folder: Path | str) -> Session:
        """Read a project or a dataset folder; `notes` says what could not be read."""
        session = cls()
        session.restore(folder)
        return session

    def restore(self, folder: Path | str, *, read: project.Read | None = None) -> None:
        """Replace everything by the project in a folder, as `open` does.

        Parameters
        ----------
        folder
            The project.
        read
            What `reopening.read(folder)` returned, where it was read already (in
            another thread; signals are for the thread of the window).
        """
        read = reopening.read(Path(folder)) if read is None else read
        folder = read.dataset.root or Path(folder)
        self._replace(read.dataset, read.checkpoints, read.active, read.colours)
        self.notes, self._record = read.notes, read.record
        if project.is_recovery(folder):
            # Still unsaved: go on keeping it where it was found.
            self._recovery, self._changed = folder, True
        else:
            # A copied folder is called like itself, not like what it is a copy of.
            self.name = folder.resolve().name or self.name
            self.folder, self.saved_at = folder, time.time()
            self._changed = False
        self._announce()

    def autosave(self) -> Path | None:
        """Write what changed, to the project's folder or one for recovery.

        Returns
        -------
        Path or None
            Where it was written to; None if nothing had changed.
        """
        if not self._changed:
            return None
        if self.folder is not None:
            return self.save(by_itself=True)
        if self._recovery is None:
            self._recovery = new_recovery_folder()
        record = self._files_in(self._recovery)
        project.write(self, self._recovery, record, by_itself=True)
        self._record = record
        self._settled()
        return self._recovery

    def _files_in(self, folder: Path) -> project.SavedFiles:
        """What is in the project's folder: nothing, where that was moved away."""
        there = any((folder / one).exists() for one in (STATE_FILE, DESCRIPTION))
        return self._record if there else project.SavedFiles()

    @property
    def home(self) -> Path | None:
        """Where the project is kept: its folder, or one for recovery."""
        return self.folder or self._recovery

    def versions(self) -> tuple[SavedVersion, ...]:
        """List what the project was before its last saves, the newest first."""
        return () if self.home is None else versions(self.home)

    def go_back(self, version: SavedVersion | None = None) -> None:
        """Undo saves: make the project what it was before one of them.

        What it is now is not lost: it becomes a version too, the newest.

        Parameters
        ----------
        version
            One of `versions`; None = before the last save.
        """
        known = self.versions()
        if self.home is None or not known:
            raise TopiaryError(NEVER_SAVED)
        self.autosave()
        go_back(self.home, (version or known[0]).name)
        self.restore(self.home)
        self._settled()

    def frozen(self) -> Session:
        """Return a copy that no page changes, to be saved in another thread."""
        copy = Session(self.name)
        copy.folder, copy.images = self.folder, dict(self.images)
        copy.task, copy.colours = self.task, dict(self.colours)
        copy.annotations, copy.split = dict(self.annotations), dict(self.split)
        copy.checkpoints = dict(self.checkpoints)
        copy.active_checkpoint = self.active_checkpoint
        copy._record = self._record.copy()
        copy._recovery, copy._frozen_from = self._recovery, self._record
        copy._changed, self._changed = self._changed, False
        return copy

    def settle(self, copy: Session) -> None:
        """Take over that a `frozen` copy was saved, or (still changed) was not.

        Parameters
        ----------
        copy
            From `frozen`; ignored if another project was opened since.
        """
        if copy._frozen_from is not self._record:
            return
        if copy._changed:
            self._changed = True
            return
        self.name, self.folder, self._record = copy.name, copy.folder, copy._record
        self._recovery, self.saved_at = copy._recovery, copy.saved_at
        self.saved.emit()

    def close(self) -> None:
        """Drop the folder for recovery: the project was saved, or is not wanted."""
        if self._recovery is not None:
            forget_recovery(self._recovery)
            self._recovery = None

    def _settled(self) -> None:
        self._changed, self.saved_at = False, time.time()
        self.saved.emit()
