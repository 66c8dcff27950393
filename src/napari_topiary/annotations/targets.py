"""Annotations -> what a network is to answer at each pixel, by exact distances.

Every particle claims three zones by its distance d from the centre or centerline:
certain (d <= a R, its class), doubtful (d <= b R, ignored) and the rest, which is
background. Where claims meet: certain wins over doubtful, doubtful over background, and
between two certain claims the one whose centre or centerline is nearer in plain pixels
(not relative to its radius) wins; an exact tie goes to the lower class index. So the
result does not depend on the order of drawing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.forms import form_problem
from napari_topiary.types import BACKGROUND, Task

IGNORED = -1
FARTHEST = 1e6
"""In pixels: a larger radius covers every image, and no number overflows."""
_SEEN_AROUND = 0.25
"""Radii beyond the doubtful rim of a reviewed particle that are known: who says that
one is here has seen where it ends. No more: next to it may be another."""
_PAINTED = -1.0  # nearer than any centre: what was painted is not overdrawn


@dataclass(frozen=True)
class TargetConfig:
    """How centres and centerlines become areas."""

    certain: Annotated[
        float,
        {
            "min": 0.05,
            "max": 2.0,
            "tooltip": "Up to this many radii from the centre it is the particle.",
        },
    ] = 0.75
    ignore: Annotated[
        float,
        {
            "min": 0.05,
            "max": 4.0,
            "tooltip": "Up to this many radii from the centre nothing is learned.",
        },
    ] = 1.25
    negative_weight: Annotated[
        float,
        {
            "min": 1.0,
            "max": 100.0,
            "tooltip": "How much more a 'not this' mark counts than other background.",
        },
    ] = 4.0

    def problem(self) -> str | None:
        """Return what stops these settings from being used, as a sentence."""
        problem = form_problem(self)
        if problem is None and self.ignore < self.certain:
            return (
                f"The ignored zone ends at {self.ignore:g} radii, inside the certain "
                f"zone ({self.certain:g} radii): give at least {self.certain:g}."
            )
        return problem


def annotation_problem(
    annotations: Sequence[Any],
    shape: Sequence[int],
    *,
    task: Task,
    scale: float | None = None,
    radii: bool = True,
) -> str | None:
    """Return what stops annotations from being learned from, as a sentence.

    Parameters
    ----------
    annotations
        All annotations of one image.
    shape, task, scale, radii
        As for `Annotation.problem`.
    """
    for annotation in annotations:
        sentence: str | None = annotation.problem(
            shape, task=task, scale=scale, radii=radii
        )
        if sentence is not None:
            return sentence
    return None


def usable_annotations(
    annotations: Sequence[Any],
    shape: Sequence[int],
    *,
    task: Task,
    scale: float | None = None,
) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Return what counts of annotations on an image, and sentences about the rest.

    Parameters
    ----------
    annotations
        All annotations of one image, without a problem.
    shape, task, scale
        As for `Annotation.problem`.
    """
    kept, notes = list[Any](), list[str]()
    for annotation in annotations:
        own, said = annotation.usable(shape, task=task, scale=scale)
        kept.append(own)
        notes += said
    return tuple(kept), tuple(notes)


@dataclass(frozen=True)
class Target:
    """What is to be learned from one image."""

    #: `(y, x)` int16 class index; −1 = unknown, not learned from
    classes: NDArray[np.int16]
    #: `(y, x)` float32, how much each pixel counts; 0 where unknown
    weight: NDArray[np.float32]

    def within(self, area: NDArray[np.bool_]) -> Target:
        """Return the same target, unknown outside an area `(y, x)` of bool."""
        return Target(
            np.where(area, self.classes, np.int16(IGNORED)),
            np.where(area, self.weight, np.float32(0)),
        )


def build_target(
    annotations: Sequence[Any],
    shape: Sequence[int],
    *,
    task: Task,
    scale: float | None = None,
    config: TargetConfig | None = None,
) -> Target:
    """Draw annotations into a training target.

    Works on any grid: for another one than the image's pass `rescaled` annotations,
    with a task and a scale in pixels of that grid.

    Parameters
    ----------
    annotations
        All annotations of one image. Without finished regions the whole image counts as
        finished; with no annotation at all nothing is known.
    shape
        `(y, x)` of the grid.
    task
        Classes and radii.
    scale
        nm per pixel of the grid, None if unknown.
    config
        Width of the zones; None = the usual ones.

    Raises
    ------
    TopiaryError
        With a sentence if the annotations do not fit the image or the task.
    """
    config = TargetConfig() if config is None else config
    size = (int(shape[0]), int(shape[1]))
    sentence = config.problem() or annotation_problem(
        annotations, size, task=task, scale=scale
    )
    if sentence is not None:
        raise TopiaryError(sentence)
    if not annotations:
        return Target(
            np.full(size, IGNORED, dtype=np.int16), np.zeros(size, dtype=np.float32)
        )
    canvas = Canvas(shape=size, task=task, scale=scale, config=config)
    for annotation in annotations:
        annotation.draw(canvas)
    return Target(*canvas.result())


