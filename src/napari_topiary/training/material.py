"""Samples -> what training works on: fields on the working grid, and a hold-out.

Working pixel size: detection does not need full resolution. At the coarsest pixel size
that keeps the smallest class radius at about 6 px the network is as much faster, and
sees as much further, as the square of the shrinking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import (
    Centerlines,
    Labels,
    Points,
    annotation_problem,
    build_target,
    rescaled,
)
from napari_topiary.checkpoint import Normalisation
from napari_topiary.config import TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.resample import to_working
from napari_topiary.sampling import Field
from napari_topiary.types import BACKGROUND, Task

SMALLEST_RADIUS_PX = 6.0
"""Radius of the smallest class on the working grid, in pixels."""


@dataclass(frozen=True)
class Held:
    """One area that training does not learn from, with its truth on the working grid.

    Parameters
    ----------
    field
        Image and target; the target is −1 outside the area that is judged.
    points
        `(n, 2)` y, x of the true particles, in working pixels.
    point_class
        `(n,)` int class index of each.
    task
        Task with radii in working pixels.
    """

    field: Field
    points: NDArray[np.float64]
    point_class: NDArray[np.int64]
    task: Task


@dataclass(frozen=True)
class Material:
    """Everything a training needs from the samples.

    Parameters
    ----------
    train
        Fields to learn from.
    held
        Areas to judge on.
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
    """

    train: tuple[Field, ...]
    held: tuple[Held, ...]
    factor: float
    pixel_size_nm: float | None
    in_channels: int
    held_names: str
    summary: dict[str, object]
    line_classes: tuple[str, ...] = ()


def propose_working_factor(
    task: Task, scale: float | None, samples: Sequence[Sample] = ()
) -> float:
    """Shrink factor that keeps the smallest class radius at about 6 px.

    Parameters
    ----------
    task
        Detection shrinks; segmentation and instances keep the original pixels.
    scale
        nm per pixel of the images, None if unknown.
    samples
        Only looked at for radii drawn with the annotations themselves.

    Returns
    -------
    float
        Original pixels per working pixel, >= 1.
    """
    if task.kind != "detect":
        return 1.0
    names = [name for name in task.classes if name != BACKGROUND]
    radii = [r for name in names if (r := task.radius(name, scale)) is not None]
    if scale is not None:
        for sample in samples:
            for annotation in sample.annotations:
                if isinstance(annotation, Points) and annotation.radius_nm:
                    radii += [r / scale for r in annotation.radius_nm if r]
                if isinstance(annotation, Centerlines) and annotation.width_nm:
                    radii += [w / 2 / scale for w in annotation.width_nm if w]
    return max(1.0, min(radii) / SMALLEST_RADIUS_PX) if radii else 1.0


def working_task(task: Task, factor: float) -> Task:
    """Return the task with its pixel radii in working pixels."""
    return replace(
        task, radius_px={name: r / factor for name, r in task.radius_px.items()}
    )


def prepare(
    samples: Sequence[Sample],
    validation: Sequence[Sample],
    config: TrainConfig,
    *,
    task: Task,
    normalisation: Normalisation,
    factor: float | None = None,
) -> Material:
    """Resample, draw targets and hold something out.

    Parameters
    ----------
    samples
        Annotated images to learn from.
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

    Raises
    ------
    TopiaryError
        With a sentence if the samples cannot be learned from.
    """
    samples, validation = tuple(samples), tuple(validation)
    channels = _check(samples + validation, task)
    scale = samples[0].scale
    if factor is None:
        factor = _asked_factor(config, scale)
    if factor is None:
        factor = propose_working_factor(task, scale, samples)

    def field_of(sample: Sample) -> Held:
        # Images of another pixel size are brought to the same working size.
        own = factor
        if scale is not None and sample.scale is not None:
            own = factor * scale / sample.scale
        return _working(sample, own, task, normalisation)

    pool = [field_of(sample) for sample in samples]
    if validation:
        held, words = [field_of(s) for s in validation], _count(len(validation))
    elif len(pool) > 1:
        order = np.random.default_rng(config.seed).permutation(len(pool))
        n = min(len(pool) - 1, max(1, round(config.validation_share * len(pool))))
        held, words = [pool[i] for i in order[:n]], _count(n)
        pool = [pool[i] for i in sorted(order[n:])]
    else:
        pool, held = _split_area(pool[0], config.validation_share)
        words = "a part of the image" if held else ""
    summary, lines = _summary(samples + validation)
    return Material(
        train=tuple(item.field for item in pool),
        held=tuple(item for item in held if (item.field.target >= 0).any()),
        factor=factor,
        pixel_size_nm=scale,
        in_channels=channels,
        held_names=words,
        summary=summary,
        line_classes=lines,
    )


def _count(n: int) -> str:
    return f"{n} image{'s' if n != 1 else ''}"


def _check(samples: tuple[Sample, ...], task: Task) -> int:
    if not samples:
        raise TopiaryError(
            "There is no annotated image to learn from: mark particles, draw "
            "centerlines or paint labels on at least one image."
        )
    channels = {sample.image.shape[0] for sample in samples}
    if len(channels) > 1:
        raise TopiaryError(
            "Some images are grey and some are colour: one network learns from one "
            "kind. Convert the colour images to grey, or leave them out."
        )
    for sample in samples:
        sentence = annotation_problem(
            sample.annotations,
            sample.image.shape[1:],
            task=task,
            scale=sample.scale,
        )
        if sentence is not None:
            raise TopiaryError(f"{sample.name}: {sentence}")
    return int(channels.pop())


def _asked_factor(config: TrainConfig, scale: float | None) -> float | None:
    if config.working_pixel_size_nm is not None:
        if scale is None:
            raise TopiaryError(
                f"A working pixel size of {config.working_pixel_size_nm:g} nm needs "
                "images of known pixel size: enter nm per pixel on the Data page."
            )
        return max(1.0, config.working_pixel_size_nm / scale)
    if config.working_factor is not None:
        return max(1.0, config.working_factor)
    return None


def _working(
    sample: Sample, factor: float, task: Task, normalisation: Normalisation
) -> Held:
    """Bring one sample to the working grid."""
    image = to_working(normalisation.apply(sample.image), factor)
    shape = (image.shape[1], image.shape[2])
    original = sample.image.shape[1:]
    ratio = (shape[0] / original[0], shape[1] / original[1])
    annotations = tuple(rescaled(item, ratio) for item in sample.annotations)
    own_task = working_task(task, factor)
    own_scale = None if sample.scale is None else sample.scale * factor
    target = build_target(annotations, shape, task=own_task, scale=own_scale)
    points, classes = _true_points(annotations, task)
    radii = {
        name: radius
        for name in task.classes[1:]
        if (radius := own_task.radius(name, own_scale)) is not None
    }
    return Held(
        field=Field(image, target.classes, target.weight),
        points=points,
        point_class=classes,
        task=replace(own_task, radius_px=radii, radius_nm={}),
    )


def _true_points(
    annotations: Sequence[object], task: Task
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    coordinates, classes = [np.zeros((0, 2))], [np.zeros(0, dtype=np.int64)]
    for item in annotations:
        if isinstance(item, Points):
            index = np.array([task.classes.index(c) for c in item.classes], dtype=int)
            wanted = index > 0
            coordinates.append(np.asarray(item.coordinates)[wanted])
            classes.append(index[wanted])
    return np.concatenate(coordinates), np.concatenate(classes).astype(np.int64)


def _split_area(whole: Held, share: float) -> tuple[list[Held], list[Held]]:
    """Hold out one end of a single image, across its longer side, with a gap.

    The cut is put where the wanted share of the *known foreground* lies beyond it, so
    that both sides have something to learn from and to be judged by.
    """
    target = whole.field.target
    axis = int(target.shape[1] >= target.shape[0])
    foreground = (target > 0).sum(axis=1 - axis).cumsum()
    if foreground[-1] == 0:
        return [whole], []
    cut = int(np.searchsorted(foreground, (1 - share) * foreground[-1]))
    gap = round(max([*whole.task.radius_px.values(), 2.0]) * 2)
    if cut - gap < 8 or target.shape[axis] - cut < 8:
        return [whole], []
    position = np.arange(target.shape[axis])
    position = position if axis == 1 else position[:, None]
    train = np.where(position < cut - gap, target, -1).astype(np.int16)
    judged = np.where(position >= cut, target, -1).astype(np.int16)
    inside = whole.points[:, axis] >= cut
    return (
        [replace(whole, field=replace(whole.field, target=train))],
        [
            replace(
                whole,
                field=replace(whole.field, target=judged),
                points=whole.points[inside],
                point_class=whole.point_class[inside],
            )
        ],
    )


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
