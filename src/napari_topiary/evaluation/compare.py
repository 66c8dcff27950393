"""Two predictions of one image held against each other, and against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.data.working_grid import to_original
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.changes import (
    Changes,
    LineChanges,
    line_changes,
    object_changes,
    particle_changes,
)
from napari_topiary.evaluation.ground_truth import Truth, tolerances
from napari_topiary.evaluation.judged import judged
from napari_topiary.evaluation.pixels import count_pixels
from napari_topiary.evaluation.places import Place, worst_places
from napari_topiary.evaluation.score import without_nan
from napari_topiary.types import Detections, LabelImage, Prediction, Task


@dataclass(frozen=True)
class Comparison:
    """What is different from A to B, in pixels of the image.

    Parameters
    ----------
    a, b
        What the predictions are called.
    task
        Kind, radii and the classes of both: A's, then those that only B knows.
    shape
        `(y, x)` of the image.
    scale
        nm per pixel, None if unknown.
    difference
        `(k, y, x)` float32: probability of B minus that of A, −1..1; 0 where one of
        them has not looked.
    disagreement
        `(y, x)` bool: where the class labels (object or not, for instances) differ.
    things
        Particles, or objects, each kept, changed, lost or gained.
    lines
        Filaments, each kept, lost or gained.
    places
        Disagreements, the worst first.
    looked
        `(y, x)` bool where both have looked; None = everywhere.
    agreement
        0..1: see `agreement`.
    metrics
        With a truth: ``{"a": ..., "b": ...}``, each with the metrics `as_shown`, at
        its `own_best` thresholds, and `at_common_threshold`; else None.
    """

    a: str
    b: str
    task: Task
    shape: tuple[int, int]
    scale: float | None
    difference: NDArray[np.float32]
    disagreement: NDArray[np.bool_]
    things: Changes
    lines: LineChanges
    places: tuple[Place, ...]
    looked: NDArray[np.bool_] | None
    agreement: float
    metrics: dict[str, Any] | None = None

    @property
    def disagreement_share(self) -> float:
        """Share of the pixels, where both have looked, whose labels differ."""
        if self.looked is None:
            return float(self.disagreement.mean())
        return float(self.disagreement.sum() / max(1, int(self.looked.sum())))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the maps, ready for JSON."""
        things = self.things
        names = self.task.classes
        result: dict[str, Any] = without_nan(
            {
                "a": self.a,
                "b": self.b,
                "task": self.task.kind,
                "classes": list(names),
                "agreement": self.agreement,
                "disagreement_share": self.disagreement_share,
                "largest_difference": float(np.abs(self.difference).max(initial=0.0)),
                "counts": things.counts(),
                "line_counts": self.lines.counts(),
                "things": [
                    {
                        "status": things.status[i],
                        "axis-0": float(things.coordinates[i, 0]),
                        "axis-1": float(things.coordinates[i, 1]),
                        "class": names[int(things.class_index[i])],
                        "score_a": float(things.score_a[i]),
                        "score_b": float(things.score_b[i]),
                    }
                    for i in range(len(things))
                ],
                "places": [vars(place) for place in self.places],
                "metrics": self.metrics,
            }
        )
        return result


KINDS = {
    "detect": "detects particles",
    "segment": "segments classes",
    "instances": "separates objects",
}


def aligned(a: Prediction, b: Prediction) -> tuple[Prediction, Prediction]:
    """Give both the same classes: A's, then those that only B knows.

    Raises
    ------
    TopiaryError
        If they are not of the same image or not of the same kind.
    """
    if a.shape != b.shape:
        raise TopiaryError(
            f"{a.checkpoint} was predicted on {a.shape[0]} x {a.shape[1]} pixels and "
            f"{b.checkpoint} on {b.shape[0]} x {b.shape[1]}: compare predictions of "
            "the same image."
        )
    if a.task.kind != b.task.kind:
        raise TopiaryError(
            f"{a.checkpoint} {KINDS[a.task.kind]} and {b.checkpoint} "
            f"{KINDS[b.task.kind]}: compare networks that do the same."
        )
    if a.task.kind == "instances" or a.task.classes == b.task.classes:
        return a, b
    classes = a.task.classes + tuple(
        name for name in b.task.classes if name not in a.task.classes
    )
    task = Task(
        a.task.kind,
        classes,
        {**b.task.radius_nm, **a.task.radius_nm},
        {**b.task.radius_px, **a.task.radius_px},
    )
    return _renumbered(a, task), _renumbered(b, task)


def both_looked(a: Prediction, b: Prediction) -> NDArray[np.bool_] | None:
    """Where `(y, x)` in the image both networks have run; None = everywhere."""
    looked: NDArray[np.bool_] | None = None
    for prediction in (a, b):
        if prediction.done is None:
            continue
        rows, columns = (
            ((np.arange(n) + 0.5) * own / n).astype(np.intp)
            for n, own in zip(prediction.shape, prediction.done.shape, strict=True)
        )
        here = prediction.done[rows[:, None], columns]
        looked = here if looked is None else looked & here
    return looked


def class_labels_of(prediction: Prediction) -> LabelImage:
    """Class index `(y, x)`; for instances 1 where there is an object."""
    if prediction.task.kind == "instances":
        return (prediction.labels > 0).astype(np.uint8)
    return prediction.labels


