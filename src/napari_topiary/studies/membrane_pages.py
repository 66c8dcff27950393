"""Table and plots of the membrane study, beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from napari_topiary.story.charts import Axes, Line, close_limits, save_chart
from napari_topiary.studies.base import Column, Grouped, Result, Table
from napari_topiary.studies.published import published
from napari_topiary.studies.summary import deviation, grouped, mean

COLOURS = ("#2060c0", "#d06000", "#008060", "#a040a0", "#806000", "#c03050")
GREY = "#808080"
Groups = Mapping[tuple[str, str], Grouped]


def tables(results: Sequence[Result]) -> tuple[Table, ...]:
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

        def own(name: str, group: Grouped | None = either) -> float | None:
            return None if group is None else mean(group, name)

        rows.append(
            (
                net,
                "/".join(str(row[name]) for name in ("conv1", "conv2", "conv3", "fc")),
                own("accuracy", loss),
                row["accuracy_loss"],
                own("accuracy", magnitude),
                row["accuracy_magnitude"],
                None if loss is None else deviation(loss, "accuracy"),
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
        "Accuracy of patches, as many of membrane as of anything else. A slice is one "
        "image of this data; theirs were predicted on a GTX 1080. Memory is that of "
        "all values of one patch."
    )
    return (Table("table", "Networks pruned in two ways", columns, tuple(rows), note),)


def draw(results: Sequence[Result], folder: Path) -> tuple[str, ...]:
    """Draw accuracy against pruning, and loss against removed maps by layer."""
    groups, rows = _groups(results), published("membrane")
    lines = []
    for index, criterion in enumerate(("loss", "magnitude")):
        points = [
            (mean(g, "pruned_percent") or 0.0, value)
            for (_, own), g in groups.items()
            if own in (criterion, "none") and (value := mean(g, "accuracy")) is not None
        ]
        theirs = [(r["pruned_percent"], r[f"accuracy_{criterion}"]) for r in rows]
        colour = COLOURS[index]
        lines.append(Line(f"by {criterion}", sorted(points), colour, marks=True))
        grey = GREY if index else "#b0b0b0"
        lines.append(Line(f"{criterion}, published", sorted(theirs), grey, marks=True))
    limits = close_limits([y for line in lines for _, y in line.points])
    axes = Axes("Accuracy of patches", "% of the weights removed", limits)
    save_chart(folder / "accuracy.png", lines, axes)
    curves = _curves(results)
    if not curves:
        return ("accuracy.png",)
    drawn = [
        Line(name, points, COLOURS[i % len(COLOURS)])
        for i, (name, points) in enumerate(curves.items())
    ]
    axes = Axes("Loss after removing maps one by one", "% of the layer's maps removed")
    save_chart(folder / "loss_by_layer.png", drawn, axes)
    return ("accuracy.png", "loss_by_layer.png")


def sentences(results: Sequence[Result]) -> tuple[str, ...]:
    """Say which way of pruning keeps more, and what the extreme costs."""
    groups = _groups(results)
    pairs = [
        (a, b)
        for net in [f"N{i}" for i in range(1, 8)]
        for loss, magnitude in [_pair(groups, net)]
        if loss is not None
        and magnitude is not None
        and (a := mean(loss, "accuracy")) is not None
        and (b := mean(magnitude, "accuracy")) is not None
    ]
    if not pairs:
        return ()
    better = sum(a > b for a, b in pairs)
    gap = float(np.mean([a - b for a, b in pairs]))
    return (
        f"Pruned by loss, {better} of {len(pairs)} networks are more accurate than "
        f"pruned by magnitude, by {100 * gap:+.2f} points on average; published: 5 of "
        "7, by +0.10 points.",
    )


def _pair_of_columns(name: str, form: str) -> tuple[Column, Column]:
    return Column(name, form), Column(f"{name}, published", form)


def _groups(results: Sequence[Result]) -> Groups:
    return {(str(g.cell["net"]), str(g.cell["criterion"])): g for g in grouped(results)}


def _pair(groups: Groups, net: str) -> tuple[Grouped | None, Grouped | None]:
    """By loss and by magnitude; the unpruned network is both."""
    whole = groups.get((net, "none"))
    return groups.get((net, "loss"), whole), groups.get((net, "magnitude"), whole)


def _curves(results: Sequence[Result]) -> dict[str, list[tuple[float, float]]]:
    """Loss curves of the first seed that has them."""
    for result in results:
        curves = result.measured.get("curves")
        if curves:
            return {
                str(name): [(float(x), float(y)) for x, y in points if y is not None]
                for name, points in curves.items()
            }
    return {}
