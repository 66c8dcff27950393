"""`train`: from a dataset to a checkpoint; fine-tuning is the same with --start."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_topiary.cli.datasets import learning_data
from napari_topiary.cli.describing import (
    describe,
    quality_in_words,
    size_in_words,
)
from napari_topiary.cli.driving import Runner
from napari_topiary.cli.keeping import Keeping
from napari_topiary.cli.parsing import AddVerb, checkpoint_target
from napari_topiary.config import (
    Balance,
    LearningRateSchedule,
    Optimizer,
    TrainConfig,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.io.targets import Files

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

DEFAULTS = TrainConfig()
SIZES = ("base", "multiplier", "levels", "last", "batch_norm")
SETTINGS = (
    "learning_rate", "batch", "patch", "weight_decay", "training_pixels",
    "dice_weight", "validation_share", "optimizer", "schedule", "balance", "augment",
    "self_teaching",
)  # fmt: skip


def add(verb: AddVerb) -> None:
    """Add the verb to the command line."""
    parser = verb(
        description="Train a network on a dataset folder. Images in the part 'val' of "
        "its split choose the best weights; without one, some are held out. Ctrl-C "
        "keeps the best so far.",
    )
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="dataset folder")
    parser.add_argument("--out", metavar="CKPT", type=Path, required=True)
    parser.add_argument("--network", help="kind of network (default: unet)")
    parser.add_argument(
        "--preset",
        help="of a unet: tiny, 2m, 7.8m-deep, 7.8m-wide, original (default: tiny)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", metavar="M", type=float, help="default: 1")
    length.add_argument("--epochs", metavar="N", type=int, help="instead of minutes")
    parser.add_argument(
        "--start", metavar="CKPT", type=Path, help="fine-tune this checkpoint"
    )
    _add_sizes(parser)
    _add_settings(parser)
    parser.set_defaults(run=run, files=files)


def _add_sizes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sizes that replace the preset's")
    group.add_argument("--base", metavar="N", type=int, help="maps at full resolution")
    group.add_argument(
        "--multiplier", metavar="M", type=float, help="growth in maps by level"
    )
    group.add_argument("--levels", metavar="N", type=int, help="times the image halves")
    group.add_argument(
        "--last", metavar="N", type=int, help="maps of the last two convolutions"
    )
    group.add_argument(
        "--batch-norm", action="store_true", default=None, help="normalise the maps"
    )
    group.add_argument(
        "--size",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="any size of another kind of network; may be repeated",
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("settings")
    seen = group.add_mutually_exclusive_group()
    seen.add_argument(
        "--working-pixel-size",
        metavar="NM",
        type=float,
        help="nm per pixel that the network sees (default: the coarsest that keeps "
        "the smallest radius at 6 pixels; for other tasks that of the images)",
    )
    seen.add_argument(
        "--working-factor",
        metavar="F",
        type=float,
        help="the same as a shrink factor, where the pixel size is unknown",
    )
    for name, kind, words in (
        ("learning_rate", float, "step size at the start"),
        ("batch", int, "patches a step"),
        ("patch", int, "side of a patch in pixels"),
        ("weight_decay", float, "pull of the weights towards zero"),
        ("training_pixels", int, "annotated pixels to learn from, of centre pixels"),
        ("dice_weight", float, "share of Dice in the loss, 0 to 1"),
        ("validation_share", float, "share held out where there is no part 'val'"),
    ):
        default = getattr(DEFAULTS, name)
        words += "" if default is None else f" (default: {default:g}, or by network)"
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, help=words)
    for name, choices, words in (
        ("optimizer", get_args(Optimizer), "how steps are made"),
        ("schedule", get_args(LearningRateSchedule), "how their size falls"),
        ("balance", get_args(Balance), "how often each class is shown"),
    ):
        default = getattr(DEFAULTS, name)
        words += f" (default: {default}, or by network)"
        group.add_argument(f"--{name}", choices=choices, help=words)
    group.add_argument(
        "--no-augment",
        dest="augment",
        action="store_false",
        default=None,
        help="do not flip, rotate or change the contrast of patches",
    )
    group.add_argument(
        "--marks-only",
        dest="self_teaching",
        action="store_false",
        default=None,
        help="where few particles are marked, do not also learn from look-alikes in "
        "areas and images that are not annotated",
    )


def files(options: argparse.Namespace) -> Files:
    """What is read and written."""
    return Files(
        (checkpoint_target(options.out),),
        reads=(options.dataset,),
        parents=() if options.start is None else (options.start,),
    )


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Train, write the checkpoint, and report."""
    given = _given(options)
    problem = TrainConfig(**given).problem()
    if problem is not None:
        raise TopiaryError(problem)

    from napari_topiary.checkpoint import load_checkpoint
    from napari_topiary.inference.devices import pick_device
    from napari_topiary.networks import recipe_config, resolve_sizes
    from napari_topiary.training import fit

    pick_device(options.device)
    start = None if options.start is None else load_checkpoint(options.start)
    if start is None:
        config = recipe_config(options.network or DEFAULTS.network, given)
        resolve_sizes(config.network, config.preset, config.sizes)
    else:
        config = recipe_config(_continued(options, given, start), given)
    data = learning_data(
        options.dataset,
        runner,
        look_alikes=config.self_teaching and start is None,
    )
    keeping = Keeping(options.out)
    made = runner(
        fit(
            (*data.train, *data.unannotated),
            config,
            task=data.dataset.task,
            start=start,
            validation=data.validation,
            checkpoint_path=keeping.growing,
        )
    )
    ended_early = list(made.provenance.get("problems", ()))
    whole = not (runner.interrupted or ended_early)
    made, path, problems = keeping.keep(made, whole=whole)
    result = report(made, path) | {
        "problems": [*ended_early, *problems],
        "dataset": str(options.dataset),
        "n_images": len(data.train),
        "n_validation": len(data.validation),
        "seed": config.seed,
        "seconds": made.provenance.get("seconds"),
        "steps": made.provenance.get("steps"),
        "device": made.provenance.get("device"),
    }
    runner.say(in_words(made, path))
    return result


