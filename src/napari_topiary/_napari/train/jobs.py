"""Jobs of the Train page, composed of the verbs; no Qt in here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_topiary._napari.learning import unfinished
from napari_topiary._napari.learning.readiness import Lesson
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.studies.learning_curve import LearningCurve, learning_curve
from napari_topiary.training import fit
from napari_topiary.types import Job, Progress

if TYPE_CHECKING:
    from napari_topiary.config import TrainConfig
    from napari_topiary.session import Session

SHORTEST_MINUTES = 0.5
"""A learning curve takes at least this long, however short the trainings are."""


def checking(lesson: Lesson) -> Job[tuple[str, tuple[str, ...]]]:
    """Look at all that is marked: what stops it from being learned from, or notes.

    Parameters
    ----------
    lesson
        What there is to learn from.
    """
    yield Progress(0, 0, "Looking at what is marked")
    problem = lesson.problem()
    return problem, () if problem else lesson.notes()


def training(
    lesson: Lesson, config: TrainConfig, start: Checkpoint | None
) -> Job[Checkpoint]:
    """Train, with the best so far on disk as long as it is not handed over.

    Parameters
    ----------
    lesson
        What to learn from.
    config
        How.
    start
        A checkpoint to start from; None = from scratch.
    """
    file = unfinished.new_file()
    try:
        return (
            yield from fit(
                (*lesson.samples, *lesson.unannotated),
                config,
                task=lesson.task,
                start=start,
                validation=lesson.validation,
                checkpoint_path=file,
            )
        )
    finally:
        if file is not None:
            unfinished.forget(file)


def drawing_curve(lesson: Lesson, config: TrainConfig) -> Job[LearningCurve]:
    """Train on an eighth, a quarter, half and all of what is marked.

    Parameters
    ----------
    lesson
        What to learn from.
    config
        How; its minutes are for all trainings together.
    """
    minutes = config.minutes
    seconds = None if minutes is None else 60 * max(SHORTEST_MINUTES, minutes)
    job = learning_curve(lesson.samples, config, task=lesson.task, seconds=seconds)
    return (yield from job)


def name_for(session: Session, config: TrainConfig, start: str | None) -> str:
    """What a new network is called.

    Parameters
    ----------
    session
        Has a name of its own.
    config
        Of the training.
    start
        Name of what it started from; None = from scratch.
    """
    if start is not None:
        return f"{start}, trained on"
    if config.sizes:
        return f"{session.name} {config.network}"
    if config.network == "unet":
        return f"{session.name} {config.preset}"
    words = dict.fromkeys([*session.name.split(), config.network, config.preset])
    return " ".join(words)
