"""Two predictions of one image held against each other, and against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.data.working_grid import to_original
from napari_topiary.evaluation.alignment import aligned, both_looked, class_labels_of
from napari_topiary.evaluation.changes import Changes, particle_changes
from napari_topiary.evaluation.comparison import Comparison
from napari_topiary.evaluation.ground_truth import Truth, tolerances
from napari_topiary.evaluation.judged import judged
from napari_topiary.evaluation.line_changes import LineChanges, line_changes
from napari_topiary.evaluation.object_changes import object_changes
from napari_topiary.evaluation.pixels import count_pixels
from napari_topiary.evaluation.places import worst_places
from napari_topiary.types import LabelImage, Prediction, Task


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
