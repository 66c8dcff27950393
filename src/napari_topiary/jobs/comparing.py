"""Two networks, or one and what is marked, on one image: run, read and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import Regions
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import Device, PredictConfig
from napari_topiary.data.annotated_area import learned_zones
from napari_topiary.data.working_grid import window_to_working
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation import Comparison, compare, known_to_each
from napari_topiary.evaluation.compare import AS_USUAL
from napari_topiary.evaluation.ground_truth import Truth, truth_of, truth_prediction
from napari_topiary.inference.large.measuring import measure_all
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Sample
from napari_topiary.io.excerpts import MARGIN, Excerpt, cut_marked
from napari_topiary.io.large_images import LargeImage
from napari_topiary.jobs.predicting import ProjectImage
from napari_topiary.postprocessing import COMMON_THRESHOLD
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.session import Session
from napari_topiary.types import (
    Job,
    Prediction,
    Progress,
    Stop,
    Task,
    Window,
    grown,
    relay,
)

LARGEST_SIDE = 4096
"""Of a large image a part of no more pixels to any side is compared."""
TRUTH = "What I marked"
"""How the annotations are called among the networks."""
MOST = 12
"""Older predictions than this many are forgotten."""
At = Literal["best", "common", "learned"]
"""Threshold at which both are read: each one's own best on the marks of this image
(as learned where nothing is marked), the same for both, or each as it was learned."""


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    name: str  #: Of the checkpoint, or `TRUTH`
    checkpoint: Checkpoint | None  #: None for the annotations
    #: What it said before about the same image; None = it has to be run
    known: Prediction | None = None


@dataclass(frozen=True, kw_only=True)
class Match:
    """Both predictions and what is different between them.

    Of a large image they are of a part, whose first pixel is at `corner` `(y, x)`; what
    is at a place of its own (things, lines, disagreements) is where it is in the image.
    What the metrics call `as_shown` is always as the networks learned to be read, with
    these `thresholds`; the predictions are read `at` what was asked for.
    """

    subject: ProjectImage
    sides: tuple[Side, Side]
    a: Prediction
    b: Prediction
    comparison: Comparison
    notes: tuple[str, ...]
    corner: tuple[float, float] = (0.0, 0.0)
    at: At = "learned"


def comparing(
    subject: ProjectImage,
    a: Side,
    b: Side,
    *,
    at: At = "learned",
    device: Device = "auto",
) -> Job[Match | None]:
    """Run the networks whose prediction is not known, and compare.

    Returns
    -------
    Match or None
        None when stopped before both had been run.
    """
    task, whole = _task(a, b), subject
    part = yield from _part_of(subject, task)
    subject = part.subject
    marked = usable(subject.annotations, task)
    b_is_to_run = b.known is None and b.checkpoint is not None
    found: list[Prediction] = []
    for number, side in enumerate((a, b)):
        heard: list[object] = []
        prediction = yield from relay(
            _predicted(side, part, task, device),
            told=partial(_as_third, number),
            heard=heard.append,
        )
        found.append(prediction)
        if Stop in heard and number == 0 and b_is_to_run:
            return None
    yield Progress(2, 3, "Comparing")
    for number, side in enumerate((a, b)):
        if side.checkpoint is not None:
            found[number] = _read(found[number], side.checkpoint, None)
    metrics = None
    if marked:
        of_a, of_b = (_truth(subject, marked, task, s.checkpoint) for s in (a, b))
        how = (_how(a.checkpoint), _how(b.checkpoint))
        metrics = compare(*found, truth=of_a, truth_of_b=of_b, how=how).metrics
    for number, side in enumerate((a, b)):
        if side.checkpoint is None:
            continue
        figures = metrics and metrics["ab"[number]]
        if figures:
            learned = PostProcessing.of(side.checkpoint).thresholds
            figures["as_shown"]["thresholds"] = dict(learned)
        if (limits := _limits(at, task, figures)) is not None:
            found[number] = _read(found[number], side.checkpoint, limits)
    comparison = replace(compare(*found), metrics=metrics)
    notes = list(dict.fromkeys(part.notes + found[0].notes + found[1].notes))
    notes += [] if metrics is None else _known(part, a, b)
    if subject.annotations and not marked:
        notes.append(
            "What is marked on this image has other classes than the networks: there "
            "is no quality to be told."
        )
    return Match(
        subject=whole,
        sides=(a, b),
        a=found[0],
        b=found[1],
        comparison=_moved(comparison, part.corner),
        notes=tuple(notes),
        corner=part.corner,
        at=at,
    )


def _known(part: _Part, *sides: Side) -> list[str]:
    """What tells that a figure on this image is better than on others."""
    subject = part.subject
    sample = Sample(np.asarray(subject.image), name=subject.name, excerpt=part.excerpt)
    networks = {one.name: one.checkpoint for one in sides if one.checkpoint is not None}
    return known_to_each(networks, [sample])


@dataclass(frozen=True)
class _Part:
    """What is compared: an image, or a part of a large one that was read."""

    subject: ProjectImage
    excerpt: Excerpt | None = None
    corner: tuple[float, float] = (0.0, 0.0)
    notes: tuple[str, ...] = ()


def _part_of(subject: ProjectImage, task: Task) -> Job[_Part]:
    """Read the part of a large image that is compared, and a little around it."""
    image = subject.image
    if not isinstance(image, LargeImage):
        return _Part(subject)
    height, width = image.shape[1:]
    top, bottom, left, right = subject.window or (0, height, 0, width)
    if max(bottom - top, right - left) > LARGEST_SIDE:
        raise TopiaryError(
            f"{subject.name} is too large to be compared as a whole: zoom in until at "
            f"most {LARGEST_SIDE:,} x {LARGEST_SIDE:,} of its pixels are on the "
            "screen, and compare that. The command line compares all that is marked "
            "(napari-topiary compare)."
        )
    yield from measure_all(image)
    around = grown((top, bottom, left, right), MARGIN, (height, width))
    marked, scale = subject.annotations, subject.scale
    cut = cut_marked(image, marked, task=task, scale=scale, window=around)
    known = [one for one in cut.annotations if isinstance(one, Regions)]
    if known and not any(map(len, known)):
        cut = replace(cut, annotations=())  # what is finished lies elsewhere
    y, x = around[0], around[2]
    window = top - y, bottom - y, left - x, right - x
    read = replace(subject, image=cut.image, annotations=cut.annotations, window=window)
    note = (
        f"Only what was on the screen is compared: {right - left:,} x {bottom - top:,} "
        "pixels."
    )
    return _Part(read, cut.excerpt, (float(y), float(x)), (note,))


def _moved(comparison: Comparison, corner: tuple[float, float]) -> Comparison:
    """A comparison of a part with all places where they are in the image."""
    if corner == (0.0, 0.0):
        return comparison
    y, x = corner
    things, lines = comparison.things, comparison.lines
    return replace(
        comparison,
        things=replace(things, coordinates=things.coordinates + np.array(corner)),
        lines=replace(
            lines, lines=tuple(one + np.array(corner) for one in lines.lines)
        ),
        places=tuple(replace(p, y=p.y + y, x=p.x + x) for p in comparison.places),
    )


def usable(annotations: tuple[Any, ...], task: Task) -> tuple[Any, ...]:
    """Annotations that a task can be scored on; empty where a class is not known."""
    if not all(one.fits(task) for one in annotations):
        return ()
    return annotations if any(one.counts() for one in annotations) else ()


def _limits(
    at: At, task: Task, figures: Mapping[str, Any] | None
) -> dict[str, float] | None:
    """Threshold of each class; None = as learned."""
    if at == "common":
        return dict.fromkeys(task.classes[1:], COMMON_THRESHOLD)
    if at == "best" and figures is not None:
        return dict(figures["own_best"]["thresholds"])
    return None


def _how(checkpoint: Checkpoint | None) -> PostProcessing:
    return AS_USUAL if checkpoint is None else PostProcessing.of(checkpoint)


def _read(
    prediction: Prediction, checkpoint: Checkpoint, limits: dict[str, float] | None
) -> Prediction:
    reading = PostProcessing.of(checkpoint)
    return reading.at(limits or {}).read(prediction)


def _task(a: Side, b: Side) -> Task:
    checkpoint = a.checkpoint or b.checkpoint
    if checkpoint is None:
        raise TopiaryError(
            "Both sides are what you marked: choose a network for one of them."
        )
    return checkpoint.task


def _predicted(side: Side, part: _Part, task: Task, device: Device) -> Job[Prediction]:
    subject = part.subject
    window = subject.window
    if side.known is not None:
        return side.known if window is None else said_within(side.known, window)
    if side.checkpoint is not None:
        return (yield from _run(side.checkpoint, part, device))
    marked = usable(subject.annotations, task)
    if not marked:
        raise TopiaryError(
            f"Nothing is marked on {subject.name} that this network could be compared "
            "with: mark it on the Annotate page, or choose two networks."
        )
    truth = _truth(subject, marked, task)
    yield Progress(1, 1, "Reading the marks")
    return truth_prediction(truth, task, scale=subject.scale, name=side.name)


def _run(checkpoint: Checkpoint, part: _Part, device: Device) -> Job[Prediction]:
    subject = part.subject
    return (
        yield from predict(
            np.asarray(subject.image),
            checkpoint,
            PredictConfig(device=device),
            scale=subject.scale,
            window=subject.window,
            excerpt=part.excerpt,
        )
    )


def _truth(
    subject: ProjectImage,
    marked: tuple[Any, ...],
    task: Task,
    checkpoint: Checkpoint | None = None,
) -> Truth:
    """What is marked, with particles as large as a checkpoint has learned them."""
    shape = subject.image.shape[1:]
    zones = None if checkpoint is None else learned_zones(checkpoint)
    truth = truth_of(marked, shape, task=task, scale=subject.scale, zones=zones)
    return truth if subject.window is None else truth_within(truth, subject.window)


def _as_third(number: int, inner: Progress) -> Progress:
    """Progress of one side, as a third of the whole."""
    return Progress(number + inner.fraction, 3, f"Predicting {'AB'[number]}")


def truth_within(truth: Truth, window: Window) -> Truth:
    """The truth of a window; outside nothing is known.

    Parameters
    ----------
    truth
        Of the whole image.
    window
        In image pixels.
    """
    inside = _mask(window, truth.classes.shape)
    objects = truth.objects
    return replace(
        truth,
        classes=np.where(inside, truth.classes, -1).astype(truth.classes.dtype),
        objects=None if objects is None else np.where(inside, objects, -1),
        area=inside if truth.area is None else inside & truth.area,
    )


def said_within(prediction: Prediction, window: Window) -> Prediction:
    """What was said about a window, as if the network had looked at nothing else.

    Parameters
    ----------
    prediction
        Of the image, or more than the window of it.
    window
        In image pixels.
    """
    grid = prediction.probability.shape[1:]
    inside = _mask(window_to_working(window, prediction.shape, grid), grid)
    done = prediction.done
    return replace(prediction, done=inside if done is None else inside & done)


def _mask(window: Window, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    top, bottom, left, right = window
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


@dataclass(frozen=True)
class _Known:
    subject: ProjectImage
    checkpoint: Checkpoint
    prediction: Prediction


class KnownPredictions:
    """Predictions of checkpoints of a session on its images."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: list[_Known] = []

    def about(self, subject: ProjectImage, checkpoint: Checkpoint) -> Prediction | None:
        """Return what a checkpoint said about all of an image, None if nothing yet."""
        for one in self._known:
            if (
                one.checkpoint is checkpoint
                and one.subject.image is subject.image
                and one.subject.scale == subject.scale
            ):
                return one.prediction
        return None

    def keep(
        self, subject: ProjectImage, checkpoint: Checkpoint, prediction: Prediction
    ) -> None:
        """Remember a prediction, unless it is only a part."""
        is_whole = (
            prediction.done is None and prediction.shape == subject.image.shape[1:]
        )
        if is_whole and self.about(subject, checkpoint) is None:
            self._known = [*self._known, _Known(subject, checkpoint, prediction)][
                -MOST:
            ]

    def forget_gone(self) -> None:
        """Forget images and checkpoints that have left the session."""
        images = [entry.image for entry in self._session.images.values()]
        networks = list(self._session.checkpoints.values())
        self._known = [
            one
            for one in self._known
            if any(one.subject.image is image for image in images)
            and any(one.checkpoint is network for network in networks)
        ]
