"""Pruning by loss against pruning by magnitude, on a membrane classifier.

One network N is trained per seed; N1..N7 keep the published numbers of maps, chosen by
the loss that each map's absence costs, or by the size of its weights, and are trained
again for a quarter as long at a tenth of the rate.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.inference.predict import predict
from napari_topiary.networks import activation_bytes
from napari_topiary.networks.base import networks
from napari_topiary.networks.membrane_cnn import PRESETS
from napari_topiary.pruning import FilterPlan, Search, counts_job, plan_job
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
    published,
    studies,
)
from napari_topiary.studies.context import StudyContext, shortened
from napari_topiary.studies.patch_accuracy import patch_accuracy
from napari_topiary.types import Job, Task

LAYERS = ("conv1", "conv2", "conv3", "fc1")
"""Layers that are pruned, from the bottom."""
RETRAINING = 0.25
"""Of the length of the training."""
RETRAINING_RATE = 0.1
"""Of the recipe's learning rate."""
QUICK_PIXELS = 1024
QUICK_BATCH = 32
QUICK_SEARCH = PruneConfig(criterion="loss", scope="layer", batches=2, at_once=0.3)
SEARCH = PruneConfig(criterion="loss", scope="layer", batches=10)
COLOURS = ("#2060c0", "#d06000", "#008060", "#a040a0", "#806000", "#c03050")
GREYS = ("#b0b0b0", "#808080")
Networks = Mapping[tuple[str, str], SeedResults]
"""Name and criterion -> what came of it."""


