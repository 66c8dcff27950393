"""One project in memory: what the pages of the workbench look at and change.

Nobody holds a global session: the window keeps one per viewer. Every change is
announced by a signal, so that pages never need to know one another.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Dataset, Sample
from napari_topiary.session import project
from napari_topiary.session.recovery import forget_recovery, new_recovery_folder
from napari_topiary.types import BACKGROUND, Image, Prediction, Task

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

PALETTE = (
    "#e69f00", "#56b4e9", "#00b386", "#f0e442",
    "#cc79a7", "#d55e00", "#5e8cff", "#a6d854",
)  # fmt: skip
"""Class colours that colour-blind people can tell apart on a grey image."""
BACKGROUND_COLOUR = "#808080"
HELD_OUT = ("val", "test")


@dataclass(frozen=True, eq=False)
class ImageEntry:
    """One image of a project.

    Parameters
    ----------
    name
        Unlike that of any other image; also the name of its files.
    image
        `(c, y, x)`, any numeric dtype.
    scale
        nm per pixel, None if unknown.
    path
        File that it came from, if any.
    """

    name: str
    image: Image
    scale: float | None = None
    path: Path | None = None


class Session:
    """Images, task, annotations and checkpoints of one project.

    Parameters
    ----------
    name
        Name of the project.
    """

    images_changed = Signal()
    task_changed = Signal()
    annotations_changed = Signal(str)
    checkpoints_changed = Signal()
    active_checkpoint_changed = Signal()
    scale_changed = Signal(str)
    predictions_changed = Signal(str)
    saved = Signal()

    def __init__(self, name: str = "Untitled") -> None:
        self.name = name
        self.folder: Path | None = None
        self.saved_at: float | None = None
        self.notes: tuple[str, ...] = ()
        self.images: dict[str, ImageEntry] = {}
        self.task = Task("detect", (BACKGROUND,))
        self.colours: dict[str, str] = {BACKGROUND: BACKGROUND_COLOUR}
        self.annotations: dict[str, tuple[Any, ...]] = {}
        self.split: dict[str, tuple[str, ...]] = {}
        self.checkpoints: dict[str, Checkpoint] = {}
        self.active_checkpoint: str | None = None
        self.predictions: dict[str, Prediction] = {}
        self._changed = False
        self._recovery: Path | None = None
        self._record = project.Record()
        self._frozen_from: project.Record | None = None

    # ------------------------------------------------------------------ images
    def add_image(self, entry: ImageEntry) -> ImageEntry:
        """Add an image; return it under the name that it got.

        Parameters
        ----------
        entry
            Its name is made fit for a file, and a number is added if it is taken.
        """
        image = np.asarray(entry.image)
        if image.ndim != 3:
            raise TopiaryError(
                f"An image has channels, height and width, this one has the shape "
                f"{image.shape}: give one slice of a stack at a time."
            )
        base = re.sub(r"[^\w\-.+() ]+", "_", entry.name).strip(" .") or "image"
        entry = replace(entry, name=_unused(base, self.images), image=image)
        self.images[entry.name] = entry
        self._touch()
        self.images_changed.emit()
        return entry

    def remove_image(self, name: str) -> None:
        """Take an image and what was drawn on it out of the project."""
        self._entry(name)
        del self.images[name]
        self.annotations.pop(name, None)
        self.predictions.pop(name, None)
        self.split = {
            part: tuple(other for other in names if other != name)
            for part, names in self.split.items()
        }
        self._touch()
        self.images_changed.emit()

    def set_scale(self, name: str, scale: float | None) -> None:
        """Set the pixel size of an image.

        Parameters
        ----------
        name
            Of the image.
        scale
            nm per pixel, None if unknown.
        """
        if scale is not None and not (np.isfinite(scale) and scale > 0):
            raise TopiaryError(
                f"A pixel size of {scale:g} nm is not possible: give more than 0, or "
                "leave it empty if it is unknown."
            )
        entry = self._entry(name)
        if entry.scale != scale:
            self.images[name] = replace(entry, scale=scale)
            self._touch()
            self.scale_changed.emit(name)

    # -------------------------------------------------------- task, annotations
    def set_task(self, task: Task) -> None:
        """Set kind of answer and classes; new classes get a colour of their own."""
        if not task.classes or task.classes[0] != BACKGROUND:
            raise TopiaryError(f"The first class has to be {BACKGROUND!r}.")
        if len(set(task.classes)) < len(task.classes):
            raise TopiaryError("Two classes have the same name: rename one of them.")
        self.task = task
        self.colours = _with_colours(task.classes, self.colours)
        self._touch()
        self.task_changed.emit()

    def set_colour(self, name: str, colour: str) -> None:
        """Set the colour of a class, as ``"#rrggbb"``."""
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            raise TopiaryError(f"{colour!r} is not a colour: write it as '#rrggbb'.")
        self.colours[name] = colour.lower()
        self._touch()
        self.task_changed.emit()

    def rename_class(self, old: str, new: str) -> None:
        """Rename a class in the task and in everything that was drawn."""
        if old not in self.task.classes or old == BACKGROUND:
            raise TopiaryError(f"There is no class {old!r} that could be renamed.")
        if not new or new in self.task.classes:
            raise TopiaryError(f"The name {new!r} is empty or taken: choose another.")
        named = {old: new}
        for image, drawn in self.annotations.items():
            self.annotations[image] = tuple(_renamed(a, named) for a in drawn)
        self.colours = {named.get(k, k): v for k, v in self.colours.items()}
        task = self.task
        self.set_task(
            Task(
                task.kind,
                tuple(named.get(name, name) for name in task.classes),
                {named.get(k, k): v for k, v in task.radius_nm.items()},
                {named.get(k, k): v for k, v in task.radius_px.items()},
            )
        )

    def set_annotations(self, name: str, annotations: Iterable[Any]) -> None:
        """Set everything that was drawn on an image; empty annotations are dropped."""
        self._entry(name)
        kept = tuple(a for a in annotations if len(a))
        if kept == self.annotations.get(name, ()):
            return
        if kept:
            self.annotations[name] = kept
        else:
            del self.annotations[name]
        self._touch()
        self.annotations_changed.emit(name)

    def set_split(self, split: Mapping[str, Iterable[str]]) -> None:
        """Say which images to learn from (train), choose by (val), judge on (test)."""
        self.split = {part: tuple(names) for part, names in split.items()}
        self._touch()
        self.images_changed.emit()

    def sample(self, name: str) -> Sample:
        """Return an image with what was drawn on it."""
        entry = self._entry(name)
        return Sample(
            image=entry.image,
            annotations=self.annotations.get(name, ()),
            scale=entry.scale,
            name=name,
            path=entry.path,
        )

    def samples(self, names: Iterable[str] | None = None) -> tuple[Sample, ...]:
        """Return annotated images.

        Parameters
        ----------
        names
            Only of these images. None: all to learn from, which leaves out what the
            split holds back for choosing and judging.
        """
        if names is None:
            held = {n for part in HELD_OUT for n in self.split.get(part, ())}
            names = [name for name in self.images if name not in held]
        return tuple(self.sample(n) for n in names if self.annotations.get(n))

    def hold_out(self) -> tuple[Sample, ...]:
        """Return the annotated images on which training is judged; may be none."""
        return self.samples([n for n in self.split.get("val", ()) if n in self.images])

    # ------------------------------------------------------------- checkpoints
    def add_checkpoint(
        self, name: str, checkpoint: Checkpoint, *, activate: bool = True
    ) -> None:
        """Keep a checkpoint under a name; the same name again replaces it."""
        if not name.strip():
            raise TopiaryError("The checkpoint needs a name.")
        self.checkpoints[name] = checkpoint
        self._touch()
        self.checkpoints_changed.emit()
        if activate or self.active_checkpoint is None:
            self.activate(name)

    def remove_checkpoint(self, name: str) -> None:
        """Forget a checkpoint; the newest other one becomes active in its place."""
        if name not in self.checkpoints:
            raise TopiaryError(f"There is no checkpoint called {name!r}.")
        del self.checkpoints[name]
        self._touch()
        self.checkpoints_changed.emit()
        if self.active_checkpoint == name:
            self.activate(next(reversed(self.checkpoints), None))

    def activate(self, name: str | None) -> None:
        """Make a checkpoint the one that pages start from."""
        if name is not None and name not in self.checkpoints:
            raise TopiaryError(f"There is no checkpoint called {name!r}.")
        self.active_checkpoint = name
        self._touch()
        self.active_checkpoint_changed.emit()

    def unique_checkpoint_name(self, base: str) -> str:
        """Return `base`, with a number added if it is taken."""
        return _unused(base, self.checkpoints)

    def set_prediction(self, name: str, prediction: Prediction | None) -> None:
        """Keep what a checkpoint said about an image, for review; it is not saved.

        Parameters
        ----------
        name
            Of the image.
        prediction
            The latest; None forgets it.
        """
        self._entry(name)
        if prediction is None:
            self.predictions.pop(name, None)
        else:
            self.predictions[name] = prediction
        self.predictions_changed.emit(name)

    # ----------------------------------------------------------- load and save
    def load_dataset(self, dataset: Dataset, *, samples: Sequence[Sample] = ()) -> None:
        """Replace images, task and annotations by those of a dataset.

        The dataset's own folder is not written to: the project has none until it is
        saved. Checkpoints stay.

        Parameters
        ----------
        dataset
            Where task, names and split come from.
        samples
            Its samples where they were read already.
        """
        read = samples or tuple(dataset.samples.values())
        self.name, self.folder, self.saved_at = dataset.name, None, None
        self.images = {
            s.name: ImageEntry(s.name, s.image, s.scale, s.path) for s in read
        }
        self.annotations = {s.name: tuple(s.annotations) for s in read if s.annotations}
        self.split = {part: tuple(names) for part, names in dataset.split.items()}
        self.predictions = {}
        self.task = dataset.task
        self.colours = _with_colours(dataset.task.classes, self.colours)
        self._record = project.Record()
        self._changed = False
        self.task_changed.emit()
        self.images_changed.emit()
        for name in self.annotations:
            self.annotations_changed.emit(name)

    def save(self, folder: Path | str | None = None) -> Path:
        """Write the project as a dataset folder with its checkpoints.

        Parameters
        ----------
        folder
            Where to; None = where it was saved or opened last.
        """
        target = self.folder if folder is None else Path(folder)
        if target is None:
            raise TopiaryError("The project has no folder yet: say where to save it.")
        if target != self.folder:
            self._record = project.Record()
        if self.name == "Untitled":
            self.name = target.name
        project.write(self, target, self._record)
        self.folder = target
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
            What `project.read(folder)` returned, where it was read already (in
            another thread; signals are for the thread of the window).
        """
        read = project.read(Path(folder)) if read is None else read
        self.load_dataset(read.dataset, samples=read.samples)
        self.colours = _with_colours(self.task.classes, read.colours)
        self.checkpoints = dict(read.checkpoints)
        self.active_checkpoint = read.active
        self.notes = read.notes
        if not project.is_recovery(Path(folder)):
            self.folder, self._record = Path(folder), read.record
            self.saved_at = time.time()
        self._changed = self.folder is None
        self.checkpoints_changed.emit()
        self.active_checkpoint_changed.emit()

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
            return self.save()
        if self._recovery is None:
            self._recovery = new_recovery_folder()
        project.write(self, self._recovery, self._record)
        self._settled()
        return self._recovery

    def frozen(self) -> Session:
        """Return a copy that no page changes, to be saved in another thread."""
        copy = Session(self.name)
        copy.folder, copy.images = self.folder, dict(self.images)
        copy.task, copy.colours = self.task, dict(self.colours)
        copy.annotations, copy.split = dict(self.annotations), dict(self.split)
        copy.checkpoints = dict(self.checkpoints)
        copy.active_checkpoint = self.active_checkpoint
        copy._record = project.Record(dict(self._record.files))
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

    @property
    def changed(self) -> bool:
        """Whether there is anything to save."""
        return self._changed

    def _touch(self) -> None:
        self._changed = True

    def _settled(self) -> None:
        self._changed, self.saved_at = False, time.time()
        self.saved.emit()

    def _entry(self, name: str) -> ImageEntry:
        try:
            return self.images[name]
        except KeyError:
            raise TopiaryError(f"There is no image called {name!r}.") from None


def _unused(base: str, taken: Iterable[str]) -> str:
    names, number, name = set(taken), 1, base
    while name in names:
        number += 1
        name = f"{base} {number}"
    return name


def _with_colours(classes: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Give every class a colour; the known ones keep theirs."""
    colours = {BACKGROUND: known.get(BACKGROUND, BACKGROUND_COLOUR)}
    for name in classes:
        if name not in colours:
            free = [c for c in PALETTE if c not in {*colours.values(), *known.values()}]
            spare = PALETTE[len(colours) % len(PALETTE)]
            colours[name] = known.get(name) or (free[0] if free else spare)
    return colours


def _renamed(annotation: Any, named: Mapping[str, str]) -> Any:
    """Return an annotation with its class names replaced."""
    classes = getattr(annotation, "classes", None)
    if classes is None:
        return annotation
    return replace(annotation, classes=tuple(named.get(c, c) for c in classes))
