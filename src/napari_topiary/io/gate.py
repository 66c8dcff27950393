"""What images and annotations must satisfy together, to be learned from or judged by.

The one gate before anything runs: the window, the command line and Python ask here and
get the same sentence. What an image alone must satisfy is in `image_area`, what a file
or a table must where it is read, and what each kind of annotation must in its own file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_topiary.annotations import (
    Regions,
    annotation_problem,
    around_marks,
    drawn_radii_nm,
    marked_in_part,
    outside_note,
    usable_annotations,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample, scale_notes
from napari_topiary.io.image_area import image_problem, rows_without_banner
from napari_topiary.types import Task
from napari_topiary.words import listed

_ANOTHER_SCALE = 20.0
BY_COMMAND = " (--around-marks in a command)"
"""What the window leaves out of a sentence."""
_REST_IS_EMPTY = (
    "All marks lie in one part of the image and no area is finished, so the rest "
    "counts as empty. If only this part is marked, draw a finished area around it"
    f"{BY_COMMAND}."
)
NOTHING_MARKED = (
    "Only background is marked on the images to judge on: figures there say at most "
    "how much is found where nothing is."
)
_ONLY_AROUND = (
    "All marks lie in one part of the image: only what is around them is known."
)


def learning_problem(
    samples: Sequence[Sample], validation: Sequence[Sample] = (), *, task: Task
) -> str:
    """Return what stops a network from learning from samples; empty if nothing does.

    Looks at all pixels: not for the main thread of the window.

    Parameters
    ----------
    samples
        Annotated images to learn from.
    validation
        Annotated images to choose the best weights by; may be none.
    task
        Kind, classes and radii.
    """
    if not samples:
        return (
            "There is no annotated image to learn from: mark particles, draw "
            "centerlines or paint labels on at least one image."
        )
    return evaluation_problem((*samples, *validation), task=task) or _classes_problem(
        samples, task
    )


def evaluation_problem(samples: Sequence[Sample], *, task: Task) -> str:
    """Return what stops samples from being held against a network; empty if nothing."""
    sentence = _channels_problem(samples) or _scales_problem(samples)
    if sentence:
        return sentence
    for sample in samples:
        problem = annotation_problem(
            sample.annotations, sample.image.shape[1:], task=task, scale=sample.scale
        ) or image_problem(sample.image)
        if problem:
            return f"{sample.name}: {problem}"
    return ""


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """Annotated images with what counts of them."""

    task: Task  #: Where something is to be learned, with the radii that were drawn
    #: `samples`, `validation`: to learn from or judge on, and to judge on only
    samples: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    notes: tuple[str, ...]  #: Sentences for the user


def admit(
    samples: Sequence[Sample],
    validation: Sequence[Sample],
    *,
    task: Task,
    around_marks: bool,
    learning: bool = True,
    channels: int | None = None,
) -> Admitted:
    """Take what a network can learn from or be judged on, or refuse it.

    Parameters
    ----------
    samples, validation
        Images without annotations are left out of the former.
    task
        Kind, classes and radii.
    around_marks
        Whether only a part of an image is finished where all marks lie in one.
    learning
        Whether there is to be something to learn from, or only to judge on.
    channels
        That the network takes, where there is one already.

    Raises
    ------
    TopiaryError
        With a sentence if it cannot.
    """
    if learning:
        task = _with_drawn_radii(task, (*samples, *validation))
    samples = tuple(sample for sample in samples if sample.annotations)
    every = (*samples, *validation)
    if learning:
        check_learning(samples, validation, task=task)
    elif every:
        _check_truth(every, task=task, scale=every[0].scale)
    else:
        raise TopiaryError("There is no annotated image to judge on.")
    if channels is not None and (problem := other_channels(channels, every)):
        raise TopiaryError(problem)
    nowhere = _nowhere_note(samples, task) if learning else ""
    samples, notes = admitted(samples, task=task, around_marks=around_marks)
    validation, said = admitted(validation, task=task, around_marks=around_marks)
    return Admitted(
        task=task,
        samples=samples,
        validation=validation,
        # What is held back may differ from what is learned from.
        notes=tuple(filter(None, (nowhere, *notes, *said, *scale_notes(every)))),
    )


def other_channels(wanted: int, samples: Sequence[Sample]) -> str:
    """Say if annotated images are grey for a network of colour images, or colour."""
    channels = {one.image.shape[0] for one in samples if one.annotations}
    if not channels or wanted in channels:
        return ""
    kinds = {1: "grey", 3: "colour"}
    return (
        f"The checkpoint was trained on {kinds.get(wanted, 'other')} "
        f"images and these are {kinds.get(channels.pop(), 'of another kind')}: "
        "convert them, or start from scratch."
    )


def _with_drawn_radii(task: Task, samples: Sequence[Sample]) -> Task:
    """Give classes without a radius the middle one of those that are drawn, in nm."""
    known = {**task.radius_nm, **task.radius_px}
    marks = (item for sample in samples for item in sample.annotations)
    drawn = {
        name: float(np.median(radii))
        for name, radii in drawn_radii_nm(marks).items()
        if name not in known and name in task.classes[1:]
    }
    return replace(task, radius_nm={**task.radius_nm, **drawn}) if drawn else task


def admitted(
    samples: Sequence[Sample], *, task: Task, around_marks: bool = False
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Return samples with what counts of their annotations, and what to tell the user.

    What is marked twice counts once, what lies outside is left out, and black and white
    masks are read as they are meant. Files and sessions keep all of it.

    Parameters
    ----------
    samples
        Without a problem.
    task
        Kind, classes and radii.
    around_marks
        Whether only a part of an image is finished where all marks lie in one.
    """
    kept, said = list[Sample](), dict[str, list[str]]()
    for sample in samples:
        annotations, notes = usable_annotations(
            sample.annotations, sample.image.shape[1:], task=task, scale=sample.scale
        )
        sample = replace(sample, annotations=annotations) if notes else sample
        if outside := outside_note(annotations):
            notes = (*notes, outside)
        part = part_marked(sample, task)
        if part is not None:
            notes = (*notes, _ONLY_AROUND if around_marks else _REST_IS_EMPTY)
        if part is not None and around_marks:
            sample = replace(sample, annotations=(*annotations, part))
        kept.append(sample)
        for note in (*sample.notes, *notes):
            said.setdefault(note, []).append(sample.name)
    each = (f"{listed(names)}: {note}" for note, names in said.items())
    return tuple(kept), (*each, *_set_notes(samples))


