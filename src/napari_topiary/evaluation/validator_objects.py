"""How good a network is at telling objects apart, on the areas that were held out.

Which pixels are foreground says little about whether touching nuclei are two. So the
objects themselves are counted, at a few thresholds, of which the best is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_topiary.data.annotated_area import AnnotatedArea
from napari_topiary.evaluation.objects import instance_metrics
from napari_topiary.evaluation.quality import VALIDATING, Quality
from napari_topiary.inference.tiles import InferResult
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Job, LabelImage, Task

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Candidates; objects hardly change from one to the next."""
COMMON = THRESHOLDS.index(0.5)
SLACK = 0.005
"""Mean PQ that a steadier threshold may cost: the middle of all that are as good."""
MOST_PIXELS = 4_000_000
"""Areas are looked at until they have that many pixels, but at least one is."""


def validate_objects(
    answers: Sequence[InferResult],
    held: Sequence[AnnotatedArea],
    learned: Sequence[AnnotatedArea],
    task: Task,
    loss: float,
) -> Job[Quality]:
    """Validate answers by panoptic quality; yields after every area.

    Parameters
    ----------
    answers
        What the network says about each area, the held ones first.
    held
        The areas to judge by, with their objects.
    learned
        Areas to choose the threshold on; empty = the same.
    task
        With one class of objects.
    loss
        Mean loss on these areas, to be handed on.

    Returns
    -------
    Quality
        PQ, at the threshold where its mean over the areas is best, with AJI beside.
    """
    scores = yield from _all_swept(answers[: len(held)], held, task)
    if not scores:
        return Quality(value=0.0, name="none", loss=loss)
    pq, aji = np.mean(scores, axis=0).T
    others = yield from _all_swept(answers[len(held) :], learned, task)
    own = np.mean(others, axis=0)[:, 0] if others else pq
    good = np.flatnonzero(own >= own.max() - SLACK)
    best = int(good[len(good) // 2])
    name, threshold = task.classes[1], THRESHOLDS[best]
    return Quality(
        value=float(pq[best]),
        name="PQ",
        loss=loss,
        thresholds={name: threshold, "common": threshold},
        per_class={name: float(pq[best])},
        at_common=float(pq[COMMON]),
        beside={"AJI": float(aji[best])},
    )


def _all_swept(
    answers: Sequence[InferResult], areas: Sequence[AnnotatedArea], task: Task
) -> Job[list[NDArray[np.float64]]]:
    """PQ and AJI `(t, 2)` of each area at every threshold."""
    scores: list[NDArray[np.float64]] = []
    pixels = 0
    for answer, area in zip(answers, areas, strict=True):
        truth = _objects(area)
        if truth is not None and (pixels == 0 or pixels < MOST_PIXELS):
            scores.append(_swept(answer, truth, task))
            pixels += truth.size
        yield VALIDATING
    return scores


def _objects(area: AnnotatedArea) -> LabelImage | None:
    """Object numbers, −1 where the area is not judged; None if there are none."""
    objects, target = area.field.objects, area.field.target
    if objects is None or not (objects[target >= 0] > 0).any():
        return None
    judged: LabelImage = np.where(target >= 0, objects, -1)
    return judged


def _swept(answer: InferResult, truth: LabelImage, task: Task) -> NDArray[np.float64]:
    """PQ and AJI `(t, 2)` at every threshold."""
    shape = (truth.shape[0], truth.shape[1])
    rows = []
    for threshold in THRESHOLDS:
        postprocessing = PostProcessing(thresholds={task.classes[1]: threshold})
        found = postprocessing.labels(
            answer.probability, shape, task, answer.regression
        )
        scores = instance_metrics(truth, found)
        rows.append((scores["pq"], scores["aji"]))
    return np.array(rows)
