"""`compare`: several checkpoints on the same annotated images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.cli.datasets import check_suits, evaluation_samples
from napari_topiary.cli.describing import table
from napari_topiary.cli.driving import Runner
from napari_topiary.cli.evaluate import add_validating, validating_config
from napari_topiary.cli.parsing import AddVerb
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import read_dataset
from napari_topiary.io.output_files import Files, comparison_targets
from napari_topiary.io.pairing import unused_name

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint


def add(verb: AddVerb) -> None:
    """Add the verb to the command line."""
    parser = verb(
        description="Run checkpoints over the same annotated images: a table of size, "
        "speed and quality, each at its own best threshold and all at 0.5, and how "
        "much each kept, lost and gained against the first. With --out also pictures, "
        "and report.html with all of it, to be read and sent as it is."
    )
    parser.add_argument("checkpoints", metavar="CKPT", type=Path, nargs="+")
    parser.add_argument("--data", metavar="DATASET", type=Path, required=True)
    parser.add_argument("--out", metavar="DIR", type=Path, help="for pictures and CSV")
    add_validating(parser)
    parser.set_defaults(run=run, files=files)


def files(options: argparse.Namespace) -> Files:
    """What is read, and the pictures and the table that may be there already."""
    reads = (*options.checkpoints, options.data)
    if options.out is None:
        return Files(reads=reads)
    others = [path.stem for path in options.checkpoints[1:]]
    return Files(comparison_targets(options.out, others), reads, folder=options.out)


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Compare and report."""
    config = validating_config(options)
    if len(options.checkpoints) < 2:
        raise TopiaryError("Give at least two checkpoints to compare.")

    from napari_topiary.evaluation import (
        ComparedImage,
        compare_checkpoints,
        known_to_each,
    )
    from napari_topiary.inference.devices import pick_device
    from napari_topiary.report.comparing import heading_of, reporting, rows_of

    pick_device(options.device)
    checkpoints = _loaded(options.checkpoints)
    dataset = read_dataset(options.data)
    for name, checkpoint in checkpoints.items():
        try:
            check_suits(dataset, checkpoint)
        except TopiaryError as error:
            raise TopiaryError(f"{name}: {error}") from error
    split, samples = evaluation_samples(dataset, options.split, runner)
    for sentence in known_to_each(checkpoints, samples):
        runner.note(sentence)
    job = compare_checkpoints(
        checkpoints,
        samples,
        config=config,
        tolerance_nm=options.tolerance,
        maps=options.out is not None,
    )
    problems: dict[str, None] = {}

    def heed(report: object) -> None:
        if isinstance(report, ComparedImage):
            problems.update(dict.fromkeys(report.problems()))

    heading = f"of the part {split!r}"
    if options.out is None:
        result = runner(job, heed).to_dict()
    else:
        result = runner(
            reporting(job, options.out, about=heading, notes=lambda: runner.notes),
            heed,
        )
    result["problems"] = list(problems)
    runner.say(f"{heading_of(result, heading)}\n{table(rows_of(result))}")
    return result | {"split": split, "dataset": str(options.data)}


def _loaded(paths: list[Path]) -> dict[str, Checkpoint]:
    """Checkpoints by the stem of their files, made unlike one another."""
    from napari_topiary.checkpoint import load_checkpoint

    loaded: dict[str, Checkpoint] = {}
    for path in paths:
        name = unused_name(path.stem, loaded.__contains__, joint=" ")
        loaded[name] = load_checkpoint(path).named(name)
    return loaded
