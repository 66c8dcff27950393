"""`prune`: a smaller checkpoint, with or without fine-tuning."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.cli.datasets import LearningData, check_suits, learning_data
from napari_topiary.cli.driving import Runner
from napari_topiary.cli.keeping import Keeping, new_notes
from napari_topiary.cli.parsing import AddVerb, add_fields, checkpoint_target, given
from napari_topiary.cli.train import in_words, report
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.output_files import Files

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.pruning import PruningPlan

HOW = ("kind", "criterion", "scope", "remove")
"""Fields of `PruneConfig` that the result repeats."""


def add(verb: AddVerb) -> None:
    """Add the verb to the command line."""
    parser = verb(
        description="Remove the least important weights or filters of a checkpoint. "
        "Filters make the network smaller and faster, single weights only its file "
        "smaller. With --data the thresholds are chosen anew, with --finetune-minutes "
        "what remains is trained on. The original is not changed."
    )
    parser.add_argument("checkpoint", metavar="CKPT", type=Path)
    parser.add_argument("--out", metavar="CKPT", type=Path, required=True)
    add_fields(parser, PruneConfig, (*HOW, "include_output"), required=("remove",))
    parser.add_argument("--data", metavar="DATASET", type=Path)
    parser.add_argument(
        "--int8",
        action="store_true",
        help="also prepare it for whole numbers of eight bits, measured on --data: "
        "taken where it is faster here, and the quality before and after is said "
        "(needs OpenVINO or ONNX Runtime)",
    )
    add_fields(parser, PruneConfig, ("batches", "at_once"))
    parser.add_argument("--finetune-minutes", metavar="M", type=float)
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--gradual",
        action="store_true",
        default=None,
        help="remove little by little while fine-tuning (default above CR 4)",
    )
    way.add_argument(
        "--one-shot",
        dest="gradual",
        action="store_false",
        help="remove at once, then fine-tune (default up to CR 4)",
    )
    way.add_argument(
        "--halving",
        dest="gradual",
        action="store_const",
        const="halving",
        help="remove half of what remains, fine-tune, and so on",
    )
    parser.set_defaults(run=run, files=files)


def files(options: argparse.Namespace) -> Files:
    """What is read and written."""
    data = () if options.data is None else (options.data,)
    return Files((checkpoint_target(options.out),), reads=(options.checkpoint, *data))


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Prune, write the checkpoint, and report."""
    config = _config(options)

    from napari_topiary.evaluation.validate import HoldOut
    from napari_topiary.io.gate import other_channels
    from napari_topiary.jobs.pruning import for_int8
    from napari_topiary.pruning import plan_job

    original = _original(options)
    data = None
    if options.data is not None:
        data = learning_data(options.data, runner)
        check_suits(data.dataset, original)
        if problem := other_channels(
            original.in_channels, (*data.train, *data.validation)
        ):
            raise TopiaryError(problem)
    samples = data.train if data else ()
    plan = runner(plan_job(original, config, samples=samples, device=options.device))
    keeping = Keeping(options.out)
    made, gradual = _pruned(
        plan, options, data=data, runner=runner, growing=keeping.growing
    )
    if data is not None and options.int8 and not runner.interrupted:
        hold_out = HoldOut(data.train, data.validation, device=options.device)
        made = runner(for_int8(made, hold_out))
    made, found, ended_early = _doubted(plan, made, options)
    whole = not (runner.interrupted or ended_early)
    made, path, problems = keeping.keep(made, whole=whole)
    for note in new_notes(made, original):
        runner.note(note)
    if data is None:
        runner.note(
            "Nobody has looked how good the pruned network still is: with --data it is "
            "judged, with --finetune-minutes it learns on."
        )
    result = report(made, path) | {
        "problems": [*found, *problems],
        "parent": str(options.checkpoint),
        **{name: getattr(config, name) for name in HOW},
        "gradual": gradual,
        "finetune_minutes": options.finetune_minutes or 0.0,
        "seed": options.seed,
        "int8": _int8_figures(made),
    }
    runner.say(in_words(made, path))
    ratio = result["compression_ratio"]
    runner.say(f"{made.sparsity:.1%} of the weights are gone (CR {ratio:.3g}).")
    return result


