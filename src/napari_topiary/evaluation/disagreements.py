"""Where two predictions differ most: what "next disagreement" steps through.

Everything is measured in doubtful pixels: a lost particle counts its disc times its
score, an area of other labels the sum of the probability difference over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_topiary.evaluation.changes import Changes, LineChanges
from napari_topiary.evaluation.detection_metrics import sample_points
from napari_topiary.types import Task

MOST_PLACES = 200
SMALLEST_AREA = 4
"""Smaller areas of other labels are no place to look at, in pixels."""
OF_A_PARTICLE = 0.5
"""Where particles are looked for, an area of other labels counts from this share of the
smallest one on: rims that are a pixel wider are no disagreement about particles."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One disagreement."""

    #: `y`, `x`: its middle, in pixels of the image
    y: float
    x: float
    size: float  #: Side of a square that shows it, in pixels
    badness: float  #: How bad it is, in doubtful pixels
    what: str  #: In words: "lost virus", "other label"


def worst_places(
    task: Task,
    *,
    scale: float | None,
    things: Changes,
    lines: LineChanges,
    differs: NDArray[np.bool_],
    strength: NDArray[np.floating],
) -> tuple[Place, ...]:
    """Rank disagreements, the worst first.

    Parameters
    ----------
    task
        Classes and radii.
    scale
        nm per pixel of the image, None if unknown.
    things, lines
        Particles or objects, and filaments.
    differs
        `(y, x)` where the class labels differ.
    strength
        `(y, x)` largest difference in probability of any class, 0..1.
    """
    radii = [task.radius_or_usual(name, scale) for name in task.classes]
    places = _of_things(things, task, radii) + _of_lines(lines, task, radii)
    if task.kind != "instances":
        smallest = float(SMALLEST_AREA)
        if task.kind == "detect":
            particle = np.pi * min(radii[1:]) ** 2
            smallest = max(smallest, OF_A_PARTICLE * particle)
        places += _other_labels(differs, strength, places, smallest)
    places.sort(key=lambda place: -place.badness)
    return tuple(places[:MOST_PLACES])


def _of_things(things: Changes, task: Task, radii: list[float]) -> list[Place]:
    places = []
    for i, status in enumerate(things.status):
        if status == "kept":
            continue
        index = int(things.class_index[i])
        if task.kind == "instances":
            size = 1.5 * float(np.sqrt(things.size[i]))
            # The less it overlaps anything, the worse.
            shared = np.nanmax([things.score_a[i], things.score_b[i]])
            badness = float(things.size[i] * (1.0 - shared))
        else:
            size = 4.0 * radii[index]
            score = np.nanmax([things.score_a[i], things.score_b[i]])
            badness = float(np.pi * radii[index] ** 2 * score)
        y, x = things.coordinates[i]
        what = f"{status} {task.classes[index]}"
        places.append(
            Place(y=float(y), x=float(x), size=size, badness=badness, what=what)
        )
    return places


def _of_lines(lines: LineChanges, task: Task, radii: list[float]) -> list[Place]:
    places = []
    for status, path, index, score in zip(
        lines.status, lines.lines, lines.line_class, lines.line_score, strict=True
    ):
        points = sample_points([path])
        if status == "kept" or not len(points):
            continue
        length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
        y, x = points[len(points) // 2]
        size = float(np.ptp(points, axis=0).max()) + 4 * radii[index]
        badness = length * 2 * radii[index] * score
        what = f"{status} {task.classes[index]}"
        places.append(
            Place(y=float(y), x=float(x), size=size, badness=badness, what=what)
        )
    return places


def _other_labels(
    differs: NDArray[np.bool_],
    strength: NDArray[np.floating],
    known: list[Place],
    smallest: float,
) -> list[Place]:
    """Connected areas of other labels, except where a place is known already.

    `smallest` is in pixels.
    """
    areas, count = ndi.label(differs)
    if count == 0:
        return []
    y, x = np.nonzero(areas)
    index = areas[y, x] - 1
    pixels = np.bincount(index, minlength=count)
    sums = np.bincount(index, weights=strength[y, x], minlength=count)
    middle = [np.bincount(index, weights=at, minlength=count) / pixels for at in (y, x)]
    extent = [ndi.maximum(at, index, np.arange(count)) for at in (y, x)]
    extent = [
        high - ndi.minimum(at, index, np.arange(count)) + 1
        for high, at in zip(extent, (y, x), strict=True)
    ]
    order = np.argsort(-sums)[: 2 * MOST_PLACES]
    taken = np.array([(p.y, p.x, p.size / 2) for p in known]).reshape(-1, 3)
    places = []
    for i in order:
        here = (float(middle[0][i]), float(middle[1][i]))
        near = np.abs(taken[:, :2] - here).max(axis=1, initial=0) < taken[:, 2]
        if pixels[i] < smallest or near.any():
            continue
        size = 2.0 * float(max(extent[0][i], extent[1][i]))
        places.append(
            Place(
                y=here[0],
                x=here[1],
                size=size,
                badness=float(sums[i]),
                what="other label",
            )
        )
    return places