def _renumbered(prediction: Prediction, task: Task) -> Prediction:
    """Number the classes as another task does, which knows them all."""
    to = np.array([task.classes.index(name) for name in prediction.task.classes])
    maps = np.zeros((len(task.classes), *prediction.probability.shape[1:]), np.float32)
    maps[to] = prediction.probability
    found = prediction.detections
    detections: Detections = replace(
        found,
        class_index=to[found.class_index].astype(np.int64),
        line_class=to[found.line_class].astype(np.int64),
    )
    return replace(
        prediction,
        task=task,
        probability=maps,
        labels=to[prediction.labels],
        detections=detections,
    )


def compare(
    a: Prediction,
    b: Prediction,
    *,
    tolerance: float | None = None,
    truth: Truth | Sequence[Any] | None = None,
) -> Comparison:
    """Compare two predictions of the same image; their working grids may differ.

    Parameters
    ----------
    a
        What was, for instance the unpruned network's prediction (or
        `truth_prediction`).
    b
        What is, for instance the pruned network's.
    tolerance
        How far apart the same particle may be: in nm where the pixel size is
        known, else in pixels. None = half of its class's radius.
    truth
        Annotations of the image, for the metrics.

    Raises
    ------
    TopiaryError
        If the predictions are not of the same image or not of the same kind.
    """
    a, b = aligned(a, b)
    task, shape = a.task, a.shape
    scale = a.scale if a.scale is not None else b.scale
    reach = _reach(task, scale, tolerance)
    looked = both_looked(a, b)
    difference = to_original(b.probability, shape) - to_original(a.probability, shape)
    disagreement = class_labels_of(a) != class_labels_of(b)
    if looked is not None:
        difference *= looked
        disagreement &= looked
    things, lines = _changes(a, b, reach, looked)
    metrics = None
    if truth is not None:
        of_a, of_b = judged((a, b), truth, tolerance_px=reach)
        metrics = {"a": of_a, "b": of_b}
    return Comparison(
        a=a.checkpoint,
        b=b.checkpoint,
        task=task,
        shape=shape,
        scale=scale,
        difference=difference,
        disagreement=disagreement,
        things=things,
        lines=lines,
        places=worst_places(
            task,
            scale=scale,
            things=things,
            lines=lines,
            differs=disagreement,
            strength=np.abs(difference).max(axis=0),
        ),
        looked=looked,
        agreement=_agreement(a, b, (things, lines), looked),
        metrics=metrics,
    )


def agreement(a: Prediction, b: Prediction, *, tolerance: float | None = None) -> float:
    """How much of A is in B and nothing else, 0..1.

    For detections the F1 of B's particles and filaments with A's as the truth, for
    instances that of the objects (IoU above 0.5), for segmentation the mean Dice of
    the classes. Nothing in either is full agreement.

    Parameters
    ----------
    a, b
        Predictions of the same image.
    tolerance
        As for `compare`.
    """
    a, b = aligned(a, b)
    reach = _reach(a.task, a.scale if a.scale is not None else b.scale, tolerance)
    looked = both_looked(a, b)
    return _agreement(a, b, _changes(a, b, reach, looked), looked)


def _changes(
    a: Prediction,
    b: Prediction,
    reach: NDArray[np.float64],
    looked: NDArray[np.bool_] | None,
) -> tuple[Changes, LineChanges]:
    lines = line_changes(a.detections, b.detections, tolerance_px=reach)
    if a.task.kind == "instances":
        return object_changes(a.labels, b.labels, area=looked), lines
    found = (a.detections, b.detections)
    return particle_changes(*found, tolerance_px=reach, area=looked), lines


def _agreement(
    a: Prediction,
    b: Prediction,
    changes: tuple[Changes, LineChanges],
    looked: NDArray[np.bool_] | None,
) -> float:
    labels_a, labels_b = class_labels_of(a), class_labels_of(b)
    if a.task.kind == "segment":
        truth = labels_a.astype(np.int64)
        if looked is not None:
            truth = np.where(looked, truth, -1)
        n = len(a.task.classes)
        return float(count_pixels(truth, labels_b, n).metrics()["dice"])
    things, lines = (part.counts() for part in changes)
    both = 2 * things["kept"]
    if a.task.kind == "instances":
        counts = [_count(p.labels, looked) for p in (a, b)]
    else:
        shared = things["kept"] + things["changed"]
        counts = [shared + things["lost"], shared + things["gained"]]
        # A line may be kept as several pieces: each side counts its own.
        n_lines = len(a.detections.lines)
        both += lines["kept"] + n_lines - lines["lost"]
        counts += [n_lines, lines["kept"] + lines["gained"]]
    return both / sum(counts) if sum(counts) else 1.0


def _count(objects: LabelImage, looked: NDArray[np.bool_] | None) -> int:
    seen = objects if looked is None else objects[looked]
    return len(np.unique(seen[seen > 0]))


def _reach(
    task: Task, scale: float | None, tolerance: float | None
) -> NDArray[np.float64]:
    """Tolerance of each class `(k,)` in pixels."""
    if tolerance is not None and scale is None:
        return np.full(len(task.classes), float(tolerance))
    return tolerances(task, scale=scale, tolerance_nm=tolerance)
