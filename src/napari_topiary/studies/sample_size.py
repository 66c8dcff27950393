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
from napari_topiary.report.charts import HeatMap, save_heat_map
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
    matching,
    published,
    studies,
)
from napari_topiary.studies.context import StudyContext
from napari_topiary.studies.patch_accuracy import (
    inference_ms,
    known_pixels,
    patch_accuracy,
)
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
FIGURES = ("sensitivity", "specificity", "dice", "accuracy", "cross_entropy")
SHORT = ("Se", "Sp", "Dice", "accuracy", "CE")
NOTE = (
    "CE of the dccn is that of a softmax on top of sigmoids, as the published values "
    "are. Published Se, Sp and Dice of scenario 1 at δ 0.4 and 0.5 disagree with their "
    "accuracy. Files are ours (safetensors) and theirs (a saved PyTorch state)."
)
LIMITS = (0.8, 0.95)
"""Accuracies of the first and the last colour; all background is 0.818 there."""


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

    def run_cell(self, cell: Cell, context: StudyContext) -> Job[Measured]:
        """Prune the pre-trained network, train it again, measure patches."""
        name, delta = str(cell["network"]), float(cell["delta"])
        first, learned, held = image_parts(context)
        wanted = training_patches(cell)
        whole = yield from self._pretrained(name, first, context)
        if context.stopped:
            return {}
        there = known_pixels(whole, learned)
        if wanted > there:
            raise TopiaryError(
                f"It asks for {wanted:,} patches, and the images to learn from have "
                f"{there:,} annotated pixels: leave it out, or give more images."
            )
        pruned = yield from context.relay(counts_job(whole, removals(whole, delta)))
        rate = RETRAINING_RATE * float(networks[name].recipe["learning_rate"])
        config = context.config(
            name, {}, training_pixels=wanted, learning_rate=rate, **_smaller(context)
        )
        made = yield from context.relay(
            fit(learned, config, task=context.task, start=pruned, validation=held)
        )
        if context.stopped:
            return {}
        found = yield from context.relay(
            patch_accuracy(made, context, balance="natural")
        )
        return found | {
            "n_train": wanted,
            "parameters": made.parameters,
            "file_kb": made.file_bytes() / 1024,
            "inference_ms": inference_ms(made, context.budget.device),
            "steps": made.provenance.get("steps"),
        }

    def _pretrained(
        self, name: str, images: Sequence[Sample], context: StudyContext
    ) -> Job[Checkpoint]:
        """The network that all cells start from, the same for all seeds."""
        seed = context.budget.seed
        pixels = QUICK_PIXELS if context.budget.quick else 2 * WHOLE["dcnn"]
        config = context.config(
            name, {}, training_pixels=pixels, seed=seed, **_smaller(context)
        )
        job = fit(images, config, task=context.task)
        settings = {"network": name, "seed": seed, "pixels": pixels}
        return (yield from context.kept(f"{name}-pretrained", settings, job))

    def tables(self, results: Sequence[CellResult], task: Task) -> tuple[Table, ...]:
        """Return figures by cell, accuracy by grid, and the networks."""
        groups = grouped(results)
        made = [_by_cell(groups)]
        for network, scenario in _grids(groups):
            made.append(_matrix(groups, network, scenario))
        return (*made, _networks(groups))

    def draw(
        self, results: Sequence[CellResult], task: Task, folder: Path
    ) -> tuple[str, ...]:
        """Draw accuracy over (N_tr, δ), ours and the published one."""
        groups = grouped(results)
        pictures = []
        for network, scenario in _grids(groups):
            rows = matching(
                published("sample_size"), network=network, scenario=scenario
            )
            ours = {
                _place(g.cell): g.mean("accuracy")
                for g in _of(groups, network, scenario)
            }
            theirs = {_place(row): row["accuracy"] for row in rows}
            for whose, values in (("ours", ours), ("published", theirs)):
                ratios = sorted({ratio for ratio, _ in values}, reverse=True)
                deltas = sorted({delta for _, delta in values})
                pictures.append(f"{network}_scenario{scenario}_{whose}.png")
                save_heat_map(
                    folder / pictures[-1],
                    HeatMap(
                        title=f"Accuracy of the {network}, scenario {scenario}, "
                        f"{whose}",
                        x="share of the maps removed",
                        y="patches / weights",
                        across=[f"{delta:g}" for delta in deltas],
                        down=[f"r = {ratio:g}" for ratio in ratios],
                        values=[[values.get((r, d)) for d in deltas] for r in ratios],
                        limits=LIMITS if whose == "published" else None,
                    ),
                )
        return tuple(pictures)

    def sentences(self, results: Sequence[CellResult], task: Task) -> tuple[str, ...]:
        """Say how few patches are enough, and which networks see background only."""
        groups = grouped(results)
        said = []
        for network in dict.fromkeys(str(group.cell["network"]) for group in groups):
            own = [g for g in groups if g.cell["network"] == network]
            known = [
                (value, g) for g in own if (value := g.mean("accuracy")) is not None
            ]
            best = max(value for value, _ in known)
            whole = [
                (g.mean("n_train") or 0.0, v) for v, g in known if not g.cell["delta"]
            ]
            enough = [n for n, value in whole if value >= 0.99 * best]
            blind = [g for g in own if g.mean("dice") == 0]
            said.append(
                f"{network}: the best accuracy is {best:.3f}"
                + (
                    f"; unpruned, 99 % of it needs {min(enough):,.0f} patches"
                    if enough
                    else ""
                )
                + f"; {len(blind)} of {len(own)} cells answer with background only."
            )
        if said:
            said.append(
                "Published: 99 % of the best accuracy with 9,159 patches for the "
                "unpruned DCNN, and background only for the smallest sets at δ of 0.8 "
                "and more."
            )
        return tuple(said)


