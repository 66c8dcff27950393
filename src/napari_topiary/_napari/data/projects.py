"""Opening and saving projects and samples, off the main thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QMenu, QWidget

from napari_topiary._napari.canvas.layers import AXES, take_out
from napari_topiary._napari.canvas.shown_image import displayed
from napari_topiary._napari.jobs.runner import in_background
from napari_topiary._napari.saving import saver_of
from napari_topiary._napari.state import state_of
from napari_topiary._napari.workbench import next_page
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Dataset, sample_dataset, sample_names
from napari_topiary.io.pairing import safe_name
from napari_topiary.session import (
    UNTITLED,
    Recovery,
    SavedVersion,
    forget_recovery,
    recent_projects,
    recoverable_projects,
    reopening,
    shown_last,
    versions,
)
from napari_topiary.session.project import Read
from napari_topiary.session.session import NEVER_SAVED
from napari_topiary.words import plural

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_topiary._napari.data.page import DataPage
    from napari_topiary.session import Session

SAMPLE = "topiary_sample"
"""Where the metadata of its layers name the sample: the workbench opens all of it."""
LayerData = tuple[Any, dict[str, Any], str]

_TITLES = {
    "apoferritin": "Apoferritin particles · cryo-EM",
    "virus_phil": "Adenovirus, influenza, Ebola · TEM",
    "membrane_fibsem": "Membranes of fly brain · FIB-SEM",
    "myelin_sem": "Myelin and axons · SEM",
    "nuclei": "Nuclei in tissue · H&E",
}
_MOST_LEFT = 5
_MOST_NOTES = 8
GO_ON = "Go on with it"


def _layers(dataset_name: str) -> list[LayerData]:
    """First training image of a sample set and what is known about it."""
    dataset = sample_dataset(dataset_name)
    sample = dataset.part("train")[0]
    step, unit = (1.0, "pixel") if sample.scale is None else (sample.scale, "nm")
    # The same on every layer: mixed units make napari drop the units of all.
    shared = {"scale": (step, step), "units": (unit, unit), "axis_labels": AXES}
    origin = {SAMPLE: dataset_name, "topiary_image": sample.name}
    pixels, is_rgb = displayed(sample.image)
    layers: list[LayerData] = [
        (
            pixels,
            {"name": sample.name, "rgb": is_rgb, "metadata": dict(origin), **shared},
            "image",
        )
    ]
    for drawn in sample.annotations:
        name = f"{sample.name} {drawn.kind}"
        data, meta, kind = drawn.to_layer_data(name, dataset.task, sample.scale)
        notes = {**meta.get("metadata", {}), **origin}
        layers.append((data, {**meta, "name": name, "metadata": notes, **shared}, kind))
    return layers


def apoferritin() -> list[LayerData]:
    """Round particles with their centres, cryo-EM, 0.3 nm per pixel."""
    return _layers("apoferritin")


def membrane_fibsem() -> list[LayerData]:
    """Membranes of fly brain, FIB-SEM, 10 nm per pixel."""
    return _layers("membrane_fibsem")


def virus_phil() -> list[LayerData]:
    """Virions with centres and centerlines, TEM, pixel size unknown."""
    return _layers("virus_phil")


def nuclei() -> list[LayerData]:
    """Nuclei in stained tissue, one number each, pixel size unknown."""
    return _layers("nuclei")


def myelin_sem() -> list[LayerData]:
    """Myelin and axons, SEM, 70 nm per pixel."""
    return _layers("myelin_sem")


class Projects:
    """Opens and saves the project of a page."""

    def __init__(self, page: DataPage) -> None:
        self.page = page
        self.saver = saver_of(page.viewer)
        self.saver.problem.connect(page.refuse)
        self._what_next = ""

    def samples(self) -> list[tuple[str, str]]:
        """Name and title of every sample, the easiest first."""
        names = sample_names()
        ordered = [name for name in _TITLES if name in names]
        ordered += [name for name in names if name not in _TITLES]
        return [(name, _TITLES.get(name, name)) for name in ordered]

    def new_project(self) -> None:
        """Begin an empty project in place of what is open."""

        def begin(keep: bool) -> None:
            self.page.session.clear(keep_checkpoints=keep)
            self.page.say("A new project. Add images of your own, or open a sample.")

        self._ask_then(begin)

    def open_sample(self, name: str, *, instead_of: Iterable[Layer] = ()) -> None:
        """Open a sample as a new project that has no folder yet."""
        layers = tuple(instead_of)
        self._ask_then(lambda keep: self._read_sample(name, keep, layers))

    def open_folder(self, folder: Path) -> None:
        """Open a project or dataset folder in place of what is open."""
        self._ask_then(lambda _keep: self._read_folder(folder), brings_networks=True)

    def save_to(
        self, folder: Path, *, then: Callable[[], object] | None = None
    ) -> None:
        """Save the project to a folder; later changes are saved there by themselves."""
        own = self.page.session.folder
        is_own = own is not None and folder.resolve() == own.resolve()
        if (folder / "dataset.json").exists() and not is_own:
            self.page.refuse(
                f"There is another project in {folder}: give this one another name."
            )
            return

        def saved() -> None:
            self.page.say(f"Saved in {folder}.")
            if then is not None:
                then()

        self.page.say(f"Saving to {folder}…")
        self.saver.save(folder, then=saved)

    def offer_recovery(self) -> None:
        """Offer a project that an earlier window left unsaved, if nothing is open."""

        def found(left: tuple[Recovery, ...]) -> None:
            if not left or self.page.session.images or self.page.offer.buttons:
                return
            newest = left[0]
            self.page.offer.show_choice(
                f"{_title(newest)}, of {moment(newest.saved)}: not saved in a folder "
                "when the window was closed. Go on with it?",
                {
                    GO_ON: lambda: self.open_folder(newest.folder),
                    "Delete it": lambda: self._forget(newest),
                    "Not now": lambda: None,
                },
                problem=False,
            )

        in_background(
            recoverable_projects, title="Looking for unsaved work", on_result=found
        )

    @property
    def offers_recovery(self) -> bool:
        """Whether the question that is open is about an unsaved project."""
        return GO_ON in self.page.offer.buttons

    def leave_recovery(self) -> None:
        """Ask no more about it: another project is begun. The menu still has it."""
        if self.offers_recovery:
            self.page.offer.close_offer()

    def _forget(self, left: Recovery) -> None:
        """Delete an unsaved project, and offer the one before it."""
        in_background(
            lambda: forget_recovery(left.folder),
            title="Deleting the unsaved project",
            on_result=lambda _: self.offer_recovery(),
            on_error=self.page.refuse,
        )

    def list_projects(self, menu: QMenu) -> None:
        """Fill a menu with what can be opened."""
        menu.clear()
        menu.addAction("New project").triggered.connect(
            lambda _=False: self.new_project()
        )
        menu.addAction("Open a folder…").triggered.connect(
            lambda _=False: self.choose_and_open()
        )
        own = self.page.session.folder
        recent = [Path(one.folder) for one in recent_projects()]
        recent = [one for one in recent if own is None or one != own.resolve()]
        if recent:
            menu.addSeparator()
        for folder in recent:
            # In a menu a single & underlines the letter after it.
            action = menu.addAction(folder.name.replace("&", "&&"))
            action.setToolTip(str(folder))
            action.triggered.connect(lambda _=False, one=folder: self.open_folder(one))
        left = recoverable_projects()
        if left:
            menu.addSeparator()
        for one in left[:_MOST_LEFT]:
            words = f"{_title(one)} · not saved · {moment(one.saved)}"
            menu.addAction(words.replace("&", "&&")).triggered.connect(
                lambda _=False, one=one: self.open_folder(one.folder)
            )

    def go_back(self, version: SavedVersion) -> None:
        """Make the project what it was before a save; what it is now is kept too."""
        session = self.page.session

        def read() -> Read:
            home = session.home
            if home is None:
                raise TopiaryError(NEVER_SAVED)
            versions.go_back(home, version.name)
            return reopening.read(home)

        def opened(read: Read) -> None:
            if read.dataset.root is not None:
                session.restore(read.dataset.root, read=read)
            self.page.say(
                f"The project is as before the save of {moment(version.saved)}. What "
                "it was until now is the newest of the earlier versions."
            )

        self.saver.save(then=lambda: self._in_background(read, opened, "Going back"))

    def choose_and_open(self) -> None:
        """Ask for a project folder and open it."""
        folder = QFileDialog.getExistingDirectory(self._widget(), "Open project")
        if folder:
            self.open_folder(Path(folder))

    def choose_and_save(self, *, then: Callable[[], object] | None = None) -> None:
        """Ask for the name and place of the project's folder, and save it there."""
        session = self.page.session
        own = session.folder
        name = "my project" if session.name == UNTITLED else session.name
        # A dialog for saving: the folder is made, so its name must be new.
        proposed = own or Path.home() / safe_name(name)
        path, _ = QFileDialog.getSaveFileName(
            self._widget(),
            "Save the project: the name of a new folder",
            str(proposed),
            "Project folder (*)",
        )
        if path:
            self.save_to(Path(path), then=then)

    def _widget(self) -> QWidget | None:
        return self.page if isinstance(self.page, QWidget) else None

    def _ask_then(
        self, do: Callable[[bool], None], *, brings_networks: bool = False
    ) -> None:
        """Ask before what is open gives way to another project."""
        session, runner = self.page.session, state_of(self.page.viewer).runner
        if runner.running:
            self.page.refuse(
                f"{runner.title} is still running: press Stop before another project "
                "is opened."
            )
            return
        number = 0 if brings_networks else len(session.checkpoints)
        networks = "network" if number == 1 else f"{number} networks"
        # Saved without a folder means kept for recovery: it was worked on.
        worked_on = session.changed or session.saved_at is not None
        if session.folder is None and worked_on and _has_work(session):
            answers: dict[str, Callable[[], object]] = {
                "Save it first…": lambda: self.choose_and_save(then=lambda: do(False)),
                "Replace it": lambda: do(False),
            }
            if number:
                answers[f"Replace it, keep the {networks}"] = lambda: do(True)
            self.page.offer.show_choice(
                "The project that is open is not saved in a folder. Replace it?",
                {**answers, "Cancel": lambda: None},
            )
        elif number:
            self.page.offer.show_choice(
                f"{session.name} has {plural(number, 'network')}. Take "
                f"{'it' if number == 1 else 'them'} along?",
                {
                    "Open without": lambda: do(False),
                    f"Keep the {networks}": lambda: do(True),
                    "Cancel": lambda: None,
                },
                problem=False,
            )
        else:
            do(False)

    def _read_sample(self, name: str, keep: bool, layers: tuple[Layer, ...]) -> None:
        def read() -> Dataset:
            dataset = sample_dataset(name)
            # Read here, in this thread, not when the window asks for them.
            return replace(dataset, samples=dict(dataset.samples))

        def opened(dataset: Dataset) -> None:
            take_out(self.page.viewer, layers)
            self.page.session.load_dataset(dataset, keep_checkpoints=keep)
            self._say_what_next()

        self._in_background(read, opened, f"Opening the sample {name}")

    def _read_folder(self, folder: Path) -> None:
        def opened(read: Read) -> None:
            # A folder for recovery may have got another name as it was read.
            home = read.dataset.root or folder
            self.page.session.restore(home, read=read)
            last = shown_last(home)
            if last in self.page.session.images:
                self.page.open_image(last)
            if read.notes:
                more = len(read.notes) - _MOST_NOTES
                rest = [f"And {more} more."] if more > 0 else []
                self.page.refuse("\n".join([*read.notes[:_MOST_NOTES], *rest]))
            else:
                self._say_what_next()

        def read() -> Read:
            return reopening.read(folder)

        self._in_background(read, opened, "Opening the project")

    def _in_background(
        self, read: Callable[[], object], opened: Callable[..., None], title: str
    ) -> None:
        self.page.say(f"{title}…")
        in_background(
            read,
            title=title,
            on_result=opened,
            on_error=self.page.refuse,
            owner=self.page,
        )

    def renew(self) -> None:
        """What was said to come next follows what was done meanwhile."""
        if self._what_next and self.page.message.text() == self._what_next:
            self._say_what_next()

    def _say_what_next(self) -> None:
        session = self.page.session
        images = plural(len(session.images), "image")
        marked = sum(1 for name in session.images if session.annotations.get(name))
        if not marked:
            said = f"{images}. Next: Annotate, mark what is to be found."
        else:
            all_one = marked == len(session.images) == 1
            which = "marked" if all_one else f"{marked} marked"
            said = f"{images}, {which}. Next: {next_page(session, 'Data')}."
        self._what_next = said
        self.page.say(said)


def moment(when: datetime) -> str:
    """A time as people say it."""
    return when.astimezone().strftime("%d %B, %H:%M")


def _has_work(session: Session) -> bool:
    return bool(session.annotations or session.checkpoints)


def _title(left: Recovery) -> str:
    """What a project that was left is called; a name nobody gave says nothing."""
    first = left.images[0] if left.images else "no images"
    name = first if left.name == UNTITLED else left.name
    if not left.images:
        return name
    return f"{name}, {plural(len(left.images), 'image')}"
