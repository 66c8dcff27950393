"""A stack is its slices: what they are called, and what a table marks on each.

Networks look at one image at a time, so window, command line and Python take a stack
slice by slice. Each slice is an image of its own, `NAME 00`, `NAME 01`...; what is
drawn on the stack lies in files of its name, or in files of the name of a slice, which
count more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import Table
from napari_topiary.errors import TopiaryError
from napari_topiary.io.images import count_slices
from napari_topiary.io.tables import Rows

_FROM_0 = ("z", "axis-z", "plane", "section")
_FROM_1 = ("slice", "frame", "position")
SLICES = (*_FROM_0, *_FROM_1)
"""Columns that say the slice where axis-0 does not; ImageJ counts its own from 1."""

ALIKE = 0.25
"""Neighbours of which half are correlated by more are slices. Every 8th slice of a real
volume is by 0.43, of images of their own those of one set by 0.12 at most, and by 0.31
if all of them are darker at the corners; slices taken for such images are worse than
the other way round."""
THIN = 64


@dataclass(frozen=True)
class Slice:
    """One slice of a stack in a file."""

    stack: str
    path: Path
    #: `index`, `count`: which slice, from 0, and of how many
    index: int
    count: int

    @property
    def name(self) -> str:
        """What it is called."""
        return slice_names(self.stack, self.count)[self.index]


def slice_names(name: str, count: int) -> tuple[str, ...]:
    """Return what the slices of a stack are called; a single image keeps its name."""
    digits = len(str(count - 1))
    return (
        (name,) if count == 1 else tuple(f"{name} {n:0{digits}d}" for n in range(count))
    )


def stack_of(name: str) -> str:
    """Return the stack that an image is a slice of by its name; else its own name."""
    stack, blank, number = name.rpartition(" ")
    return stack if blank and number.isdecimal() else name


def are_slices(images: Mapping[str, NDArray[Any]]) -> bool:
    """Whether images of one `stack_of` are slices, by their names and what they show.

    Slices are numbered as `slice_names` does it: who begins at 1, and writes 9 and 10,
    has images of their own. So has who numbers them alike, but where neighbours show
    nothing in common.

    Parameters
    ----------
    images
        `(c, y, x)`, by name.
    """
    numbers = [name.rpartition(" ")[2] for name in images]
    longest = max(map(len, numbers))
    even = all(one.isdecimal() and len(one) == longest for one in numbers)
    if not even or (longest == 1 and "0" not in numbers):
        return False
    thin = [_thinned(images[name]) for name in sorted(images)]
    found = [
        float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
        for one, other in pairwise(thin)
        if one.shape == other.shape and one.std() and other.std()
    ]
    return not found or float(np.median(found)) > ALIKE


def _thinned(image: NDArray[Any]) -> NDArray[np.float64]:
    """About `THIN` rows and columns of an image `(c, y, x)`, in grey."""
    steps = (max(1, n // THIN) for n in image.shape[1:])
    thin = image[:, *(slice(None, None, step) for step in steps)].astype(np.float64)
    return np.asarray(np.nan_to_num(thin, posinf=0, neginf=0).mean(axis=0))


def slices_in(images: Mapping[str, Path]) -> dict[str, Slice]:
    """Return the slices of those images that are stacks, by name.

    A slice that there is a file of its own for is not among them.
    """
    found = {}
    for stack, path in images.items():
        count = count_slices(path)
        if count > 1:
            for index, name in enumerate(slice_names(stack, count)):
                if name not in images:
                    found[name] = Slice(stack, path, index, count)
    return found


def rows_by_slice(rows: Rows, count: int) -> tuple[list[Rows], str]:
    """Divide what a table marks on a stack; return a sentence about rows in no slice.

    Parameters
    ----------
    rows
        `axis-0` is the slice, from 0, `axis-1` is y and `axis-2` x, as napari has them;
        or y, x and a column `z` (from 0) or `slice` (from 1, as ImageJ counts).
    count
        Slices of the stack.

    Raises
    ------
    TopiaryError
        If no column says the slice.
    """
    table, numbers = with_slices(rows.table, count)
    places: list[list[int]] = [[] for _ in range(count)]
    lost: list[int] = []
    for row, number in enumerate(numbers):
        (places[number] if number is not None else lost).append(row)
    fault = ""
    if lost:
        first = rows.lines[lost[0]]
        fault = (
            f"{len(lost)} of {len(numbers)} rows lie in none of the {count} slices "
            f"(line {first} is the first): slices count from 0 to {count - 1}."
        )
    return [
        Rows(
            {name: [values[row] for row in own] for name, values in table.items()},
            [rows.lines[row] for row in own],
            [],
            "",
        )
        for own in places
    ], fault


def with_slices(table: Table, count: int) -> tuple[Table, list[int | None]]:
    """Return the table as that of 2-D images, and the slice of each row.

    Parameters
    ----------
    table, count
        As for `rows_by_slice`; None is the slice of rows that lie in none.
    """
    if {"axis-0", "axis-1", "axis-2"} <= set(table) and "axis-3" not in table:
        rest = {k: v for k, v in table.items() if not k.startswith("axis-")}
        flat = {"axis-0": table["axis-1"], "axis-1": table["axis-2"], **rest}
        return flat, [_slice(value, 0, count) for value in table["axis-0"]]
    for name, values in table.items():
        lower = name.lower()
        if lower in _FROM_0 + _FROM_1:
            flat = {k: v for k, v in table.items() if k != name}
            is_from_1 = lower in _FROM_1 and "0" not in values
            return flat, [_slice(value, int(is_from_1), count) for value in values]
    if not next(iter(table.values()), []):
        return table, []
    raise TopiaryError(
        f"the image is a stack of {count} slices, and no column says which slice a "
        "row is in: save it from napari as 3-D (axis-0 is the slice, axis-1 is y, "
        "axis-2 is x), or add a column z that counts slices from 0."
    )


def _slice(value: object, first: int, count: int) -> int | None:
    try:
        number = round(float(str(value))) - first
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < count else None
