"""Samples -> what training works on: fields on the working grid, and a hold-out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from napari_topiary.annotations import (
    Centerlines,
    Labels,
    Points,
    TargetConfig,
    zones_for,
)
from napari_topiary.checkpoint import Contrast, Normalisation, factor_at
from napari_topiary.config import TrainConfig
from napari_topiary.data.annotated_area import AnnotatedArea, on_working_grid
from napari_topiary.data.hold_out import ENOUGH, for_choosing_and_figure, hold_out
from napari_topiary.data.sampling import Field
from napari_topiary.data.working_size import asked_factor, propose_working_factor
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.io.gate import admitted, check_learning, check_truth
from napari_topiary.io.quality import image_problem
from napari_topiary.io.split import listed
from napari_topiary.types import Task

FEW_PIXELS = 400_000
MOST_UNANNOTATED = 24
"""More images than that would take memory and teach little."""

UNKNOWN = (
    "The network was trained with an earlier version, which did not write down what it "
    "learned from: nothing here is judged on, for it may know these images. To have a "
    "figure, put images that it has never seen into the part 'val'."
)

_LEARNED = (
    ": not judged on, for the network learns, or has learned, from the same image "
    "(perhaps under another name)."
)
_JUDGED = (
    ": not learned from, for the same image under another name is kept to judge on."
)


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Everything a training needs from the samples.

    Parameters
    ----------
    train
        Fields to learn from.
    held
        Areas to choose weights and thresholds by.
    figure_areas
        Areas that the figure is measured on: others, where there is enough for that.
    few
        Whether there is too little in `held` to choose by.
    factor
        Original pixels per working pixel, >= 1.
    pixel_size_nm
        nm per original pixel, None if unknown.
    in_channels
        1 or 3.
    held_names
        What is held out, in words ("2 images", "a quarter of the image").
    summary
        Counts of annotations by class, for the checkpoint.
    line_classes
        Classes that were only drawn as centerlines.
    learned
        A few of the areas to learn from, with their truth: where particles are looked
        for, and wherever all that is held back is needed for the figure. None where
        somebody has said which images to judge on, and those are enough.
    areas
        What `train` was drawn from, in the same order, with the marks.
    unannotated
        Images on which nothing is drawn.
    zones
        How particles are drawn.
    notes
        Sentences for the user.
    """

    train: tuple[Field, ...]
    held: tuple[AnnotatedArea, ...]
    figure_areas: tuple[AnnotatedArea, ...]
    few: bool
    factor: float
    pixel_size_nm: float | None
    in_channels: int
    held_names: str
    summary: dict[str, object]
    line_classes: tuple[str, ...] = ()
    learned: tuple[AnnotatedArea, ...] = ()
    areas: tuple[AnnotatedArea, ...] = ()
    unannotated: tuple[AnnotatedArea, ...] = ()
    zones: TargetConfig = field(default_factory=TargetConfig)
    notes: tuple[str, ...] = ()

    @property
    def figure_only(self) -> bool:
        """Whether all that is held back is needed for the figure.

        No threshold is chosen by it then, but on what was learned from; and for
        particles no weights either: the newest count.
        """
        return self.held == self.figure_areas

    @property
    def held_back(self) -> tuple[AnnotatedArea, ...]:
        """Everything that must not be learned from."""
        return (*self.held, *self.figure_areas)