def _smaller(context: StudyContext) -> dict[str, Any]:
    """Return smaller steps for a quick study, so that it takes more of them."""
    return {"batch": QUICK_BATCH} if context.budget.quick else {}


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
    context: StudyContext,
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], tuple[Sample, ...]]:
    """Return images to pre-train on, to train on again, and to choose weights by."""
    images: list[Any] = list(context.train)
    order = np.random.default_rng(context.budget.seed).permutation(len(images))
    images = [images[i] for i in order]
    n = max(1, round(PRETRAINING_SHARE * len(images))) if len(images) > 2 else 0
    first, rest = images[:n], images[n:]
    if context.validation:
        return tuple(first or rest), tuple(rest), context.validation
    n = min(len(rest) - 1, max(1, round(VALIDATION_SHARE * len(rest))))
    return tuple(first or rest), tuple(rest[n:]), tuple(rest[:n])


def _grids(groups: Sequence[SeedResults]) -> list[tuple[str, int]]:
    found = {(str(g.cell["network"]), int(g.cell["scenario"])) for g in groups}
    return sorted(found)


def _of(
    groups: Sequence[SeedResults], network: str, scenario: int
) -> list[SeedResults]:
    """Return the cells of a grid; δ = 0 is the same in both scenarios."""
    return [
        g
        for g in groups
        if g.cell["network"] == network
        and (g.cell["scenario"] == scenario or g.cell["delta"] == 0)
    ]


def _place(row: Any) -> tuple[float, float]:
    return float(row["ratio"]), float(row["delta"])


def _published(cell: Any) -> dict[str, Any]:
    names = ("network", "scenario", "ratio", "delta")
    rows = matching(published("sample_size"), **{name: cell[name] for name in names})
    return rows[0] if rows else {}


def _by_cell(groups: Sequence[SeedResults]) -> Table:
    columns = (
        *(Column(name) for name in ("network", "scenario", "r", "δ")),
        Column("N_tr", ",.0f"),
        *(Column(name, ".3f") for name in SHORT),
        Column("standard error of accuracy", ".4f"),
        *(Column(f"{name}, published", ".3f") for name in SHORT),
    )
    rows = []
    for group in groups:
        cell, theirs = group.cell, _published(group.cell)
        names = list(FIGURES)
        if cell["network"] == "dccn":
            names[-1] = "cross_entropy_of_sigmoids"
        rows.append(
            (
                *(cell[name] for name in ("network", "scenario", "ratio", "delta")),
                group.mean("n_train"),
                *(group.mean(name) for name in names),
                group.standard_error("accuracy"),
                *(theirs.get(name) for name in FIGURES),
            )
        )
    rows.sort(key=lambda row: (row[0], row[1], -row[2], row[3]))
    return Table(
        name="table",
        title="Patches judged",
        columns=columns,
        rows=tuple(rows),
        note=NOTE,
    )


def _matrix(groups: Sequence[SeedResults], network: str, scenario: int) -> Table:
    """Accuracy of a grid, the published one in brackets."""
    own = {_place(g.cell): g for g in _of(groups, network, scenario)}
    ratios = sorted({ratio for ratio, _ in own}, reverse=True)
    deltas = sorted({delta for _, delta in own})

    def text(ratio: float, delta: float) -> str | None:
        group = own.get((ratio, delta))
        ours = None if group is None else group.mean("accuracy")
        cell = {"network": network, "scenario": scenario}
        theirs = _published({**cell, "ratio": ratio, "delta": delta}).get("accuracy")
        if ours is None:
            return None
        return f"{ours:.3f} ({theirs:.3f})" if theirs is not None else f"{ours:.3f}"

    return Table(
        name=f"{network}_scenario{scenario}",
        title=f"Accuracy of the {network}, scenario {scenario} (published)",
        columns=(Column("r"), *(Column(f"δ={delta:g}") for delta in deltas)),
        rows=tuple((ratio, *(text(ratio, d) for d in deltas)) for ratio in ratios),
    )


def _networks(groups: Sequence[SeedResults]) -> Table:
    rows = []
    for row in published("sample_size_networks"):
        own = [
            g
            for g in groups
            if g.cell["network"] == row["network"] and g.cell["delta"] == row["delta"]
        ]
        ours = (
            [own[0].mean(name) for name in ("parameters", "file_kb", "inference_ms")]
            if own
            else [None, None, None]
        )
        theirs = (row["parameters"], row["file_kb"], row["inference_ms"])
        pairs = [value for pair in zip(ours, theirs, strict=True) for value in pair]
        rows.append((row["network"], row["delta"], row["maps"], *pairs))
    return Table(
        name="networks",
        title="Networks (published: files in kB, times on a GTX 1070)",
        columns=(
            Column("network"),
            Column("δ"),
            Column("maps"),
            Column("weights", ",.0f"),
            Column("weights, published", ",.0f"),
            Column("kB", ",.0f"),
            Column("kB, published", ",.0f"),
            Column("ms per patch", ".2f"),
            Column("ms, published", ".1f"),
        ),
        rows=tuple(rows),
    )
