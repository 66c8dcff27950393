"""What a study is: a grid of settings, one measurement a cell, tables and plots.

A study redoes a published table on data the user points at. Each is one file here with
a class and a decorator; `running` takes it through its grid, keeps what is finished and
writes the tables. Published numbers stand beside ours, from `studies/published/`.
"""

from __future__ import annotations

import csv
import io
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_topiary.errors import TopiaryError
from napari_topiary.io.atomic import writing
from napari_topiary.io.own_files import signed, write_page
from napari_topiary.registry import Registry
from napari_topiary.studies.context import StudyContext
from napari_topiary.types import Job, Task, TaskKind

Cell = Mapping[str, Any]
"""Settings of one point of a grid: name -> number, text or None. Never changed."""
Measured = dict[str, Any]
"""What a cell came to: name -> number, ready for JSON."""

Only = Mapping[str, Sequence[str]]
"""Name of a setting -> values that are wanted, as text."""


@dataclass(frozen=True)
class CellResult:
    """One finished cell."""

    cell: Cell
    seed: int
    measured: Measured
    seconds: float = 0.0  #: How long it took


@dataclass(frozen=True)
class Source:
    """Where the published numbers come from."""

    paper: str  #: Authors, title, journal, year
    identifier: str  #: DOI or arXiv number


class Study(ABC):
    """One published experiment, ready to be redone."""

    title: ClassVar[str]  #: What is asked, in a few words
    source: ClassVar[Source]  #: The publication
    tasks: ClassVar[tuple[TaskKind, ...]]  #: Kinds of task it can be done for
    #: What the settings of its cells mean: name -> a few words
    axes: ClassVar[Mapping[str, str]]

    @abstractmethod
    def grid(self, *, quick: bool) -> tuple[Cell, ...]:
        """Return all cells, those that matter most first."""

    @abstractmethod
    def run_cell(self, cell: Cell, context: StudyContext) -> Job[Measured]:
        """Measure one cell.

        Parameters
        ----------
        cell
            One of the grid.
        context
            Images, budget and seed. Everything that takes time goes through
            `context.relay`; what is returned after `context.stopped` does not count.
        """

    @abstractmethod
    def tables(self, results: Sequence[CellResult], task: Task) -> tuple[Table, ...]:
        """Return the tables, the main one first, published numbers included."""

    @abstractmethod
    def draw(
        self, results: Sequence[CellResult], task: Task, folder: Path
    ) -> tuple[str, ...]:
        """Draw the plots into a folder and return their file names."""

    def sentences(self, results: Sequence[CellResult], task: Task) -> tuple[str, ...]:
        """Say what came out, a sentence each."""
        del results, task
        return ()

    def problem(self, task: Task) -> str | None:
        """Return why the study cannot be done for a task, as a sentence."""
        if task.kind in self.tasks:
            return None
        return (
            f"This study needs a dataset to {' or '.join(self.tasks)}, and this one is "
            f"to {task.kind}: give another dataset."
        )


@dataclass(frozen=True)
class SeedResults:
    """All seeds of one cell."""

    cell: Cell
    #: Name -> what each seed came to; what is not a number is left out
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def mean(self, name: str) -> float | None:
        """Mean over the seeds, None where nothing is known."""
        values = self.values.get(name)
        return float(np.mean(values)) if values else None

    def deviation(self, name: str) -> float | None:
        """Standard deviation over the seeds; None for fewer than two."""
        values = self.values.get(name, ())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def standard_error(self, name: str) -> float | None:
        """Standard error of the mean over the seeds; None for fewer than two."""
        spread = self.deviation(name)
        return None if spread is None else spread / math.sqrt(len(self.values[name]))


def grouped(results: Iterable[CellResult]) -> tuple[SeedResults, ...]:
    """Gather the seeds of every cell, cells in the order of their first result."""
    found: dict[tuple[Any, ...], tuple[Cell, dict[str, list[float]]]] = {}
    for result in results:
        key = tuple(sorted(result.cell.items(), key=lambda item: item[0]))
        _, values = found.setdefault(key, (result.cell, {}))
        for name, value in result.measured.items():
            if isinstance(value, int | float) and math.isfinite(value):
                values.setdefault(name, []).append(float(value))
    return tuple(
        SeedResults(cell, {name: tuple(own) for name, own in values.items()})
        for cell, values in found.values()
    )


studies: Registry[type[Study]] = Registry("study")
"""Studies by name. A new one is a new file here that registers a `Study`."""


def chosen(cells: Sequence[Cell], only: Only) -> tuple[Cell, ...]:
    """Return the part of a grid that is asked for."""
    kept = tuple(cells)
    for name, wanted in only.items():
        known = list(dict.fromkeys(_text(c[name]) for c in cells if name in c))
        if not known:
            settings = dict.fromkeys(key for cell in cells for key in cell)
            raise TopiaryError(
                f"This study has no setting {name!r}: it has {', '.join(settings)}."
            )
        for value in wanted:
            if _text(_number(value)) not in known:
                raise TopiaryError(
                    f"{name}={value} is not in the grid: it has {', '.join(known)}."
                )
        texts = {_text(_number(value)) for value in wanted}
        kept = tuple(c for c in kept if name in c and _text(c[name]) in texts)
    if not kept:
        raise TopiaryError(
            "No cell of the grid has all of these settings: leave one of them out."
        )
    return kept


def in_words(cell: Cell) -> str:
    """Return the settings of a cell on a line."""
    return ", ".join(f"{name} {_text(value)}" for name, value in cell.items())


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(text: str) -> object:
    """Read a number where it is one, so that 0.50 and 0.5 are the same."""
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        return text


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


def _write_csv(path: Path, table: Table) -> None:
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
        _write_csv(folder / f"{table.name}.csv", table)
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
