"""Few marks, much that nobody has looked at: particles found there are learned as well.

A network that learns from five particles in one corner learns that corner by heart. But
the mean of these five finds most of the others, in this image and in those without any
annotation. What matches it clearly is learned as a particle, what clearly does not as
background, and what lies between stays unknown.

None of this leaves the training: what is held out is neither learned from nor measured
by what was found here, and nothing is added to the annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.feature import match_template, peak_local_max
from skimage.filters import threshold_otsu

from napari_topiary.annotations import Points, TargetConfig, build_target, zones_for
from napari_topiary.data.annotated_area import AnnotatedArea
from napari_topiary.data.hold_out import barred
from napari_topiary.types import Detections, Task

FEWEST, MOST = 2, 600
"""Marked particles of a class from which, and of all up to which, it is done."""
UNSEEN = 0.25
"""Share of all pixels that nobody has looked at from which it is done."""
REACH = 1.3
"""Half the side of a template, in radii."""
REFINEMENTS = 2
"""Times that a template is replaced by the mean of what it matched best."""
DOUBT = 0.15
"""Half the width of the unsure band, in distances between particles and the rest."""
RIM = 0.5
"""Radii from the border of an image within which nothing is found: particles that are
cut in two match by half, and hardly anybody marks them."""
TRUSTED = 0.6
"""Share of the marked particles that must be found again, and of what is found in
finished areas that must be marked."""


@dataclass(frozen=True, kw_only=True)
class _AreaLookAlikes:
    """What looks like the marked particles in one area."""

    sure: Detections  #: Learned as particles, marked ones left out
    #: Not learned from; those that count as particles where a threshold has to part
    #: them are in `likely`
    doubtful: Detections
    likely: Detections  #: The upper half of the doubtful, and the sure
    free: NDArray[np.bool_]  #: `(y, x)` where nothing is known, and nothing is held out


@dataclass(frozen=True, kw_only=True)
class LookAlikes:
    """What looks like the few marked particles, to be learned from as well."""

    areas: tuple[AnnotatedArea, ...]  #: All areas, what was found drawn in them
    #: Those that say where to part particles from the rest, with all that was found
    parted: tuple[AnnotatedArea, ...]
    #: How particles are drawn, now that more is known of how close they lie
    zones: TargetConfig
    count: int  #: How many were found


def look_alikes(
    areas: Sequence[AnnotatedArea], held: Sequence[AnnotatedArea], task: Task
) -> LookAlikes | None:
    """Find what looks like the marked particles where nobody has looked.

    Only where few are marked and much of what there is has not been looked at; and only
    if the marked ones, too, can be told from their surroundings by what they look like.

    Parameters
    ----------
    areas
        As annotated, in working pixels; on some of them nothing need be marked.
    held
        What must not be learned from.
    task
        Kind and classes.

    Returns
    -------
    LookAlikes or None
        None where this does not help.
    """
    areas = [_apart(area, held) for area in areas]
    marked = np.unique(np.concatenate([area.point_class for area in areas]))
    if not _worth_while(areas, held, task):
        return None
    matches = [Detections.empty() for _ in areas]
    limits = np.zeros((len(task.classes), 2))
    for index in marked.tolist():
        found = _matching(areas, index)
        band = None if found is None else _unsure_band(areas, found, index)
        if found is None or band is None:
            return None
        limits[index] = band
        matches = [_joined(*pair) for pair in zip(matches, found, strict=True)]
    seen = [
        _sorted(area, found, limits, _free(area, held))
        for area, found in zip(areas, matches, strict=True)
    ]
    # How close particles lie is better known from many.
    every = [_with_marks(*pair) for pair in zip(areas, seen, strict=True)]
    zones = zones_for([(points, None) for points in every], areas[0].task)
    return LookAlikes(
        areas=tuple(
            _drawn(*three, zones) for three in zip(areas, seen, every, strict=True)
        ),
        # An image in which most are doubtful does not say where to part them.
        parted=tuple(
            _parted(area, one)
            for area, one in zip(areas, seen, strict=True)
            if 2 * len(one.sure.score) >= len(one.likely.score)
        ),
        zones=zones,
        count=sum(len(one.sure.score) for one in seen),
    )


def _apart(area: AnnotatedArea, held: Sequence[AnnotatedArea]) -> AnnotatedArea:
    """Leave out the marks that are held out."""
    at = np.clip(
        np.rint(area.points).astype(int), 0, np.array(area.field.target.shape) - 1
    )
    mine = ~_barred(area, held)[tuple(at.T)]
    return replace(area, points=area.points[mine], point_class=area.point_class[mine])


def _worth_while(
    areas: Sequence[AnnotatedArea], held: Sequence[AnnotatedArea], task: Task
) -> bool:
    marked = np.concatenate([area.point_class for area in areas])
    # A class that nobody has marked cannot be looked for, here as in any training.
    classes, counts = np.unique(marked, return_counts=True)
    if not FEWEST <= counts.min(initial=MOST) <= counts.sum() <= MOST:
        return False
    names = {task.classes[index] for index in classes}
    if not all(names <= set(area.task.radius_px) for area in areas):
        return False
    # The rims of marked particles are narrower than a radius: people have been there.
    there = sum(area.field.target.size for area in areas)
    unknown = sum(int((area.field.target < 0).sum()) for area in areas)
    if unknown < UNSEEN * there:
        return False  # of large images this is known long before the rest
    unseen = 0
    for area in areas:
        deep = ndi.distance_transform_edt(_free(area, held))
        unseen += int((deep > max(area.task.radius_px.values())).sum())
    return unseen >= UNSEEN * there


def _free(area: AnnotatedArea, held: Sequence[AnnotatedArea]) -> NDArray[np.bool_]:
    """Where nothing is known, and nothing is held out."""
    free: NDArray[np.bool_] = (area.field.target < 0) & ~_barred(area, held)
    return free


def _barred(area: AnnotatedArea, held: Sequence[AnnotatedArea]) -> NDArray[np.bool_]:
    task = area.task
    return barred(
        area,
        held,
        2 * max(task.radius_or_usual(name, None) for name in task.classes[1:]),
    )


def _matching(areas: Sequence[AnnotatedArea], index: int) -> list[Detections] | None:
    """Peaks of the correlation with the mean particle of one class, area by area.

    The mean of a few noisy particles is noisy itself, so that of the best matches takes
    its place.
    """
    name = areas[0].task.classes[index]
    radius = float(np.median([area.task.radius_px[name] for area in areas]))
    reach = max(2, round(REACH * radius))
    if min(min(area.field.target.shape) for area in areas) <= 2 * reach:
        return None
    images = [
        np.pad(area.field.image.mean(axis=0), reach, mode="reflect") for area in areas
    ]
    marked = [area.points[area.point_class == index] for area in areas]
    places = marked
    for _ in range(REFINEMENTS + 1):
        template = np.asarray(np.mean(_cuts(images, places, reach), axis=0))
        if template.std() == 0:
            return None
        found = [_peaks(image, template, radius, index) for image in images]
        score = np.concatenate([one.score for one in found])
        if len(score) < 2 or np.ptp(score) == 0:
            return None
        best = score[score > threshold_otsu(score)].mean()
        places = [
            np.concatenate([own, one.coordinates[one.score >= best]])
            for own, one in zip(marked, found, strict=True)
        ]
    return found


def _cuts(
    padded: Sequence[NDArray[np.float32]],
    places: Sequence[NDArray[np.float64]],
    reach: int,
) -> list[NDArray[np.float32]]:
    return [
        image[y : y + 2 * reach + 1, x : x + 2 * reach + 1]
        for image, own in zip(padded, places, strict=True)
        for y, x in np.clip(
            np.rint(own).astype(int), 0, np.array(image.shape) - 2 * reach - 1
        )
    ]


def _peaks(
    padded: NDArray[np.float32],
    template: NDArray[np.float64],
    radius: float,
    index: int,
) -> Detections:
    score = match_template(padded, template)
    apart = max(1, round(0.75 * radius))
    peaks = peak_local_max(score, min_distance=apart, exclude_border=False)
    return Detections(
        peaks.astype(np.float64),
        np.full(len(peaks), index, dtype=np.int64),
        score[tuple(peaks.T)].astype(np.float64),
    )


def _unsure_band(
    areas: Sequence[AnnotatedArea], found: Sequence[Detections], index: int
) -> tuple[float, float] | None:
    """Scores below which nothing is a particle, and from which everything is.

    None if particles cannot be told by their score where people have looked.
    """
    name = areas[0].task.classes[index]
    marked: list[float] = []
    elsewhere: list[NDArray[np.float64]] = []
    for area, there in zip(areas, found, strict=True):
        for point in area.points[area.point_class == index]:
            distance = np.linalg.norm(there.coordinates - point, axis=1)
            near = distance <= 0.6 * area.task.radius_px[name]
            marked.append(float(there.score[near].max(initial=-1.0)))
        at = np.rint(there.coordinates).astype(int)
        elsewhere.append(there.score[area.field.target[tuple(at.T)] == 0])
    score = np.concatenate([one.score for one in found])
    lower = float(score[score <= threshold_otsu(score)].mean())
    upper = float(np.median(marked))
    middle, half = (lower + upper) / 2, DOUBT * (upper - lower)
    again = int((np.array(marked) >= middle).sum())
    wrong = int((np.concatenate(elsewhere) >= middle).sum())
    if upper <= lower or again < TRUSTED * max(len(marked), again + wrong):
        return None
    return middle - half, middle + half


def _sorted(
    area: AnnotatedArea,
    found: Detections,
    limits: NDArray[np.float64],
    free: NDArray[np.bool_],
) -> _AreaLookAlikes:
    """Sort what was found where nobody has looked by how sure it is."""
    radii = [area.task.radius_px.get(name, 0.0) for name in area.task.classes]
    radius = np.array(radii)[found.class_index]
    at = np.rint(found.coordinates).astype(int)
    inside = np.minimum(at, np.array(free.shape) - 1 - at).min(axis=1, initial=10**9)
    new = free[tuple(at.T)] & (inside >= RIM * radius)
    if len(area.points):
        away = np.linalg.norm(found.coordinates[:, None] - area.points, axis=2)
        new &= away.min(axis=1) >= radius
    low, high = limits[found.class_index].T
    return _AreaLookAlikes(
        sure=_only(found, new & (found.score >= high)),
        doubtful=_only(found, new & (found.score >= low) & (found.score < high)),
        likely=_only(found, new & (found.score >= (low + high) / 2)),
        free=free,
    )


def _with_marks(area: AnnotatedArea, seen: _AreaLookAlikes) -> Points:
    index = np.concatenate([area.point_class, seen.sure.class_index])
    return Points(
        np.concatenate([area.points, seen.sure.coordinates]),
        tuple(area.task.classes[i] for i in index),
    )


def _drawn(
    area: AnnotatedArea, seen: _AreaLookAlikes, every: Points, zones: TargetConfig
) -> AnnotatedArea:
    """Draw what is sure where nobody has looked, and leave out what is not."""
    shape = (seen.free.shape[0], seen.free.shape[1])
    drawn = build_target((every,), shape, task=area.task, config=zones).classes
    names = tuple(area.task.classes[i] for i in seen.doubtful.class_index)
    unsure = build_target(
        (Points(seen.doubtful.coordinates, names),), shape, task=area.task, config=zones
    ).classes
    drawn = np.where((drawn == 0) & (unsure != 0), -1, drawn)
    target = np.where(seen.free, drawn, area.field.target).astype(np.int16)
    weight = np.where(seen.free, drawn >= 0, area.field.weight).astype(np.float32)
    return replace(area, field=replace(area.field, target=target, weight=weight))


def _parted(area: AnnotatedArea, seen: _AreaLookAlikes) -> AnnotatedArea:
    """What a threshold is chosen on: all that was found is a particle or is not."""
    target = np.where(seen.free, 0, area.field.target).astype(np.int16)
    return replace(
        area,
        finished=None if area.finished is None else area.finished | seen.free,
        field=replace(area.field, target=target),
        points=np.concatenate([area.points, seen.likely.coordinates]),
        point_class=np.concatenate([area.point_class, seen.likely.class_index]),
    )


def _only(found: Detections, which: NDArray[np.bool_]) -> Detections:
    return Detections(
        found.coordinates[which], found.class_index[which], found.score[which]
    )


def _joined(first: Detections, second: Detections) -> Detections:
    return Detections(
        np.concatenate([first.coordinates, second.coordinates]),
        np.concatenate([first.class_index, second.class_index]),
        np.concatenate([first.score, second.score]),
    )
