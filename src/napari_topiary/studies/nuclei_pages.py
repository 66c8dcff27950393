"""Tables and curves of the nuclei study, with what is known of the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_topiary.story.charts import Axes, Line, close_limits, save_chart
from napari_topiary.studies.base import Column, Grouped, Result, Table
from napari_topiary.studies.summary import deviation, grouped, mean

LOST = 0.02
"""Share of the quality that may be lost."""
COLOURS = {"layer": "#2060c0", "global": "#d06000"}
SCOPES = {"layer": "layer-wise", "global": "network-wide"}


@dataclass(frozen=True)
class Curve:
    """One of the three curves.

    Parameters
    ----------
    name
        Of the measured figure.
    words, title
        For tables and plots.
    ratio
        Largest compression ratio that cost less than 2 %, layer-wise, as published.
    rising
        Whether more is better.
    """

    name: str
    words: str
    title: str
    ratio: int
    rising: bool = True


CURVES = (
    Curve("dice", "Dice", "Segmentation: Dice", 16),
    Curve("rmse", "RMSE", "Distance: RMSE (less is better)", 20, rising=False),
    Curve("pq", "PQ", "Objects: PQ", 5),
)


def tables(results: Sequence[Result]) -> tuple[Table, ...]:
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
        Column("AJI", ".4f"),
        Column("DQ", ".4f"),
        Column("SQ", ".4f"),
    )
    rows = []
    for group in sorted(groups, key=lambda g: (g.cell["ratio"], g.cell["scope"])):
        sparsity = mean(group, "sparsity")
        figures: list[float | None] = []
        for curve in CURVES:
            lost = loss(groups, group, curve)
            figures += [mean(group, curve.name), deviation(group, curve.name)]
            figures.append(None if lost is None else 100 * lost)
        rows.append(
            (
                group.cell["ratio"],
                SCOPES.get(group.cell["scope"], "unpruned"),
                None if sparsity is None else 100 * sparsity,
                *figures,
                *(mean(group, name) for name in ("aji", "dq", "sq")),
            )
        )
    title = "Quality of branches and objects, pruned and fine-tuned"
    return (Table("table", title, columns, tuple(rows)), _limits(groups))


def draw(results: Sequence[Result], folder: Path) -> tuple[str, ...]:
    """Draw each curve in both scopes, with the 2 % line and the published ratio."""
    groups = grouped(results)
    pictures = []
    for curve in CURVES:
        lines, base = [], _unpruned(groups)
        for scope, words in SCOPES.items():
            own = _of(groups, scope)
            points = [
                (float(g.cell["ratio"]), value, deviation(g, curve.name) or 0.0)
                for g in own
                if (value := mean(g, curve.name)) is not None
            ]
            places = [(x, y) for x, y, _ in points]
            spread = [sd for *_, sd in points]
            lines.append(Line(words, places, COLOURS[scope], marks=True, spread=spread))
        before = None if base is None else mean(base, curve.name)
        levels = []
        if before is not None:
            limit = before * (1 - LOST if curve.rising else 1 + LOST)
            levels = [(limit, "2 % lost")]
        removed = 100 * (1 - 1 / curve.ratio)
        axes = Axes(
            curve.title,
            "compression ratio",
            close_limits([y for line in lines for _, y in line.points]),
            log_x=True,
            levels=levels,
            places=[(curve.ratio, f"published: {removed:g} %")],
        )
        pictures.append(f"{curve.name}.png")
        save_chart(folder / pictures[-1], lines, axes)
    return tuple(pictures)


def sentences(results: Sequence[Result]) -> tuple[str, ...]:
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


def loss(groups: Sequence[Grouped], group: Grouped, curve: Curve) -> float | None:
    """Share of the unpruned network's quality that is lost; negative = gained."""
    base = _unpruned(groups)
    before = None if base is None else mean(base, curve.name)
    after = mean(group, curve.name)
    if before is None or after is None or before == 0:
        return None
    change = (before - after) / before
    return change if curve.rising else -change


def _limits(groups: Sequence[Grouped]) -> Table:
    rows = []
    for curve in CURVES:
        layer, whole = (_largest(groups, scope, curve) for scope in SCOPES)
        rows.append((curve.title, layer, curve.ratio, whole, _crossing(groups, curve)))
    return Table(
        "limits",
        "Largest compression ratio with less than 2 % lost",
        (
            Column("curve"),
            Column("layer-wise"),
            Column("layer-wise, published"),
            Column("network-wide"),
            Column("crossing"),
        ),
        tuple(rows),
        "Published: layer-wise is slightly better for few weights removed, "
        "network-wide for many.",
    )


def _unpruned(groups: Sequence[Grouped]) -> Grouped | None:
    return next((g for g in groups if g.cell["ratio"] == 1), None)


def _of(groups: Sequence[Grouped], scope: str) -> list[Grouped]:
    """Cells of a scope by ratio, the unpruned network first."""
    own = [g for g in groups if g.cell["scope"] in (scope, "none")]
    return sorted(own, key=lambda g: g.cell["ratio"])


def _largest(groups: Sequence[Grouped], scope: str, curve: Curve) -> int | None:
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


def _crossing(groups: Sequence[Grouped], curve: Curve) -> str:
    """Say from which ratio on network-wide is better."""
    sides = []
    by_ratio = {
        scope: {g.cell["ratio"]: g for g in _of(groups, scope)} for scope in SCOPES
    }
    for ratio in sorted(by_ratio["layer"].keys() & by_ratio["global"].keys() - {1}):
        layer = mean(by_ratio["layer"][ratio], curve.name)
        whole = mean(by_ratio["global"][ratio], curve.name)
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
