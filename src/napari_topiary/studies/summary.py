"""Results of several seeds together: means, spreads and what is best for its size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from napari_topiary.studies.base import Cell, Grouped, Result


def grouped(results: Iterable[Result]) -> tuple[Grouped, ...]:
    """Gather the seeds of every cell, cells in the order of their first result."""
    found: dict[tuple[Any, ...], tuple[Cell, dict[str, list[float]]]] = {}
    for result in results:
        key = tuple(sorted(result.cell.items(), key=lambda item: item[0]))
        _, values = found.setdefault(key, (result.cell, {}))
        for name, value in result.measured.items():
            if isinstance(value, int | float) and math.isfinite(value):
                values.setdefault(name, []).append(float(value))
    return tuple(
        Grouped(cell, {name: tuple(own) for name, own in values.items()})
        for cell, values in found.values()
    )


def mean(group: Grouped, name: str) -> float | None:
    """Mean over the seeds, None where nothing is known."""
    values = group.values.get(name)
    return float(np.mean(values)) if values else None


def deviation(group: Grouped, name: str) -> float | None:
    """Standard deviation over the seeds; None for fewer than two."""
    values = group.values.get(name, ())
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def standard_error(group: Grouped, name: str) -> float | None:
    """Standard error of the mean over the seeds; None for fewer than two."""
    spread = deviation(group, name)
    return None if spread is None else spread / math.sqrt(len(group.values[name]))


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points `(size, quality)` that no smaller or equal one surpasses, by size."""
    front: list[tuple[float, float]] = []
    for size, quality in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or quality > front[-1][1]:
            front.append((size, quality))
    return front


def matching(rows: Iterable[Mapping[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """Rows whose columns have these values; numbers may differ by rounding.

    Parameters
    ----------
    rows
        Of a published table.
    **wanted
        Column -> value.
    """
    return [
        dict(row)
        for row in rows
        if all(_same(row.get(name), value) for name, value in wanted.items())
    ]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    return bool(a == b)
