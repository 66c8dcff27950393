"""How small a U-Net may be: quality against weights at equal training.

The grid is over the four hyper-parameters of the slim U-Net for viruses (base maps,
their growth by level, levels, maps of the last two convolutions); the published three
points are known by weights and accuracy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

from napari_topiary.networks.unet_sizes import UNetSizes
from napari_topiary.story.charts import Axes, Line, close_limits, save_chart
from napari_topiary.studies.base import (
    Cell,
    Column,
    Grouped,
    Measured,
    Result,
    Source,
    Study,
    Table,
    studies,
)
from napari_topiary.studies.bench import Bench
from napari_topiary.studies.judging import HEADLINE, WORDS, accuracy_for, judged
from napari_topiary.studies.summary import deviation, grouped, mean, pareto
from napari_topiary.training import fit
from napari_topiary.types import Job, Task

PUBLISHED = (
    ("original U-Net", 31_000_000, 0.82, "stated only as similar to the next"),
    ("reduced, best", 7_800_000, 0.822, ""),
    ("under 2 M", 2_000_000, 0.764, "fewer than this many weights"),
)
"""Name, weights, accuracy, remark; the paper's own images and definition."""
MOST_WEIGHTS = 31_200_000
"""Of the published networks, with room for the maps at the end."""
BLUE, ORANGE, GREEN = "#2060c0", "#d06000", "#008060"
SIZES = ("base", "multiplier", "levels", "last")


@studies.register("unet-size")
class UNetSize(Study):
    """Grid over the sizes of a U-Net, all trained alike."""

    title = "Quality of U-Nets of many sizes, each trained for as long as the others"
    source = Source(
        "Matuszewski and Sintorn, Reducing the U-Net size for practical scenarios: "
        "virus recognition in electron microscopy images, Comput. Methods Programs "
        "Biomed. 178:31-39, 2019",
        "doi 10.1016/j.cmpb.2019.05.026",
    )
    tasks = ("detect", "segment", "instances")
    axes: ClassVar[Mapping[str, str]] = {
        "base": "maps at full size",
        "multiplier": "factor in maps from level to level",
        "levels": "how often the image is halved",
        "last": "maps of the last two convolutions, None = as base",
    }

    def grid(self, *, quick: bool) -> tuple[Cell, ...]:
        """Return all sizes that are not larger than the published networks."""
        if quick:
            few: list[tuple[int, float, int, int | None]] = [
                (4, 2.0, 2, None),
                (8, 2.0, 2, None),
                (8, 2.0, 3, None),
                (8, 1.5, 3, None),
                (4, 2.0, 3, 16),
            ]
            return tuple(dict(zip(SIZES, values, strict=True)) for values in few)
        options = product(
            (8, 16, 32, 64, 4), (2.0, 1.5, 3.0), (4, 3, 5, 2, 6), (None, 64)
        )
        return tuple(
            dict(zip(SIZES, (base, factor, levels, last), strict=True))
            for base, factor, levels, last in options
            # 64 maps at the end of one with 64 at full size are the same network.
            if last != base
            and UNetSizes(base, factor, levels, last).parameters(1, 2) <= MOST_WEIGHTS
        )

    def run_cell(self, cell: Cell, bench: Bench) -> Job[Measured]:
        """Train one network and judge it."""
        checkpoint = yield from bench.heard(
            fit(
                bench.train,
                bench.config("unet", cell),
                task=bench.task,
                validation=bench.validation,
            )
        )
        if bench.stopped:
            return {}
        return (yield from judged(checkpoint, bench))

    def tables(self, results: Sequence[Result], task: Task) -> tuple[Table, ...]:
        """List the networks by weights, and the published ones."""
        accuracy, headline = accuracy_for(task), HEADLINE[task.kind]
        front = {size for size, _ in _front(results, headline)}
        names = list(dict.fromkeys((accuracy, "accuracy", headline, "dice", "iou")))
        several = task.kind == "detect" and len(task.classes) > 2
        names += ["accuracy_particles"] if several else []
        columns = (
            *(Column(name) for name in SIZES),
            Column("weights", ",.0f"),
            Column("MACs per pixel", ",.0f"),
            *(Column(WORDS.get(name, name), ".4f") for name in names),
            Column(f"sd of {WORDS[headline]}", ".4f"),
            Column("best for its size"),
        )
        groups = sorted(grouped(results), key=lambda g: mean(g, "parameters") or 0)
        rows = [
            (
                *(group.cell[name] for name in SIZES),
                mean(group, "parameters"),
                mean(group, "macs_per_pixel"),
                *(mean(group, name) for name in names),
                deviation(group, headline),
                "yes" if mean(group, "parameters") in front else "",
            )
            for group in groups
        ]
        return (
            Table("table", "U-Nets by size", columns, tuple(rows)),
            Table(
                "published",
                "Published (other images; how accuracy was counted is not known)",
                (
                    Column("network"),
                    Column("weights", ",.0f"),
                    Column("accuracy", ".3f"),
                    Column("remark"),
                ),
                PUBLISHED,
            ),
        )

    def draw(
        self, results: Sequence[Result], task: Task, folder: Path
    ) -> tuple[str, ...]:
        """Draw accuracy, and the usual figure of the task, against weights."""
        pictures = []
        for name in dict.fromkeys((accuracy_for(task), HEADLINE[task.kind])):
            lines = [
                Line("this data", _points(results, name), BLUE, joined=False),
                Line("best for their size", _front(results, name), GREEN, marks=True),
            ]
            if name.startswith("accuracy"):
                known = [(weights, value) for _, weights, value, _ in PUBLISHED]
                words = [label for label, *_ in PUBLISHED]
                lines.append(
                    Line("published", known, ORANGE, labels=words, joined=False)
                )
            pictures.append(f"{name}.png")
            heading = f"{WORDS[name][:1].upper()}{WORDS[name][1:]} against size"
            limits = close_limits([y for line in lines for _, y in line.points])
            axes = Axes(heading, "weights", limits, log_x=True)
            save_chart(folder / pictures[-1], lines, axes)
        return tuple(pictures)

    def sentences(self, results: Sequence[Result], task: Task) -> tuple[str, ...]:
        """Name the smallest network within one point of the best."""
        name = HEADLINE[task.kind]
        points = _points(results, name)
        if not points:
            return ()
        best = max(points, key=lambda point: point[1])
        least = min(p for p in points if p[1] >= best[1] - 0.01)
        return (
            f"The best of {len(points)} sizes reaches {WORDS[name]} {best[1]:.3f} with "
            f"{best[0]:,.0f} weights; the smallest within 0.01 of it has "
            f"{least[0]:,.0f} ({WORDS[name]} {least[1]:.3f}).",
        )


def _points(results: Sequence[Result], name: str) -> list[tuple[float, float]]:
    """Weights and mean quality of every size."""
    groups: Sequence[Grouped] = grouped(results)
    pairs: list[tuple[Any, Any]] = [
        (mean(g, "parameters"), mean(g, name)) for g in groups
    ]
    return [(float(a), float(b)) for a, b in pairs if a is not None and b is not None]


def _front(results: Sequence[Result], name: str) -> list[tuple[float, float]]:
    return pareto(_points(results, name))
