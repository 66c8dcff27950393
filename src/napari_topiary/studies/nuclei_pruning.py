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
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.pruning import plan_job, shaper_for
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
from napari_topiary.studies.nuclei_pages import draw, sentences, tables
from napari_topiary.studies.nuclei_quality import nuclei_quality
from napari_topiary.training import fit
from napari_topiary.types import Job, Task

RATIOS = (5, 16, 20, 2, 4, 8, 10, 32, 64)
"""Compression ratios beside 1, those with published numbers first."""
FINE_TUNING = 0.5
"""Of the length of the training."""
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

    def run_cell(self, cell: Cell, bench: Bench) -> Job[Measured]:
        """Prune, fine-tune, judge branches and objects."""
        made = yield from self._whole(bench)
        if cell["scope"] != "none" and not bench.stopped:
            made = yield from self._pruned(made, cell, bench)
        if bench.stopped:
            return {}
        found = yield from nuclei_quality(made, bench)
        return {
            **found,
            "parameters_nonzero": made.parameters_nonzero,
            "sparsity": made.sparsity,
            "file_bytes": made.file_bytes(),
            "steps": made.provenance.get("steps"),
        }

    def _whole(self, bench: Bench) -> Job[Checkpoint]:
        """Train the network, once per seed."""
        config = _config(bench)
        job = fit(bench.train, config, task=bench.task, validation=bench.validation)
        return (yield from bench.kept("nuclei", {"seed": bench.seed}, job))

    def _pruned(self, whole: Checkpoint, cell: Cell, bench: Bench) -> Job[Checkpoint]:
        share = 1.0 - 1.0 / float(cell["ratio"])
        how = PruneConfig(
            kind="weights", criterion="magnitude", scope=cell["scope"], remove=share
        )
        plan = yield from bench.heard(plan_job(whole, how))
        config = _config(bench)
        minutes, epochs = config.minutes, config.epochs
        config = replace(
            config,
            minutes=None if minutes is None else FINE_TUNING * minutes,
            epochs=None if epochs is None else max(1, round(FINE_TUNING * epochs)),
        )
        job = fit(
            bench.train,
            config,
            task=bench.task,
            start=whole,
            validation=bench.validation,
            shaper=shaper_for(plan, share),
        )
        return (yield from bench.heard(job))

    def tables(self, results: Sequence[Result], task: Task) -> tuple[Table, ...]:
        """Our curves as numbers, and how much may go for less than 2 %."""
        del task
        return tables(results)

    def draw(
        self, results: Sequence[Result], task: Task, folder: Path
    ) -> tuple[str, ...]:
        """Draw three curves in two scopes."""
        del task
        return draw(results, folder)

    def sentences(self, results: Sequence[Result], task: Task) -> tuple[str, ...]:
        """Say how much may go, and where the scopes cross."""
        del task
        return sentences(results)


def _config(bench: Bench) -> TrainConfig:
    return bench.config("nuclei", QUICK_SIZES if bench.budget.quick else {})
