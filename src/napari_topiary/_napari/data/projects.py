"""Opening and saving projects and samples, off the main thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_topiary._napari.jobs.runner import in_background
from napari_topiary._napari.saving import saver_of
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Dataset
from napari_topiary.io.samples import sample_dataset, sample_names
from napari_topiary.session import (
    UNTITLED,
    Recovery,
    Version,
    forget_recovery,
    recoverable_projects,
    reopening,
    versions,
)
from napari_topiary.session.project import Read

if TYPE_CHECKING:
    from napari_topiary._napari.data.adding import Host

_TITLES = {
    "apoferritin": "Apoferritin particles · cryo-EM",
    "virus_phil": "Adenovirus, influenza, Ebola · TEM",
    "membrane_fibsem": "Membranes of fly brain · FIB-SEM",
    "myelin_sem": "Myelin and axons · SEM",
    "nuclei": "Nuclei in tissue · H&E",
}


class Projects:
    """Opens and saves the project of a page.

    Parameters
    ----------
    host
        The page.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.saver = saver_of(host.viewer)

    def samples(self) -> list[tuple[str, str]]:
        """Name and title of every sample, the easiest first."""
        names = sample_names()
        ordered = [name for name in _TITLES if name in names]
        ordered += [name for name in names if name not in _TITLES]
        return [(name, _TITLES.get(name, name)) for name in ordered]

    def open_sample(self, name: str) -> None:
        """Open a sample as a new project that has no folder yet.

        Parameters
        ----------
        name
            Name of the sample.
        """
        self._ask_then(lambda: self._read_sample(name))

    def open_folder(self, folder: Path) -> None:
        """Open a project or dataset folder in place of what is open.

        Parameters
        ----------
        folder
            The folder that holds `dataset.json`.
        """
        self._ask_then(lambda: self._read_folder(folder))

    def save_to(self, folder: Path) -> None:
        """Save the project to a folder; later changes are saved there by themselves.

        Parameters
        ----------
        folder
            Made if it is not there.
        """
        self.saver.on_problem = self.host.refuse
        self.host.say(f"Saving to {folder}…")
        self.saver.save(folder, then=lambda: self.host.say(f"Saved in {folder}."))

    def offer_recovery(self) -> None:
        """Offer a project that an earlier window left unsaved, if nothing is open."""

        def found(left: tuple[Recovery, ...]) -> None:
            if not left or self.host.session.images or self.host.offer.buttons:
                return
            newest = left[0]
            self.host.offer.show_choice(
                f"{_title(newest)} of {moment(newest.saved)} was not saved in a "
                "folder. Go on with it?",
                {
                    "Go on with it": lambda: self._read_folder(newest.folder),
                    "Delete it": lambda: forget_recovery(newest.folder),
                    "Not now": lambda: None,
                },
                problem=False,
            )

        in_background(
            recoverable_projects, title="Looking for unsaved work", on_result=found
        )

    def go_back(self, version: Version) -> None:
        """Make the project what it was before a save; what it is now is kept too.

        Parameters
        ----------
        version
            One of the session's.
        """
        session = self.host.session

        def read() -> Read:
            home = session.home
            if home is None:
                raise TopiaryError("The project was not saved before: nothing to undo.")
            versions.go_back(home, version.name)
            return reopening.read(home)

        def opened(read: Read) -> None:
            if read.dataset.root is not None:
                session.restore(read.dataset.root, read=read)
            self.host.say(
                f"The project is as before the save of {moment(version.saved)}. What "
                "it was until now is the newest of the earlier versions."
            )

        self.saver.on_problem = self.host.refuse
        self.saver.save(then=lambda: self._in_background(read, opened, "Going back"))

    def choose_and_open(self) -> None:
        """Ask for a project folder and open it."""
        folder = QFileDialog.getExistingDirectory(self._widget(), "Open project")
        if folder:
            self.open_folder(Path(folder))

    def choose_and_save(self) -> None:
        """Ask for a folder and save the project there."""
        folder = QFileDialog.getExistingDirectory(
            self._widget(), "Save project in this folder"
        )
        if folder:
            self.save_to(Path(folder))

    def _widget(self) -> QWidget | None:
        return self.host if isinstance(self.host, QWidget) else None

    def _ask_then(self, do: Callable[[], None]) -> None:
        """Ask before an unsaved project with marks gives way to another."""
        session = self.host.session
        # Saved without a folder means kept for recovery: it was worked on.
        worked_on = session.changed or session.saved_at is not None
        if session.folder is None and session.annotations and worked_on:
            self.host.offer.show_choice(
                "The project that is open is not saved in a folder. Replace it?",
                {"Save it first…": self.choose_and_save, "Replace it": do}
                | {"Cancel": lambda: None},
            )
        else:
            do()

    def _read_sample(self, name: str) -> None:
        def read() -> Dataset:
            dataset = sample_dataset(name)
            # Read here, in this thread, not when the window asks for them.
            return replace(dataset, samples=dict(dataset.samples))

        def opened(dataset: Dataset) -> None:
            self.host.session.load_dataset(dataset)
            self._say_what_next()

        self._in_background(read, opened, f"Opening the sample {name}")

    def _read_folder(self, folder: Path) -> None:
        def opened(read: Read) -> None:
            self.host.session.restore(folder, read=read)
            if read.notes:
                self.host.refuse("\n".join(read.notes[:4]))
            else:
                self._say_what_next()

        def read() -> Read:
            return reopening.read(folder)

        self._in_background(read, opened, "Opening the project")

    def _in_background(
        self, read: Callable[[], object], opened: Callable[..., None], title: str
    ) -> None:
        self.host.say(f"{title}…")
        in_background(read, title=title, on_result=opened, on_error=self.host.refuse)

    def _say_what_next(self) -> None:
        session = self.host.session
        marked = sum(1 for name in session.images if session.annotations.get(name))
        self.host.say(
            f"{len(session.images)} images, {marked} of them marked. Next: Train."
            if marked
            else f"{len(session.images)} images. Next: mark what is to be found."
        )


def moment(when: datetime) -> str:
    """A time as people say it."""
    return when.astimezone().strftime("%d %B, %H:%M")


def _title(left: Recovery) -> str:
    """What a project that was left is called; a name nobody gave says nothing."""
    count = len(left.images)
    first = left.images[0] if left.images else "no images"
    name = first if left.name == UNTITLED else left.name
    others = f", {count} image{'s' if count > 1 else ''}," if count else ""
    return f"The project {name!r}{others}"
