"""`evaluate`: how good a checkpoint is on annotated images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_topiary import words
from napari_topiary.cli.datasets import check_suits, evaluation_samples
from napari_topiary.cli.describing import table
from napari_topiary.cli.driving import Runner
from napari_topiary.cli.parsing import (
    AddVerb,
    add_fields,
    add_predicting,
    predict_config,
)
from napari_topiary.config import PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.forms import number_problem
from napari_topiary.io.dataset import read_dataset
from napari_topiary.io.output_files import Files
from napari_topiary.words import plural

SHOWN = (
    "f1", "precision", "recall", "dice", "iou", "accuracy", "sensitivity",
    "specificity", "cross_entropy", "aji", "pq", "dq", "sq", "segmentation_dice",
    "distance_rmse",
)  # fmt: skip


def add(verb: AddVerb) -> None:
    """Add the verb to the command line."""
    parser = verb(
        description="Predict the annotated images of a dataset and hold the answers "
        "against the annotations."
    )
    parser.add_argument("checkpoint", metavar="CKPT", type=Path)
    parser.add_argument("dataset", metavar="DATASET", type=Path)
    add_validating(parser)
    add_fields(parser, PredictConfig, ("scheduler", "workers"))
    parser.set_defaults(run=run, files=files)


def add_validating(parser: argparse.ArgumentParser) -> None:
    """Add what `evaluate` and `compare` have in common."""
    parser.add_argument(
        "--split",
        metavar="PART",
        help="part of the dataset: test, val, train or all (default: test, or val "
        "where there is none)",
    )
    parser.add_argument(
        "--tolerance",
        metavar="NM",
        type=float,
        help="how far off a particle may be found, in nm (default: half its radius)",
    )
    add_predicting(parser)


def validating_config(options: argparse.Namespace) -> PredictConfig:
    """Return how images are predicted, or refuse."""
    config = predict_config(options)
    problem = config.problem()
    if problem is None and options.tolerance is not None:
        problem = number_problem(
            "A tolerance in nm of", options.tolerance, low=1e-3, high=1e6
        )
    if problem is not None:
        raise TopiaryError(problem)
    return config


def files(options: argparse.Namespace) -> Files:
    """What is read; results go to the screen."""
    return Files(reads=(options.checkpoint, options.dataset))


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Evaluate and report."""
    config = validating_config(options)

    from napari_topiary.checkpoint import load_checkpoint
    from napari_topiary.evaluation import evaluate, known_from_training
    from napari_topiary.inference.devices import pick_device

    if not config.scheduler:
        pick_device(options.device)
    checkpoint = load_checkpoint(options.checkpoint)
    dataset = read_dataset(options.dataset)
    check_suits(dataset, checkpoint)
    split, samples = evaluation_samples(dataset, options.split, runner)
    runner.note(known_from_training(checkpoint, samples))
    result = runner(
        evaluate(checkpoint, samples, config=config, tolerance_nm=options.tolerance)
    )
    runner.say(_text(result))
    return {**result, "split": split, "dataset": str(options.dataset)}


def _text(result: dict[str, Any]) -> str:
    columns = [name for name in SHOWN if name in result]
    rows = [["", *columns], ["all", *(_number(result[c]) for c in columns)]]
    for name, own in result.get("per_class", {}).items():
        rows.append([name, *(_number(own.get(c)) for c in columns)])
    heading = f"{plural(result['n_images'], 'image')}, {result['seconds']:.1f} s"
    if result.get("tolerance_nm") is not None:
        heading += f", tolerance {result['tolerance_nm']:.3g} nm"
    if said := words.right_in_words(result):
        heading += f"\n{said}"
    return f"{heading}\n{table(rows)}{_mistaken(result)}"


def _mistaken(result: dict[str, Any]) -> str:
    """Which class is taken for which, where there are several."""
    matrix = result.get("confusion_matrix")
    if matrix is None:
        return ""
    own = _number(result["accuracy_foreground"])
    text = f"\n\nRight of the classes' own pixels: {own}"
    if "accuracy_particles" in result:
        text += f", of particles: {_number(result['accuracy_particles'])}"
    for what in ("pixels", "particles"):
        if what in matrix:
            rows = [[f"{what}, true v found >", *matrix["classes"]]]
            for name, counts in zip(matrix["classes"], matrix[what], strict=True):
                rows.append([name, *(f"{count:,}" for count in counts)])
            text += f"\n\n{table(rows)}"
    return text


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "-"
