"""The figure that a checkpoint is given: how good it is on what was held back.

It is measured like a prediction and counted like an evaluation, at the thresholds that
the checkpoint has: whoever evaluates it on the same area gets the same figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from napari_topiary.annotations import MarkedThings
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.data.annotated_area import AnnotatedArea
from napari_topiary.data.hold_out import in_words
from napari_topiary.data.prepared import PreparedData
from napari_topiary.data.working_grid import working_to_original_coords
from napari_topiary.evaluation.quality import interval
from napari_topiary.evaluation.score import Score, Scorer
from napari_topiary.evaluation.validator_pixels import suits_pixels
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.tiles import InferResult, TileBox, infer
from napari_topiary.networks.base import Network
from napari_topiary.postprocessing import COMMON_THRESHOLD
from napari_topiary.postprocessing.detections import shrinking
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Job, Prediction, Progress, Stop, Task, relay

_REACH = 6.0
"""Radii around what is validated that may change what is found in it."""


def with_figures(
    checkpoint: Checkpoint,
    prepared: PreparedData,
    *,
    engine: Engine,
    at_common: bool = False,
) -> Job[Checkpoint]:
    """Measure a checkpoint at its own thresholds and write the figure into it.

    `at_common`: whether the same answers are read at 0.5 as well, where whole areas are
    judged; its `metrics` have that figure as `at_common` then.

    Yields
    ------
    Progress
        After every tile; after a `Stop` the areas begun so far count.

    Returns
    -------
    Checkpoint
        Its `metrics` have, beside `quality`: `n_objects` that the figure rests on and
        what they are (`counted`), how many of them were found (`n_right`) and how
        many finds are none (`n_wrong`), its 95 % `interval`, and whether the same
        areas were `used_for_choosing` weights or thresholds.
    """
    areas, task = prepared.figure_areas, checkpoint.task
    if not areas:
        return checkpoint
    figures: dict[str, Any] = {"counted": _counted(prepared, task)}
    if suits_pixels(engine.network, areas, task):
        # Whole areas would take longer than the training: a sample of pixels it is.
        figures["used_for_choosing"] = True
        if "quality" not in checkpoint.metrics:
            return checkpoint
        things = sum(area.things for area in areas)
        figures |= _with_interval(float(checkpoint.metrics["quality"]), things)
        return replace(checkpoint, metrics={**checkpoint.metrics, **figures})
    figures["used_for_choosing"] = _chosen_by_them(prepared, task)
    usual = dict.fromkeys((*task.classes[1:], "common"), COMMON_THRESHOLD)
    common = replace(checkpoint, thresholds=usual)
    read = (checkpoint, common) if at_common else (checkpoint,)
    scores = yield from _scored(read, engine, areas)
    lines = PostProcessing.of(checkpoint).line_classes
    total = reduce(add, (own for own, *_ in scores))
    found, name, per_class, beside = _figure(total, lines)
    if found is None:
        return checkpoint
    if at_common:
        there, *_ = _figure(reduce(add, (other for _, other in scores)), lines)
        figures["at_common"] = there
    things = sum(area.things for area in areas[: len(scores)])
    counts = total.counts()
    if counts is not None and name in ("F1", "PQ"):
        # Marks outside finished areas do not count.
        things = counts.there
        figures |= {"n_right": counts.right, "n_wrong": counts.wrong}
    elif name == "F1":
        things = int(total.report()["n_true"])
    figures |= {
        "quality": found,
        "quality_name": name,
        "per_class": per_class,
        "beside": beside,
        "held_out": in_words(areas[: len(scores)]),
        **_with_interval(found, things),
    }
    return replace(checkpoint, metrics={**checkpoint.metrics, **figures})


def _scored(
    read: Sequence[Checkpoint], engine: Engine, areas: Sequence[AnnotatedArea]
) -> Job[list[tuple[Score, ...]]]:
    """Predict and score one area after the other; Stop ends it after this one.

    `read`: the same network with other thresholds; each answer is read as all of them.
    """
    scores: list[tuple[Score, ...]] = []
    for area in areas:
        heard: list[object] = []
        part = _validated_part(area, engine.network, read[0].task)
        answer = yield from relay(
            infer(engine, area.field.image, part=part),
            told=lambda _: Progress(1.0, 1.0, "Validating on what was held back"),
            heard=heard.append,
            whole=True,
        )
        scores.append(tuple(_score(one, area, answer, engine.network) for one in read))
        if Stop in heard:
            break
    return scores


def _chosen_by_them(prepared: PreparedData, task: Task) -> bool:
    """Whether weights or thresholds were chosen on what the figure is measured on."""
    apart = prepared.usual_thresholds or (
        bool(prepared.learned) and task.kind == "detect"
    )
    return prepared.figure_only and not apart


def _with_interval(figure: float, things: int) -> dict[str, Any]:
    """How many things a figure rests on, and how sure it is."""
    return {"n_objects": things, "interval": list(interval(figure, things))}


def _validated_part(
    area: AnnotatedArea, network: Network, task: Task
) -> TileBox | None:
    """Find what a network has to look at for a figure that is the same as of all.

    In working pixels, without what it sees around; None where objects or lines may
    reach anywhere.
    """
    radii, shape = area.task.radius_px, area.field.target.shape
    particles = task.kind == "detect" and set(task.classes[1:]) <= set(radii)
    box = area.own_box
    if box is None or network.patch is not None:
        return None
    if task.kind == "detect":
        drawn = [
            one for one in area.sample.annotations if isinstance(one, MarkedThings)
        ]
        particles &= not any(one.is_line and len(one) for one in drawn)
    if not (particles or task.kind == "segment"):
        return None
    reach = _REACH * max(radii.values()) if particles else 1.0
    # Particles are looked for in blocks of pixels.
    step = network.stride * max([1, *(shrinking(one) for one in radii.values())])
    original, ends = area.sample.image.shape[1:], list[int]()
    for axis, (first, last) in enumerate((box[:2], box[2:])):
        ratio = shape[axis] / original[axis]
        low, high = first * ratio - reach, last * ratio + reach
        most = -(-shape[axis] // network.stride) * network.stride
        ends += [max(0, int(low // step) * step), min(most, -int(-high // step) * step)]
    return TileBox(*ends)


def figure_pixels(prepared: PreparedData, network: Network, task: Task) -> int:
    """Count the working pixels that the figure is measured on."""
    parts = [
        (one, _validated_part(one, network, task)) for one in prepared.figure_areas
    ]
    return sum(one.field.target.size if p is None else p.area for one, p in parts)


def _score(
    checkpoint: Checkpoint, area: AnnotatedArea, answer: InferResult, network: Network
) -> Score:
    """Read an answer like a prediction and count it like an evaluation."""
    sample, task = area.sample, checkpoint.task
    shape = (sample.image.shape[1], sample.image.shape[2])
    part = _validated_part(area, network, task)
    if part is not None and task.kind == "detect":
        # Of a large image, labels and their pixels would take longer than the rest.
        seen = answer.probability[:, part.top : part.bottom, part.left : part.right]
        found = PostProcessing.of(checkpoint).detections(seen, seen.shape[1:], task)
        places = found.coordinates + np.array([part.top, part.left])
        working = (answer.probability.shape[1], answer.probability.shape[2])
        places = working_to_original_coords(places, shape, working)
        found = replace(found, coordinates=places)
        scorer = Scorer.of(checkpoint, sample, None, area.box, drawn=False)
        return scorer.score_particles(found)
    labels, detections = PostProcessing.of(checkpoint).interpret(
        answer.probability, shape, task, answer.regression
    )
    prediction = Prediction(
        probability=answer.probability,
        shape=shape,
        task=task,
        scale=sample.scale,
        labels=labels,
        detections=detections,
        checkpoint=checkpoint.name,
        regression=answer.regression,
    )
    return Scorer.of(checkpoint, sample, None, area.box).score(prediction)


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


def _counted(prepared: PreparedData, task: Task) -> str:
    if task.kind == "instances":
        return "objects"
    marked = any(len(one.points) for one in prepared.figure_areas)
    return "particles" if marked else "patches"
