"""Nested shares of what a person annotated: by image, or by strips of the images.

One fixed order of units; a larger share holds all of every smaller one. A unit is an
image, or, where there are few, a strip of one that holds its part of the foreground.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import (
    MarkedThings,
    Regions,
    build_target,
    finished_regions,
)
from napari_topiary.annotations.regions import outline
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.types import Task

UNITS = 8
"""Fewer cannot be halved three times."""


@dataclass(frozen=True)
class Unit:
    """A part of the annotations that is learned from or not."""

    image: int  #: Index of the sample
    regions: Regions | None  #: What of it is known; None = all of it
    classes: frozenset[int]  #: Class indices that occur


@dataclass(frozen=True)
class Shares:
    """Annotated images, held-out ones, and the order in which shares grow."""

    samples: tuple[Sample, ...]  #: All that is learned from
    held: tuple[Sample, ...]
    units: tuple[Unit, ...]  #: In the order in which they are added

    def first(self, count: int) -> tuple[Sample, ...]:
        """Return samples in which only the first `count` units are known."""
        by_image: dict[int, list[Unit]] = {}
        for unit in self.units[:count]:
            by_image.setdefault(unit.image, []).append(unit)
        return tuple(
            _limited(self.samples[image], [u.regions for u in units])
            for image, units in sorted(by_image.items())
        )


def nested_shares(
    samples: Sequence[Sample], task: Task, *, held_share: float, seed: int
) -> Shares:
    """Hold something out and put the rest in an order.

    Parameters
    ----------
    samples
        Images; those without annotations are left out.
    task
        Kind, classes and radii.
    held_share
        Share of the images to validate on, or of the foreground of the only one.
    seed
        Of the order.

    Raises
    ------
    TopiaryError
        With a sentence if there is too little to share out.
    """
    known = [sample for sample in samples if sample.annotations]
    random = np.random.default_rng(seed)
    if len(known) > 1:
        order = random.permutation(len(known))
        n = min(len(known) - 1, max(1, round(held_share * len(known))))
        held = tuple(known[i] for i in order[:n])
        known = [known[i] for i in sorted(order[n:])]
    elif known:
        rest, end = _halves(known[0], task, held_share)
        held, known = (end,), [rest]
    else:
        held = ()
    strips = 1 if len(known) >= UNITS else math.ceil(UNITS / max(1, len(known)))
    units = [
        unit
        for index, sample in enumerate(known)
        for unit in _units(index, sample, task, strips)
    ]
    if len(units) < UNITS // 2 or _things(samples, task) < UNITS:
        raise TopiaryError(
            "There is too little annotated to say what more would bring: annotate "
            "more of the image, or a second image."
        )
    return Shares(tuple(known), held, _ordered(units, random))


def _ordered(units: Sequence[Unit], random: np.random.Generator) -> tuple[Unit, ...]:
    """Shuffle, but so that the first ones hold every class between them."""
    waiting = [units[i] for i in random.permutation(len(units))]
    ordered: list[Unit] = []
    missing = set().union(*(unit.classes for unit in waiting)) - {0}
    while missing:
        chosen = max(waiting, key=lambda unit: len(missing & unit.classes))
        waiting.remove(chosen)
        ordered.append(chosen)
        missing -= chosen.classes
    return (*ordered, *waiting)


def _things(samples: Sequence[Sample], task: Task) -> int:
    """How many particles and lines are marked; enough where none are looked for."""
    if task.kind != "detect":
        return UNITS
    drawn = [a for sample in samples for a in sample.annotations]
    return sum(len(a) for a in drawn if isinstance(a, MarkedThings))


def _target(sample: Sample, task: Task) -> NDArray[np.int16]:
    shape = (sample.image.shape[1], sample.image.shape[2])
    return build_target(
        sample.annotations, shape, task=task, scale=sample.scale
    ).classes


def _profile(target: NDArray[np.int16]) -> tuple[int, NDArray[np.int64]]:
    """The longer axis, and how much foreground (or known) there is up to each place."""
    axis = int(target.shape[1] >= target.shape[0])
    mass = target > 0 if (target > 0).any() else target >= 0
    return axis, mass.sum(axis=1 - axis).cumsum()


def _halves(sample: Sample, task: Task, share: float) -> tuple[Sample, Sample]:
    """Cut one end off, across the longer side, with a gap that nobody learns from."""
    target = _target(sample, task)
    axis, mass = _profile(target)
    cut = int(np.searchsorted(mass, (1 - share) * mass[-1]))
    radii = [task.radius(name, sample.scale) or 2.0 for name in task.classes[1:]]
    gap = round(2 * max(radii, default=2.0))
    length = target.shape[axis]
    if cut - gap < 8 or length - cut < 8:
        raise TopiaryError(
            "The only image has too little annotated on it to hold a part back: "
            "annotate more of it, or a second image."
        )
    rest, end = (
        _limited(sample, [_strip(sample, axis, *ends)])
        for ends in ((0, cut - gap), (cut, length))
    )
    return rest, end


def _units(index: int, sample: Sample, task: Task, count: int) -> list[Unit]:
    target = _target(sample, task)
    if count == 1:
        return [Unit(index, None, _classes(target))]
    axis, mass = _profile(target)
    wanted = np.arange(1, count) / count * mass[-1]
    cuts = [0, *(np.searchsorted(mass, wanted) + 1).tolist(), target.shape[axis]]
    units = []
    for low, high in pairwise(cuts):
        inside = target[low:high] if axis == 0 else target[:, low:high]
        if high > low and (inside >= 0).any():
            strip = _strip(sample, axis, low, high)
            units.append(Unit(index, strip, _classes(inside)))
    return units


def _classes(target: NDArray[np.int16]) -> frozenset[int]:
    return frozenset(int(index) for index in np.unique(target[target >= 0]))


def _strip(sample: Sample, axis: int, low: int, high: int) -> Regions:
    """Return what is finished of the rows or columns `low` up to before `high`."""
    height, width = sample.image.shape[1:]
    whole = np.array([[0, 0], [0, width], [height, width], [height, 0]]) - 0.5
    polygons = [
        outline(polygon, kind)
        for regions in finished_regions(sample.annotations)
        for polygon, kind in zip(regions.polygons, regions.shape_types, strict=True)
    ]
    parts = [
        _cut(_cut(polygon, axis, low - 0.5, 1), axis, high - 0.5, -1)
        for polygon in polygons or [whole]
    ]
    parts = [part for part in parts if len(part) >= 3]
    return Regions(tuple(parts), ("polygon",) * len(parts))


def _cut(
    polygon: NDArray[np.float64], axis: int, at: float, side: int
) -> NDArray[np.float64]:
    """Keep what lies above (`side` 1) or below (−1) a value of one axis."""
    kept: list[Any] = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        before, after = (side * (p[axis] - at) for p in (start, end))
        if before >= 0:
            kept.append(start)
        if before * after < 0:
            kept.append(start + (end - start) * (before / (before - after)))
    return np.array(kept).reshape(-1, 2)


def _limited(sample: Sample, regions: Sequence[Regions | None]) -> Sample:
    """Return a sample in which only these regions are known; None = all of it."""
    drawn = [one for one in regions if one is not None]
    if not drawn:
        return sample
    others = tuple(a for a in sample.annotations if not isinstance(a, Regions))
    polygons = tuple(polygon for one in drawn for polygon in one.polygons)
    area = Regions(polygons, ("polygon",) * len(polygons))
    return replace(sample, annotations=(*others, area))
