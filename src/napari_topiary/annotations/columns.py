"""Columns of a table or of a layer's features -> coordinates, classes and lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations.base import Table
from napari_topiary.errors import TopiaryError
from napari_topiary.types import Task

SMALLEST_RADIUS = 0.5
"""In pixels; of anything smaller not even one pixel is seen."""
FARTHEST = 1e9
"""In pixels: no image is so large, and what is farther is no place."""


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
    names = tuple("" if _is_missing(value) else str(value).strip() for value in values)
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
        Class of each thing.
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