def _config(options: argparse.Namespace) -> PruneConfig:
    """How to prune, or what is wrong with it."""
    from napari_topiary.pruning.criteria import criteria_for, criterion_of

    chosen = given(options, PruneConfig)
    usual = criteria_for(chosen.get("kind", PruneConfig.kind))[0]
    config = PruneConfig(**{"criterion": usual, **chosen})
    problem = config.problem() or _finetuning_problem(options)
    if problem is not None:
        raise TopiaryError(problem)
    criterion_of(config, samples=options.data is not None)
    return config


def _original(options: argparse.Namespace) -> Checkpoint:
    """What is pruned; refused where the device, or int8, is not to be had."""
    from napari_topiary.checkpoint import load_checkpoint
    from napari_topiary.inference.devices import pick_device
    from napari_topiary.jobs.int8 import int8_problem

    pick_device(options.device)
    original = load_checkpoint(options.checkpoint)
    if options.int8:
        problem = int8_problem(options.device, original.build())
        if problem is not None:
            raise TopiaryError(problem)
    return original


def _int8_figures(made: Checkpoint) -> dict[str, Any] | None:
    """What was measured of a network that is prepared for int8."""
    if not made.int8:
        return None
    about = made.provenance["int8"].items()
    return {key: value for key, value in about if key not in ("weights", "ranges")}


def _doubted(
    plan: PruningPlan, made: Checkpoint, options: argparse.Namespace
) -> tuple[Checkpoint, list[str], bool]:
    """Write into a checkpoint what is wrong with it; say whether tuning ended early."""
    from napari_topiary.pruning import pruning_doubt, pruning_problems

    original = plan.checkpoint
    ended_early = made.provenance.get("problems", ())
    found = [*ended_early, *pruning_problems(original, made, options.remove)]
    # What learns on may have come to life.
    found += plan.problems if options.finetune_minutes is None else ()
    notes = list(made.provenance.get("notes", ()))
    doubt = pruning_doubt(original, made)
    if doubt is not None:
        (found if doubt.is_certain else notes).append(doubt.sentence)
    about = {**made.provenance, "problems": found, "notes": notes}
    return made.replaced(provenance=about), found, bool(ended_early)


def _finetuning_problem(options: argparse.Namespace) -> str | None:
    minutes = options.finetune_minutes
    problem = None if minutes is None else TrainConfig(minutes=minutes).problem()
    if problem is not None:
        return f"Fine-tuning: {problem}"
    if minutes is not None and options.data is None:
        return "Fine-tuning needs annotated images: give them with --data."
    if options.int8 and options.data is None:
        return "int8 is measured on annotated images: give them with --data."
    if options.gradual and minutes is None:
        return "Gradual removal happens while fine-tuning: give --finetune-minutes."
    return None


def _pruned(
    plan: PruningPlan,
    options: argparse.Namespace,
    *,
    data: LearningData | None,
    runner: Runner,
    growing: Path,
) -> tuple[Checkpoint, bool]:
    """Return the pruned checkpoint, and whether it was pruned gradually."""
    from napari_topiary.evaluation.validate import HoldOut
    from napari_topiary.jobs.pruning import validated
    from napari_topiary.networks import tuning_config
    from napari_topiary.pruning import GradualPruning, pruning_schedule
    from napari_topiary.training import fit

    share = options.remove
    runner.note(plan.statistics(share).note)
    if data is None:
        made = plan.checkpoint_at(share)
        # What the network that it was made from had to say is not about this one.
        return made.replaced(provenance={**made.provenance, "problems": []}), False
    if options.finetune_minutes is None:
        hold_out = HoldOut(data.train, data.validation, device=options.device)
        return runner(validated(plan.checkpoint_at(share), hold_out)), False
    if options.gradual is None:
        pruning = pruning_schedule(plan, share)
    elif options.gradual == "halving":
        pruning = GradualPruning(plan, share, schedule="halving")
    else:
        pruning = GradualPruning(plan, share, stages=None if options.gradual else 1)
    config = tuning_config(
        plan.checkpoint.network,
        plan.config.kind,
        {
            "minutes": options.finetune_minutes,
            "seed": options.seed,
            "device": options.device,
        },
    )
    tuning = fit(
        data.train,
        config,
        task=plan.checkpoint.task,
        start=plan.checkpoint,
        validation=data.validation,
        pruning=pruning,
        checkpoint_path=growing,
    )
    tuned = runner(tuning)
    return tuned, tuned.pruning[-1].get("stages", 1) > 1
