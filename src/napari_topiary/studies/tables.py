"""The tables of a study: as they were published, and as they come out here."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from napari_topiary.io.atomic import writing
from napari_topiary.io.own_files import signed, write_page


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str  #: Heading
    form: str = ""  #: How its numbers are written (``".3f"``, ``","``)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Our numbers beside the published ones."""

    name: str  #: Of its file; that of the first table of a study is ``"table"``
    title: str
    #: `columns`, `rows`: every row has a value for every column; None = not known
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""  #: A sentence below it

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "columns": [column.name for column in self.columns],
            "rows": [list(row) for row in self.rows],
            "note": self.note,
        }


def markdown(table: Table) -> str:
    """Return a table as Markdown, with its title and its note."""
    head = [column.name for column in table.columns]
    lines = [f"### {table.title}", ""] if table.title else []
    lines += [_row(head), _row(["---"] * len(head))]
    lines += [
        _row([_written(v, c) for v, c in zip(row, table.columns, strict=True)])
        for row in table.rows
    ]
    if table.note:
        lines += ["", table.note]
    return "\n".join(lines) + "\n"


def write_csv(path: Path, table: Table) -> None:
    """Write a table with all digits, for programs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    for row in table.rows:
        writer.writerow(["" if value is None else value for value in row])
    with writing(path) as beside:
        beside.write_text(text.getvalue(), encoding="utf-8")


def write_report(
    folder: Path,
    about: Mapping[str, Any],
    tables: Sequence[Table],
    pictures: Sequence[str],
) -> None:
    """Write `table.md`, a CSV per table, and `study.json`.

    Parameters
    ----------
    folder
        Where the pictures are.
    about
        Ready for JSON: title, source and sentences are shown.
    tables
        The main one first.
    pictures
        File names in the folder.
    """
    source = about["source"]
    parts = [
        f"## {about['title']}",
        f"After {source['paper']} ({source['identifier']}).",
        *about["sentences"],
        *(markdown(table) for table in tables),
        *(f"![{name}]({name})" for name in pictures),
    ]
    with writing(folder / "table.md") as beside:
        write_page(beside, ["\n\n".join(parts) + "\n"])
    for table in tables:
        write_csv(folder / f"{table.name}.csv", table)
    with writing(folder / "study.json") as beside:
        text = json.dumps(signed(about), indent=1, ensure_ascii=False, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _written(value: Any, column: Column) -> str:
    if value is None:
        return "-"
    if isinstance(value, int | float) and column.form:
        return format(value, column.form)
    return str(value)


@cache
def published(name: str) -> tuple[dict[str, Any], ...]:
    """Return the rows of a published table; numbers as numbers, empty fields None.

    Parameters
    ----------
    name
        Of a file in the folder `published`, without its ending.

    Examples
    --------
    >>> published("membrane")[0]["parameters"]
    236977
    """
    path = Path(__file__).with_name("published") / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple({key: _value(text) for key, text in row.items()} for row in rows)


def matching(rows: Iterable[Mapping[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """Rows whose columns have these values; numbers may differ by rounding."""
    return [
        dict(row)
        for row in rows
        if all(_same(row.get(name), value) for name, value in wanted.items())
    ]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    return bool(a == b)


def _value(text: str) -> int | float | str | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
