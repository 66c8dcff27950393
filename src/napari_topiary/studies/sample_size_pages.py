"""Tables and heat maps of the study of training-set sizes, ours and the published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_topiary.story.heat_map import HeatMap, save_heat_map
from napari_topiary.studies.base import Column, Grouped, Result, Table
from napari_topiary.studies.published import published
from napari_topiary.studies.summary import grouped, matching, mean, standard_error

FIGURES = ("sensitivity", "specificity", "dice", "accuracy", "cross_entropy")
SHORT = ("Se", "Sp", "Dice", "accuracy", "CE")
NOTE = (
    "CE of the dccn is that of a softmax on top of sigmoids, as the published values "
    "are. Published Se, Sp and Dice of scenario 1 at δ 0.4 and 0.5 disagree with their "
    "accuracy. Files are ours (safetensors) and theirs (a saved PyTorch state)."
)
LIMITS = (0.8, 0.95)
"""Accuracies of the first and the last colour; all background is 0.818 there."""


def tables(results: Sequence[Result]) -> tuple[Table, ...]:
    """Return figures by cell, accuracy by grid, and the networks."""
    groups = grouped(results)
    made = [_by_cell(groups)]
    for network, scenario in _grids(groups):
        made.append(_matrix(groups, network, scenario))
    return (*made, _networks(groups))


def draw_maps(results: Sequence[Result], folder: Path) -> tuple[str, ...]:
    """Draw accuracy over (N_tr, δ), ours and the published one."""
    groups = grouped(results)
    pictures = []
    for network, scenario in _grids(groups):
        rows = matching(published("sample_size"), network=network, scenario=scenario)
        ours = {
            _place(g.cell): mean(g, "accuracy") for g in _of(groups, network, scenario)
        }
        theirs = {_place(row): row["accuracy"] for row in rows}
        for whose, values in (("ours", ours), ("published", theirs)):
            ratios = sorted({ratio for ratio, _ in values}, reverse=True)
            deltas = sorted({delta for _, delta in values})
            pictures.append(f"{network}_scenario{scenario}_{whose}.png")
            save_heat_map(
                folder / pictures[-1],
                HeatMap(
                    f"Accuracy of the {network}, scenario {scenario}, {whose}",
                    "share of the maps removed",
                    "patches / weights",
                    [f"{delta:g}" for delta in deltas],
                    [f"r = {ratio:g}" for ratio in ratios],
                    [[values.get((r, d)) for d in deltas] for r in ratios],
                    LIMITS if whose == "published" else None,
                ),
            )
    return tuple(pictures)


def sentences(results: Sequence[Result]) -> tuple[str, ...]:
    """Say how few patches are enough, and which networks see background only."""
    groups = grouped(results)
    said = []
    for network in dict.fromkeys(str(group.cell["network"]) for group in groups):
        own = [g for g in groups if g.cell["network"] == network]
        known = [(value, g) for g in own if (value := mean(g, "accuracy")) is not None]
        best = max(value for value, _ in known)
        whole = [
            (mean(g, "n_train") or 0.0, v) for v, g in known if not g.cell["delta"]
        ]
        enough = [n for n, value in whole if value >= 0.99 * best]
        blind = [g for g in own if mean(g, "dice") == 0]
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
            "Published: 99 % of the best accuracy with 9,159 patches for the unpruned "
            "DCNN, and background only for the smallest sets at δ of 0.8 and more."
        )
    return tuple(said)


def _grids(groups: Sequence[Grouped]) -> list[tuple[str, int]]:
    found = {(str(g.cell["network"]), int(g.cell["scenario"])) for g in groups}
    return sorted(found)


def _of(groups: Sequence[Grouped], network: str, scenario: int) -> list[Grouped]:
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


def _by_cell(groups: Sequence[Grouped]) -> Table:
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
                mean(group, "n_train"),
                *(mean(group, name) for name in names),
                standard_error(group, "accuracy"),
                *(theirs.get(name) for name in FIGURES),
            )
        )
    rows.sort(key=lambda row: (row[0], row[1], -row[2], row[3]))
    return Table("table", "Patches judged", columns, tuple(rows), NOTE)


def _matrix(groups: Sequence[Grouped], network: str, scenario: int) -> Table:
    """Accuracy of a grid, the published one in brackets."""
    own = {_place(g.cell): g for g in _of(groups, network, scenario)}
    ratios = sorted({ratio for ratio, _ in own}, reverse=True)
    deltas = sorted({delta for _, delta in own})

    def text(ratio: float, delta: float) -> str | None:
        group = own.get((ratio, delta))
        ours = None if group is None else mean(group, "accuracy")
        cell = {"network": network, "scenario": scenario}
        theirs = _published({**cell, "ratio": ratio, "delta": delta}).get("accuracy")
        if ours is None:
            return None
        return f"{ours:.3f} ({theirs:.3f})" if theirs is not None else f"{ours:.3f}"

    return Table(
        f"{network}_scenario{scenario}",
        f"Accuracy of the {network}, scenario {scenario} (published)",
        (Column("r"), *(Column(f"δ={delta:g}") for delta in deltas)),
        tuple((ratio, *(text(ratio, d) for d in deltas)) for ratio in ratios),
    )


def _networks(groups: Sequence[Grouped]) -> Table:
    rows = []
    for row in published("sample_size_networks"):
        own = [
            g
            for g in groups
            if g.cell["network"] == row["network"] and g.cell["delta"] == row["delta"]
        ]
        ours = (
            [mean(own[0], name) for name in ("parameters", "file_kb", "inference_ms")]
            if own
            else [None, None, None]
        )
        theirs = (row["parameters"], row["file_kb"], row["inference_ms"])
        pairs = [value for pair in zip(ours, theirs, strict=True) for value in pair]
        rows.append((row["network"], row["delta"], row["maps"], *pairs))
    return Table(
        "networks",
        "Networks (published: files in kB, times on a GTX 1070)",
        (
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
        tuple(rows),
    )
