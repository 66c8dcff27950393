"""An image on the working grid with its truth, and holding a part of one out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import (
    Points,
    TargetConfig,
    build_target,
    rescaled,
)
from napari_topiary.checkpoint import Normalisation
from napari_topiary.io.dataset import Sample
from napari_topiary.io.image_area import image_area
from napari_topiary.resample import area_to_working, to_working
from napari_topiary.sampling import Field
from napari_topiary.training.working_size import working_task
from napari_topiary.truth import object_numbers
from napari_topiary.types import Task


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


def on_working_grid(
    sample: Sample,
    factor: float,
    task: Task,
    normalisation: Normalisation,
    zones: TargetConfig | None = None,
) -> Held:
    """Bring one sample to the working grid; `zones` say how particles are drawn."""
    image = to_working(normalisation.apply(sample.image), factor)
    shape = (image.shape[1], image.shape[2])
    original = sample.image.shape[1:]
    ratio = (shape[0] / original[0], shape[1] / original[1])
    annotations = tuple(rescaled(item, ratio) for item in sample.annotations)
    own_task = working_task(task, factor)
    own_scale = None if sample.scale is None else sample.scale * factor
    target = build_target(
        annotations, shape, task=own_task, scale=own_scale, config=zones
    )
    points, classes = _true_points(annotations, task)
    area = area_to_working(image_area(sample.image), shape)
    if not area.all():
        target = target.within(area)
        y, x = points.round().astype(int).clip(0, np.array(shape) - 1).T
        points, classes = points[area[y, x]], classes[area[y, x]]
    radii = {
        name: radius
        for name in task.classes[1:]
        if (radius := own_task.radius(name, own_scale)) is not None
    }
    return Held(
        field=Field(
            image,
            target.classes,
            target.weight,
            objects=object_numbers(annotations, shape)
            if task.kind == "instances"
            else None,
        ),
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


def split_area(whole: Held, share: float) -> tuple[list[Held], list[Held]]:
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
