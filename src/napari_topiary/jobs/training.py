"""What there is to learn from, in sentences, and the trainings that learn from it."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from napari_topiary import words
from napari_topiary.annotations import Regions, counted
from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.data.hold_out import roles
from napari_topiary.data.prepared import foresee
from napari_topiary.errors import TopiaryError
from napari_topiary.io.atomic import clean_leftovers, process_lives
from napari_topiary.io.dataset import Sample
from napari_topiary.io.dataset_description import NOTHING_ASIDE, leak_problem
from napari_topiary.io.gate import BY_COMMAND, admitted, learning_problem, part_marked
from napari_topiary.io.large_images import AnyImage, LargeImage
from napari_topiary.io.own_files import CHECKPOINT, user_folder
from napari_topiary.io.pairing import visible_files
from napari_topiary.session import Session
from napari_topiary.training import fit
from napari_topiary.training.learning_curve import LearningCurve, learning_curve
from napari_topiary.types import Job, Progress, Task

SHORTEST_MINUTES = 0.5
"""A learning curve takes at least this long, however short the trainings are."""
logger = logging.getLogger(__name__)
_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a training would learn from and be validated on."""

    samples: tuple[Sample, ...]  #: Annotated images to learn from
    validation: tuple[Sample, ...]  #: Annotated images that only validate
    task: Task  #: Kind of answer and classes
    n_images: int  #: How many images the project has, annotated or not
    #: Images on which nothing is drawn: look-alikes are found there
    unannotated: tuple[Sample, ...] = ()
    #: Which images are for what
    split: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Session) -> TrainingData:
        """What the session has at this moment."""
        return cls(
            samples=session.samples(),
            validation=session.hold_out(),
            task=session.task,
            n_images=len(session.images),
            unannotated=session.unannotated(),
            split=session.split,
        )

    def read(self) -> TrainingData:
        """Return the same with what is marked of large images; they are read now."""

        def marked(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
            return tuple(one.read_marked(self.task) for one in samples)

        # Going through a whole slide takes longer than its look-alikes are worth.
        known = tuple(one for one in self.unannotated if not _is_unread(one))
        return replace(
            self,
            samples=marked(self.samples),
            validation=marked(self.validation),
            unannotated=marked(known),
        )

    @property
    def scale(self) -> float | None:
        """Pixel size of the first image in nm, None if unknown."""
        return self.samples[0].scale if self.samples else None

    @property
    def in_channels(self) -> int:
        """Channels of the first image: 1 grey, 3 colour."""
        return self.samples[0].image.shape[0] if self.samples else 1

    @property
    def smallest_side(self) -> int:
        """Shortest side of any image to learn from, in pixels; 0 without images."""
        return min((min(one.image.shape[1:]) for one in self.samples), default=0)

    def first_step(self) -> str:
        """What is missing altogether; empty if there is something to learn from."""
        if not self.n_images:
            return "There is no image yet: add one on the Data page."
        if len(self.task.classes) < 2:
            return (
                "There is no class yet: on the Annotate page, add one for what you "
                "look for and mark some of it."
            )
        if not self.samples and self.validation:
            return (
                "All annotated images are held back to judge quality: on the Data "
                "page, let at least one be learned from."
            )
        if not self.samples:
            return (
                "Nothing is marked yet: on the Annotate page, mark particles, draw "
                "centerlines or paint areas on at least one image."
            )
        return ""

    def problem(self) -> str:
        """What stops this from being learned from; empty if nothing does.

        Looks at all pixels of labels: not for the main thread.
        """
        missing = self.first_step() or leak_problem(self.split)
        if missing:
            return missing
        return learning_problem(self.samples, self.validation, task=self.task)

    def notes(self) -> tuple[str, ...]:
        """What is left out of what is marked, or taken otherwise than it says.

        Looks at all pixels of labels: not for the main thread.
        """
        sets = (self.samples, self.validation)
        found = [note for one in sets for note in admitted(one, task=self.task)[1]]
        if self.split.get("val") and not self.validation:
            found.append(NOTHING_ASIDE)
        return tuple(found)

    def parts(self) -> dict[str, Regions]:
        """Images of which only a part may be marked, and that part.

        Looks at all pixels of labels: not for the main thread.
        """
        found = {
            one.name: part_marked(one, self.task)
            for one in (*self.samples, *self.validation)
        }
        return {name: part for name, part in found.items() if part is not None}

    def summary(self) -> str:
        """What is learned from, in a line."""
        if not self.samples:
            return ""
        counts = _counts(self.samples)
        drawn = ", ".join(
            words.plural(n, one, many) for (one, many), n in counts.items() if n
        )
        if len(counts) == 1 and "image" in drawn:  # painted ones, and nothing else
            return f"Learns from {drawn}."
        images = words.plural(len(self.samples), "image")
        return f"Learns from {images}: {drawn or 'nothing'}."

    def held_back(self, config: TrainConfig, start: Checkpoint | None) -> HeldBack:
        """What of it is held back to judge by, if it is trained so.

        Looks at all pixels of labels: not for the main thread.
        """
        parts = foresee(
            self.samples, self.validation, config, task=self.task, start=start
        )
        names = {one.sample.name for one in parts.held}
        aside = sum(one.name in names for one in self.validation)
        if not names:
            sentence = "There is nothing to judge it on."
        elif aside:
            images = words.plural(aside, "image")
            sentence = f"Judged on {images} that it does not see."
        elif all(one.box is not None for one in parts.held):
            sentence = "A part of it is kept back to judge it."
        else:
            are = "is" if len(names) == 1 else "are"
            sentence = f"{len(names)} of them {are} kept back to judge it."
        choosing, measured, _ = roles(parts, self.task, given=bool(self.validation))
        if choosing != measured:
            sentence += " One half of that chooses the best, the other judges it."
        return HeldBack(sentence=sentence, notes=parts.notes)


def _is_unread(sample: Sample) -> bool:
    """Whether an image is so large that nobody has gone through it yet."""
    image: AnyImage = sample.image
    return isinstance(image, LargeImage) and not image.thin.complete


def _counts(samples: Sequence[Sample]) -> Mapping[tuple[str, str], int]:
    counts = Counter[tuple[str, str]]()
    for sample in samples:
        for item in counted(sample.annotations):
            counts.update(item.counts())
    return dict(counts.most_common())


@dataclass(frozen=True, kw_only=True)
class HeldBack:
    """What a training will be validated on, in a sentence, and why not on more."""

    sentence: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found where all that is marked was looked at."""

    problem: str = ""  #: What stops it from being learned from; empty if nothing does
    #: What is left out of it, or taken otherwise than it says
    notes: tuple[str, ...] = ()
    #: Images of which only a part may be marked, and that part
    parts: Mapping[str, Regions] = field(default_factory=dict)
    held_back: str = ""  #: What of it is held back to judge by


def for_the_window(notes: Sequence[str]) -> tuple[str, ...]:
    """Each note once, without what is for the command line."""
    return tuple(dict.fromkeys(note.replace(BY_COMMAND, "") for note in notes))


def checking(
    training_data: TrainingData,
    config: TrainConfig | None = None,
    start: Checkpoint | None = None,
) -> Job[Checked]:
    """Look at all that is marked, and say what `training` would make of it."""
    yield Progress(0, 0, "Looking at what is marked")
    if missing := training_data.first_step():
        return Checked(problem=missing)
    try:
        training_data = training_data.read()
    except TopiaryError as reason:
        return Checked(problem=str(reason))
    problem = training_data.problem()
    if problem:
        return Checked(problem=problem)
    try:
        held_back = training_data.held_back(config or TrainConfig(), start)
    except TopiaryError as reason:
        return Checked(problem=str(reason))
    notes = (*training_data.notes(), *held_back.notes)
    return Checked(
        notes=for_the_window(notes),
        parts=training_data.parts(),
        held_back=held_back.sentence,
    )


def training(
    training_data: TrainingData, config: TrainConfig, start: Checkpoint | None
) -> Job[Checkpoint]:
    """Train, with the best so far on disk as long as it is not handed over."""
    yield Progress(0, 0, "Reading what is marked")
    training_data = training_data.read()
    file = _new_training_file()
    try:
        return (
            yield from fit(
                (*training_data.samples, *training_data.unannotated),
                config,
                task=training_data.task,
                start=start,
                validation=training_data.validation,
                checkpoint_path=file,
            )
        )
    finally:
        if file is not None:
            forget_training(file)


def drawing_curve(
    training_data: TrainingData, config: TrainConfig
) -> Job[LearningCurve]:
    """Train on an eighth, a quarter, half and all of what is marked."""
    minutes = config.minutes
    seconds = None if minutes is None else 60 * max(SHORTEST_MINUTES, minutes)
    yield Progress(0, 0, "Reading what is marked")
    samples = training_data.read().samples
    job = learning_curve(samples, config, task=training_data.task, seconds=seconds)
    return (yield from job)


def short_name(base: str, weights: int) -> str:
    """What a new network is called: "viruses · 12 k", by its weights."""
    stem = base.split(" · ")[0]
    return f"{stem} · {words.count(weights).replace(words.THIN, ' ')}"


def finish(session: Session, parts: Mapping[str, Regions | None]) -> None:
    """Draw what is finished of images on which no area is.

    Parameters
    ----------
    session
        The project.
    parts
        Image name -> what of it is finished; None = all of it.
    """
    for name, part in parts.items():
        drawn = session.annotations.get(name, ())
        height, width = session.images[name].image.shape[1:]
        bottom, right = height - 0.5, width - 0.5
        corners = [[-0.5, -0.5], [-0.5, right], [bottom, right], [bottom, -0.5]]
        whole = Regions((np.array(corners),), ("rectangle",))
        rest = tuple(one for one in drawn if one.kind != Regions.kind)
        session.set_annotations(name, (*rest, part or whole))


def training_folder() -> Path:
    """Folder of the networks of running trainings."""
    return user_folder() / "training"


def _new_training_file() -> Path | None:
    """A file for a training that begins now; None where nothing can be written."""
    moment = time.strftime("%Y%m%d-%H%M%S")
    try:
        training_folder().mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        logger.warning("trainings cannot be kept in %s (%s)", training_folder(), reason)
        return None
    return training_folder() / f"{moment}-{os.getpid()}-{next(_numbers)}.safetensors"


def unfinished_training() -> Path | None:
    """The newest network of a training whose program is gone, or None."""
    if not training_folder().is_dir():
        return None
    clean_leftovers(training_folder())
    files = [
        (file.stat().st_mtime, file)
        for file in visible_files(training_folder())
        if file.suffix == CHECKPOINT and not process_lives(_process_of(file))
    ]
    return max(files)[1] if files else None


def recover_training(file: Path) -> Checkpoint:
    """Read what is left of a training, and forget the file.

    Parameters
    ----------
    file
        From `unfinished_training`.
    """
    checkpoint = load_checkpoint(file)
    forget_training(file)
    return checkpoint


def _process_of(file: Path) -> int:
    """Number of the program that a file belongs to, 0 if there is none."""
    parts = file.stem.split("-")
    return int(parts[-2]) if len(parts) > 2 and parts[-2].isdigit() else 0


def forget_training(file: Path) -> None:
    """Delete a network that is not needed any more.

    Parameters
    ----------
    file
        From `unfinished_training` or `_new_training_file`; need not exist.
    """
    file.unlink(missing_ok=True)
