"""Tables as Markdown and CSV, and everything about a study as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_topiary.io.atomic import writing
from napari_topiary.io.targets import signed
from napari_topiary.studies.base import Column, Table


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


def write_pages(
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
        beside.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    for table in tables:
        write_csv(folder / f"{table.name}.csv", table)
    with writing(folder / "study.json") as beside:
        text = json.dumps(signed(about), indent=1, ensure_ascii=False, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")


def as_json(table: Table) -> dict[str, Any]:
    """Return a table ready for JSON."""
    return {
        "name": table.name,
        "title": table.title,
        "columns": [column.name for column in table.columns],
        "rows": [list(row) for row in table.rows],
        "note": table.note,
    }


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _written(value: Any, column: Column) -> str:
    if value is None:
        return "-"
    if isinstance(value, int | float) and column.form:
        return format(value, column.form)
    return str(value)
