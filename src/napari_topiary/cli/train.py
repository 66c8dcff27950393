"""`train`: from a dataset to a checkpoint; fine-tuning is the same with --start."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary import words
from napari_topiary.cli.datasets import learning_data
from napari_topiary.cli.describing import describe, quality_in_words
from napari_topiary.cli.driving import Runner
from napari_topiary.cli.keeping import Keeping, new_notes
from napari_topiary.cli.parsing import AddVerb, add_fields, checkpoint_target, given
from napari_topiary.config import TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.output_files import Files

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.io.dataset import Sample

DEFAULTS = TrainConfig()
SIZES = ("base", "multiplier", "levels", "last", "batch_norm")
SETTINGS = (
    "learning_rate", "batch", "patch", "weight_decay", "training_pixels",
    "dice_weight", "distance", "distance_weight", "validation_share", "optimizer",
    "schedule", "balance", "augment", "self_teaching", "around_marks",
)  # fmt: skip
"""Fields of the form as the help lists them."""


def add(verb: AddVerb) -> None:
    """Add the verb to the command line."""
    parser = verb(
        description="Train a network on a dataset folder. Images in the part 'val' of "
        "its split choose the best weights; without one, some are held out. Ctrl-C "
        "keeps the best so far."
    )
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="dataset folder")
    parser.add_argument("--out", metavar="CKPT", type=Path, required=True)
    parser.add_argument("--network", help="kind of network (default: unet)")
    parser.add_argument(
        "--preset",
        help="of a unet: tiny, 2m, 7.8m-deep, 7.8m-wide, original (default: tiny)",
    )
    length = parser.add_mutually_exclusive_group()
    add_fields(length, TrainConfig, ("minutes", "epochs"))
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
    add_fields(seen, TrainConfig, ("working_pixel_size_nm", "working_factor"))
    add_fields(group, TrainConfig, SETTINGS, by_network=True)


def files(options: argparse.Namespace) -> Files:
    """What is read and written."""
    return Files(
        (checkpoint_target(options.out),),
        reads=(options.dataset,),
        parents=() if options.start is None else (options.start,),
    )


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Train, write the checkpoint, and report."""
    chosen = _given(options)
    problem = TrainConfig(**chosen).problem()
    if problem is not None:
        raise TopiaryError(problem)

    from napari_topiary.checkpoint import load_checkpoint
    from napari_topiary.inference.devices import pick_device
    from napari_topiary.networks import recipe_config, resolve_sizes
    from napari_topiary.training import fit

    pick_device(options.device)
    start = None if options.start is None else load_checkpoint(options.start)
    if start is None:
        config = recipe_config(options.network or DEFAULTS.network, chosen)
        resolve_sizes(config.network, config.preset, config.sizes)
    else:
        config = recipe_config(_continued(options, chosen, start), chosen)
        if config.working_pixel_size_nm or config.working_factor:
            runner.note(
                "A network that is fine-tuned goes on with the pixel size that it has "
                "learned: the one that is given has no effect."
            )
    data = learning_data(
        options.dataset,
        runner,
        look_alikes=config.self_teaching and start is None,
        around_marks=config.around_marks,
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
    for note in new_notes(made, start):
        runner.note(note)
    result = report(made, path) | {
        "problems": [*ended_early, *problems],
        "dataset": str(options.dataset),
        "n_images": len(data.train),
        "n_validation": _validated_on(made, data.validation),
        "seed": config.seed,
        "seconds": made.provenance.get("seconds"),
        "steps": made.provenance.get("steps"),
        "device": made.provenance.get("device"),
    }
    runner.say(in_words(made, path))
    return result


def _validated_on(made: Checkpoint, given: Sequence[Sample]) -> int:
    """Of how many of the images that were kept aside for it there is a figure."""
    names = {sample.name for sample in given}
    held = made.annotations_summary.get("held_out")
    if isinstance(held, list):
        names &= {one["image"] for one in held}
    return len(names)


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
        f"{words.file_size(checkpoint.file_bytes())}{', ' if quality else ''}{quality}"
    )


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of the form that the person has chosen; the others are by recipe."""
    sizes = {k: v for k in SIZES if (v := getattr(options, k)) is not None}
    sizes |= dict(_size(text) for text in options.size)
    chosen = given(options, TrainConfig)
    chosen.pop("network", None)
    # A recipe has no say in how long, nor in the pixel size.
    return {
        "preset": "" if options.network else DEFAULTS.preset,
        "minutes": DEFAULTS.minutes if options.epochs is None else None,
        "epochs": None,
        "working_pixel_size_nm": None,
        "working_factor": None,
        **chosen,
        "sizes": sizes,
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
    from napari_topiary.networks import resolve_sizes

    if options.network not in (None, start.network):
        raise TopiaryError(
            f"The checkpoint is a {start.network}, so it cannot go on as a "
            f"{options.network}: leave out --network, or --start."
        )
    other = options.preset and resolve_sizes(start.network, options.preset)
    if given["sizes"] or (other and other != dict(start.sizes)):
        raise TopiaryError(
            "The sizes of a network that is fine-tuned are those of its checkpoint: "
            f"leave {'--preset' if other else 'them'} out, or --start."
        )
    return start.network
