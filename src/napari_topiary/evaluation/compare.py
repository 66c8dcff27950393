"""Two predictions of one image held against each other, and against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.data.working_grid import to_original
from napari_topiary.evaluation.changes import (
    STATUSES,
    Changes,
    LineChanges,
    aligned,
    both_looked,
    class_labels_of,
    line_changes,
    object_changes,
    object_counts,
    particle_changes,
)
from napari_topiary.evaluation.disagreements import Place, worst_places
from napari_topiary.evaluation.ground_truth import Truth, tolerances, truth_of
from napari_topiary.evaluation.pixel_metrics import count_pixels
from napari_topiary.evaluation.score import score, without_nan
from napari_topiary.evaluation.thresholds import sweep
from napari_topiary.postprocessing import COMMON_THRESHOLD
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Prediction, Task

AS_USUAL = PostProcessing()
"""Of a side that no network stands for."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is different from A to B, in pixels of the image."""

    #: `a`, `b`: what the predictions are called
    a: str
    b: str
    #: Kind, radii and the classes of both: A's, then those that only B knows
    task: Task
    shape: tuple[int, int]  #: `(y, x)` of the image
    scale: float | None  #: nm per pixel, None if unknown
    #: `(k, y, x)` float32: probability of B minus that of A, −1..1; 0 where one of them
    #: has not looked
    difference: NDArray[np.float32]
    #: `(y, x)` bool: where the class labels (object or not, for instances) differ
    disagreement: NDArray[np.bool_]
    things: Changes  #: Particles, or objects, each kept, changed, lost or gained
    lines: LineChanges  #: Filaments, each kept, lost or gained
    places: tuple[Place, ...]  #: Disagreements, the worst first
    #: `(y, x)` bool where both have looked; None = everywhere
    looked: NDArray[np.bool_] | None
    agreement: float  #: 0..1: see `changes_between`
    #: With a truth: ``{"a": ..., "b": ...}``, each with the metrics `as_shown`, at its
    #: `own_best` thresholds, and `at_common_threshold`; else None
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
                "largest_difference": float(
                    _strongest(self.difference).max(initial=0.0)
                ),
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


def compare(
    a: Prediction,
    b: Prediction,
    *,
    tolerance: float | None = None,
    truth: Truth | Sequence[Any] | None = None,
    truth_of_b: Truth | None = None,
    how: tuple[PostProcessing, PostProcessing] = (AS_USUAL, AS_USUAL),
) -> Comparison:
    """Compare two predictions of the same image; their working grids may differ.

    Parameters
    ----------
    a, b
        What was and what is: the unpruned network's prediction, or `truth_prediction`,
        and the pruned one's.
    tolerance
        How far apart the same particle may be: in nm where the pixel size is
        known, else in pixels. None = half of its class's radius.
    truth
        Annotations of the image, for the metrics.
    truth_of_b
        The same for B where particles were drawn of another size for it to learn from;
        None = `truth`.
    how
        How A's and B's probability becomes objects, for metrics at other thresholds.

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
    difference, disagreement = _differences(a, b, looked)
    lines = line_changes(a.detections, b.detections, tolerance_px=reach)
    objects = (0, 0)
    if task.kind == "instances":
        things, objects = object_changes(a.labels, b.labels, area=looked)
    else:
        found = (a.detections, b.detections)
        things = particle_changes(*found, tolerance_px=reach, area=looked)
    places = worst_places(
        task,
        scale=scale,
        things=things,
        lines=lines,
        differs=disagreement,
        strength=_strongest(difference),
    )
    metrics = None
    if truth is not None:
        metrics = _against_truth((a, b), truth, truth_of_b, tolerance_px=reach, how=how)
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
        places=places,
        looked=looked,
        agreement=_agreement(a, b, things.counts(), lines.counts(), objects, looked),
        metrics=metrics,
    )


def _differences(
    a: Prediction, b: Prediction, looked: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Signed difference `(k, y, x)`, and where labels differ, as far as both looked."""
    ours, theirs = (to_original(one.probability, one.shape) for one in (a, b))
    difference = theirs - ours
    disagreement = class_labels_of(a) != class_labels_of(b)
    if looked is not None:
        difference *= looked
        disagreement &= looked
    return difference, disagreement


