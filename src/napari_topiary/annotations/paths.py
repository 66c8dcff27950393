"""Shapes as napari keeps them: paths in a layer, and in its CSV (one row a vertex)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations.base import Table
from napari_topiary.annotations.columns import FARTHEST, column, coordinates, numbers
from napari_topiary.errors import TopiaryError

Path = NDArray[np.float64]
"""`(v, 2)` y, x of the vertices."""


def as_paths(paths: Iterable[Any], what: str) -> tuple[Path, ...]:
    """Check vertices and make them unchangeable.

    Single precision is what napari keeps of a shape; keeping just that here makes what
    comes back from a layer equal to what was put into it.
    """
    checked = []
    for number, path in enumerate(paths, start=1):
        vertices = np.array(path, dtype=np.float32).astype(np.float64)
        if vertices.ndim != 2 or vertices.shape[1] != 2 or not len(vertices):
            raise TopiaryError(
                f"{what} {number} has vertices of shape {vertices.shape}; annotations "
                "are 2-D: give y and x of each vertex, slice by slice for a stack."
            )
        if not (np.abs(vertices) <= FARTHEST).all():
            raise TopiaryError(
                f"{what} {number} has vertices without a position (not a number): "
                "delete it."
            )
        vertices.flags.writeable = False
        checked.append(vertices)
    return tuple(checked)


def same_paths(a: Sequence[Path], b: Sequence[Path]) -> bool:
    """Whether two lists of paths have equal vertices."""
    return len(a) == len(b) and all(map(np.array_equal, a, b))


def rescaled_paths(
    paths: Sequence[Path], factor_yx: tuple[float, float]
) -> tuple[Path, ...]:
    """Paths on a grid of `factor_yx` times as many pixels."""
    return tuple((path + 0.5) * np.asarray(factor_yx) - 0.5 for path in paths)


def shape_types(meta: Mapping[str, Any], count: int, default: str) -> tuple[str, ...]:
    """Shape type of each shape of a napari layer."""
    types = meta.get("shape_type", default)
    if isinstance(types, str):
        return (types,) * count
    return tuple(str(name) for name in types)


def paths_to_table(
    paths: Sequence[Path],
    types: Sequence[str],
    extra: Mapping[str, Sequence[Any]] | None = None,
) -> Table:
    """Return napari's shapes columns; `extra` columns are repeated for each vertex."""
    counts = [len(path) for path in paths]
    vertices = np.concatenate([np.zeros((0, 2)), *paths])

    def repeat(values: Sequence[Any]) -> list[Any]:
        return [v for v, n in zip(values, counts, strict=True) for _ in range(n)]

    table: Table = {
        "index": repeat(range(len(paths))),
        "shape-type": repeat(types),
        "vertex-index": [i for n in counts for i in range(n)],
        "axis-0": _shortest(vertices[:, 0]),
        "axis-1": _shortest(vertices[:, 1]),
    }
    for name, values in (extra or {}).items():
        table[name] = repeat(values)
    return table


def paths_from_table(
    table: Mapping[str, Sequence[Any]],
) -> tuple[list[Path], list[str], list[int]]:
    """Read paths, shape types, and the row that each path starts in."""
    vertices = coordinates(table)
    index = np.array(numbers(table, "index"))
    order = np.array(numbers(table, "vertex-index"))
    types = column(table, "shape-type")
    paths, names, first_rows = [], [], []
    for shape in dict.fromkeys(index.tolist()):
        rows = np.flatnonzero(index == shape)
        rows = rows[np.argsort(order[rows], kind="stable")]
        paths.append(vertices[rows])
        names.append(str(types[rows[0]]).strip().lower())
        first_rows.append(int(rows[0]))
    return paths, names, first_rows


def _shortest(values: NDArray[np.float64]) -> list[float]:
    """Return the shortest decimals that mean the same in single precision."""
    return [float(str(value)) for value in values.astype(np.float32)]
