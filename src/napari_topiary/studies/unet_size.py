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

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.evaluation import evaluate
from napari_topiary.networks import count_macs_per_pixel
from napari_topiary.networks.unet import UNetSizes
from napari_topiary.report.charts import BLUE, GREEN, ORANGE, Chart, Line, save_chart
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
from napari_topiary.studies.context import StudyContext
from napari_topiary.types import Job, Task

PUBLISHED = (
    ("original U-Net", 31_000_000, 0.82, "stated only as similar to the next"),
    ("reduced, best", 7_800_000, 0.822, ""),
    ("under 2 M", 2_000_000, 0.764, "fewer than this many weights"),
)
"""Name, weights, accuracy, remark; the paper's own images and definition."""
MOST_WEIGHTS = 31_200_000
"""Of the published networks, with room for the maps at the end."""
QUALITIES = (
    "accuracy", "accuracy_foreground", "accuracy_particles", "dice", "iou",
    "sensitivity", "specificity", "cross_entropy", "f1", "aji", "pq", "dq", "sq",
)  # fmt: skip
"""Overall figures of an evaluation that are kept with a cell."""
HEADLINE = {"detect": "f1", "segment": "dice", "instances": "pq"}
"""The figure that a kind of task is usually measured by."""
WORDS = {
    "accuracy": "accuracy, background included",
    "accuracy_foreground": "accuracy of the classes' own pixels",
    "accuracy_particles": "accuracy by particle",
    "dice": "Dice",
    "f1": "F1",
    "pq": "PQ",
    "aji": "AJI",
}
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
            and UNetSizes(
                base=base, multiplier=factor, levels=levels, last=last
            ).parameters(1, 2)
            <= MOST_WEIGHTS
        )

    def run_cell(self, cell: Cell, context: StudyContext) -> Job[Measured]:
        """Train one network and validate it."""
        checkpoint = yield from context.fit(context.config("unet", cell))
        if context.stopped:
            return {}
        return (yield from _measured(checkpoint, context))

    def tables(self, results: Sequence[CellResult], task: Task) -> tuple[Table, ...]:
        """List the networks by weights, and the published ones."""
        accuracy, headline = _accuracy_for(task), HEADLINE[task.kind]
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
        groups = sorted(grouped(results), key=lambda g: g.mean("parameters") or 0)
        rows = [
            (
                *(group.cell[name] for name in SIZES),
                group.mean("parameters"),
                group.mean("macs_per_pixel"),
                *(group.mean(name) for name in names),
                group.deviation(headline),
                "yes" if group.mean("parameters") in front else "",
            )
            for group in groups
        ]
        return (
            Table(
                name="table", title="U-Nets by size", columns=columns, rows=tuple(rows)
            ),
            Table(
                name="published",
                title="Published (other images; how accuracy was counted is not known)",
                columns=(
                    Column("network"),
                    Column("weights", ",.0f"),
                    Column("accuracy", ".3f"),
                    Column("remark"),
                ),
                rows=PUBLISHED,
            ),
        )

    def draw(
        self, results: Sequence[CellResult], task: Task, folder: Path
    ) -> tuple[str, ...]:
        """Draw accuracy, and the usual figure of the task, against weights."""
        pictures = []
        for name in dict.fromkeys((_accuracy_for(task), HEADLINE[task.kind])):
            lines = [
                Line(
                    name="this data",
                    points=_points(results, name),
                    colour=BLUE,
                    joined=False,
                ),
                Line(
                    name="best for their size",
                    points=_front(results, name),
                    colour=GREEN,
                    marks=True,
                ),
            ]
            if name.startswith("accuracy"):
                known = [(weights, value) for _, weights, value, _ in PUBLISHED]
                words = [label for label, *_ in PUBLISHED]
                lines.append(
                    Line(
                        name="published",
                        points=known,
                        colour=ORANGE,
                        labels=words,
                        joined=False,
                    )
                )
            pictures.append(f"{name}.png")
            heading = f"{WORDS[name][:1].upper()}{WORDS[name][1:]} against size"
            chart = Chart(title=heading, x="weights", y_limits=(None, None), log_x=True)
            save_chart(folder / pictures[-1], chart, lines)
        return tuple(pictures)

    def sentences(self, results: Sequence[CellResult], task: Task) -> tuple[str, ...]:
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


def _points(results: Sequence[CellResult], name: str) -> list[tuple[float, float]]:
    """Weights and mean quality of every size."""
    groups: Sequence[SeedResults] = grouped(results)
    pairs: list[tuple[Any, Any]] = [
        (g.mean("parameters"), g.mean(name)) for g in groups
    ]
    return [(float(a), float(b)) for a, b in pairs if a is not None and b is not None]


def _front(results: Sequence[CellResult], name: str) -> list[tuple[float, float]]:
    return pareto(_points(results, name))


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points `(size, quality)` that no smaller or equal one surpasses, by size."""
    front: list[tuple[float, float]] = []
    for size, quality in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or quality > front[-1][1]:
            front.append((size, quality))
    return front


def _measured(checkpoint: Checkpoint, context: StudyContext) -> Job[Measured]:
    """Return the sizes of a network, how long it learned, and its quality."""
    config = PredictConfig(device=context.budget.device)  # type: ignore[arg-type]
    report: Measured = yield from context.relay(
        evaluate(checkpoint, context.held_out, config=config)
    )
    qualities = {name: report[name] for name in QUALITIES if name in report}
    return {
        "parameters": checkpoint.parameters,
        "parameters_nonzero": checkpoint.parameters_nonzero,
        "macs_per_pixel": count_macs_per_pixel(checkpoint.build()),
        "file_bytes": checkpoint.file_bytes(),
        "steps": checkpoint.provenance.get("steps"),
        "train_seconds": checkpoint.provenance.get("seconds"),
        **{name: value for name, value in qualities.items() if value is not None},
    }


def _accuracy_for(task: Task) -> str:
    """Return which accuracy tells networks apart for a task.

    With several classes that of the classes' own pixels: background is most of a
    micrograph and easily right.
    """
    return "accuracy_foreground" if len(task.classes) > 2 else "accuracy"
