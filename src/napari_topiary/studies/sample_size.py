"""How many training patches a pruned network needs.

One network is pre-trained once, a share δ of the maps of every convolution is removed
(floor(δ n), the weakest by L1 norm), and what remains is trained again on N patches.
Scenario 1: N = r (1 - δ) N_p, fewer for smaller networks; scenario 2: N = r N_p for
all. N_p is the published count of the unpruned network, that of the DCNN with a single
output unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.networks.base import networks
from napari_topiary.pruning import counts_job
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
from napari_topiary.studies.patch_accuracy import (
    inference_ms,
    known_pixels,
    patch_accuracy,
)
from napari_topiary.studies.sample_size_pages import draw_maps, sentences, tables
from napari_topiary.training import fit
from napari_topiary.types import Job, Task

WHOLE = {"dcnn": 915_934, "dccn": 4_794_754}
"""N_p of each network."""
RATIOS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0)
MOST = {"dcnn": 2.0, "dccn": 0.5}
DELTAS = {
    "dcnn": (0.0, 0.5, 0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1),
    "dccn": (0.0, 0.5, 0.9, 0.8, 0.7, 0.6),
}
PRETRAINING_SHARE = 2 / 9
"""Of the images to learn from; 2 of 9 in the publication."""
VALIDATION_SHARE = 0.3
RETRAINING_RATE = 0.1
"""Of the recipe's learning rate; the paper gives none."""
QUICK_PIXELS = 512
QUICK_BATCH = 32
NOT_PRUNED = ("fc1", "output")


@studies.register("sample-size")
class SampleSize(Study):
    """Accuracy over the number of training patches and the share of maps removed."""

    title = "Necessary training patches for networks with fewer and fewer weights"
    source = Source(
        "Götz et al., Number of necessary training examples for Neural Networks with "
        "different number of trainable parameters, J. Pathol. Inform. 13:100114, 2022",
        "doi 10.1016/j.jpi.2022.100114",
    )
    tasks = ("segment", "instances")
    axes: ClassVar[Mapping[str, str]] = {
        "network": "dcnn or dccn",
        "scenario": "1: N = r (1 - δ) N_p; 2: N = r N_p (its δ = 0 is that of 1)",
        "ratio": "r",
        "delta": "δ, the share of the maps of every convolution that is removed",
    }

    def grid(self, *, quick: bool) -> tuple[Cell, ...]:
        """Return the published grids."""
        cells = [
            {"network": network, "scenario": scenario, "ratio": ratio, "delta": delta}
            for network in WHOLE
            for scenario in (1, 2)
            for ratio in RATIOS
            if ratio <= MOST[network]
            for delta in DELTAS[network]
            if scenario == 1 or delta > 0
        ]
        if not quick:
            return tuple(cells)
        return tuple(
            cell
            for cell in cells
            if cell["network"] == "dcnn"
            and cell["ratio"] in (0.001, 0.01)
            and cell["delta"] in (0.0, 0.5, 0.9)
        )

    def run_cell(self, cell: Cell, bench: Bench) -> Job[Measured]:
        """Prune the pre-trained network, train it again, judge patches."""
        name, delta = str(cell["network"]), float(cell["delta"])
        first, learned, held = image_parts(bench)
        wanted = training_patches(cell)
        whole = yield from self._pretrained(name, first, bench)
        if bench.stopped:
            return {}
        there = known_pixels(whole, learned)
        if wanted > there:
            raise TopiaryError(
                f"It asks for {wanted:,} patches, and the images to learn from have "
                f"{there:,} annotated pixels: leave it out, or give more images."
            )
        pruned = yield from bench.heard(counts_job(whole, removals(whole, delta)))
        rate = RETRAINING_RATE * float(networks[name].recipe["learning_rate"])
        config = bench.config(
            name, {}, training_pixels=wanted, learning_rate=rate, **_smaller(bench)
        )
        made = yield from bench.heard(
            fit(learned, config, task=bench.task, start=pruned, validation=held)
        )
        if bench.stopped:
            return {}
        found = yield from bench.heard(patch_accuracy(made, bench, balance="natural"))
        return found | {
            "n_train": wanted,
            "parameters": made.parameters,
            "file_kb": made.file_bytes() / 1024,
            "inference_ms": inference_ms(made, bench.budget.device),
            "steps": made.provenance.get("steps"),
        }

    def _pretrained(
        self, name: str, images: Sequence[Sample], bench: Bench
    ) -> Job[Checkpoint]:
        """The network that all cells start from, the same for all seeds."""
        seed = bench.budget.seed
        pixels = QUICK_PIXELS if bench.budget.quick else 2 * WHOLE["dcnn"]
        config = bench.config(
            name, {}, training_pixels=pixels, seed=seed, **_smaller(bench)
        )
        job = fit(images, config, task=bench.task)
        settings = {"network": name, "seed": seed, "pixels": pixels}
        return (yield from bench.kept(f"{name}-pretrained", settings, job))

    def tables(self, results: Sequence[Result], task: Task) -> tuple[Table, ...]:
        """Our figures beside the published ones."""
        del task
        return tables(results)

    def draw(
        self, results: Sequence[Result], task: Task, folder: Path
    ) -> tuple[str, ...]:
        """Draw accuracy over patches and δ, ours and the published one."""
        del task
        return draw_maps(results, folder)

    def sentences(self, results: Sequence[Result], task: Task) -> tuple[str, ...]:
        """Say how few patches are enough."""
        del task
        return sentences(results)


def _smaller(bench: Bench) -> dict[str, Any]:
    """Return smaller steps for a quick study, so that it takes more of them."""
    return {"batch": QUICK_BATCH} if bench.budget.quick else {}


def training_patches(cell: Cell) -> int:
    """Return N_tr of a cell."""
    kept = 1.0 - float(cell["delta"]) if cell["scenario"] == 1 else 1.0
    return round(float(cell["ratio"]) * kept * WHOLE[str(cell["network"])])


def removals(checkpoint: Checkpoint, delta: float) -> dict[str, int]:
    """Return how many maps every convolution loses: floor(δ n).

    Parameters
    ----------
    checkpoint
        Of a patch classifier; its fully connected layer is not pruned.
    delta
        Share, 0..1.
    """
    return {
        name: math.floor(delta * module.out_channels + 1e-9)
        for name, module in checkpoint.build().named_modules()
        if isinstance(module, nn.Conv2d) and name not in NOT_PRUNED
    }


def image_parts(
    bench: Bench,
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], tuple[Sample, ...]]:
    """Return images to pre-train on, to train on again, and to choose weights by."""
    images: list[Any] = list(bench.train)
    order = np.random.default_rng(bench.budget.seed).permutation(len(images))
    images = [images[i] for i in order]
    n = max(1, round(PRETRAINING_SHARE * len(images))) if len(images) > 2 else 0
    first, rest = images[:n], images[n:]
    if bench.validation:
        return tuple(first or rest), tuple(rest), bench.validation
    n = min(len(rest) - 1, max(1, round(VALIDATION_SHARE * len(rest))))
    return tuple(first or rest), tuple(rest[n:]), tuple(rest[:n])
