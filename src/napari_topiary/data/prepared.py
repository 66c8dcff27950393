"""Samples -> what training works on: fields on the working grid, and a hold-out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from napari_topiary.annotations import (
    MarkedThings,
    TargetConfig,
    annotation_kinds,
    counted,
)
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import SELF_TAUGHT, TrainConfig
from napari_topiary.data.annotated_area import AnnotatedArea, WorkingGrid
from napari_topiary.data.hold_out import (
    Division,
    divide,
    few_areas,
    roles,
    too_few,
)
from napari_topiary.data.learned import remembered, smallest_object
from napari_topiary.data.look_alikes import look_alikes
from napari_topiary.data.odd_images import contrast_of, opposite_notes, unlike_notes
from napari_topiary.data.pixel_teacher import little_painted, taught
from napari_topiary.data.sampling import Field
from napari_topiary.io.dataset import Sample
from napari_topiary.io.gate import admit
from napari_topiary.io.image_area import image_problem
from napari_topiary.normalisation import Normalisation
from napari_topiary.normalisation.contrast import Colours, Faintness
from napari_topiary.normalisation.sharpness import Sharpness
from napari_topiary.types import Task

MOST_UNANNOTATED = 24
"""More images than that would take memory and add little."""


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Everything a training needs from the samples."""

    task: Task  #: Kind and classes, with the radii that were drawn
    normalisation: Normalisation  #: How intensities are brought to the network's range
    #: Fields to learn from, with those on which look-alikes were found
    train: tuple[Field, ...]
    held: tuple[AnnotatedArea, ...]  #: Areas to choose weights and thresholds by
    #: Areas that the figure is measured on: others, where there is enough for that
    figure_areas: tuple[AnnotatedArea, ...]
    few: bool  #: Whether there is too little in `held` to choose by
    factor: float  #: Original pixels per working pixel, >= 1
    pixel_size_nm: float | None  #: nm per original pixel, None if unknown
    in_channels: int  #: 1 or 3
    #: What is held out, in words ("2 images", "a quarter of the image")
    held_names: str
    summary: dict[str, object]  #: Counts of annotations by class, for the checkpoint
    line_classes: tuple[str, ...] = ()  #: Classes that were only drawn as centerlines
    #: A few of the areas to learn from, with their truth: where particles are looked
    #: for, and wherever all that is held back is needed for the figure. None where
    #: somebody has said which images to validate on, and those are enough.
    learned: tuple[AnnotatedArea, ...] = ()
    #: What was annotated of what is learned from, with the marks
    areas: tuple[AnnotatedArea, ...] = ()
    notes: tuple[str, ...] = ()  #: Sentences for the user

    @property
    def figure_only(self) -> bool:
        """Whether all that is held back is needed for the figure.

        No threshold is chosen by it then, but on what was learned from; and for
        particles no weights either: the newest count.
        """
        return self.held == self.figure_areas

    @property
    def usual_thresholds(self) -> bool:
        """Whether too little is held back to choose thresholds of pixels by."""
        return self.few and self.task.kind != "detect"

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
    start: Checkpoint | None = None,
    learning: bool = True,
) -> PreparedData:
    """Resample, draw targets, hold something out, and find look-alikes.

    Parameters
    ----------
    samples
        Images to learn from; those without annotations are kept apart.
    validation
        Images to validate on; empty = hold out by image, or by area of a single image.
    config
        Working pixel size, share to hold out and seed are read from it.
    task
        Kind and classes.
    start
        The checkpoint that is gone on with: the pixel size it works at, how intensities
        are brought to its range, and what it has learned from, are kept.
    learning
        Whether there is to be something to learn from, or only to validate on.

    Raises
    ------
    TopiaryError
        With a sentence if the samples cannot be learned from.
    """
    unannotated = [sample for sample in samples if not sample.annotations]
    known = admit(
        samples,
        validation,
        task=task,
        around_marks=config.around_marks,
        learning=learning,
        channels=None if start is None else start.in_channels,
    )
    every = (*known.samples, *known.validation)
    summary, lines = _summary(every)
    grid = WorkingGrid.of(known, config, start=start)
    history = {} if start is None else dict(start.annotations_summary)
    parts = divide(*grid.areas(known), history, config, learning=learning)
    held, figure_areas, learned = roles(parts, known.task, given=bool(validation))
    alike = learning and start is None and config.self_teaching
    alike &= task.kind in SELF_TAUGHT
    alike &= task.kind == "detect" or little_painted(parts.learned)
    apart = [grid.area(s) for s in _some(unannotated, every[0])] if alike else []
    unlike = opposite_notes((*parts.learned, *parts.held), task, start)
    if start is not None and not learning:
        unlike += unlike_notes(parts.held, start)
    summary |= _drawn_as(parts.learned, known.task, config, grid.zones)
    if learning and (not history or "learned" in history):
        summary |= remembered(parts.learned, parts.held, history)
    notes = (*known.notes, *unlike, *parts.notes)
    prepared = PreparedData(
        task=known.task,
        normalisation=grid.normalisation or Normalisation(),
        train=tuple(item.field for item in parts.learned),
        held=held,
        figure_areas=figure_areas,
        few=too_few(held),
        factor=grid.factor,
        pixel_size_nm=grid.scale,
        in_channels=every[0].image.shape[0],
        held_names=parts.words,
        summary=summary,
        line_classes=lines,
        learned=learned,
        areas=tuple(parts.learned),
        notes=tuple(dict.fromkeys(notes)),
    )
    if not alike or any(summary[kind.kind] for kind in _marks() if kind.is_line):
        return prepared
    more = _with_look_alikes if task.kind == "detect" else _with_taught_pixels
    return more(prepared, (*parts.learned, *apart))