def _strongest(difference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest size `(y, x)` of a difference `(k, y, x)`; memory of two planes."""
    strongest: NDArray[np.float32] = np.abs(difference[0])
    for plane in difference[1:]:
        np.maximum(strongest, np.abs(plane), out=strongest)
    return strongest


def changes_between(
    a: Prediction, b: Prediction, *, tolerance: float | None = None
) -> tuple[dict[str, int], float]:
    """Count what became of the things and lines of A in B, and how alike they are.

    The agreement, 0..1, is for detections the F1 of B's particles and filaments with
    A's as the truth, for instances that of the objects (IoU above 0.5), for
    segmentation the mean Dice of the classes. Nothing in either is full agreement.

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
    lines = line_changes(a.detections, b.detections, tolerance_px=reach).counts()
    if a.task.kind == "instances":
        things, objects = object_counts(a.labels, b.labels, area=looked)
    else:
        found = (a.detections, b.detections)
        changes = particle_changes(*found, tolerance_px=reach, area=looked)
        things, objects = changes.counts(), (0, 0)
    alike = _agreement(a, b, things, lines, objects, looked)
    return {name: things[name] + lines.get(name, 0) for name in STATUSES}, alike


def _agreement(
    a: Prediction,
    b: Prediction,
    things: dict[str, int],
    lines: dict[str, int],
    objects: tuple[int, int],
    looked: NDArray[np.bool_] | None,
) -> float:
    """How much of A is in B; `objects` counts those of each, of instances."""
    if a.task.kind == "segment":
        labels_a, labels_b = class_labels_of(a), class_labels_of(b)
        truth = labels_a.astype(np.int64)
        if looked is not None:
            truth = np.where(looked, truth, -1)
        n = len(a.task.classes)
        return float(count_pixels(truth, labels_b, n).metrics()["dice"])
    both, counts = 2 * things["kept"], list(objects)
    if a.task.kind == "detect":
        shared = things["kept"] + things["changed"]
        counts = [shared + things["lost"], shared + things["gained"]]
        # A line may be kept as several pieces: each side counts its own.
        n_lines = len(a.detections.lines)
        both += lines["kept"] + n_lines - lines["lost"]
        counts += [n_lines, lines["kept"] + lines["gained"]]
    return both / sum(counts) if sum(counts) else 1.0


def _reach(
    task: Task, scale: float | None, tolerance: float | None
) -> NDArray[np.float64]:
    """Tolerance of each class `(k,)` in pixels."""
    if tolerance is not None and scale is None:
        return np.full(len(task.classes), float(tolerance))
    return tolerances(task, scale=scale, tolerance_nm=tolerance)


def _against_truth(
    predictions: Sequence[Prediction],
    truth: Truth | Sequence[Any],
    truth_of_b: Truth | None,
    *,
    tolerance_px: NDArray[np.float64],
    how: tuple[PostProcessing, PostProcessing],
) -> dict[str, Any]:
    """Metrics of two predictions of one image, as `Comparison.metrics` has them."""
    first = predictions[0]
    if not isinstance(truth, Truth):
        truth = truth_of(truth, first.shape, task=first.task, scale=first.scale)
    filaments = _filaments(predictions, truth)
    sides = zip("ab", predictions, (truth, truth_of_b or truth), how, strict=True)
    return {
        side: _figures(one, drawn, own, tolerance_px=tolerance_px, filaments=filaments)
        for side, one, drawn, own in sides
    }


def _figures(
    prediction: Prediction,
    truth: Truth,
    how: PostProcessing,
    *,
    tolerance_px: NDArray[np.float64],
    filaments: frozenset[str],
) -> dict[str, Any]:
    task, shape, maps = prediction.task, prediction.shape, prediction.probability
    shrunk = float(np.sqrt(maps[0].size / (shape[0] * shape[1])))
    radii = {
        name: radius * shrunk
        for name in task.classes[1:]
        if (radius := task.radius(name, prediction.scale)) is not None
    }
    how = replace(how, radius_px=radii, line_classes=filaments)
    best = sweep(
        prediction, truth, postprocessing=how, tolerance_px=tolerance_px
    ).best()

    def at(thresholds: dict[str, float]) -> dict[str, Any]:
        return {"thresholds": thresholds, **report(how.at(thresholds).read(prediction))}

    def report(read: Prediction) -> dict[str, Any]:
        return score(
            read, truth, tolerance_px=tolerance_px, line_classes=filaments
        ).report()

    names = task.classes[1:]
    return {
        "as_shown": report(prediction),
        "own_best": at(
            {n: best[n][0] if n in best else COMMON_THRESHOLD for n in names}
        ),
        "at_common_threshold": at(dict.fromkeys(names, COMMON_THRESHOLD)),
    }


def _filaments(predictions: Sequence[Prediction], truth: Truth) -> frozenset[str]:
    """Classes that are drawn or traced as lines, and never marked as particles."""
    lines = {int(i) for i in truth.particles.line_class}
    for prediction in predictions:
        lines |= {int(i) for i in prediction.detections.line_class}
    marked = {int(i) for i in truth.particles.class_index}
    return frozenset(predictions[0].task.classes[i] for i in lines - marked)
