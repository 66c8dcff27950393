"""How many weights a two-branch nuclei segmenter can lose: layer-wise, network-wide.

One network is trained per seed. For each compression ratio the smallest weights become
zero, in every layer the same share or over all layers of a branch, both branches alike,
and what remains is fine-tuned. Whether that was done once or by and by is not
published: here they go as in the workbench, above CR 4 gradually in the first part of
fine-tuning, with the masks fixed from then on.

Published without a table: less than 2 % is lost, layer-wise, with 93.75 %
(segmentation), 95 % (distance) and 80 % (objects) of the weights removed; layer-wise is
better for few weights removed, network-wide for many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_topiary.annotations.labels import object_distances
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig, PruneConfig, TrainConfig
from napari_topiary.data.working_grid import to_original
from napari_topiary.evaluation.ground_truth import truth_of
from napari_topiary.evaluation.object_metrics import dice, instance_metrics
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Sample
from napari_topiary.pruning import plan_job, pruning_schedule
from napari_topiary.report.charts import Chart, Line, save_chart
from napari_topiary.studies.base import (
    Cell,
    CellResult,
    Column,
    Measured,
    SeedResults,
    Source,
    Study,
    Table,
    grouped,
    studies,
)
from napari_topiary.studies.context import StudyContext, shortened
from napari_topiary.types import Job, Prediction, Task

RATIOS = (5, 16, 20, 2, 4, 8, 10, 32, 64)
"""Compression ratios beside 1, those with published numbers first."""
FINE_TUNING = 0.5
"""Of the length of the training."""
LOST = 0.02
"""Share of the quality that may be lost."""
COLOURS = {"layer": "#2060c0", "global": "#d06000"}
SCOPES = {"layer": "layer-wise", "global": "network-wide"}
THRESHOLD = 0.5
LIMITS = ("curve", "layer-wise", "layer-wise, published", "network-wide", "crossing")
QUICK_SIZES: Mapping[str, Any] = {"base": 8, "levels": 3}


@studies.register("nuclei-pruning")
class NucleiPruning(Study):
    """Three curves of quality against compression, in two scopes."""

    title = "Weights removed layer-wise and network-wide from a nuclei segmenter"
    source = Source(
        "Mahbod, Entezari, Ellinger and Saukh, Deep neural network pruning for nuclei "
        "instance segmentation in hematoxylin and eosin-stained histological images, "
        "AMAI (MICCAI workshop) 2022",
        "arXiv 2206.07422",
    )
    tasks = ("instances",)
    axes: ClassVar[Mapping[str, str]] = {
        "ratio": "compression ratio: weights before / weights remaining",
        "scope": "layer (layer-wise), global (network-wide); none for ratio 1",
    }

    def grid(self, *, quick: bool) -> tuple[Cell, ...]:
        """Return all ratios in both scopes, the unpruned network first."""
        ratios = (5, 32) if quick else RATIOS
        pruned = [
            {"ratio": ratio, "scope": scope}
            for ratio in ratios
            for scope in ("layer", "global")
        ]
        return ({"ratio": 1, "scope": "none"}, *pruned)

    def run_cell(self, cell: Cell, context: StudyContext) -> Job[Measured]:
        """Prune, fine-tune, measure branches and objects."""
        made = yield from self._whole(context)
        if cell["scope"] != "none" and not context.stopped:
            made = yield from self._pruned(made, cell, context)
        if context.stopped:
            return {}
        found = yield from nuclei_quality(made, context)
        return {
            **found,
            "parameters_nonzero": made.parameters_nonzero,
            "sparsity": made.sparsity,
            "file_bytes": made.file_bytes(),
            "steps": made.provenance.get("steps"),
        }

    def _whole(self, context: StudyContext) -> Job[Checkpoint]:
        """Train the network, once per seed."""
        job = context.fit(_config(context))
        return (yield from context.kept("nuclei", {"seed": context.seed}, job))

    def _pruned(
        self, whole: Checkpoint, cell: Cell, context: StudyContext
    ) -> Job[Checkpoint]:
        share = 1.0 - 1.0 / float(cell["ratio"])
        how = PruneConfig(
            kind="weights", criterion="magnitude", scope=cell["scope"], remove=share
        )
        plan = yield from context.relay(plan_job(whole, how))
        config = shortened(_config(context), FINE_TUNING)
        pruning = pruning_schedule(plan, share)
        return (yield from context.fit(config, start=whole, pruning=pruning))

    def tables(self, results: Sequence[CellResult], task: Task) -> tuple[Table, ...]:
        """Return all figures, and the largest ratios with a loss below 2 %."""
        groups = grouped(results)
        columns = (
            Column("CR", ".0f"),
            Column("scope"),
            Column("removed %", ".2f"),
            *(
                Column(f"{curve.words}{what}", form)
                for curve in CURVES
                for what, form in (("", ".4f"), (" sd", ".4f"), (" lost %", ".2f"))
            ),
            *(Column(name, ".4f") for name in ("AJI", "DQ", "SQ")),
        )
        rows = []
        for group in sorted(groups, key=lambda g: (g.cell["ratio"], g.cell["scope"])):
            sparsity = group.mean("sparsity")
            figures: list[float | None] = []
            for curve in CURVES:
                lost = loss(groups, group, curve)
                figures += [group.mean(curve.name), group.deviation(curve.name)]
                figures.append(None if lost is None else 100 * lost)
            rows.append(
                (
                    group.cell["ratio"],
                    SCOPES.get(group.cell["scope"], "unpruned"),
                    None if sparsity is None else 100 * sparsity,
                    *figures,
                    *(group.mean(name) for name in ("aji", "dq", "sq")),
                )
            )
        title = "Quality of branches and objects, pruned and fine-tuned"
        return (
            Table(name="table", title=title, columns=columns, rows=tuple(rows)),
            _limits(groups),
        )

    def draw(
        self, results: Sequence[CellResult], task: Task, folder: Path
    ) -> tuple[str, ...]:
        """Draw each curve in both scopes, with the 2 % line and the published ratio."""
        groups = grouped(results)
        pictures = []
        for curve in CURVES:
            lines, base = [], _unpruned(groups)
            for scope, words in SCOPES.items():
                points = [
                    (float(g.cell["ratio"]), value, g.deviation(curve.name) or 0.0)
                    for g in _of(groups, scope)
                    if (value := g.mean(curve.name)) is not None
                ]
                lines.append(
                    Line(
                        name=words,
                        points=[(x, y) for x, y, _ in points],
                        colour=COLOURS[scope],
                        marks=True,
                        spread=[sd for *_, sd in points],
                    )
                )
            before = None if base is None else base.mean(curve.name)
            levels = []
            if before is not None:
                limit = before * (1 - LOST if curve.rising else 1 + LOST)
                levels = [(limit, "2 % lost")]
            removed = 100 * (1 - 1 / curve.ratio)
            chart = Chart(
                title=curve.title,
                x="compression ratio",
                y_limits=(None, None),
                log_x=True,
                levels=levels,
                places=[(curve.ratio, f"published: {removed:g} %")],
            )
            pictures.append(f"{curve.name}.png")
            save_chart(folder / pictures[-1], chart, lines)
        return tuple(pictures)

    def sentences(self, results: Sequence[CellResult], task: Task) -> tuple[str, ...]:
        """Say how much may go for less than 2 %, and where the scopes cross."""
        groups = grouped(results)
        said = []
        for curve in CURVES:
            largest = {scope: _largest(groups, scope, curve) for scope in SCOPES}
            if None in largest.values():
                continue
            said.append(
                f"{curve.words}: less than 2 % is lost up to CR {largest['layer']} "
                f"layer-wise and CR {largest['global']} network-wide (published, "
                f"layer-wise: {curve.ratio}); {_crossing(groups, curve)}."
            )
        return tuple(said)


def _config(context: StudyContext) -> TrainConfig:
    return context.config("nuclei", QUICK_SIZES if context.budget.quick else {})


def nuclei_quality(checkpoint: Checkpoint, context: StudyContext) -> Job[Measured]:
    """Measure a nuclei segmenter image by image, averaged without weights.

    Parameters
    ----------
    checkpoint
        Of a network with a distance branch, or without (then there is no `rmse`).
    context
        Images and device.

    Returns
    -------
    dict
        `dice` of the segmentation branch at 0.5, `rmse` of the distance branch (0..1),
        and of the objects `instance_dice, aji, pq, dq, sq`.
    """
    config = PredictConfig(device=context.budget.device)  # type: ignore[arg-type]
    network = checkpoint.build()
    found: list[Measured] = []
    for sample in context.held_out:
        job = predict(
            sample.image, checkpoint, config, scale=sample.scale, network=network
        )
        prediction = yield from context.relay(job)
        if context.stopped:
            return {}
        found.append(of_image(prediction, sample))
    return averaged(found)


def of_image(prediction: Prediction, sample: Sample) -> Measured:
    """Hold one prediction against its image's annotations."""
    shape = prediction.shape
    truth = truth_of(
        sample.annotations, shape, task=prediction.task, scale=sample.scale
    )
    known = truth.classes >= 0
    there = truth.classes > 0
    sure = to_original(prediction.probability, shape)[1] >= THRESHOLD
    measured: Measured = {
        "dice": dice(there[known], sure[known]),
        "instance_dice": dice(there[known], (prediction.labels > 0)[known]),
    }
    if truth.objects is not None:
        scores = instance_metrics(truth.objects, prediction.labels)
        measured |= {name: scores[name] for name in ("aji", "pq", "dq", "sq")}
    if prediction.regression is not None:
        distance = to_original(prediction.regression, shape)[0]
        true = object_distances(sample.annotations, shape)
        error = (distance.astype(np.float64) - true)[known]
        measured["rmse"] = float(np.sqrt(np.mean(error**2)))
    return measured