def foresee(
    samples: Sequence[Sample],
    validation: Sequence[Sample],
    config: TrainConfig,
    *,
    task: Task,
    start: Checkpoint | None = None,
) -> Division:
    """Divide what is annotated as a training will, before it begins.

    No image is brought to the working grid for it, only what is drawn.

    Parameters
    ----------
    samples, validation, config, task, start
        As for `prepare`; none of it has a problem.
    """
    known = admit(samples, validation, task=task, around_marks=config.around_marks)
    grid = WorkingGrid.of(known, config, start=start, drawn_only=True)
    history = {} if start is None else dict(start.annotations_summary)
    return divide(*grid.areas(known), history, config, learning=True)


def _with_look_alikes(
    prepared: PreparedData, areas: Sequence[AnnotatedArea]
) -> PreparedData:
    """Also learn from what looks like the few marked particles, where that helps."""
    found = look_alikes(areas, prepared.held_back, prepared.task)
    if found is None:
        return prepared
    note = (
        f"Also learned from {found.count:,} look-alikes of the marked particles that "
        "it found itself where nobody has looked."
    )
    return replace(
        prepared,
        train=tuple(area.field for area in found.areas),
        learned=few_areas(found.parted) or prepared.learned,
        summary={
            **prepared.summary,
            "zones": asdict(found.zones),
            "learned": remembered(areas, (), {})["learned"],
            "look_alikes": found.count,
        },
        notes=(*prepared.notes, note) if found.count else prepared.notes,
    )


def _with_taught_pixels(
    prepared: PreparedData, areas: Sequence[AnnotatedArea]
) -> PreparedData:
    """Also learn from what resembles the little that is painted, where that helps."""
    found = taught(areas, prepared.held_back)
    if found is None:
        return prepared
    note = (
        "Also learned from what resembles the painted areas where nobody has looked: "
        f"{found.pixels:,} pixels that it labelled itself."
    )
    return replace(
        prepared,
        train=tuple(area.field for area in found.areas),
        summary={
            **prepared.summary,
            "learned": remembered(areas, (), {})["learned"],
            "labelled_pixels": found.pixels,
        },
        notes=(*prepared.notes, note),
    )


def _drawn_as(
    learned: Sequence[AnnotatedArea],
    task: Task,
    config: TrainConfig,
    zones: TargetConfig,
) -> dict[str, object]:
    """How the targets were drawn and what stood out, for whoever validates later."""
    found: dict[str, object] = {}
    contrast = contrast_of(learned)
    if contrast is not None:
        found["contrast"] = contrast.to_record()
    colours = Colours.of(f.field.image for f in learned)
    if colours is not None:
        found["colours"] = colours.to_record()
    faintness = Faintness.of(f.field.image for f in learned)
    if faintness is not None:
        found["faintest"] = faintness.lowest
    sharpness = Sharpness.of(f.field.image for f in learned)
    if sharpness is not None:
        found["sharpness"] = sharpness.to_record()
    if task.kind == "instances":
        found["distance"] = config.distance
        found["smallest_object"] = smallest_object(learned)
    if task.kind == "detect":
        found["zones"] = asdict(zones)
    return found


def _some(unannotated: Sequence[Sample], like: Sample) -> list[Sample]:
    """Images without annotations that can be learned from with the others."""
    channels = like.image.shape[0]
    alike = [sample for sample in unannotated if sample.image.shape[0] == channels]
    step = -(-len(alike) // MOST_UNANNOTATED) or 1
    return [sample for sample in alike[::step] if not image_problem(sample.image)]


def _summary(samples: Sequence[Sample]) -> tuple[dict[str, object], tuple[str, ...]]:
    """Count annotations by class; name the classes only drawn as lines."""
    marks = _marks()
    classes = {kind: Counter[str]() for kind in marks}
    labelled = 0
    for sample in samples:
        for item in counted(sample.annotations):
            if isinstance(item, MarkedThings):
                classes[type(item)].update(item.classes)
            labelled += item.storage == "image"
    lines, particles = (
        {name for kind in marks if kind.is_line is is_line for name in classes[kind]}
        for is_line in (True, False)
    )
    only_lines = tuple(sorted(lines - particles))
    summary: dict[str, object] = {
        "images": len(samples),
        **{kind.kind: dict(classes[kind]) for kind in marks},
        "labelled_images": labelled,
        "line_classes": list(only_lines),
    }
    return summary, only_lines


def _marks() -> list[type[MarkedThings]]:
    """Kinds of annotation that are things, each of a class."""
    kinds = (annotation_kinds[name] for name in annotation_kinds)
    return [kind for kind in kinds if issubclass(kind, MarkedThings)]