def part_marked(sample: Sample, task: Task) -> Regions | None:
    """Return the part of an image that its marks lie in, if that must be asked about.

    Looks at all pixels: not for the main thread of the window.

    Returns
    -------
    Regions or None
        None where an area is finished, or the marks lie all over the image.
    """
    shape, drawn = sample.image.shape[1:], sample.annotations

    def in_part(rows: tuple[int, int], columns: tuple[int, int]) -> bool:
        return marked_in_part(drawn, rows, columns, task=task, scale=sample.scale)

    if not in_part((0, shape[0]), (0, shape[1])):
        return None
    # In a margin nothing could be marked.
    area = sample.area
    rows, columns = (np.flatnonzero(area.any(axis=axis)) for axis in (1, 0))
    if not len(rows) or not in_part(
        (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)
    ):
        return None
    return around_marks(drawn, shape, task=task, scale=sample.scale)


def check_learning(
    samples: Sequence[Sample], validation: Sequence[Sample] = (), *, task: Task
) -> None:
    """Refuse samples that cannot be learned from.

    Parameters
    ----------
    samples, validation, task
        As for `learning_problem`.
    """
    problem = learning_problem(samples, validation, task=task)
    if problem:
        raise TopiaryError(problem)


def _check_truth(
    samples: Sequence[Sample], *, task: Task, scale: float | None
) -> tuple[Sample, ...]:
    """Refuse what a network cannot be held against; the rest gets a pixel size."""
    sized = tuple(replace(sample, scale=sample.scale or scale) for sample in samples)
    problem = evaluation_problem(sized, task=task)
    if problem:
        raise TopiaryError(problem)
    return sized