def averaged(images: Sequence[Measured]) -> Measured:
    """Mean over the images, each counting the same."""
    names = dict.fromkeys(name for image in images for name in image)
    return {
        name: float(np.mean([image[name] for image in images if name in image]))
        for name in names
    }


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One of the three curves."""

    name: str
    #: `words`, `title`: for tables and plots
    words: str
    title: str
    #: Largest compression ratio that cost less than 2 %, layer-wise, as published
    ratio: int
    rising: bool = True  #: Whether more is better


CURVES = (
    Curve(name="dice", words="Dice", title="Segmentation: Dice", ratio=16),
    Curve(
        name="rmse",
        words="RMSE",
        title="Distance: RMSE (less is better)",
        ratio=20,
        rising=False,
    ),
    Curve(name="pq", words="PQ", title="Objects: PQ", ratio=5),
)


def loss(
    groups: Sequence[SeedResults], group: SeedResults, curve: Curve
) -> float | None:
    """Share of the unpruned network's quality that is lost; negative = gained."""
    base = _unpruned(groups)
    before = None if base is None else base.mean(curve.name)
    after = group.mean(curve.name)
    if before is None or after is None or before == 0:
        return None
    change = (before - after) / before
    return change if curve.rising else -change


def _limits(groups: Sequence[SeedResults]) -> Table:
    rows = []
    for curve in CURVES:
        layer, whole = (_largest(groups, scope, curve) for scope in SCOPES)
        rows.append((curve.title, layer, curve.ratio, whole, _crossing(groups, curve)))
    return Table(
        name="limits",
        title="Largest compression ratio with less than 2 % lost",
        columns=tuple(map(Column, LIMITS)),
        rows=tuple(rows),
        note="Published: layer-wise is slightly better for few weights removed, "
        "network-wide for many.",
    )


