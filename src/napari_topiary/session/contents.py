"""What a project holds: images, classes, annotations, networks; changes are told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from psygnal import Signal

from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.io.dataset_description import may_be_seen, parts_of
from napari_topiary.io.large_images import AnyImage, LargeImage
from napari_topiary.io.pairing import safe_name, unused_name
from napari_topiary.io.pixel_size import pixel_size_problem
from napari_topiary.types import BACKGROUND, Image, Prediction, Task, TaskKind

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

PALETTE = (
    "#e69f00", "#56b4e9", "#00b386", "#f0e442",
    "#cc79a7", "#d55e00", "#5e8cff", "#a6d854",
)  # fmt: skip
"""Class colours that colour-blind people can tell apart on a grey image."""
BACKGROUND_COLOUR = "#808080"


@dataclass(frozen=True, eq=False)
class ImageEntry:
    """One image of a project."""

    name: str  #: Unlike that of any other image; also the name of its files
    #: `(c, y, x)`, any numeric dtype; a large one is read where it is needed
    image: AnyImage
    scale: float | None = None  #: nm per pixel, None if unknown
    path: Path | None = None  #: File that it came from, if any


class Contents:
    """Images, task, annotations and networks of one project."""

    images_changed = Signal()
    task_changed = Signal()
    annotations_changed = Signal(str)
    scale_changed = Signal(str)
    checkpoints_changed = Signal()
    active_checkpoint_changed = Signal()
    predictions_changed = Signal(str)

    def __init__(self, name: str) -> None:
        self.name = name
        self.images: dict[str, ImageEntry] = {}
        self.task = Task("detect", (BACKGROUND,))
        self.colours: dict[str, str] = {BACKGROUND: BACKGROUND_COLOUR}
        self.annotations: dict[str, tuple[Any, ...]] = {}
        self.split: dict[str, tuple[str, ...]] = {}
        self.checkpoints: dict[str, Checkpoint] = {}
        self.active_checkpoint: str | None = None
        self.predictions: dict[str, Prediction] = {}
        self._changed = False

    @property
    def changed(self) -> bool:
        """Whether there is anything to save."""
        return self._changed

    def add_image(self, entry: ImageEntry) -> ImageEntry:
        """Add an image; return it under the name that it got."""
        image = entry.image
        if not isinstance(image, LargeImage):
            image = np.asarray(image)
        if len(image.shape) != 3:
            raise TopiaryError(
                "An image has channels, height and width, this one has the shape "
                f"{image.shape}: give one slice of a stack at a time."
            )
        # Some file systems do not tell upper from lower case.
        name = unused(safe_name(entry.name), self.images, any_case=True)
        entry = replace(entry, name=name, image=image)
        self.images[name] = entry
        self._changed = True
        self.images_changed.emit()
        return entry

    def add_images(self, entries: Sequence[ImageEntry]) -> tuple[ImageEntry, ...]:
        """Add several images and announce them once; see `add_image`."""
        with self.images_changed.paused(lambda _one, _other: ()):
            return tuple(self.add_image(entry) for entry in entries)

    def remove_image(self, name: str) -> None:
        """Take an image and all that is known of it out of the project."""
        self._entry(name)
        self.predictions.pop(name, None)
        del self.images[name]
        self.annotations.pop(name, None)
        self.split = {
            part: tuple(other for other in names if other != name)
            for part, names in self.split.items()
        }
        self._changed = True
        self.images_changed.emit()

    def set_scale(self, name: str, scale: float | None) -> None:
        """Set the pixel size of an image."""
        problem = "" if scale is None else pixel_size_problem(scale)
        if problem:
            raise TopiaryError(problem)
        entry = self._entry(name)
        if entry.scale != scale:
            self.images[name] = replace(entry, scale=scale)
            self._changed = True
            self.scale_changed.emit(name)

    def set_task(self, task: Task) -> None:
        """Set kind of answer and classes; new classes get a colour of their own."""
        if not task.classes or task.classes[0] != BACKGROUND:
            raise TopiaryError(f"The first class has to be {BACKGROUND!r}.")
        if len(set(task.classes)) < len(task.classes):
            raise TopiaryError("Two classes have the same name: rename one of them.")
        self.task = task
        self.colours = with_colours(task.classes, self.colours)
        self._changed = True
        self.task_changed.emit()

    def set_colour(self, name: str, colour: str) -> None:
        """Set the colour of a class, as ``"#rrggbb"``."""
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            raise TopiaryError(f"{colour!r} is not a colour: write it as '#rrggbb'.")
        self.colours[name] = colour.lower()
        self._changed = True
        self.task_changed.emit()

    def rename_class(self, old: str, new: str) -> None:
        """Rename a class in the task and in everything that was drawn."""
        if old not in self.task.classes or old == BACKGROUND:
            raise TopiaryError(f"There is no class {old!r} that could be renamed.")
        if not new or new in self.task.classes:
            raise TopiaryError(f"The name {new!r} is empty or taken: choose another.")
        named = {old: new}
        for image, drawn in self.annotations.items():
            self.annotations[image] = tuple(a.renamed(named) for a in drawn)
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

    def remove_class(self, name: str) -> None:
        """Take a class out of the task, and out of everything that was drawn."""
        if name not in self.task.classes or name == BACKGROUND:
            raise TopiaryError(f"There is no class {name!r} that could be removed.")
        task, index = self.task, self.task.classes.index(name)
        for image, drawn in list(self.annotations.items()):
            kept = [one.without_class(name, index) for one in drawn]
            self.set_annotations(image, kept)
        self.set_task(
            Task(
                task.kind,
                tuple(one for one in task.classes if one != name),
                {k: v for k, v in task.radius_nm.items() if k != name},
                {k: v for k, v in task.radius_px.items() if k != name},
            )
        )

    def set_annotations(self, name: str, annotations: Iterable[Any]) -> None:
        """Set everything that was drawn on an image; empty annotations are dropped."""
        self._entry(name)
        kept = tuple(a for a in annotations if a)
        if kept == self.annotations.get(name, ()):
            return
        if kept:
            self.annotations[name] = kept
        else:
            del self.annotations[name]
        self._changed = True
        self.annotations_changed.emit(name)

    def set_split(self, split: Mapping[str, Iterable[str]]) -> None:
        """Say which images to learn from (train), choose by (val), test on (test)."""
        self.split = {part: tuple(names) for part, names in split.items()}
        self._changed = True
        self.images_changed.emit()

    def sample(self, name: str) -> Sample:
        """Return an image with what was drawn on it; a large one is not read yet."""
        entry = self._entry(name)
        return Sample(
            image=cast("Image", entry.image),
            annotations=self.annotations.get(name, ()),
            scale=entry.scale,
            name=name,
            path=entry.path,
        )

    def samples(self, names: Iterable[str] | None = None) -> tuple[Sample, ...]:
        """Return annotated images, of these; None = all that may be learned from."""
        if names is None:
            names = parts_of(self.split, self.images).get("train", ())
        return tuple(self.sample(n) for n in names if self.annotations.get(n))

    def unannotated(self) -> tuple[Sample, ...]:
        """Return the images on which nothing is drawn and that are not held back."""
        names = may_be_seen(self.split, self.images)
        return tuple(self.sample(n) for n in names if not self.annotations.get(n))

    def hold_out(self) -> tuple[Sample, ...]:
        """Return the annotated images on which training is validated; may be none."""
        return self.samples([n for n in self.split.get("val", ()) if n in self.images])

    def add_checkpoint(
        self, name: str, checkpoint: Checkpoint, *, activate: bool = True
    ) -> None:
        """Keep a checkpoint under a name; the same name again replaces it."""
        if not name.strip():
            raise TopiaryError("The checkpoint needs a name.")
        self.checkpoints[name] = checkpoint
        self._changed = True
        self.checkpoints_changed.emit()
        if activate or self.active_checkpoint is None:
            self.activate(name)

    def remove_checkpoint(self, name: str) -> None:
        """Forget a checkpoint; the newest other one becomes active in its place."""
        self._check_known(name)
        del self.checkpoints[name]
        self._changed = True
        self.checkpoints_changed.emit()
        if self.active_checkpoint == name:
            self.activate(next(reversed(self.checkpoints), None))

    def rename_checkpoint(self, old: str, new: str) -> None:
        """Call a checkpoint differently; its place in the order stays."""
        new = " ".join(new.split())
        self._check_known(old)
        if new == old:
            return
        if not new:
            raise TopiaryError("The network needs a name.")
        if new in self.checkpoints:
            raise TopiaryError(
                f"Another network is called {new!r} already: choose another name."
            )
        # What it is called is not written into it: its versions know it by its hash.
        self.checkpoints = {
            (new if name == old else name): each
            for name, each in self.checkpoints.items()
        }
        self._changed = True
        was_active = self.active_checkpoint == old
        if was_active:
            self.active_checkpoint = new
        self.checkpoints_changed.emit()
        if was_active:
            self.active_checkpoint_changed.emit()

    def activate(self, name: str | None) -> None:
        """Make a checkpoint the one that pages start from."""
        if name is not None:
            self._check_known(name)
        self.active_checkpoint = name
        self._changed = True
        self.active_checkpoint_changed.emit()

    def _check_known(self, name: str) -> None:
        if name not in self.checkpoints:
            raise TopiaryError(f"There is no checkpoint called {name!r}.")

    def unique_checkpoint_name(self, base: str) -> str:
        """Return `base`, with a number added if it is taken: "viruses 2 · 12 k"."""
        stem, dot, size = base.partition(" · ")
        taken = [
            name.removesuffix(dot + size)
            for name in self.checkpoints
            if name.endswith(dot + size)
        ]
        return unused(stem, taken) + dot + size

    def set_prediction(self, name: str, prediction: Prediction | None) -> None:
        """Keep what a network said about an image; None forgets it. It is not saved."""
        self._entry(name)
        if prediction is None:
            self.predictions.pop(name, None)
        else:
            self.predictions[name] = prediction
        self.predictions_changed.emit(name)

    def _entry(self, name: str) -> ImageEntry:
        try:
            return self.images[name]
        except KeyError:
            raise TopiaryError(f"There is no image called {name!r}.") from None


def unused(base: str, taken: Iterable[str], *, any_case: bool = False) -> str:
    """Return `base`, with a number added if it is taken."""

    def spelled(name: str) -> str:
        return name.casefold() if any_case else name

    names = {spelled(name) for name in taken}
    return unused_name(base, lambda name: spelled(name) in names, joint=" ")


def with_colours(classes: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Give every class a colour; the known ones keep theirs."""
    colours = {BACKGROUND: known.get(BACKGROUND, BACKGROUND_COLOUR)}
    for name in classes:
        if name not in colours:
            taken = {*colours.values(), *(known.get(other) for other in classes)}
            free = [colour for colour in PALETTE if colour not in taken]
            spare = PALETTE[len(colours) % len(PALETTE)]
            colours[name] = known.get(name) or (free[0] if free else spare)
    return colours