def prepare(
    samples: Sequence[Sample],
    validation: Sequence[Sample],
    config: TrainConfig,
    *,
    task: Task,
    normalisation: Normalisation,
    factor: float | None = None,
    before: Mapping[str, Any] | None = None,
    learning: bool = True,
) -> PreparedData:
    """Resample, draw targets and hold something out.

    Parameters
    ----------
    samples
        Images to learn from; those without annotations are kept apart.
    validation
        Images to judge on; empty = hold out by image, or by area of a single image.
    config
        Working pixel size, share to hold out and seed are read from it.
    task
        Kind and classes.
    normalisation
        How intensities are brought to the network's range.
    factor
        Shrink factor that must be used (fine-tuning); None = from the form or proposed.
    before
        What the checkpoint that is gone on with says of its own images; see `hold_out`.
    learning
        Whether there is to be something to learn from, or only to judge on.

    Raises
    ------
    TopiaryError
        With a sentence if the samples cannot be learned from.
    """
    unannotated = tuple(sample for sample in samples if not sample.annotations)
    samples = tuple(sample for sample in samples if sample.annotations)
    if learning:
        check_learning(samples, validation, task=task)
    elif samples or validation:
        known = (*samples, *validation)
        check_truth(known, task=task, scale=known[0].scale)
    around = config.around_marks
    samples, notes = admitted(samples, task=task, around_marks=around)
    validation, said = admitted(validation, task=task, around_marks=around)
    every = samples + validation
    if not every:
        raise TopiaryError("There is no annotated image to judge on.")
    scale = every[0].scale
    if factor is None:
        factor = asked_factor(config, scale)
    if factor is None:
        factor = propose_working_factor(task, scale, samples)

    zones = _zones(samples + validation, task)

    def field_of(sample: Sample) -> AnnotatedArea:
        # Images of another pixel size are brought to the same working size.
        own = factor_at(sample.scale, factor, scale)
        return on_working_grid(sample, own, task, normalisation, zones)

    pool = [field_of(sample) for sample in samples]
    given = [field_of(sample) for sample in validation] if validation else None
    history = dict(before or {})
    parts = _parts(pool, given, history, config, learning=learning)
    choosing, measured = for_choosing_and_figure(parts.held)
    few = sum(one.things for one in choosing) < ENOUGH
    only = choosing == measured and not few
    apart = tuple(
        field_of(sample)
        for sample in _some(unannotated, every[0])
        if learning and task.kind == "detect" and config.self_teaching
    )
    summary, lines = _summary(every)
    summary |= _drawn_as(parts.learned, task, config, zones)
    if learning and (not history or "learned" in history):
        summary |= _remembered((*parts.learned, *apart), parts.held, history)
    return PreparedData(
        train=tuple(item.field for item in parts.learned),
        held=tuple(choosing),
        figure_areas=tuple(measured),
        few=few,
        factor=factor,
        pixel_size_nm=scale,
        in_channels=every[0].image.shape[0],
        held_names=parts.words,
        summary=summary,
        line_classes=lines,
        learned=few_areas(parts.learned)
        if only or (task.kind == "detect" and (few or not validation))
        else (),
        areas=tuple(parts.learned),
        unannotated=apart,
        zones=zones,
        notes=tuple(dict.fromkeys((*notes, *said, *parts.notes))),
    )


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What is learned from and what is held out; the latter in words too."""

    learned: Sequence[AnnotatedArea]
    held: Sequence[AnnotatedArea]
    words: str
    notes: tuple[str, ...] = ()


def _parts(
    pool: list[AnnotatedArea],
    given: list[AnnotatedArea] | None,
    history: Mapping[str, Any],
    config: TrainConfig,
    *,
    learning: bool,
) -> _Parts:
    """Hold out what was given for it, what was held out before, or a share."""
    learned, notes = pool, tuple[str, ...]()
    if given is not None:
        taken = {one["pixels"] for one in history.get("learned", ())}
        taken |= {one.pixels for one in pool} if learning else set()
        held = [one for one in given if one.pixels not in taken]
        notes = _doubles([one for one in given if one.pixels in taken], _LEARNED)
        words = _count(len(held))
    elif history and "learned" not in history:
        held, words, notes = [], "", (UNKNOWN,)
    else:
        share = config.validation_share
        if not learning and history.get("learned"):
            seen = {one["pixels"] for one in history["learned"]}
            learned, held = hold_out(pool, 0.0, config.seed, history)
            held = held or [one for one in pool if one.pixels not in seen]
            learned = [one for one in learned if one.pixels in seen and one.things]
        else:
            learned, held = hold_out(pool, share, config.seed, history)
            if learning and not any(one.things for one in learned):
                learned, held = learned + held, []
            used = {one.sample.name for one in (*learned, *held)}
            notes = _doubles([o for o in pool if o.sample.name not in used], _JUDGED)
        words = _in_words(held)
    held = [one for one in held if one.things and (one.field.target >= 0).any()]
    return _Parts(learned=learned, held=held, words=words, notes=notes)


def _doubles(areas: Sequence[AnnotatedArea], words: str) -> tuple[str, ...]:
    return (listed([one.sample.name for one in areas]) + words,) if areas else ()


def _drawn_as(
    learned: Sequence[AnnotatedArea],
    task: Task,
    config: TrainConfig,
    zones: TargetConfig,
) -> dict[str, object]:
    """How the targets were drawn and what stood out, for whoever validates later."""
    found: dict[str, object] = {}
    contrast = Contrast.of((f.field.image, f.field.target) for f in learned)
    if contrast is not None:
        found["contrast"] = contrast.to_record()
    if task.kind == "instances":
        found["distance"] = config.distance
    if task.kind == "detect":
        found["zones"] = asdict(zones)
    return found


def _remembered(
    learned: Sequence[AnnotatedArea],
    held: Sequence[AnnotatedArea],
    history: Mapping[str, Any],
) -> dict[str, object]:
    """Which areas were learned from, now and before, and which are held out."""
    own = {one.pixels for one in learned}
    old = [entry for entry in history.get("learned", ()) if entry["pixels"] not in own]
    return {
        "learned": [*old, *(one.entry() for one in learned)],
        "held_out": [one.entry() for one in held],
    }


def _zones(samples: tuple[Sample, ...], task: Task) -> TargetConfig:
    marks = [
        (item, sample.scale)
        for sample in samples
        for item in sample.annotations
        if isinstance(item, Points)
    ]
    return zones_for(marks, task)


def _some(unannotated: Sequence[Sample], like: Sample) -> list[Sample]:
    """Images without annotations that can be learned from with the others."""
    channels = like.image.shape[0]
    alike = [sample for sample in unannotated if sample.image.shape[0] == channels]
    step = -(-len(alike) // MOST_UNANNOTATED) or 1
    return [sample for sample in alike[::step] if not image_problem(sample.image)]


def few_areas(areas: Sequence[AnnotatedArea]) -> tuple[AnnotatedArea, ...]:
    """As many areas as may be looked at again and again without a delay."""
    pixels = np.cumsum([area.field.target.size for area in areas])
    return tuple(areas[: int(np.searchsorted(pixels, FEW_PIXELS, side="right"))])


def _in_words(held: Sequence[AnnotatedArea]) -> str:
    if not held:
        return ""
    if all(one.box is not None for one in held):
        return "a part of the image"
    return _count(len(held))


def _count(n: int) -> str:
    return f"{n} image{'s' if n != 1 else ''}"


def _summary(
    samples: tuple[Sample, ...],
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Count annotations by class; name the classes only drawn as lines."""
    points: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    labelled = 0
    for sample in samples:
        for item in sample.annotations:
            if isinstance(item, Points):
                points.update(item.classes)
            elif isinstance(item, Centerlines):
                lines.update(item.classes)
            elif isinstance(item, Labels):
                labelled += 1
    only_lines = tuple(sorted(name for name in lines if name not in points))
    summary: dict[str, object] = {
        "images": len(samples),
        "points": dict(points),
        "centerlines": dict(lines),
        "labelled_images": labelled,
        "line_classes": list(only_lines),
    }
    return summary, only_lines
