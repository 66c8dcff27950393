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

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.networks.activations import activation_bytes
from napari_topiary.networks.base import networks
from napari_topiary.networks.membrane_cnn import PRESETS
from napari_topiary.prediction import predict
from napari_topiary.pruning import FilterPlan, Search, counts_job, plan_job
from napari_topiary.studies.base import (
    Cell,
    Measured,
    Result,
    Source,
    Study,
    Table,
    studies,
)
from napari_topiary.studies.bench import Bench
from napari_topiary.studies.membrane_pages import draw, sentences, tables
from napari_topiary.studies.patch_accuracy import patch_accuracy
from napari_topiary.training import fit
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

    def run_cell(self, cell: Cell, bench: Bench) -> Job[Measured]:
        """Prune N, train it again, judge patches and time a slice."""
        net, criterion = str(cell["net"]), str(cell["criterion"])
        made = yield from self._whole(bench)
        curves: dict[str, Any] = {}
        if not bench.stopped and net == "N":
            curves = yield from self._curves(made, bench)
        elif not bench.stopped:
            made = yield from self._pruned(made, net, criterion, bench)
        if bench.stopped:
            return {}
        found = yield from bench.heard(patch_accuracy(made, bench, balance="classes"))
        if bench.stopped:
            return {}
        slice_ = yield from bench.heard(_slice_seconds(made, bench))
        return {
            **found,
            **slice_,
            **curves,
            "parameters": made.parameters,
            "pruned_percent": 100 * made.sparsity,
            "memory_kb": activation_bytes(made.build()) / 1024,
            "steps": made.provenance.get("steps"),
        }

    def _whole(self, bench: Bench) -> Job[Checkpoint]:
        """Train N, once per seed."""
        config = _config(bench)
        job = fit(bench.train, config, task=bench.task, validation=bench.validation)
        return (yield from bench.kept("N", {"seed": bench.seed}, job))

    def _pruned(
        self, whole: Checkpoint, net: str, criterion: str, bench: Bench
    ) -> Job[Checkpoint]:
        """Remove as many maps as were removed for this network, and train again."""
        order = None
        if criterion == "loss" and bench.budget.quick:
            found = yield from self._search(whole, bench)
            order = {} if found is None else {x.name: x.order for x in found.layers}
        pruned = yield from bench.heard(
            counts_job(
                whole,
                lost_maps(net),
                criterion="loss" if criterion == "loss" else "magnitude",
                samples=bench.train,
                order=order,
            )
        )
        if bench.stopped:
            return whole
        config = _config(bench)
        minutes, epochs = config.minutes, config.epochs
        config = replace(
            config,
            learning_rate=RETRAINING_RATE * config.learning_rate,
            minutes=None if minutes is None else minutes * RETRAINING,
            epochs=None if epochs is None else max(1, round(epochs * RETRAINING)),
        )
        job = fit(
            bench.train,
            config,
            task=bench.task,
            start=pruned,
            validation=bench.validation,
        )
        return (yield from bench.heard(job))

    def _curves(self, whole: Checkpoint, bench: Bench) -> Job[dict[str, Any]]:
        """Return the loss after so many maps of each layer are gone."""
        found = yield from self._search(whole, bench)
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

    def _search(self, whole: Checkpoint, bench: Bench) -> Job[Search | None]:
        """Order the maps of every layer by loss."""
        config = QUICK_SEARCH if bench.budget.quick else SEARCH
        device = bench.budget.device
        plan = yield from bench.heard(
            plan_job(whole, config, samples=bench.train, device=device)
        )
        return plan.search if isinstance(plan, FilterPlan) else None

    def tables(self, results: Sequence[Result], task: Task) -> tuple[Table, ...]:
        """Our figures beside the published ones."""
        del task
        return tables(results)

    def draw(
        self, results: Sequence[Result], task: Task, folder: Path
    ) -> tuple[str, ...]:
        """Draw loss against removed maps by layer, and accuracy against pruning."""
        del task
        return draw(results, folder)

    def sentences(self, results: Sequence[Result], task: Task) -> tuple[str, ...]:
        """Say which way of pruning keeps more."""
        del task
        return sentences(results)


def widths(net: str) -> tuple[int, int, int, int]:
    """Return the maps of a published network, layer by layer."""
    first, second, third, full = PRESETS[net]
    return first, second, third, full


def lost_maps(net: str) -> dict[str, int]:
    """Return how many maps of each layer a published network has lost against N."""
    pairs = zip(LAYERS, widths("N"), widths(net), strict=True)
    return {name: whole - kept for name, whole, kept in pairs}


def _config(bench: Bench) -> TrainConfig:
    quick: dict[str, Any] = (
        {"training_pixels": QUICK_PIXELS, "batch": QUICK_BATCH}
        if bench.budget.quick
        else {}
    )
    rate = networks["membrane_cnn"].recipe["learning_rate"]
    return bench.config("membrane_cnn", {}, learning_rate=rate, **quick)


def _slice_seconds(checkpoint: Checkpoint, bench: Bench) -> Job[Measured]:
    """Time the prediction of one whole image, densely."""
    sample = bench.judged[0]
    network = checkpoint.build()
    begun = time.perf_counter()
    yield from predict(sample.image, checkpoint, scale=sample.scale, network=network)
    spent = time.perf_counter() - begun
    pixels = sample.image.shape[1] * sample.image.shape[2]
    return {"slice_seconds": spent, "ms_per_megapixel": 1e9 * spent / pixels}
