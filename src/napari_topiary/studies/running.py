"""A study through its grid; finished cells are kept, and a second run goes on.

`results.jsonl` has one finished cell a line, so that an interruption costs one cell.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.score import without_nan
from napari_topiary.inference.devices import device_label, is_out_of_memory
from napari_topiary.io.atomic import writing
from napari_topiary.io.dataset import Dataset
from napari_topiary.report.charts import see_to_charts
from napari_topiary.studies.base import (
    Budget,
    Cell,
    CellResult,
    Measured,
    Study,
    studies,
)
from napari_topiary.studies.context import StudyContext, digest
from napari_topiary.studies.tables import write_report
from napari_topiary.types import Job, Progress, relay

RESULTS = "results.jsonl"
Only = Mapping[str, Sequence[str]]
"""Name of a setting -> values that are wanted, as text."""
EVERYTHING: Only = {}
STANDARD = Budget()


@dataclass(frozen=True)
class StudyReport:
    """State of a running study, the report of its progress.

    Parameters
    ----------
    done, total
        Cells, seeds counted one by one.
    note
        A sentence for the user; empty mostly.
    """

    done: int
    total: int
    note: str = ""


def run_study(
    name: str,
    dataset: Dataset,
    *,
    out: str | os.PathLike[str],
    budget: Budget = STANDARD,
    only: Only = EVERYTHING,
) -> Job[dict[str, Any]]:
    """Do a study and leave its tables, plots and numbers.

    Parameters
    ----------
    name
        Of a registered study.
    dataset
        Annotated images.
    out
        Folder for `results.jsonl`, `table.md`, `table.csv`, plots and `study.json`;
        cells that are finished there, with the same data and budget, are not redone.
    budget
        For each cell.
    only
        Part of the grid.

    Yields
    ------
    Progress
        In cells. `Stop` ends it; the cell that was going on is lost, the rest is kept.

    Returns
    -------
    dict
        What is in `study.json`.

    Raises
    ------
    TopiaryError
        With a sentence if the study cannot be done so, or no cell succeeded.
    """
    study, cells = planned(name, dataset, budget, only)
    folder = Path(out)
    see_to_charts()
    begun = time.perf_counter()
    yield Progress(0, 0, "Reading the images")
    context = StudyContext(dataset=dataset, budget=budget, folder=folder)
    records = Records(folder, name, context.identity)
    seeds = range(budget.seed, budget.seed + budget.seeds)
    # All cells with the first seed, then all with the next: a table stands early.
    asked = [(cell, seed) for seed in seeds for cell in cells]
    waiting = [pair for pair in asked if pair not in records]
    failures = yield from _through(study, waiting, context, records)
    if failures and not records.results:
        raise TopiaryError(failures[0])
    done = sum(pair in records for pair in asked)
    about = {
        "study": name,
        "title": study.title,
        "source": asdict(study.source),
        "dataset": dataset.name,
        "task": dataset.task.kind,
        "budget": asdict(budget),
        "device": device_label(budget.device),
        "cells": len(asked),
        "done": done,
        "skipped": len(asked) - len(waiting),
        "complete": done == len(asked),
        "failures": failures,
        "seconds": time.perf_counter() - begun,
    }
    return written(study, about, records.results, dataset, folder)


def planned(
    name: str, dataset: Dataset, budget: Budget, only: Only
) -> tuple[Study, tuple[Cell, ...]]:
    """Return a study and the cells that are asked for, or say why it cannot be done."""
    try:
        study = studies[name]()
    except ValueError as error:
        raise TopiaryError(str(error)) from None
    problem = budget.problem() or study.problem(dataset.task)
    if problem is not None:
        raise TopiaryError(problem)
    return study, chosen(study.grid(quick=budget.quick), only)


def written(
    study: Study,
    about: Mapping[str, Any],
    results: Sequence[CellResult],
    dataset: Dataset,
    folder: Path,
) -> dict[str, Any]:
    """Write tables, plots and numbers, and return what is in `study.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = study.tables(results, dataset.task)
    pictures = study.draw(results, dataset.task, folder) if results else ()
    everything: dict[str, Any] = without_nan(
        {
            **about,
            "sentences": study.sentences(results, dataset.task) if results else (),
            "tables": [table.to_dict() for table in tables],
            "pictures": pictures,
            "results": [asdict(result) for result in results],
        }
    )
    write_report(folder, everything, tables, pictures)
    return everything


def _through(
    study: Study,
    waiting: Sequence[tuple[Cell, int]],
    context: StudyContext,
    records: Records,
) -> Job[list[str]]:
    """Measure cell after cell; return what went wrong, a sentence each."""
    failures: list[str] = []
    begun, total = time.perf_counter(), len(waiting)
    for index, (cell, seed) in enumerate(waiting):
        context.seed = seed
        started = time.perf_counter()
        words = f"{index + 1}/{total} {in_words(cell)}"
        job = _staged(study.run_cell(cell, context), index, total, begun, words)
        try:
            measured: Measured = yield from context.relay(job)
        except (TopiaryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            why = "not enough memory." if isinstance(error, RuntimeError) else error
            failures.append(f"{in_words(cell)}: {why}")
            report = StudyReport(index + 1, total, failures[-1])
            yield Progress(index + 1, total, words, report=report)
            continue
        if context.stopped:
            break
        spent = time.perf_counter() - started
        clean: Measured = without_nan(measured)
        records.add(CellResult(dict(cell), seed, clean, spent))
    return failures


def _staged(
    job: Job[Measured], done: int, total: int, begun: float, words: str
) -> Job[Measured]:
    """Pass the progress of one cell on as that of the whole study."""
    share = 0.0

    def told(progress: Progress) -> Progress:
        nonlocal share
        share = max(share, progress.fraction)
        spent, left = time.perf_counter() - begun, progress.eta_s
        if done:
            left = spent / (done + share) * (total - done - share)
        elif left is not None:
            left += (total - 1) * (spent + left)
        return replace(
            progress,
            done=done + progress.fraction,
            total=total,
            message=f"{words}: {progress.message}",
            eta_s=left,
            report=StudyReport(done, total, str(getattr(progress.report, "note", ""))),
        )

    return relay(job, told=told)


def chosen(cells: Sequence[Cell], only: Only) -> tuple[Cell, ...]:
    """Return the part of a grid that is asked for.

    Parameters
    ----------
    cells
        The grid.
    only
        Settings that are not named may have any value.
    """
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


class Records:
    """Finished cells of one study on one dataset with one budget.

    Lines of other budgets or datasets in the same file stay, and do not count.

    Parameters
    ----------
    folder
        Of the study.
    study
        Its name.
    identity
        Dataset and budget, as `StudyContext.identity`.
    """

    def __init__(self, folder: Path, study: str, identity: Mapping[str, Any]) -> None:
        self._path = folder / RESULTS
        self._study, self._identity = study, dict(identity)
        self._own = digest([study, self._identity])
        self._found: dict[str, CellResult] = {}
        for line in self._lines():
            if line.get("run") == self._own:
                result = CellResult(
                    line["cell"],
                    int(line["seed"]),
                    line["measured"],
                    float(line["seconds"]),
                )
                self._found[self._key(result.cell, result.seed)] = result

    def __contains__(self, asked: tuple[Cell, int]) -> bool:
        """Whether a cell with a seed is finished."""
        return self._key(*asked) in self._found

    @property
    def results(self) -> tuple[CellResult, ...]:
        """All finished cells, in the order in which they were finished."""
        return tuple(self._found.values())

    def add(self, result: CellResult) -> None:
        """Keep a finished cell: afterwards the file holds it whole."""
        line: dict[str, Any] = {
            "study": self._study,
            "run": self._own,
            "key": self._key(result.cell, result.seed),
            "cell": dict(result.cell),
            "seed": result.seed,
            "measured": result.measured,
            "seconds": result.seconds,
            "identity": self._identity,
        }
        # Read anew: somebody may run another part of the grid into the same folder.
        lines = [*self._lines(), line]
        text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines)
        with writing(self._path) as beside:
            beside.write_text(text, encoding="utf-8")
        self._found[line["key"]] = result

    def _lines(self) -> list[dict[str, Any]]:
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        found = []
        for line in text.splitlines():
            try:
                content = json.loads(line)
            # Half a line, from a copy that was cut off.
            except (ValueError, RecursionError):
                continue
            if isinstance(content, dict) and {
                "cell", "seed", "measured", "seconds",
            } <= content.keys():  # fmt: skip
                found.append(content)
        return found

    def _key(self, cell: Cell, seed: int) -> str:
        return digest([self._own, dict(cell), seed])