@dataclass(kw_only=True)
class Canvas:
    """Collects what annotations draw."""

    shape: tuple[int, int]  #: `(y, x)` in pixels
    task: Task  #: Classes and radii, in nm and pixels of this grid
    scale: float | None  #: nm per pixel of this grid, None if unknown
    config: TargetConfig  #: Width of the zones
    classes: NDArray[np.int16] = field(init=False)
    _distance: NDArray[np.float32] = field(init=False)
    _finished: NDArray[np.bool_] | None = field(init=False, default=None)
    _negatives: list[tuple[NDArray[np.float64], float | None]] = field(
        init=False, default_factory=list
    )
    _reviewed: list[tuple[NDArray[np.float64], float]] = field(
        init=False, default_factory=list
    )
    _largest: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.classes = np.zeros(self.shape, dtype=np.int16)
        self._distance = np.full(self.shape, np.inf, dtype=np.float32)

    def stamp(
        self,
        path: NDArray[np.float64],
        *,
        name: str,
        radius: float,
        reviewed: bool = False,
    ) -> None:
        """Claim the zones around a centre or a centerline.

        Parameters
        ----------
        path
            `(v, 2)` y, x; one vertex is a centre.
        name
            Class.
        radius
            R in pixels; half the width of a centerline.
        reviewed
            Whether it is known outside finished areas, too, with a narrow rim.
        """
        index = self.task.classes.index(name)
        radius = min(radius, FARTHEST)
        certain, doubtful = self.config.certain * radius, self.config.ignore * radius
        self._largest = max(self._largest, radius)
        if reviewed:
            self._reviewed.append((path, doubtful + _SEEN_AROUND * radius))
        for box, distance in self._around(path, doubtful):
            classes, owner = self.classes[box], self._distance[box]
            nearer = (distance < owner) | ((distance == owner) & (index < classes))
            sure = (distance <= certain) & (nearer | (classes <= 0))
            sure &= owner != _PAINTED
            ring = (distance <= doubtful) & ~sure & (classes <= 0)
            owner[ring] = np.minimum(owner[ring], distance[ring])
            owner[sure] = distance[sure]
            classes[ring] = IGNORED
            classes[sure] = index

    def stamp_negative(self, path: NDArray[np.float64], radius: float | None) -> None:
        """Say that there is no particle here; this is known outside finished areas.

        Parameters
        ----------
        path
            `(v, 2)` y, x; one vertex is a centre.
        radius
            In pixels; None = that of the largest class.
        """
        self._negatives.append((path, radius))

    def fill(self, classes: NDArray[np.integer]) -> None:
        """Paint class indices `(y, x)`; 0 leaves what is there."""
        painted = classes > 0
        self.classes[painted] = classes[painted]
        self._distance[painted] = _PAINTED

    def finish(self, mask: NDArray[np.bool_]) -> None:
        """Add `(y, x)` to what is finished; outside of it nothing is known."""
        self._finished = mask if self._finished is None else self._finished | mask

    def result(self) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Return class index (−1 = ignored) and weight, both `(y, x)`."""
        emphasised = np.zeros(self.shape, dtype=bool)
        for path, own in self._negatives:
            radius = min(FARTHEST, self._negative_radius() if own is None else own)
            for box, distance in self._around(path, radius):
                # A particle that is nearer keeps its zones: a mark beside it does not
                # eat into it.
                disc = (distance <= radius) & (distance < self._distance[box])
                self.classes[box][disc] = 0
                emphasised[box][disc] = True
        if self._finished is not None:
            known = self._finished | emphasised
            for path, reach in self._reviewed:
                for box, distance in self._around(path, reach):
                    known[box] |= distance <= reach
            self.classes[~known] = IGNORED
        weight = np.ones(self.shape, dtype=np.float32)
        weight[emphasised] = self.config.negative_weight
        weight[self.classes == IGNORED] = 0.0
        return self.classes, weight

    def _around(
        self, path: NDArray[np.float64], reach: float
    ) -> Iterator[tuple[tuple[slice, slice], NDArray[np.float32]]]:
        """Boxes that hold all within `reach` of a path, and the distance to it there.

        Piece by piece, so that the boxes of long paths stay small.
        """
        for start, end in _segments(path, longest=max(64.0, 4 * reach)):
            box = _box(start, end, reach, self.shape)
            if box is not None:
                yield box, _distance_to_segment(box, start, end)

    def _negative_radius(self) -> float:
        own = self.task.radius(BACKGROUND, self.scale)
        if own is not None:
            return own
        radii = [self.task.radius(name, self.scale) for name in self.task.classes]
        largest = max([self._largest, *(r for r in radii if r is not None)])
        if largest <= 0:
            raise TopiaryError(
                "The size of the 'not this' marks is unknown: enter the radius of at "
                "least one class."
            )
        return largest


def _segments(
    path: NDArray[np.float64], *, longest: float
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Cut a path into short straight pieces, so that each one's box stays small."""
    if len(path) == 1:
        return [(path[0], path[0])]
    pieces = []
    for start, end in pairwise(path):
        length = float(np.hypot(*(end - start)))
        n = max(1, int(np.ceil(length / longest)))
        knots = start + np.linspace(0, 1, n + 1)[:, None] * (end - start)
        pieces += list(pairwise(knots))
    return pieces


def _box(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    reach: float,
    shape: tuple[int, int],
) -> tuple[slice, slice] | None:
    """Pixels that can lie within `reach` of a segment; None if there are none."""
    # Within the image before they become whole: a reach may be of any size.
    low = np.clip(np.ceil(np.minimum(start, end) - reach), 0, shape).astype(int)
    high = np.floor(np.maximum(start, end) + reach) + 1
    high = np.clip(high, 0, shape).astype(int)
    if (low >= high).any():
        return None
    return slice(low[0], high[0]), slice(low[1], high[1])


def _distance_to_segment(
    box: tuple[slice, slice], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Euclidean distance of every pixel centre of `box` to a segment."""
    y = np.arange(box[0].start, box[0].stop)[:, None] - start[0]
    x = np.arange(box[1].start, box[1].stop)[None, :] - start[1]
    along = end - start
    squared = float(along @ along)
    if squared > 0:
        t = np.clip((y * along[0] + x * along[1]) / squared, 0.0, 1.0)
        y, x = y - t * along[0], x - t * along[1]
    distance: NDArray[np.float32] = np.sqrt(y * y + x * x).astype(np.float32)
    return distance
