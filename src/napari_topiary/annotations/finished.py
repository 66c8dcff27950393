"""Which marks teach a network: those in finished areas, and answers about a place.

Without a finished area all of an image counts as finished, and what is not marked as
empty. Somebody who has marked a few things in a corner does not mean that: this is
noticed by how close together the marks lie.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_topiary.annotations.centerlines import Centerlines
from napari_topiary.annotations.labels import Labels
from napari_topiary.annotations.points import Points
from napari_topiary.annotations.regions import Regions
from napari_topiary.types import BACKGROUND, Task

CHANCE = 0.01
"""Marks are in one part of an image if things that lie anywhere in it would lie so
close together in fewer images than this."""
PART = 0.45
"""Marks in a box of a larger share of the image are all over it: things do cluster."""
LARGEST_NUMBER = 1_000_000
"""Objects with larger numbers are numbered anew before they are looked for."""
AROUND = 1.5
"""What is nearer to a mark than this, in its radii, was looked at with it."""


def teaching(annotations: Sequence[Any]) -> tuple[Any, ...]:
    """Return annotations without the marks that teach nothing.

    Training targets are unknown outside finished areas, except where a person has
    answered about one place: "this is not one", and particles that were reviewed. All
    other marks there teach nothing. A centerline teaches where any of its vertices lies
    inside.

    Parameters
    ----------
    annotations
        All annotations of one image.

    Returns
    -------
    tuple
        The same annotations where nothing is left out.
    """
    areas = [one for one in annotations if isinstance(one, Regions) and len(one)]
    if not areas:
        return tuple(annotations)
    return tuple(_inside(one, areas) for one in annotations)


def marks_outside(annotations: Sequence[Any]) -> tuple[int, int]:
    """Count the marks that teach nothing, and all marks.

    Parameters
    ----------
    annotations
        All annotations of one image.
    """
    every = _marks(annotations)
    return every - _marks(teaching(annotations)), every


def around_marks(
    annotations: Sequence[Any],
    shape: tuple[int, int],
    *,
    task: Task,
    scale: float | None,
) -> Regions | None:
    """Return the part of an image that its marks lie in, as one finished area.

    Parameters
    ----------
    annotations
        All annotations of the image.
    shape
        `(y, x)` of the image.
    task
        Radii of the classes.
    scale
        nm per pixel, None if unknown.

    Returns
    -------
    Regions or None
        One polygon around all that is marked and half a thing more; None where nothing
        is marked, or all of it far outside the image.
    """
    # scipy.spatial takes a quarter of a second to load.
    from scipy.spatial import ConvexHull

    marks = _places(annotations, task, scale)
    if not marks:
        return None
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    circle = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    rims = [
        (place + AROUND * radius * circle)
        for places, radius in marks
        for place in places
    ]
    last = np.asarray(shape) - 0.5
    rim = np.clip(np.concatenate(rims), -0.5, last)
    if not np.ptp(rim, axis=0).all():
        return None
    return Regions((rim[ConvexHull(rim).vertices],), ("polygon",))


def marked_in_part(
    annotations: Sequence[Any],
    rows: tuple[int, int],
    columns: tuple[int, int],
    *,
    task: Task,
    scale: float | None,
) -> bool:
    """Whether marks lie so close together that only a part was looked at.

    Parameters
    ----------
    annotations
        All annotations of one image.
    rows, columns
        First and one after the last that carry an image.
    task
        Radii of the classes.
    scale
        nm per pixel, None if unknown.

    Returns
    -------
    bool
        False where an area is finished, or too little is marked to tell.
    """
    if any(isinstance(one, Regions) and len(one) for one in annotations):
        return False
    sides = np.array([max(end - first, 1) for first, end in (rows, columns)])
    painted = [one.labels > 0 for one in annotations if isinstance(one, Labels)]
    if any(_spread(one) >= PART * sides.prod() for one in painted):
        return False  # before its objects are counted
    marks = [places for places, _ in _places(annotations, task, scale)]
    if len(marks) < 2:
        return False
    extent = np.ptp(np.concatenate(marks), axis=0)
    share = np.minimum(extent / sides, 1.0)
    # The range of n numbers from 0..1 is below w in n w^(n-1) - (n-1) w^n of all cases,
    # and the product of two such shares below c in c (1 - log c).
    n = len(marks)
    both = float(np.prod(n * share ** (n - 1) - (n - 1) * share**n))
    chance = both * (1 - math.log(max(both, 1e-300)))
    return bool(chance < CHANCE and np.prod(share) < PART)


def _spread(painted: NDArray[np.bool_]) -> int:
    """Pixels of the box around all that is painted."""
    rows, columns = (np.flatnonzero(painted.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return 0
    return int((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1))


def _places(
    annotations: Sequence[Any], task: Task, scale: float | None
) -> list[tuple[NDArray[np.float64], float]]:
    """Places `(n, 2)` and radius in pixels of each thing that is marked."""
    found = []
    for one in annotations:
        if isinstance(one, Labels):
            found += _painted(one)
            continue
        if not isinstance(one, Points | Centerlines):
            continue
        things = one.paths if isinstance(one, Centerlines) else one.coordinates[:, None]
        found += [
            (thing, task.radius_or_usual(name, scale))
            for thing, name in zip(things, one.classes, strict=True)
            if name != BACKGROUND
        ]
    return found


def _painted(labels: Labels) -> list[tuple[NDArray[np.float64], float]]:
    """Corners of the box of each painted thing, and half of its shorter side."""
    numbers = np.where(labels.labels > 0, labels.labels, 0)
    if not labels.instances:
        pieces, _ = ndimage.label(numbers)
    elif numbers.max(initial=0) <= LARGEST_NUMBER:
        pieces = numbers.astype(np.int32)
    else:  # only as many boxes are looked for as there are
        pieces = np.unique(numbers, return_inverse=True)[1].reshape(numbers.shape)
        pieces += int(numbers.min(initial=1) > 0)
    boxes = [box for box in ndimage.find_objects(pieces) if box is not None]
    return [
        (
            np.array([[y.start, x.start], [y.stop - 1, x.stop - 1]], dtype=float),
            min(y.stop - y.start, x.stop - x.start) / 2,
        )
        for y, x in boxes
    ]


def _marks(annotations: Sequence[Any]) -> int:
    return sum(len(one) for one in annotations if isinstance(one, Points | Centerlines))


def _inside(annotation: Any, areas: Sequence[Regions]) -> Any:
    if isinstance(annotation, Points):
        inside = _contained(annotation.coordinates, areas)
        return annotation.only(np.flatnonzero(inside | annotation.judged))
    if isinstance(annotation, Centerlines):
        pairs = zip(annotation.paths, annotation.classes, strict=True)
        return annotation.only(
            [
                index
                for index, (path, name) in enumerate(pairs)
                if name == BACKGROUND or _contained(path, areas).any()
            ]
        )
    return annotation


def _contained(
    places: NDArray[np.float64], areas: Sequence[Regions]
) -> NDArray[np.bool_]:
    inside = np.zeros(len(places), dtype=bool)
    for one in areas:
        inside |= one.contains(places)
    return inside