@studies.register("membrane")
class Membrane(Study):
    """The networks N, N1..N7, pruned in two ways."""

    title = "Filters removed by loss, and by magnitude, from a membrane classifier"
    source = Source(
        "Roels, De Vylder, Aelterman, Saeys and Philips, Convolutional neural network "
        "pruning to accelerate membrane segmentation in electron microscopy, ISBI 2017",
        "arXiv 1810.09735",
    )
    tasks = ("segment",)
    axes: ClassVar[Mapping[str, str]] = {
        "net": "N, N1 .. N7",
        "criterion": "loss, magnitude; none for N",
    }

    def grid(self, *, quick: bool) -> tuple[Cell, ...]:
        """Return all networks, N first."""
        nets = ("N6", "N7") if quick else tuple(name for name in PRESETS if name != "N")
        pruned = [
            {"net": net, "criterion": criterion}
            for net in nets
            for criterion in ("loss", "magnitude")
        ]
        return ({"net": "N", "criterion": "none"}, *pruned)

    def run_cell(self, cell: Cell, context: StudyContext) -> Job[Measured]:
        """Prune N, train it again, measure patches and time a slice."""
        net, criterion = str(cell["net"]), str(cell["criterion"])
        made = yield from self._whole(context)
        curves: dict[str, Any] = {}
        if not context.stopped and net == "N":
            curves = yield from self._curves(made, context)
        elif not context.stopped:
            made = yield from self._pruned(made, net, criterion, context)
        if context.stopped:
            return {}
        found = yield from context.relay(
            patch_accuracy(made, context, balance="classes")
        )
        if context.stopped:
            return {}
        slice_ = yield from context.relay(_slice_seconds(made, context))
        return {
            **found,
            **slice_,
            **curves,
            "parameters": made.parameters,
            "pruned_percent": 100 * made.sparsity,
            "memory_kb": activation_bytes(made.build()) / 1024,
            "steps": made.provenance.get("steps"),
        }

    def _whole(self, context: StudyContext) -> Job[Checkpoint]:
        """Train N, once per seed."""
        job = context.fit(_config(context))
        return (yield from context.kept("N", {"seed": context.seed}, job))

    def _pruned(
        self, whole: Checkpoint, net: str, criterion: str, context: StudyContext
    ) -> Job[Checkpoint]:
        """Remove as many maps as were removed for this network, and train again."""
        order = None
        if criterion == "loss" and context.budget.quick:
            found = yield from self._search(whole, context)
            order = {} if found is None else {x.name: x.order for x in found.layers}
        pruned = yield from context.relay(
            counts_job(
                whole,
                lost_maps(net),
                criterion="loss" if criterion == "loss" else "magnitude",
                samples=context.train,
                order=order,
            )
        )
        if context.stopped:
            return whole
        config = shortened(_config(context), RETRAINING)
        config = replace(config, learning_rate=RETRAINING_RATE * config.learning_rate)
        return (yield from context.fit(config, start=pruned))

    def _curves(self, whole: Checkpoint, context: StudyContext) -> Job[dict[str, Any]]:
        """Return the loss after so many maps of each layer are gone."""
        found = yield from self._search(whole, context)
        if found is None:
            return {}
        return {
            "curves": {
                layer.name: [
                    [100 * removed / layer.channels, loss]
                    for removed, loss in zip(layer.removed, layer.curve, strict=True)
                ]
                for layer in found.layers
            }
        }

    def _search(self, whole: Checkpoint, context: StudyContext) -> Job[Search | None]:
        """Order the maps of every layer by loss."""
        config = QUICK_SEARCH if context.budget.quick else SEARCH
        device = context.budget.device
        plan = yield from context.relay(
            plan_job(whole, config, samples=context.train, device=device)
        )
        return plan.search if isinstance(plan, FilterPlan) else None

    def tables(self, results: Sequence[CellResult], task: Task) -> tuple[Table, ...]:
        """Return a row for each network, published figures beside ours."""
        groups = _groups(results)
        columns = (
            Column("net"),
            Column("maps"),
            *_pair_of_columns("accuracy by loss", ".4f"),
            *_pair_of_columns("accuracy by magnitude", ".4f"),
            Column("sd by loss", ".4f"),
            *_pair_of_columns("s per slice", ".3f"),
            *_pair_of_columns("pruned %", ".2f"),
            *_pair_of_columns("kB", ".1f"),
            *_pair_of_columns("weights", ",.0f"),
        )
        rows = []
        for row in published("membrane"):
            net = str(row["net"])
            loss, magnitude = _pair(groups, net)
            either = loss or magnitude

            def own(name: str, group: SeedResults | None = either) -> float | None:
                return None if group is None else group.mean(name)

            rows.append(
                (
                    net,
                    "/".join(
                        str(row[name]) for name in ("conv1", "conv2", "conv3", "fc")
                    ),
                    own("accuracy", loss),
                    row["accuracy_loss"],
                    own("accuracy", magnitude),
                    row["accuracy_magnitude"],
                    None if loss is None else loss.deviation("accuracy"),
                    own("slice_seconds"),
                    row["slice_seconds"],
                    own("pruned_percent"),
                    row["pruned_percent"],
                    own("memory_kb"),
                    row["memory_kb"],
                    own("parameters"),
                    row["parameters"],
                )
            )
        note = (
            "Accuracy of patches, as many of membrane as of anything else. A slice is "
            "one image of this data; theirs were predicted on a GTX 1080. Memory is "
            "that of all values of one patch."
        )
        return (
            Table(
                name="table",
                title="Networks pruned in two ways",
                columns=columns,
                rows=tuple(rows),
                note=note,
            ),
        )

    def draw(
        self, results: Sequence[CellResult], task: Task, folder: Path
    ) -> tuple[str, ...]:
        """Draw accuracy against pruning, and loss against removed maps by layer."""
        groups, rows = _groups(results), published("membrane")
        lines = []
        for index, criterion in enumerate(("loss", "magnitude")):
            points = [
                (g.mean("pruned_percent") or 0.0, value)
                for (_, own), g in groups.items()
                if own in (criterion, "none")
                and (value := g.mean("accuracy")) is not None
            ]
            theirs = [(r["pruned_percent"], r[f"accuracy_{criterion}"]) for r in rows]
            for name, measured, colour in (
                (f"by {criterion}", points, COLOURS[index]),
                (f"{criterion}, published", theirs, GREYS[index]),
            ):
                lines.append(
                    Line(name=name, points=sorted(measured), colour=colour, marks=True)
                )
        chart = Chart(
            title="Accuracy of patches",
            x="% of the weights removed",
            y_limits=(None, None),
        )
        save_chart(folder / "accuracy.png", chart, lines)
        curves = _curves(results)
        if not curves:
            return ("accuracy.png",)
        drawn = [
            Line(name=name, points=points, colour=COLOURS[i % len(COLOURS)])
            for i, (name, points) in enumerate(curves.items())
        ]
        chart = Chart(
            title="Loss after removing maps one by one",
            x="% of the layer's maps removed",
        )
        save_chart(folder / "loss_by_layer.png", chart, drawn)
        return ("accuracy.png", "loss_by_layer.png")

    def sentences(self, results: Sequence[CellResult], task: Task) -> tuple[str, ...]:
        """Say which way of pruning keeps more, and what the extreme costs."""
        groups = _groups(results)
        pairs = [
            (a, b)
            for net in [f"N{i}" for i in range(1, 8)]
            for loss, magnitude in [_pair(groups, net)]
            if loss is not None
            and magnitude is not None
            and (a := loss.mean("accuracy")) is not None
            and (b := magnitude.mean("accuracy")) is not None
        ]
        if not pairs:
            return ()
        better = sum(a > b for a, b in pairs)
        gap = float(np.mean([a - b for a, b in pairs]))
        return (
            f"Pruned by loss, {better} of {len(pairs)} networks are more accurate than "
            f"pruned by magnitude, by {100 * gap:+.2f} points on average; published: 5 "
            "of 7, by +0.10 points.",
        )