EXAMPLES = {"detect": "adenovirus", "segment": "membrane", "instances": "nucleus"}
"""Kind of task -> something that one may look for."""
_GUESS = 40
"""A new class starts with a radius of this part of the image's shorter side."""


def add_class(contents: Contents, name: str, image: str | None) -> str:
    """Add a class and guess its radius, so that the first mark shows a size."""
    name = " ".join(name.split())
    if not name:
        example = EXAMPLES[contents.task.kind]
        raise TopiaryError(f"Type what you are looking for first, e.g. {example}.")
    if name in contents.task.classes:
        raise TopiaryError(f"There is a class {name!r} already.")
    task = replace(contents.task, classes=(*contents.task.classes, name))
    if task.kind == "detect" and image is not None:
        entry = contents.images[image]
        task = _with_radius(task, name, first_radius(entry), entry.scale)
    contents.set_task(task)  # once: all marks are drawn anew each time
    return name


def first_radius(entry: ImageEntry) -> float:
    """Return what a new class starts with: in nm where the pixel size is known."""
    pixels = float(f"{min(entry.image.shape[1:]) / _GUESS:.2g}")
    return pixels if entry.scale is None else float(f"{pixels * entry.scale:.2g}")


def set_radius(
    contents: Contents, name: str, radius: float | None, scale: float | None
) -> None:
    """Set the radius of a class.

    Parameters
    ----------
    contents, name
        The project, and the class.
    radius
        In nm where the pixel size is known, else in pixels; None = unknown.
    scale
        nm per pixel of the shown image, None if unknown.
    """
    contents.set_task(_with_radius(contents.task, name, radius, scale))


def _with_radius(
    task: Task, name: str, radius: float | None, scale: float | None
) -> Task:
    nm, px = dict(task.radius_nm), dict(task.radius_px)
    if radius is None:
        nm.pop(name, None)
        px.pop(name, None)
    elif scale is None:
        px[name] = radius
    else:
        nm[name] = radius
        px[name] = radius / scale
    return replace(task, radius_nm=nm, radius_px=px)


def set_kind(contents: Contents, kind: TaskKind) -> None:
    """Change what a network is to answer; the classes stay."""
    if kind != contents.task.kind:
        contents.set_task(replace(contents.task, kind=kind))


def marks_of(contents: Contents, name: str) -> int:
    """Count what is drawn of a class on all images (painted images count one each)."""
    return sum(count(contents, image, name) for image in contents.images)


def count(contents: Contents, image: str, name: str) -> int:
    """Count the points and paths of a class on an image; 1 for painted pixels of it."""
    drawn = contents.annotations.get(image, ())
    return sum(annotation.of_class(name, contents.task) for annotation in drawn)