def _unpruned(groups: Sequence[SeedResults]) -> SeedResults | None:
    return next((g for g in groups if g.cell["ratio"] == 1), None)


def _of(groups: Sequence[SeedResults], scope: str) -> list[SeedResults]:
    """Cells of a scope by ratio, the unpruned network first."""
    own = [g for g in groups if g.cell["scope"] in (scope, "none")]
    return sorted(own, key=lambda g: g.cell["ratio"])


def _largest(groups: Sequence[SeedResults], scope: str, curve: Curve) -> int | None:
    """Largest ratio up to which every step loses less than 2 %; None = unknown."""
    largest = None
    for group in _of(groups, scope):
        lost = loss(groups, group, curve)
        if lost is None:
            continue
        if lost >= LOST:
            break
        largest = int(group.cell["ratio"])
    return largest


def _crossing(groups: Sequence[SeedResults], curve: Curve) -> str:
    """Say from which ratio on network-wide is better."""
    sides = []
    by_ratio = {
        scope: {g.cell["ratio"]: g for g in _of(groups, scope)} for scope in SCOPES
    }
    for ratio in sorted(by_ratio["layer"].keys() & by_ratio["global"].keys() - {1}):
        layer = by_ratio["layer"][ratio].mean(curve.name)
        whole = by_ratio["global"][ratio].mean(curve.name)
        if layer is not None and whole is not None:
            sides.append((ratio, (whole > layer) == curve.rising and whole != layer))
    if not sides:
        return "not known"
    better = [ratio for ratio, is_better in sides if is_better]
    if not better:
        return "layer-wise is better throughout"
    if len(better) == len(sides):
        return "network-wide is better throughout"
    last = max((ratio for ratio, is_better in sides if not is_better), default=0)
    after = [ratio for ratio in better if ratio > last]
    if not after:
        return f"network-wide is better at CR {', '.join(map(str, better))} only"
    return f"network-wide is better from CR {after[0]} on"
