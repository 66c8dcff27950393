"""Two sides predicted and held against each other; no Qt, for a worker thread."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_topiary._napari.canvas.visible import Window
from napari_topiary._napari.compare.area import said_within, truth_within
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation import Comparison, compare
from napari_topiary.evaluation.ground_truth import Truth, truth_of, truth_prediction
from napari_topiary.inference.predict import predict
from napari_topiary.postprocessing import COMMON_THRESHOLD
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import BACKGROUND, Job, Prediction, Progress, Stop, Task

TRUTH = "What I marked"
"""How the annotations are called among the networks."""


At = Literal["best", "common", "learned"]
"""Threshold at which both are read: each one's own best on the marks of this image
(as learned where nothing is marked), the same for both, or each as it was learned."""


@dataclass(frozen=True)
class Side:
    """One of the two that are compared.

    Parameters
    ----------
    name
        Of the checkpoint, or `TRUTH`.
    checkpoint
        None for the annotations.
    known
        What it said before about the same image; None = it has to be run.
    """

    name: str
    checkpoint: Checkpoint | None
    known: Prediction | None = None


@dataclass(frozen=True)
class Subject:
    """The image that both look at.

    Parameters
    ----------
    name
        Of the image.
    image
        `(c, y, x)`.
    scale
        nm per pixel, None if unknown.
    annotations
        What is drawn on it.
    window
        Only this part is compared, in image pixels; None = all of it.
    """

    name: str
    image: NDArray[np.generic]
    scale: float | None
    annotations: tuple[Any, ...]
    window: Window | None = None


@dataclass(frozen=True)
class Match:
    """Both predictions and what is different between them."""

    subject: Subject
    sides: tuple[Side, Side]
    a: Prediction
    b: Prediction
    comparison: Comparison
    notes: tuple[str, ...]


def comparing(
    subject: Subject, a: Side, b: Side, *, at: At = "best"
) -> Job[Match | None]:
    """Run the networks whose prediction is not known, and compare.

    Parameters
    ----------
    subject
        The image.
    a, b
        At least one of them a checkpoint.
    at
        Threshold at which their probabilities are read.

    Returns
    -------
    Match or None
        None when stopped before both had been run.
    """
    task = _task(a, b)
    marked = usable(subject.annotations, task)
    found: list[Prediction] = []
    for number, side in enumerate((a, b)):
        prediction, stopped = yield from _shared(
            _predicted(side, subject, task), number
        )
        found.append(prediction)
        if stopped and number == 0 and b.known is None and b.checkpoint is not None:
            return None
    yield Progress(2, 3, "Comparing")
    metrics = None
    if marked:
        metrics = compare(*found, truth=_truth(subject, marked, task)).metrics
    for number, side in enumerate((a, b)):
        if side.checkpoint is not None:
            limits = _limits(at, task, metrics and metrics["ab"[number]])
            found[number] = _read(found[number], side.checkpoint, limits)
    comparison = replace(compare(*found), metrics=metrics)
    notes = list(dict.fromkeys(found[0].notes + found[1].notes))
    if subject.annotations and not marked:
        notes.append(
            "What is marked on this image has other classes than the networks: there "
            "is no quality to be told."
        )
    return Match(subject, (a, b), found[0], found[1], comparison, tuple(notes))


def usable(annotations: tuple[Any, ...], task: Task) -> tuple[Any, ...]:
    """Annotations that a task can be judged by; empty where a class is not known.

    Parameters
    ----------
    annotations
        All of one image.
    task
        Of the networks.
    """
    known = {BACKGROUND, *task.classes}
    for annotation in annotations:
        if not known.issuperset(getattr(annotation, "classes", ())):
            return ()
        if annotation.kind == "labels" and not _labels_fit(annotation, task):
            return ()
    return annotations if any(a.kind != "regions" for a in annotations) else ()


def _limits(
    at: At, task: Task, judged: Mapping[str, Any] | None
) -> dict[str, float] | None:
    """Threshold of each class; None = as learned."""
    if at == "common":
        return dict.fromkeys(task.classes[1:], COMMON_THRESHOLD)
    if at == "best" and judged is not None:
        return dict(judged["own_best"]["thresholds"])
    return None


def _read(
    prediction: Prediction, checkpoint: Checkpoint, limits: dict[str, float] | None
) -> Prediction:
    reading = PostProcessing.of(checkpoint)
    if limits is not None:
        reading = replace(reading, thresholds=limits)
    given = prediction.probability, prediction.shape, prediction.task
    return replace(
        prediction,
        labels=reading.labels(*given, prediction.regression),
        detections=reading.detections(*given),
    )


def _labels_fit(labels: Any, task: Task) -> bool:
    if labels.instances or task.kind == "instances":
        return bool(labels.instances) and task.kind == "instances"
    return int(labels.labels.max(initial=0)) < len(task.classes)


def _task(a: Side, b: Side) -> Task:
    checkpoint = a.checkpoint or b.checkpoint
    if checkpoint is None:
        raise TopiaryError(
            "Both sides are what you marked: choose a network for one of them."
        )
    return checkpoint.task


def _predicted(side: Side, subject: Subject, task: Task) -> Job[Prediction]:
    window = subject.window
    if side.known is not None:
        return side.known if window is None else said_within(side.known, window)
    if side.checkpoint is not None:
        return (yield from _run(side.checkpoint, subject))
    marked = usable(subject.annotations, task)
    if not marked:
        raise TopiaryError(
            f"Nothing is marked on {subject.name} that this network could be compared "
            "with: mark it on the Annotate page, or choose two networks."
        )
    truth = _truth(subject, marked, task)
    yield Progress(1, 1, "Reading the marks")
    return truth_prediction(truth, task, scale=subject.scale, name=side.name)


def _run(checkpoint: Checkpoint, subject: Subject) -> Job[Prediction]:
    image, scale, window = subject.image, subject.scale, subject.window
    return (yield from predict(image, checkpoint, scale=scale, window=window))


def _truth(subject: Subject, marked: tuple[Any, ...], task: Task) -> Truth:
    shape = subject.image.shape[1:]
    truth = truth_of(marked, shape, task=task, scale=subject.scale)
    return truth if subject.window is None else truth_within(truth, subject.window)


def _shared(
    job: Job[Prediction], number: int
) -> Generator[Progress, object, tuple[Prediction, bool]]:
    """Drive the job of one side; its progress counts as a third of the whole."""
    words = f"Predicting {'AB'[number]}"
    message: object = None
    stopped = False
    while True:
        try:
            progress = job.send(message)
        except StopIteration as end:
            return end.value, stopped
        message = yield Progress(number + progress.fraction, 3, words)
        stopped = stopped or message is Stop