def widths(net: str) -> tuple[int, int, int, int]:
    """Return the maps of a published network, layer by layer."""
    first, second, third, full = PRESETS[net]
    return first, second, third, full


def lost_maps(net: str) -> dict[str, int]:
    """Return how many maps of each layer a published network has lost against N."""
    pairs = zip(LAYERS, widths("N"), widths(net), strict=True)
    return {name: whole - kept for name, whole, kept in pairs}


def _config(context: StudyContext) -> TrainConfig:
    quick: dict[str, Any] = (
        {"training_pixels": QUICK_PIXELS, "batch": QUICK_BATCH}
        if context.budget.quick
        else {}
    )
    rate = networks["membrane_cnn"].recipe["learning_rate"]
    return context.config("membrane_cnn", {}, learning_rate=rate, **quick)


def _slice_seconds(checkpoint: Checkpoint, context: StudyContext) -> Job[Measured]:
    """Time the prediction of one whole image, densely."""
    sample = context.held_out[0]
    network = checkpoint.build()
    begun = time.perf_counter()
    yield from predict(sample.image, checkpoint, scale=sample.scale, network=network)
    spent = time.perf_counter() - begun
    pixels = sample.image.shape[1] * sample.image.shape[2]
    return {"slice_seconds": spent, "ms_per_megapixel": 1e9 * spent / pixels}


def _pair_of_columns(name: str, form: str) -> tuple[Column, Column]:
    return Column(name, form), Column(f"{name}, published", form)


def _groups(results: Sequence[CellResult]) -> Networks:
    return {(str(g.cell["net"]), str(g.cell["criterion"])): g for g in grouped(results)}


def _pair(groups: Networks, net: str) -> tuple[SeedResults | None, SeedResults | None]:
    """By loss and by magnitude; the unpruned network is both."""
    whole = groups.get((net, "none"))
    return groups.get((net, "loss"), whole), groups.get((net, "magnitude"), whole)


def _curves(results: Sequence[CellResult]) -> dict[str, list[tuple[float, float]]]:
    """Loss curves of the first seed that has them."""
    for result in results:
        curves = result.measured.get("curves")
        if curves:
            return {
                str(name): [(float(x), float(y)) for x, y in points if y is not None]
                for name, points in curves.items()
            }
    return {}
