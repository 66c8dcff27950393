"""Tables as CSV, in the form that napari itself reads and writes."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_topiary.annotations import Table
from napari_topiary.errors import TopiaryError
from napari_topiary.io.atomic import writing
from napari_topiary.io.plain_files import read_text

_SEPARATOR = "sep="
_COLUMNS = {
    "axis-0": ("y", "row", "y_px", "y [px]", "y (px)", "y_coord", "centroid-0",
               "centroid y px", "ym", "location_center_y",
               "center of the object_1"),
    "axis-1": ("x", "col", "column", "x_px", "x [px]", "x (px)", "x_coord",
               "centroid-1", "centroid x px", "xm", "location_center_x",
               "center of the object_0"),
}  # fmt: skip
"""What other programs call the columns of napari, where it cannot mean another."""
_NUMBERS = ("axis-", "radius", "width")


@dataclass(frozen=True)
class Rows:
    """The rows of a table that have a value for each column."""

    table: Table  #: Columns of text
    lines: list[int]  #: Line of each row in the file, from 1
    bad: list[int]  #: Lines that do not fit the columns
    fault: str  #: A sentence about the first of them; empty if there is none


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a CSV file as columns of text.

    Semicolons or tabs between the columns, decimal commas, a byte order mark and a
    first line `sep=;` are understood too: spreadsheet programs write them in many
    countries. So are `y` and `x` and the table of results of ImageJ.

    Raises
    ------
    TopiaryError
        With a sentence if it is not a table.
    """
    rows = read_rows(path)
    if rows.fault:
        raise TopiaryError(rows.fault)
    return rows.table


def read_rows(path: str | os.PathLike[str]) -> Rows:
    """Read a CSV file as `read_table` does, and set aside the lines that do not fit."""
    path = Path(path)
    text = read_text(path, "table")
    lines = text.splitlines()
    if not lines:
        raise TopiaryError(
            f"{path.name} is empty: a table starts with a line of column names."
        )
    remarks = next((i for i, line in enumerate(lines) if line[:1] != "#"), 0)
    lines = lines[remarks:]
    between = max(",;\t", key=lines[0].count)
    is_named = lines[0].lower().startswith(_SEPARATOR)
    skipped = remarks + is_named
    if is_named:
        between = lines.pop(0)[len(_SEPARATOR) :].strip(" ") or ","
    reader = csv.reader(lines, delimiter=between)
    try:
        rows = [(reader.line_num + skipped, row) for row in reader if any(row)]
    except (csv.Error, TypeError) as error:
        raise TopiaryError(
            f"{path.name} is not a table ({error}): save it as CSV (UTF-8)."
        ) from error
    names = _names(rows[0][1]) if rows else []
    if len(names) > 1 and sum(map(_is_number, names)) > 1:
        raise TopiaryError(
            f"{path.name} has no names of columns, its first line is {lines[0]!r}: put "
            "one above that says what is what, such as axis-0,axis-1,class (axis-0 is "
            "y, downwards, and axis-1 is x)."
        )
    table: Table = {name: [] for name in names if name}
    if len(table) != len([name for name in names if name]):
        raise TopiaryError(
            f"{path.name} has two columns of the same name: rename one of them."
        )
    good, bad, fault = list[int](), list[int](), ""
    for line, row in rows[1:]:
        while len(row) > len(names) and not row[-1].strip():
            row.pop()  # commas at the end of every line
        if len(row) != len(names):
            bad.append(line)
            fault = fault or odd_line(line, path, len(row), len(names))
            continue
        good.append(line)
        for name, value in zip(names, row, strict=True):
            if name:
                decimal = name.startswith(_NUMBERS) and "." not in value
                value = value.replace(",", ".", 1) if decimal else value
                table[name].append(value.strip())
    return Rows(table, good, bad, fault)


def odd_line(line: int, path: Path, values: int, columns: int) -> str:
    """Say that a line has not one value for each column."""
    return (
        f"Line {line} of {path.name} has {values} values for {columns} columns: "
        "correct or delete the line."
    )


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _names(header: Sequence[str]) -> list[str]:
    """Names of columns as napari has them; empty for those without a name."""
    given = [name.strip() for name in header]
    lower = [name.lower() for name in given]
    own = {"index", "class", "shape-type", "vertex-index", "radius_nm", "width_nm"}
    own |= {"reviewed"}
    for wanted in (*_COLUMNS, *own):
        if wanted in given:
            continue
        for other in (wanted, *_COLUMNS.get(wanted, ())):
            if lower.count(other) == 1:
                given[lower.index(other)] = wanted
                break
    return given


def write_table(
    path: str | os.PathLike[str], table: Mapping[str, Sequence[Any]]
) -> None:
    """Write columns as CSV; numbers come back exactly, None becomes an empty cell.

    Parameters
    ----------
    path
        The file; replaced only once the new one is complete.
    table
        Columns by name, all of the same length.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    # A name that is no proper text (surrogates) is not worth losing the table for.
    content, path = text.getvalue().encode(errors="backslashreplace"), Path(path)
    if path.is_file() and path.read_bytes() == content:
        return
    with writing(path) as beside:
        beside.write_bytes(content)


def joined(tables: Sequence[Table]) -> Table:
    """Put tables below one another; `index` goes on counting, gaps become None."""
    names = list(dict.fromkeys(name for table in tables for name in table))
    whole: Table = {name: [] for name in names}
    for table in tables:
        start = max(whole["index"], default=-1) + 1 if "index" in whole else 0
        rows = len(next(iter(table.values()), []))
        for name in names:
            values = table.get(name, [None] * rows)
            whole[name] += [start + v for v in values] if name == "index" else values
    return whole
