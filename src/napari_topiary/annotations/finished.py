"""Which marks count: those in finished areas, and answers about a place.

Without a finished area all of an image counts as finished, and what is not marked as
empty. Somebody who has marked a few things in a corner does not mean that: this is
noticed by how close together the marks lie.

Also: where to mark next, the part of an image where a network is least sure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, uniform_filter, zoom

from napari_topiary.annotations.base import Place
from napari_topiary.annotations.labels import Labels
from napari_topiary.annotations.marks import MarkedThings
from napari_topiary.annotations.regions import Regions
from napari_topiary.types import Task
from napari_topiary.words import plural

CHANCE = 0.01
"""Marks are in one part of an image if things that lie anywhere in it would lie so
close together in fewer images than this."""
PART = 0.45
"""Marks in a box of a larger share of the image are all over it: things do cluster."""
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
    areas = finished_regions(annotations)
    if not areas:
        return tuple(annotations)

    def inside(places: Place) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = np.any([a.contains(places) for a in areas], axis=0)
        return found

    return tuple(one.within(inside) for one in annotations)


def finished_regions(annotations: Sequence[Any]) -> list[Regions]:
    """Return the finished areas among annotations; none = the image is finished."""
    return [one for one in annotations if isinstance(one, Regions) and len(one)]


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
    drawn = finished_regions(annotations)
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
        f"{outside} of {plural(every, 'mark')} {lie} outside the "
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

    marks = [mark for one in annotations for mark in one.marked(task, scale)]
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
    if finished_regions(annotations):
        return False
    sides = np.array([max(end - first, 1) for first, end in (rows, columns)])
    painted = [one.labels > 0 for one in annotations if isinstance(one, Labels)]
    if any(_spread(one) >= PART * sides.prod() for one in painted):
        return False  # before its objects are counted
    marks = [places for one in annotations for places, _ in one.marked(task, scale)]
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


def _marks(annotations: Sequence[Any]) -> int:
    return sum(len(one) for one in annotations if isinstance(one, MarkedThings))


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
    known = np.zeros(grid, dtype=bool)
    for one in annotations:
        known |= one.covers(grid, cell)
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
