"""A study through its grid; finished cells are kept, and a second run goes on.

`results.jsonl` has one finished cell a line, so that an interruption costs one cell.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from napari_topiary.errors import (
    NotWritten,
    TopiaryError,
    is_out_of_memory,
    place_of,
    sentence_for,
)
from napari_topiary.evaluation.score import without_nan
from napari_topiary.inference.devices import device_label
from napari_topiary.inference.workers import Workers, workers_problem
from napari_topiary.io.atomic import writing
from napari_topiary.io.dataset import Dataset
from napari_topiary.io.output_files import check_replaced, study_targets
from napari_topiary.report.charts import see_to_charts
from napari_topiary.studies.base import (
    Cell,
    CellResult,
    Measured,
    Only,
    Study,
    chosen,
    in_words,
    studies,
    write_report,
)
from napari_topiary.studies.context import Budget, StudyContext, digest
from napari_topiary.types import Job, Progress, Stop, relay, run, seconds_left

RESULTS, RESULT = "results.jsonl", {"cell", "seed", "measured", "seconds"}
EVERYTHING: Only = {}
STANDARD = Budget()


@dataclass(frozen=True)
class StudyReport:
    """State of a running study, the report of its progress."""

    #: `done`, `total`: cells, seeds counted one by one
    done: int
    total: int
    note: str = ""  #: A sentence for the user; empty mostly


def run_study(
    name: str,
    dataset: Dataset,
    *,
    out: str | os.PathLike[str],
    budget: Budget = STANDARD,
    only: Only = EVERYTHING,
    scheduler: str = "",
    workers: int = 1,
    overwrite: bool = False,
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
    scheduler, workers
        Address of a dask scheduler whose workers do the cells, or how many processes
        of this computer do; by default the calling one.
    overwrite
        Replace also files in the folder that are not those of a study.

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
    folder = Path(out)
    check_replaced((one.path for one in study_targets(folder)), overwrite=overwrite)
    study, cells = planned(name, dataset, budget, only)
    see_to_charts()
    begun = time.perf_counter()
    yield Progress(0, 0, "Reading the images")
    context = StudyContext(dataset=dataset, budget=budget, folder=folder)
    records = Records(folder, name, context.identity)
    seeds = range(budget.seed, budget.seed + budget.seeds)
    # All cells with the first seed, then all with the next: a table stands early.
    asked = [(cell, seed) for seed in seeds for cell in cells]
    waiting = [pair for pair in asked if pair not in records]
    sentence = workers_problem(scheduler, workers)
    if sentence is not None:
        raise TopiaryError(sentence)
    if scheduler or workers > 1:
        shared = Share(name, dataset, budget, folder.resolve())
        crowd: Workers[tuple[Cell, int]] = Workers(
            shared, scheduler=scheduler, processes=workers
        )
        failures = yield from _spread(waiting, crowd, records)
    else:
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
    return written(study, about, records.in_order(asked), dataset, folder)


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
        except NotWritten as error:  # no other cell could be kept either
            failures.append(f"{in_words(cell)}: {error}")
            break
        except Exception as error:  # whatever it is, the other cells are measured
            failures.append(f"{in_words(cell)}: {_why(error)}")
            report = StudyReport(index + 1, total, failures[-1])
            yield Progress(index + 1, total, words, report=report)
            continue
        if context.stopped:
            break
        spent = time.perf_counter() - started
        records.add(CellResult(dict(cell), seed, without_nan(measured), spent))
    return failures


@dataclass(frozen=True)
class Share:
    """What every worker needs to do cells of a study; all of them see the folder."""

    name: str
    dataset: Dataset
    budget: Budget
    folder: Path


def _spread(
    waiting: Sequence[tuple[Cell, int]],
    workers: Workers[tuple[Cell, int]],
    records: Records,
) -> Job[list[str]]:
    """Have cells measured by several workers; return what went wrong."""
    failures: list[str] = []
    left, total, done = iter(waiting), len(waiting), 0
    begun = time.perf_counter()

    def next_cell() -> tuple[tuple[Cell, int], tuple[Cell, int]] | None:
        pair = next(left, None)
        return None if pair is None else (pair, pair)

    with closing(workers):
        for found in workers.spread(_measure, next_cell):
            note, is_last = "", False
            if found is not None:
                (cell, seed), (measured, why, spent, is_last) = found
                done += 1
                if why:
                    note = f"{in_words(cell)}: {why}"
                    failures.append(note)
                else:
                    kept = without_nan(measured)
                    records.add(CellResult(dict(cell), seed, kept, spent))
            eta = seconds_left(begun, done, total)
            report = StudyReport(done, total, note)
            words = f"{done} of {total} done, {workers.words}"
            if (yield Progress(done, total, words, eta, report)) is Stop or is_last:
                break
    return failures


def _measure(share: Share, cell: Cell, seed: int) -> tuple[Measured, str, float, bool]:
    """Measure one cell, or say why not; runs in a worker.

    Returns what was measured, why nothing was, the seconds it took, and whether no
    other cell could be kept either.
    """
    context = StudyContext(
        dataset=share.dataset, budget=share.budget, folder=share.folder, seed=seed
    )
    begun = time.perf_counter()
    try:
        measured = run(studies[share.name]().run_cell(cell, context))
    except Exception as error:
        return {}, _why(error), 0.0, isinstance(error, NotWritten)
    return measured, "", time.perf_counter() - begun, False


def _why(error: Exception) -> str:
    """Say why a cell has no figures."""
    said = sentence_for(error, "Measuring it", details=place_of(error))
    return "not enough memory." if is_out_of_memory(error) else said


def _staged(
    job: Job[Measured], done: int, total: int, begun: float, words: str
) -> Job[Measured]:
    """Pass the progress of one cell on as that of the whole study."""
    share = 0.0

    def told(progress: Progress) -> Progress:
        nonlocal share
        share = max(share, progress.fraction)
        left = progress.eta_s
        if done:
            left = seconds_left(begun, done + share, total)
        elif left is not None:
            left += (total - 1) * (time.perf_counter() - begun + left)
        return replace(
            progress,
            done=done + progress.fraction,
            total=total,
            message=f"{words}: {progress.message}",
            eta_s=left,
            report=StudyReport(done, total, str(getattr(progress.report, "note", ""))),
        )

    return relay(job, told=told)


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

    def in_order(self, asked: Sequence[tuple[Cell, int]]) -> tuple[CellResult, ...]:
        """Finished cells as they were asked for; then those of other parts of a grid.

        Workers finish cells in any order.
        """
        own = (self._key(*pair) for pair in asked)
        first = {key: self._found[key] for key in own if key in self._found}
        return tuple({**first, **self._found}.values())

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
            except (ValueError, RecursionError):  # half a line, of a copy cut off
                continue
            if isinstance(content, dict) and content.keys() >= RESULT:
                found.append(content)
        return found

    def _key(self, cell: Cell, seed: int) -> str:
        return digest([self._own, dict(cell), seed])