def report(checkpoint: Checkpoint, path: Path) -> dict[str, Any]:
    """What was made, ready for JSON: as `info` says it, without the layers."""
    about = describe(checkpoint)
    del about["layers"]
    return {"checkpoint": str(path), **about}


def in_words(checkpoint: Checkpoint, path: Path) -> str:
    """What was made, as a line for people."""
    quality = quality_in_words(checkpoint.metrics)
    if not quality and "steps" in checkpoint.provenance:
        quality = "nothing to judge on"
    return (
        f"{path}: {checkpoint.parameters_nonzero:,} weights, "
        f"{size_in_words(checkpoint.file_bytes())}{', ' if quality else ''}{quality}"
    )


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of the form that the person has chosen; the others are by recipe."""
    sizes = {k: v for k in SIZES if (v := getattr(options, k)) is not None}
    sizes |= dict(_size(text) for text in options.size)
    by_epochs = options.epochs is not None
    minutes = DEFAULTS.minutes if options.minutes is None else options.minutes
    chosen = {k: v for k in SETTINGS if (v := getattr(options, k)) is not None}
    return chosen | {
        "preset": options.preset or ("" if options.network else DEFAULTS.preset),
        "sizes": sizes,
        "minutes": None if by_epochs else minutes,
        "epochs": options.epochs,
        "working_pixel_size_nm": options.working_pixel_size,
        "working_factor": options.working_factor,
        "seed": options.seed,
        "device": options.device,
    }


def _size(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    try:
        return name.strip().replace("-", "_"), json.loads(value)
    except (ValueError, RecursionError):
        if equals and name:
            return name, value
        raise TopiaryError(
            f"--size {text} is not understood: write NAME=VALUE."
        ) from None


def _continued(
    options: argparse.Namespace, given: dict[str, Any], start: Checkpoint
) -> str:
    """Return which network a fine-tuning goes on with: the checkpoint's."""
    if options.network not in (None, start.network):
        raise TopiaryError(
            f"The checkpoint is a {start.network}, so it cannot go on as a "
            f"{options.network}: leave out --network, or --start."
        )
    if given["sizes"]:
        raise TopiaryError(
            "The sizes of a network that is fine-tuned are those of its checkpoint: "
            "leave them out, or --start."
        )
    return start.network
