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


@dataclass(frozen=True)
class Rows:
    """The rows of a table that have a value for each column.

    Parameters
    ----------
    table
        Columns of text.
    lines
        Line of each row in the file, from 1.
    bad
        Lines that do not fit the columns.
    fault
        A sentence about the first of them; empty if there is none.
    """

    table: Table
    lines: list[int]
    bad: list[int]
    fault: str


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a CSV file as columns of text.

    Semicolons or tabs between the columns (with decimal commas) and a byte order mark
    are understood too: spreadsheet programs write them in many countries.

    Parameters
    ----------
    path
        The file.

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
    """Read a CSV file as `read_table` does, and set aside the lines that do not fit.

    Parameters
    ----------
    path
        The file.
    """
    path = Path(path)
    text = read_text(path, "table")
    lines = text.splitlines()
    if not lines:
        raise TopiaryError(
            f"{path.name} is empty: a table starts with a line of column names."
        )
    between = max(",;\t", key=lines[0].count)
    reader = csv.reader(lines, delimiter=between)
    try:
        rows = [(reader.line_num, row) for row in reader if any(row)]
    except csv.Error as error:
        raise TopiaryError(
            f"{path.name} is not a table ({error}): save it as CSV (UTF-8)."
        ) from error
    names = [name.strip() for name in rows[0][1]] if rows else []
    table: Table = {name: [] for name in names}
    if len(table) != len(names):
        raise TopiaryError(
            f"{path.name} has two columns of the same name: rename one of them."
        )
    good, bad, fault = list[int](), list[int](), ""
    for line, row in rows[1:]:
        if len(row) != len(names):
            bad.append(line)
            fault = fault or (
                f"Line {line} of {path.name} has {len(row)} values for {len(names)} "
                "columns: correct or delete the line."
            )
            continue
        good.append(line)
        for name, value in zip(names, row, strict=True):
            value = value.strip()
            decimal = between != "," and name.startswith(("axis-", "radius", "width"))
            table[name].append(value.replace(",", ".") if decimal else value)
    return Rows(table, good, bad, fault)


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
    """Put tables below one another; `index` goes on counting, gaps become None.

    Parameters
    ----------
    tables
        At least one.
    """
    names = list(dict.fromkeys(name for table in tables for name in table))
    whole: Table = {name: [] for name in names}
    for table in tables:
        start = max(whole["index"], default=-1) + 1 if "index" in whole else 0
        rows = len(next(iter(table.values()), []))
        for name in names:
            values = table.get(name, [None] * rows)
            whole[name] += [start + v for v in values] if name == "index" else values
    return whole
