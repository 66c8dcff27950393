"""The figure that a checkpoint is given: how good it is on what was held back.

It is measured like a prediction and counted like an evaluation, at the thresholds that
the checkpoint has: whoever evaluates it on the same area gets the same figure.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.data.prepared import Material
from napari_topiary.evaluation.score import Score, Scorer
from napari_topiary.evaluation.validator_pixels import suits_pixels
from napari_topiary.inference.tiles import infer
from napari_topiary.networks.base import Network
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Job, Prediction, Progress, Stop, Task

SURE = 1.96
"""Standard deviations to each side: the true figure lies in 19 of 20 such intervals."""


def with_figures(
    checkpoint: Checkpoint,
    material: Material,
    *,
    device: str = "auto",
    network: Network | None = None,
) -> Job[Checkpoint]:
    """Measure a checkpoint at its own thresholds and write the figure into it.

    Parameters
    ----------
    checkpoint
        With its thresholds.
    material
        With what is held back.
    device
        Where to compute.
    network
        The checkpoint's network, if it is built already.

    Yields
    ------
    Progress
        After every tile; after a `Stop` the areas begun so far count.

    Returns
    -------
    Checkpoint
        Its `metrics` have, beside `quality`: `n_objects` that the figure rests on and
        what they are (`counted`), its 95 % `interval`, and whether the same areas
        were `used_for_choosing` weights or thresholds.
    """
    areas, task = material.judging, checkpoint.task
    if not areas:
        return checkpoint
    network = network or checkpoint.build()
    by_default = material.few and task.kind != "detect"
    apart = by_default or (material.learned and task.kind == "detect")
    same = material.figure_only and not apart
    figures: dict[str, Any] = {
        "counted": _counted(material, task),
        "used_for_choosing": same,
    }
    if suits_pixels(network, areas, task):
        # Whole areas would take longer than the training: a sample of pixels it is.
        figures["used_for_choosing"] = True
        if "quality" in checkpoint.metrics:
            value = float(checkpoint.metrics["quality"])
            n_things = sum(one.things for one in areas)
            figures["n_objects"] = n_things
            figures["interval"] = list(interval(value, n_things))
            return replace(checkpoint, metrics={**checkpoint.metrics, **figures})
        return checkpoint
    total: Score | None = None
    stopped, n_things = False, 0
    reading = PostProcessing.of(checkpoint)
    for area in areas:
        judge = Scorer.of(checkpoint, area.sample, None, area.box)
        image = area.sample.image
        shape = (image.shape[1], image.shape[2])
        answer = None
        asking = infer(network, area.field.image, device=device)
        while answer is None:
            try:
                next(asking)
            except StopIteration as end:
                answer = end.value
            else:
                said = yield Progress(1.0, 1.0, "Judging what was held back")
                stopped = stopped or said is Stop
        prediction = Prediction(
            probability=answer.probability,
            shape=shape,
            task=task,
            scale=area.sample.scale,
            labels=reading.labels(answer.probability, shape, task, answer.regression),
            detections=reading.detections(answer.probability, shape, task),
            checkpoint=checkpoint.name,
            regression=answer.regression,
        )
        own = judge.score(prediction)
        total = own if total is None else total + own
        n_things += area.things
        if stopped:
            break
    figures["n_objects"] = n_things
    if total is None:
        return checkpoint
    found, name, per_class, beside = _figure(total, reading.line_classes)
    if found is None:
        return checkpoint
    figures |= {
        "quality": found,
        "quality_name": name,
        "per_class": per_class,
        "beside": beside,
        "held_out": material.held_names,
        "interval": list(interval(found, n_things)),
    }
    return replace(checkpoint, metrics={**checkpoint.metrics, **figures})


def _figure(
    total: Score, lines: frozenset[str]
) -> tuple[float | None, str, dict[str, float], dict[str, float]]:
    """The figure, its name, the same by class, and others beside it."""
    report, task = total.report(), total.task
    if "pq" in report:
        own = float(report["pq"])
        return own, "PQ", {task.classes[1]: own}, {"AJI": float(report["aji"])}
    names, per_class = set(), {}
    for index, name in enumerate(task.classes[1:], start=1):
        figures = report["per_class"][name]
        by_centre = task.kind == "detect" and name not in lines
        there = total.pixels.confusion[index].sum()
        if by_centre:
            there = figures["true_positives"] + figures["false_negatives"]
        key = "f1" if by_centre else "dice"
        if there and figures.get(key) is not None:
            per_class[name] = float(figures[key])
            names.add("F1" if by_centre else "Dice")
    if not per_class:
        return None, "none", {}, {}
    title = "F1/Dice" if len(names) > 1 else names.pop()
    return sum(per_class.values()) / len(per_class), title, per_class, {}


def _counted(material: Material, task: Task) -> str:
    if task.kind == "instances":
        return "objects"
    marked = any(len(one.points) for one in material.judging)
    return "particles" if marked else "patches"


def interval(share: float, n: int) -> tuple[float, float]:
    """Between what the true share lies, 19 times out of 20 (Wilson).

    Parameters
    ----------
    share
        That was found, 0..1.
    n
        Things that it was found on.
    """
    if n <= 0:
        return 0.0, 1.0
    square = SURE**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    spread = math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    spread *= SURE / (1 + square / n)
    return max(0.0, middle - spread), min(1.0, middle + spread)
