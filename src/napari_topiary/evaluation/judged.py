"""Both predictions against the truth: as shown, each at its best, both at 0.5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.evaluation.ground_truth import Truth, truth_of
from napari_topiary.evaluation.score import score
from napari_topiary.evaluation.thresholds import sweep
from napari_topiary.postprocessing import COMMON_THRESHOLD
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Prediction


def judged(
    predictions: Sequence[Prediction],
    truth: Truth | Sequence[Any],
    *,
    tolerance_px: NDArray[np.float64],
) -> list[dict[str, Any]]:
    """Metrics of predictions of the same image.

    Parameters
    ----------
    predictions
        With the same task.
    truth
        Of the image, or its annotations.
    tolerance_px
        `(k,)` how far off a particle may be, per class, in pixels.

    Returns
    -------
    list of dict
        For each prediction `as_shown`, `own_best` and `at_common_threshold`, each with
        its `thresholds` (unknown for `as_shown`) and the metrics of `Score.report`.
    """
    first = predictions[0]
    if not isinstance(truth, Truth):
        truth = truth_of(truth, first.shape, task=first.task, scale=first.scale)
    filaments = _filaments(predictions, truth)
    return [
        _judge(p, truth, tolerance_px=tolerance_px, filaments=filaments)
        for p in predictions
    ]


def _judge(
    prediction: Prediction,
    truth: Truth,
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
    reading = PostProcessing(radius_px=radii, line_classes=filaments)
    best = sweep(prediction, truth, reading=reading, tolerance_px=tolerance_px).best()

    def at(thresholds: dict[str, float]) -> dict[str, Any]:
        how = replace(reading, thresholds=thresholds)
        return {"thresholds": thresholds, **report(_read(prediction, how))}

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


def _read(prediction: Prediction, how: PostProcessing) -> Prediction:
    task, shape, maps = prediction.task, prediction.shape, prediction.probability
    return replace(
        prediction,
        labels=how.labels(maps, shape, task, prediction.regression),
        detections=how.detections(maps, shape, task),
    )


def _filaments(predictions: Sequence[Prediction], truth: Truth) -> frozenset[str]:
    """Classes that are drawn or traced as lines, and never marked as particles."""
    lines = {int(i) for i in truth.particles.line_class}
    for prediction in predictions:
        lines |= {int(i) for i in prediction.detections.line_class}
    marked = {int(i) for i in truth.particles.class_index}
    return frozenset(predictions[0].task.classes[i] for i in lines - marked)