def with_truth(
    samples: Sequence[Sample], *, task: Task, scale: float | None
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Return what of samples a network can be held against, and what to tell.

    Parameters
    ----------
    samples
        Those without any annotation are left out.
    task
        Kind, classes and radii.
    scale
        nm per pixel of what the network has learned from: taken to be that of images
        whose pixel size is unknown.

    Raises
    ------
    TopiaryError
        With a sentence if they cannot be judged by.
    """
    known = [sample for sample in samples if sample.annotations]
    if not known:
        raise TopiaryError(
            "None of the images is annotated, so there is nothing to judge by: mark "
            "particles or paint labels on at least one."
        )
    sized = _check_truth(known, task=task, scale=scale)
    kept, notes = admitted(sized, task=task)
    samples = tuple(
        replace(sample, annotations=own.annotations)
        for sample, own in zip(known, kept, strict=True)
    )
    if not _classes_found(samples, task) - {0}:
        notes = (*notes, NOTHING_MARKED)
    return samples, notes


def _channels_problem(samples: Sequence[Sample]) -> str:
    colour = [sample.name for sample in samples if sample.image.shape[0] > 1]
    if len({sample.image.shape[0] for sample in samples}) < 2:
        return ""
    # A blank colour image is read as grey.
    each = ((sample.name, image_problem(sample.image)) for sample in samples)
    return next((f"{name}: {problem}" for name, problem in each if problem), "") or (
        f"Some images are grey and some are colour ({listed(colour)}): one network "
        "learns from one kind. Convert the colour images to grey, or leave them out."
    )


def _scales_problem(samples: Sequence[Sample]) -> str:
    known = [(sample.scale, sample.name) for sample in samples if sample.scale]
    if not known:
        return ""
    (low, fine), (high, coarse) = min(known), max(known)
    if high / low < _ANOTHER_SCALE:
        return ""
    return (
        f"{coarse} has {high:,.4g} nm per pixel and {fine} {low:,.4g} nm: one of them "
        "must be wrong, or they do not belong together; correct the pixel size."
    )


def _set_notes(samples: Sequence[Sample]) -> list[str]:
    banners = [
        sample.name
        for sample in samples
        if sample.excerpt is None and rows_without_banner(sample.image) is not None
    ]
    notes = scale_notes(samples)
    if banners:
        notes.append(
            f"{listed(banners)}: there is an information banner, of which nothing is "
            "learned and where nothing is judged; the Data page offers to cut it off."
        )
    for storage, files in (("image", "label images"), ("table", "tables of marks")):
        drawn = {
            sample.name: sum(map(len, sample.annotations))
            for sample in samples
            if storage in {item.storage for item in sample.annotations}
        }
        empty = [name for name, things in drawn.items() if not things]
        if 0 < len(empty) < len(drawn):
            notes.append(
                f"{len(empty)} of {len(drawn)} {files} are empty, which teaches that "
                f"there is nothing in these images ({listed(empty)}): if nothing is "
                "marked there yet, take their files away."
            )
    return notes


def _classes_problem(samples: Sequence[Sample], task: Task) -> str:
    found = _classes_found(samples, task)
    if not found - {0}:
        return (
            "Only background is marked: mark some of what you look for as well "
            f"({', '.join(task.classes[1:])})."
        )
    if len(found) == 1:
        return (
            f"Everything is marked as {task.classes[found.pop()]}, so there is nothing "
            "to tell it from: mark background as well, or a second class."
        )
    return ""


def _nowhere_note(samples: Sequence[Sample], task: Task) -> str:
    """A sentence about classes that nothing can be learned of."""
    marked = _classes_found(samples, task)
    missing = [name for i, name in enumerate(task.classes) if i and i not in marked]
    if not missing:
        return ""
    return (
        f"{listed(missing)}: marked on no image to learn from, so none is learned and "
        "none will be found."
    )


def _classes_found(samples: Sequence[Sample], task: Task) -> set[int]:
    """Classes that are marked anywhere."""
    drawn = [item for sample in samples for item in sample.annotations]
    return set().union(*(item.marked_classes(task) for item in drawn))
