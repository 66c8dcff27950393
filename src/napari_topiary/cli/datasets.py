"""Which images of a dataset a verb works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_topiary.cli.driving import Runner
from napari_topiary.config import SELF_TAUGHT
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Dataset, Sample, read_dataset
from napari_topiary.io.dataset_description import NOTHING_ASIDE, may_be_seen
from napari_topiary.io.gate import admitted, check_learning, evaluation_problem
from napari_topiary.types import Task
from napari_topiary.words import listed

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

FIGURE_PARTS = ("test", "val")
"""Parts to validate on when none is asked for, the best first."""


@dataclass(frozen=True)
class LearningData:
    """What is learned from."""

    dataset: Dataset  #: Task and name
    #: `train`, `validation`: annotated images; the latter may be none
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    #: Images of which only look-alikes of what is marked can be learned
    unannotated: tuple[Sample, ...] = ()


def learning_data(
    folder: Path,
    runner: Runner,
    *,
    look_alikes: bool = False,
    around_marks: bool = False,
) -> LearningData:
    """Read the images to learn from and those to choose the best weights by.

    Parameters
    ----------
    folder
        Of the dataset.
    runner
        Tells the user what is left out.
    look_alikes
        Whether what looks like the marked particles, or like what is painted, is
        learned from images without annotations, too.
    around_marks
        Whether only a part of an image is finished where all marks lie in one.
    """
    dataset = read_dataset(folder)
    if not dataset.parts.get("train"):
        raise TopiaryError(
            f"{dataset.name} has no images in the part 'train' to learn from: all of "
            f"them are in {' and '.join(map(repr, dataset.parts))}. Put some into "
            'the part "train" of the "split" in dataset.json.'
        )
    alike = look_alikes and dataset.task.kind in SELF_TAUGHT
    known = _annotated(dataset, "train", runner, look_alikes=alike)
    if not known:
        raise TopiaryError(
            f"{dataset.name} has no annotated image to learn from: mark particles, "
            "draw centerlines or paint labels on at least one, and save the project."
        )
    held: tuple[Sample, ...] = ()
    if dataset.parts.get("val"):
        held = _annotated(dataset, "val", runner)
        if not held:
            runner.note(NOTHING_ASIDE)
    check_learning(known, held, task=dataset.task)
    names = {sample.name for sample in known}
    others = may_be_seen(dataset.split, dataset.samples) if look_alikes else ()
    seen = [dataset.samples[name] for name in others if name not in names]
    return LearningData(
        dataset,
        _admitted(known, dataset.task, runner, around_marks=around_marks),
        _admitted(held, dataset.task, runner, around_marks=around_marks),
        tuple(sample for sample in seen if not sample.annotations),
    )


def evaluation_samples(
    dataset: Dataset, split: str | None, runner: Runner
) -> tuple[str, tuple[Sample, ...]]:
    """Return the part to validate on and its annotated images.

    Parameters
    ----------
    dataset
        Where they come from.
    split
        What was asked for; None = the first of `JUDGED` that there is.
    runner
        Tells the user what was taken instead.
    """
    asked = split
    if split is None:
        split = next((part for part in FIGURE_PARTS if dataset.parts.get(part)), "all")
    elif split != "all" and not dataset.parts.get(split):
        parts = [part for part, names in dataset.parts.items() if names]
        raise TopiaryError(
            f"{dataset.name} has no images in the part {split!r}: give "
            f"--split {' or '.join([*parts, 'all'])}."
        )
    samples = _annotated(dataset, split, runner)
    if not samples:
        raise TopiaryError(
            f"No image in the part {split!r} of {dataset.name} is annotated, so there "
            "is nothing to judge by: annotate one, or give another --split."
        )
    if asked is None and split != FIGURE_PARTS[0]:
        taken = "all its images count" if split == "all" else f"{split!r} is used"
        runner.note(f"{dataset.name} has no part {FIGURE_PARTS[0]!r}: {taken}.")
    problem = evaluation_problem(samples, task=dataset.task)
    if problem:
        raise TopiaryError(problem)
    return split, _admitted(samples, dataset.task, runner)


def _annotated(
    dataset: Dataset, part: str, runner: Runner, *, look_alikes: bool = False
) -> tuple[Sample, ...]:
    """Annotated images of a part; tells which are not, and what else is not used."""
    for note in dataset.notes:
        runner.note(note)
    samples = dataset.part(part)
    unannotated = [sample.name for sample in samples if not sample.annotations]
    if 0 < len(unannotated) < len(samples):
        use = "at most look-alikes of what is marked are learned there"
        runner.note(
            f"{len(unannotated)} of {len(samples)} images of the part {part!r} are not "
            f"annotated: {use if look_alikes else 'left out'} ({listed(unannotated)})."
        )
    return tuple(sample for sample in samples if sample.annotations)


def _admitted(
    samples: tuple[Sample, ...],
    task: Task,
    runner: Runner,
    *,
    around_marks: bool = False,
) -> tuple[Sample, ...]:
    """What counts of the annotations; tells the rest."""
    kept, notes = admitted(samples, task=task, around_marks=around_marks)
    for note in notes:
        runner.note(note)
    return kept


def check_suits(dataset: Dataset, checkpoint: Checkpoint) -> None:
    """Refuse a dataset that asks for something else than the checkpoint answers."""
    own, asked = checkpoint.task, dataset.task
    if own.kind != asked.kind:
        raise TopiaryError(
            f"The checkpoint was trained to {own.kind} and {dataset.name} is for "
            f"{asked.kind}: give a dataset of the same kind."
        )
    if own.classes != asked.classes:
        raise TopiaryError(
            f"The checkpoint knows the classes {', '.join(own.classes)} and "
            f"{dataset.name} has {', '.join(asked.classes)}: give a dataset with the "
            "same classes in the same order."
        )
