"""EMAN BOX, and plain tables of coordinates without names of columns."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np

from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats.base import (
    Marks,
    Places,
    annotation_formats,
    head_text,
    is_text,
    marks,
    number,
    row_words,
)
from napari_topiary.io.plain_files import read_text

START, END = -1, -2
"""In a fifth column: where a helix begins, and where it ends."""
USUAL_RADIUS = 10.0
_NAMES = (
    ("x", "box_x_coordinate", "x_corner"),
    ("y", "box_y_coordinate", "y_corner"),
    ("w", "width", "box_size_x"),
    ("h", "height", "box_size_y"),
)
"""What the columns are called by those who name them."""


@annotation_formats.register("box")
class Box:
    """Corner and size of each box (four columns), or the middle alone (two)."""

    title: ClassVar[str] = "EMAN BOX"
    details: ClassVar[str] = (
        "four columns (corner and size, in whole pixels), two (middle), pairs "
        "of a helix, EMAN2's helices"
    )
    marks: ClassVar[str] = "points, lines, sizes"
    suffixes: ClassVar[tuple[str, ...]] = (".box", ".coords", ".coord", ".txt", ".plt")
    ending: ClassVar[str] = ".box"
    only_places: ClassVar[bool] = True
    names_classes: ClassVar[bool] = False

    @staticmethod
    def fits(head: bytes) -> bool:
        """Whether it is rows of two to five numbers, or empty: nothing was picked."""
        if not is_text(head):
            return False
        lines = [line for line in head_text(head).splitlines() if line.strip()]
        rows = [row_words(line) for line in lines if not line.startswith("#")]
        if rows and _names_sizes(rows[0]):
            rows.pop(0)
        return not rows or (
            2 <= len(rows[0]) <= 6
            and all(map(_is_number, rows[0]))
            and not _is_yolo(rows)
        )

    @staticmethod
    def read(path: Path) -> list[Marks]:
        """Read the middles of the boxes; pairs of a helix are lines."""
        places, radius = list[tuple[float, float]](), list[float]()
        flags, lines = list[int](), list[Places]()
        text = read_text(path, "BOX file")
        columns: set[int] = set()
        order = list[int]()
        for count, line in enumerate(text.splitlines(), start=1):
            words = row_words(line)
            if line.startswith("#helix"):
                lines.append(_ends(line, count, path))
            if words and not line.startswith("#") and _names_sizes(words):
                order = _order(words)
            if not words or line.startswith("#") or _names_sizes(words):
                continue
            values = [number(w, f"Line {count} of {path.name}") for w in words]
            if len(values) == len(order):
                values = [values[column] for column in order]
            columns.add(min(len(values), 4))
            if len(values) not in (2, 4, 5, 6) or len(columns) > 1:
                raise TopiaryError(
                    f"Line {count} of {path.name} has {len(values)} values: a BOX file "
                    "has x, y, width and height in every line, or x and y of the "
                    "middle alone. Correct or delete the line; if the third value is "
                    "a slice or a score, delete that column."
                )
            x, y = values[:2]
            width, height = values[2:4] if len(values) > 3 else (0.0, 0.0)
            if min(width, height) < 0:
                raise TopiaryError(
                    f"Line {count} of {path.name} has a box of {width:g} x {height:g}: "
                    "give a size above 0, or delete the line."
                )
            places.append((y + height / 2, x + width / 2))
            radius.append((width + height) / 4)
            flags.append(round(values[4]) if len(values) > 4 else 0)
        where = np.array(places, dtype=np.float64).reshape(-1, 2)
        alone, helices = _helices(flags, path.name)
        if lines:  # what lies along a helix is not picked a second time
            alone = []
        lines += [where[members] for members in helices]
        return [
            marks(
                where[alone],
                radius=tuple(radius[i] for i in alone) if columns == {4} else None,
                lines=(joined := _joined(lines)),
                line_classes=("",) * len(joined),
            )
        ]

    @staticmethod
    def write(path: Path, marked: Marks) -> None:
        """Write boxes in whole pixels, as EMAN does; a filament as pairs of a helix."""
        radius = marked.radius or (USUAL_RADIUS,) * len(marked.places)
        rows = [
            _row(place, half) for place, half in zip(marked.places, radius, strict=True)
        ]
        half = max(radius, default=USUAL_RADIUS)
        for line in marked.lines:
            for place, other in pairwise(line):
                rows += [f"{_row(place, half)}\t{START}", f"{_row(other, half)}\t{END}"]
        path.write_text("".join(f"{row}\n" for row in rows), encoding="ascii")


def _row(place: Places, half: float) -> str:
    side = max(2, 2 * round(half))
    y, x = (round(float(value) - side / 2) for value in place)
    return f"{x}\t{y}\t{side}\t{side}"


def _helices(flags: list[int], file: str) -> tuple[list[int], list[list[int]]]:
    """Single boxes, and the members of each helix."""
    ends = [flag for flag in flags if flag in (START, END)]
    if ends != [START, END] * (len(ends) // 2):
        raise TopiaryError(
            f"{file} has helices that begin ({START} in the fifth column) without an "
            f"end ({END}), or the other way round: write it again, or delete the fifth "
            "column if it is a score."
        )
    alone, lines, open_line = list[int](), list[list[int]](), list[int]()
    for index, flag in enumerate(flags):
        if flag == START:
            open_line = [index]
        elif open_line:
            open_line.append(index)
            if flag == END:
                lines.append(open_line)
                open_line = []
        else:
            alone.append(index)
    return alone, lines


def _joined(lines: list[Places]) -> tuple[Places, ...]:
    """Lines, those that begin where the one before ends as one with it."""
    joined: list[Places] = []
    for line in lines:
        if joined and np.array_equal(joined[-1][-1], line[0]):
            joined[-1] = np.concatenate([joined[-1], line[1:]])
        else:
            joined.append(line)
    return tuple(joined)


def _names_sizes(words: list[str]) -> bool:
    """Whether it is a line of names such as x y w h, which no table has by chance."""
    return any(word.lower() in ("w", "width", "box_size_x") for word in words)


def _order(names: list[str]) -> list[int]:
    """Where x, y, width and height are, by the names above them; empty = as usual."""
    lower = [name.lower() for name in names]
    wanted = [[n for n in lower if n in some] for some in _NAMES]
    one_each = all(len(found) == 1 for found in wanted)
    first = [lower.index(found[0]) for found in wanted] if one_each else []
    others = [column for column in range(len(names)) if column not in first]
    return [*first, *others] if first else []


def _is_yolo(rows: list[list[str]]) -> bool:
    """Whether it is a class and a box in shares of the image, as YOLO has them."""
    try:
        values = np.array(rows, dtype=np.float64)
    except ValueError:  # not as many in each line
        return False
    if values.shape[1] != 5:
        return False
    shares, classes = values[:, 1:], values[:, 0]
    whole = bool((classes == np.rint(classes)).all())
    return whole and bool(((shares >= 0) & (shares <= 1)).all()) and shares.max() > 0


def _ends(line: str, count: int, path: Path) -> Places:
    """Where a helix of EMAN2 begins and ends: #helix: (x, y),(x, y),width."""
    found = re.findall(r"\(([^(),]+),([^(),]+)\)", line)
    if len(found) != 2:
        raise TopiaryError(
            f"Line {count} of {path.name} names a helix without its two ends: write "
            "the file again."
        )
    where = f"Line {count} of {path.name}"
    return np.array([[number(y, where), number(x, where)] for x, y in found])


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
