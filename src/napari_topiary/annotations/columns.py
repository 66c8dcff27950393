"""Annotations as napari's own tables: columns, and paths of many vertices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations.base import Table
from napari_topiary.errors import TopiaryError
from napari_topiary.types import BACKGROUND, Task

SMALLEST_RADIUS = 0.5
"""In pixels; of anything smaller not even one pixel is seen."""
FARTHEST = 1e9
"""In pixels: no image is so large, and what is farther is no place."""
Path = NDArray[np.float64]
"""`(v, 2)` y, x of the vertices."""


def features_of(meta: Mapping[str, Any]) -> Table:
    """Return a layer's features as plain columns (a data frame or a mapping)."""
    features = meta.get("features")
    if features is None or not len(features):
        features = meta.get("properties")
    if features is None:
        return {}
    return {str(name): list(features[name]) for name in features}


def column(table: Mapping[str, Sequence[Any]], name: str) -> Sequence[Any]:
    """Return a column that must be there."""
    if name not in table:
        raise TopiaryError(
            f"The column {name!r} is missing: there are "
            f"{', '.join(map(repr, table)) or 'no columns'}. Wanted are 'axis-0' (y, "
            "downwards) and 'axis-1' (x) in pixels, and 'class' where there are "
            "several classes."
        )
    return table[name]


def numbers(
    table: Mapping[str, Sequence[Any]], name: str, *, most: float = math.inf
) -> list[float]:
    """Return a column of finite numbers, none of them beyond `most`."""
    values = []
    for row, value in enumerate(column(table, name), start=1):
        number = _number(value)
        if number is None or not math.isfinite(number) or abs(number) > most:
            raise TopiaryError(
                f"Row {row} has {value!r} in column {name!r}: give a number there, or "
                "delete the row."
            )
        values.append(number)
    return values


def coordinates(table: Mapping[str, Sequence[Any]]) -> NDArray[np.float64]:
    """Return `(n, 2)` y, x from the columns `axis-0` and `axis-1`."""
    if "axis-2" in table:
        raise TopiaryError(
            "The table holds 3-D coordinates (column 'axis-2'); annotations are 2-D: "
            "save one table per slice with the columns 'axis-0' and 'axis-1' only."
        )
    columns = [numbers(table, f"axis-{n}", most=FARTHEST) for n in (0, 1)]
    return np.array(columns, dtype=np.float64).reshape(2, -1).T


def class_names(values: Sequence[Any], what: str) -> tuple[str, ...]:
    """Return class names; every one must be there."""
    # Few names stand for thousands of things.
    known = {v: "" if _is_missing(v) else str(v).strip() for v in set(values)}
    names = tuple(known[value] for value in values)
    missing = sum(not name for name in names)
    if missing:
        raise TopiaryError(
            f"{missing} of {len(names)} {what} have no class: give each one the name "
            "of a class."
        )
    return names


def lengths(values: Sequence[Any], name: str) -> tuple[float | None, ...] | None:
    """Return lengths in nm, None where empty; None for a column with nothing in it."""
    found: list[float | None] = []
    for row, value in enumerate(values, start=1):
        number = None if _is_missing(value) else _number(value)
        if number is None and not _is_missing(value):
            raise TopiaryError(
                f"Row {row} has {value!r} in column {name!r}: give a number of nm, or "
                "leave it empty."
            )
        found.append(number)
    return positive_or_none(found, name.removesuffix("_nm"))


def positive_or_none(
    values: Sequence[float | None] | None, name: str
) -> tuple[float | None, ...] | None:
    """Check lengths in nm; one value for "none is given"."""
    if values is None or all(value is None for value in values):
        return None
    for value in values:
        if value is not None and not (math.isfinite(value) and value > 0):
            raise TopiaryError(
                f"A {name} of {value:g} is not possible: give more than 0 nm, or leave "
                "it empty to use the radius of the class."
            )
    return tuple(None if value is None else float(value) for value in values)


def yes_or_no(table: Mapping[str, Sequence[Any]], name: str) -> tuple[bool, ...] | None:
    """Return a column of yes and no, empty = no; None where there is no such column."""
    if name not in table:
        return None
    no = ("0", "0.0", "false", "no")
    return tuple(
        not _is_missing(value) and str(value).strip().lower() not in no
        for value in table[name]
    )


def unknown_class_problem(names: Sequence[str], task: Task, what: str) -> str | None:
    """Return a sentence if a class is not one of the task's."""
    unknown = sorted(set(names) - set(task.classes))
    if not unknown:
        return None
    count = sum(name in unknown for name in names)
    return (
        f"{count} of {len(names)} {what} are of class "
        f"{' and '.join(map(repr, unknown))}, but the classes are "
        f"{', '.join(task.classes)}: rename them or add the class."
    )


def radius_problem(
    names: Sequence[str],
    own: Sequence[float | None] | None,
    *,
    task: Task,
    scale: float | None,
    shape: Sequence[int],
) -> str | None:
    """Return a sentence if the size of something drawn is unknown or cannot be.

    Parameters
    ----------
    names
        Class of each thing; background needs no size.
    own
        Its own size in nm, None where the radius of the class counts.
    task
        Classes and radii.
    scale
        nm per pixel, None if unknown.
    shape
        `(y, x)` of the image in pixels.
    """
    for index, name in enumerate(names):
        if name == BACKGROUND:
            continue
        if own is not None and own[index] is not None and scale is not None:
            continue
        radius = task.radius(name, scale)
        if radius is not None and not SMALLEST_RADIUS <= radius <= max(shape[:2]):
            return (
                f"The radius of {name!r} is {radius:.3g} pixels in an image of "
                f"{shape[0]} x {shape[1]} pixels"
                + (f" of {scale:.4g} nm" if scale is not None else "")
                + ": check the radius and the pixel size."
            )
        if radius is None:
            if scale is None and (name in task.radius_nm or own is not None):
                return (
                    f"The size of {name!r} is given in nm, but the pixel size of this "
                    "image is unknown: enter nm per pixel, or a radius in pixels."
                )
            return (
                f"The class {name!r} has no radius: enter how large it is (radius in "
                "nm, or in pixels where the pixel size is unknown)."
            )
    return None


def _is_missing(value: Any) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in ("", "nan", "none")


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


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
