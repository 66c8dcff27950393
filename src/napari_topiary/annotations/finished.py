"""Which marks count: those in finished areas, and answers about a place.

Without a finished area all of an image counts as finished, and what is not marked as
empty. Somebody who has marked a few things in a corner does not mean that: this is
noticed by how close together the marks lie.

Also: where to mark next, the part of an image where a network is least sure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.ndimage import distance_transform_edt, uniform_filter, zoom
from skimage.draw import polygon as polygon_pixels

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
Area = tuple[int, int, int, int]
"""`(top, bottom, left, right)` in pixels of the image, the ends excluded."""
_CELLS = 128
"""The search runs on a grid of at most so many cells a side, so that it is instant."""


def counted(annotations: Sequence[Any]) -> tuple[Any, ...]:
    """Return annotations without the marks that do not count.

    Training targets are unknown outside finished areas, except where a person has
    answered about one place: "this is not one", and particles that were reviewed. All
    other marks there do not count. A centerline counts where any of its vertices lies
    inside.

    Returns
    -------
    tuple
        The same annotations where nothing is left out.
    """
    areas = [one for one in annotations if isinstance(one, Regions) and len(one)]
    if not areas:
        return tuple(annotations)
    return tuple(_inside(one, areas) for one in annotations)


def finished_area(
    annotations: Sequence[Any], shape: tuple[int, int]
) -> NDArray[np.bool_] | None:
    """Return where a person has finished an image, `(y, x)`; None = all of it.

    Parameters
    ----------
    annotations
        All annotations of the image.
    shape
        `(y, x)` of the image.
    """
    drawn = [one for one in annotations if isinstance(one, Regions) and len(one)]
    return np.any([one.mask(shape) for one in drawn], axis=0) if drawn else None


def marks_outside(annotations: Sequence[Any]) -> tuple[int, int]:
    """Return how many marks do not count, and how many there are."""
    every = _marks(annotations)
    return every - _marks(counted(annotations)), every


def outside_note(annotations: Sequence[Any]) -> str:
    """Say how many marks of an image do not count; empty where all do."""
    outside, every = marks_outside(annotations)
    if not outside:
        return ""
    lie = "lies" if outside == 1 else "lie"
    return (
        f"{outside} of {every} mark{'' if every == 1 else 's'} {lie} outside the "
        f"finished areas and {'does' if outside == 1 else 'do'} not teach: finish the "
        "whole image, or draw a finished area around each."
    )


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


def uncertainty(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """How undecided a network is at each pixel: 0 sure, 1 torn between two classes.

    Parameters
    ----------
    probability
        `(k, y, x)`.

    Returns
    -------
    NDArray[np.float32]
        `(y, x)`.
    """
    two = np.partition(probability, -2, axis=0)[-2:]
    doubt: NDArray[np.float32] = (1 - (two[1] - two[0])).astype(np.float32)
    return doubt


def suggest_area(
    shape: Sequence[int],
    annotations: Iterable[Any],
    *,
    side: float,
    doubt: NDArray[np.floating] | None = None,
    avoid: Iterable[Area] = (),
) -> Area:
    """Propose a square area to annotate next.

    Without a prediction it is the one farthest from everything that is annotated; with
    one, the most doubtful one that is not annotated yet.

    Parameters
    ----------
    shape
        `(y, x)` of the image in pixels.
    annotations
        What is drawn on the image.
    side
        Side of the area in pixels; smaller where the image is.
    doubt
        `(y, x)` on any grid that covers the image, for instance `uncertainty`.
    avoid
        Areas that were proposed before.
    """
    height, width = int(shape[0]), int(shape[1])
    tall, wide = (int(min(round(side), n)) for n in (height, width))
    cell = max(1.0, max(height, width) / _CELLS)
    grid = (max(1, round(height / cell)), max(1, round(width / cell)))
    known = _known(grid, cell, annotations)
    for top, bottom, left, right in avoid:
        known[
            int(top / cell) : max(int(top / cell) + 1, int(bottom / cell)),
            int(left / cell) : max(int(left / cell) + 1, int(right / cell)),
        ] = True
    window = (max(1, round(tall / cell)), max(1, round(wide / cell)))
    if doubt is not None:
        small = zoom(
            np.asarray(doubt, dtype=np.float32),
            [n / m for n, m in zip(grid, doubt.shape, strict=True)],
            order=1,
            grid_mode=True,
            mode="nearest",
        )
        score = uniform_filter(np.where(known, 0, small), window, mode="constant")
    elif known.any():
        score = distance_transform_edt(~known)
    else:
        score = np.zeros(grid)
    y, x = _best(score, window)
    top = int(np.clip((y + 0.5) * cell - tall / 2, 0, height - tall))
    left = int(np.clip((x + 0.5) * cell - wide / 2, 0, width - wide))
    return top, top + tall, left, left + wide


def _known(
    grid: tuple[int, int], cell: float, annotations: Iterable[Any]
) -> NDArray[np.bool_]:
    """Cells in which something is annotated."""
    known = np.zeros(grid, dtype=bool)
    for annotation in annotations:
        if annotation.kind == "points":
            _stamp(known, annotation.coordinates / cell)
        elif annotation.kind == "centerlines":
            for path in annotation.paths:
                _stamp(known, _along(path / cell))
        elif annotation.kind == "regions":
            for outline in annotation.polygons:
                corners = np.asarray(outline) / cell
                if len(corners) == 2:  # a box by two opposite corners
                    (y0, x0), (y1, x1) = corners
                    corners = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])
                known[polygon_pixels(corners[:, 0], corners[:, 1], grid)] = True
        elif annotation.kind == "labels":
            step = max(1, int(cell / 2))
            _stamp(known, np.argwhere(annotation.labels[::step, ::step]) * step / cell)
    return known


def _along(path: NDArray[np.floating]) -> NDArray[np.float64]:
    """Places along a path, less than one cell apart."""
    parts = [np.asarray(path[:1], dtype=np.float64)]
    for start, end in pairwise(path):
        steps = int(np.ceil(np.hypot(*(end - start)))) + 1
        parts.append(start + np.linspace(0, 1, steps)[:, None] * (end - start))
    return np.concatenate(parts)


def _stamp(known: NDArray[np.bool_], places: NDArray[np.floating]) -> None:
    cells = np.floor(places).astype(int)
    inside = ((cells >= 0) & (cells < known.shape)).all(axis=1)
    known[tuple(cells[inside].T)] = True


def _best(score: NDArray[np.floating], window: tuple[int, int]) -> tuple[int, int]:
    """Cell of the highest score whose window fits; the middle-most one of equals."""
    rows, columns = (
        slice(w // 2, max(w // 2 + 1, n - (w - w // 2) + 1))
        for w, n in zip(window, score.shape, strict=True)
    )
    inner = score[rows, columns]
    y, x = np.nonzero(inner >= inner.max() - 1e-9)
    middle = (np.array(score.shape) - 1) / 2
    far = np.hypot(y + rows.start - middle[0], x + columns.start - middle[1])
    best = int(np.argmin(far))
    return int(y[best] + rows.start), int(x[best] + columns.start)
