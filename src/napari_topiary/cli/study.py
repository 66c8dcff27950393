"""`study`: redo a published experiment on one's own data."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.cli.driving import Runner
from napari_topiary.cli.parsing import AddVerb, add_fields, given
from napari_topiary.config import PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import read_dataset
from napari_topiary.io.output_files import Files, study_targets

if TYPE_CHECKING:
    from napari_topiary.studies import Budget

QUICK_MINUTES = 0.1
MINUTES = 1.0


def add(verb: AddVerb) -> None:
    """Add the verb to the command line."""
    parser = verb(
        description="Redo a published experiment on a dataset, cell by cell of its "
        "grid, and write tables and plots beside the published numbers. What is "
        "finished is kept: after an interruption the same command goes on from there."
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="of the study")
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("--data", metavar="DATASET", type=Path, help="dataset folder")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="folder for the results"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a small grid, short trainings and few images to judge on",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes-per-cell",
        metavar="M",
        type=float,
        help=f"training per network (default: {MINUTES:g}, quick {QUICK_MINUTES:g})",
    )
    length.add_argument(
        "--epochs-per-cell", metavar="N", type=int, help="instead of minutes"
    )
    parser.add_argument(
        "--seeds",
        metavar="N",
        type=int,
        default=1,
        help="how many times each cell is done, for standard errors (default: 1)",
    )
    parser.add_argument(
        "--only",
        metavar="SETTING=VALUE,...",
        action="append",
        default=[],
        help="part of the grid, for instance levels=3,4; may be repeated",
    )
    parser.add_argument(
        "--working-pixel-size",
        metavar="NM",
        type=float,
        help="nm per pixel that the networks see (default: as training proposes)",
    )
    add_fields(parser, PredictConfig, ("scheduler", "workers"))
    parser.set_defaults(run=run, files=files)


def files(options: argparse.Namespace) -> Files:
    """What is read, and what is in the folder if it is not that of a study."""
    if options.list or options.out is None:
        return Files()
    writes = study_targets(options.out)
    reads = () if options.data is None else (options.data,)
    return Files(writes, reads=reads, folder=options.out)


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Do the study and report."""
    if options.list:
        return _listed(runner)
    for said, words in (
        (options.name, "which study: give its NAME (--list says which there are)"),
        (options.data, "which images: give a dataset folder with --data"),
        (options.out, "where the results go: give a folder with --out"),
    ):
        if said is None:
            raise TopiaryError(f"Say {words}.")
    only = dict(_wanted(text) for text in options.only)

    from napari_topiary.inference.devices import pick_device
    from napari_topiary.studies import Budget, run_study

    pick_device(options.device)
    minutes = options.minutes_per_cell
    if minutes is None:
        minutes = QUICK_MINUTES if options.quick else MINUTES
    budget: Budget = Budget(
        minutes=minutes,
        epochs=options.epochs_per_cell,
        seeds=options.seeds,
        seed=options.seed,
        quick=options.quick,
        pixel_nm=options.working_pixel_size,
        device=options.device,
    )
    where = PredictConfig(**given(options, PredictConfig))
    problem = budget.problem() or where.problem()
    if problem is not None:
        raise TopiaryError(problem)
    dataset = read_dataset(options.data)
    result = runner(
        run_study(
            options.name,
            dataset,
            out=options.out,
            budget=budget,
            only=only,
            scheduler=where.scheduler,
            workers=where.workers,
            overwrite=True,  # what is there was asked about before
        )
    )
    runner.say((options.out / "table.md").read_text(encoding="utf-8"))
    done, cells, skipped = (result[key] for key in ("done", "cells", "skipped"))
    before = f", {skipped} of them before" if skipped else ""
    runner.say(f"{done} of {cells} cells are done{before}; all is in {options.out}.")
    # What could not be done is done by the same command again.
    return {**result, "problems": list(result["failures"])}


def _listed(runner: Runner) -> dict[str, Any]:
    from napari_topiary.studies import studies

    about = {}
    for name in studies:
        study = studies[name]
        about[name] = {
            "title": study.title,
            "paper": study.source.paper,
            "identifier": study.source.identifier,
            "tasks": list(study.tasks),
            "settings": dict(study.axes),
            "cells": len(study().grid(quick=False)),
        }
        lines = (
            study.title,
            f"{study.source.paper} ({study.source.identifier})",
            f"for datasets to {', '.join(study.tasks)}; {about[name]['cells']} cells",
            *(f"{key}: {words}" for key, words in study.axes.items()),
        )
        runner.say(name + "\n" + textwrap.indent("\n".join(lines), "    "))
    return {"studies": about}


def _wanted(text: str) -> tuple[str, tuple[str, ...]]:
    name, equals, values = text.partition("=")
    wanted = tuple(value.strip() for value in values.split(",") if value.strip())
    if not (equals and name.strip() and wanted):
        raise TopiaryError(
            f"--only {text} is not understood: write SETTING=VALUE,VALUE."
        )
    return name.strip(), wanted
