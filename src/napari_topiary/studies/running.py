"""A study through its grid; finished cells are kept, and a second run goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from napari_topiary.devices import device_label, is_out_of_memory
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Dataset
from napari_topiary.scoring import without_nan
from napari_topiary.studies.base import Budget, Cell, Measured, Result, Study, studies
from napari_topiary.studies.bench import Bench
from napari_topiary.studies.choosing import EVERYTHING, Only, chosen, in_words
from napari_topiary.studies.pages import as_json, write_pages
from napari_topiary.studies.records import Records
from napari_topiary.types import Job, Progress

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
    begun = time.perf_counter()
    yield Progress(0, 0, "Reading the images")
    bench = Bench(dataset, budget, folder)
    records = Records(folder, name, bench.identity)
    seeds = range(budget.seed, budget.seed + budget.seeds)
    # All cells with the first seed, then all with the next: a table stands early.
    asked = [(cell, seed) for seed in seeds for cell in cells]
    waiting = [pair for pair in asked if pair not in records]
    failures = yield from _through(study, waiting, bench, records)
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
    results: Sequence[Result],
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
            "tables": [as_json(table) for table in tables],
            "pictures": pictures,
            "results": [asdict(result) for result in results],
        }
    )
    write_pages(folder, everything, tables, pictures)
    return everything


def _through(
    study: Study,
    waiting: Sequence[tuple[Cell, int]],
    bench: Bench,
    records: Records,
) -> Job[list[str]]:
    """Measure cell after cell; return what went wrong, a sentence each."""
    failures: list[str] = []
    begun, total = time.perf_counter(), len(waiting)
    for index, (cell, seed) in enumerate(waiting):
        bench.seed = seed
        started = time.perf_counter()
        words = f"{index + 1}/{total} {in_words(cell)}"
        job = _staged(study.run_cell(cell, bench), index, total, begun, words)
        try:
            measured: Measured = yield from bench.heard(job)
        except (TopiaryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            why = "not enough memory." if isinstance(error, RuntimeError) else error
            failures.append(f"{in_words(cell)}: {why}")
            report = StudyReport(index + 1, total, failures[-1])
            yield Progress(index + 1, total, words, report=report)
            continue
        if bench.stopped:
            break
        spent = time.perf_counter() - started
        clean: Measured = without_nan(measured)
        records.add(Result(dict(cell), seed, clean, spent))
    return failures


def _staged(
    job: Job[Measured], done: int, total: int, begun: float, words: str
) -> Job[Measured]:
    """Pass the progress of one cell on as that of the whole study."""
    message: object = None
    share = 0.0
    while True:
        try:
            progress = job.send(message)
        except StopIteration as end:
            result: Measured = end.value
            return result
        share = max(share, progress.fraction)
        spent, left = time.perf_counter() - begun, progress.eta_s
        if done:
            left = spent / (done + share) * (total - done - share)
        elif left is not None:
            left += (total - 1) * (spent + left)
        message = yield replace(
            progress,
            done=done + progress.fraction,
            total=total,
            message=f"{words}: {progress.message}",
            eta_s=left,
            report=StudyReport(done, total, str(getattr(progress.report, "note", ""))),
        )
