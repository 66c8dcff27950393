"""An image on the working grid with its truth, and what of the images is held out.

What is held out is written into the checkpoint, image by image with the area, and so is
what was learned from: a later training or judging keeps to both, whatever its seed and
however many images there are by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import (
    Points,
    TargetConfig,
    build_target,
    object_numbers,
    rescaled,
)
from napari_topiary.checkpoint import Normalisation
from napari_topiary.data.sampling import Field
from napari_topiary.data.working_grid import area_to_working, to_working
from napari_topiary.data.working_size import working_task
from napari_topiary.io.dataset import Sample
from napari_topiary.types import Task

Box = tuple[int, int, int, int]
"""`(top, bottom, left, right)` in pixels of the image, the last ones left out."""
ENOUGH = 10
"""Fewer things than that tell neither which weights are better nor which threshold."""
FEWEST = ENOUGH
"""Of fewer things in all, none is held back: they are needed to learn from, and a
figure on half of them would say nothing."""
TWICE = 40
"""With so many things held back, some choose weights and thresholds, others judge."""
_WORTH_CUTTING = 0.8
"""Share of an area above which cutting it saves nothing worth speaking of."""
PATCH = 16
"""Side of a patch of a painted area, in working pixels."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AnnotatedArea:
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
    sample
        The image that it comes from.
    box
        `(top, bottom, left, right)` in pixels of the image: what is meant of it; None =
        all.
    """

    field: Field
    points: NDArray[np.float64]
    point_class: NDArray[np.int64]
    task: Task
    sample: Sample
    box: Box | None = None

    @property
    def pixels(self) -> str:
        """Fingerprint of the image: the same under another name, or in another set."""
        return self.sample.fingerprint

    @cached_property
    def things(self) -> int:
        """How much there is to judge by: particles, objects, or patches of an area."""
        if len(self.points):
            return len(self.points)
        known = self.field.target >= 0
        if self.field.objects is not None:
            objects = self.field.objects[known]
            return len(np.unique(objects[objects > 0]))
        return _patches(self.field.target > 0)

    def entry(self) -> dict[str, Any]:
        """Which area it is, for the checkpoint."""
        box = None if self.box is None else list(self.box)
        return {"image": self.sample.name, "pixels": self.pixels, "box": box}

    def divided(self, box: Box) -> tuple[AnnotatedArea, AnnotatedArea]:
        """What lies outside a box, and what lies inside; a gap belongs to neither."""
        shape = self.field.target.shape
        original = self.sample.image.shape[1:]
        gap = max([*self.task.radius_px.values(), 2.0]) * 2
        inside, near = np.ones(shape, dtype=bool), np.ones(shape, dtype=bool)
        among = np.ones(len(self.points), dtype=bool)
        for axis, (first, last) in enumerate((box[:2], box[2:])):
            low, high = (
                end * shape[axis] / original[axis] - 0.5 for end in (first, last)
            )
            at = np.arange(shape[axis])
            at = at[:, None] if axis == 0 else at[None]
            inside &= (at >= low) & (at < high)
            near &= (at >= low - gap) & (at < high + gap)
            places = self.points[:, axis]
            among &= (places >= low) & (places < high)
        return self._where(~near, ~among), replace(self._where(inside, among), box=box)

    def cropped(self, *, most: int, margin: int, step: int) -> AnnotatedArea:
        """Cut to what is judged, and where that is much to its fullest part.

        Parameters
        ----------
        most
            As many pixels as are judged at most.
        margin
            Pixels around them that a network needs to see.
        step
            The cut begins at a multiple of it, so that the network sees the same.

        Returns
        -------
        AnnotatedArea
            The same one where that saves little.
        """
        field = self.field
        known = field.target >= 0
        if not known.any():
            return self
        box = [_span(np.asarray(known.any(axis=1 - axis))) for axis in (0, 1)]
        side = int(most**0.5)
        full = known & (field.target > 0)
        for axis, (first, last) in enumerate(box):
            if (last - first) * (box[1 - axis][1] - box[1 - axis][0]) > most:
                profile = full.sum(axis=1 - axis)[first:last].cumsum()
                longest = max(side, most // max(1, box[1 - axis][1] - box[1 - axis][0]))
                length = min(last - first, longest if axis else side)
                inside = np.r_[
                    profile[length - 1], profile[length:] - profile[:-length]
                ]
                first += int(inside.argmax())
                box[axis] = (first, first + length)
                full = full & _within(axis, first, first + length, full.shape)
        cut = tuple(
            slice(max(0, (first - margin) // step * step), last + margin)
            for first, last in box
        )
        shape = field.target[cut].shape
        if shape[0] * shape[1] > _WORTH_CUTTING * known.size:
            return self
        target = np.full_like(field.target, -1)
        inner = tuple(slice(first, last) for first, last in box)
        target[inner] = field.target[inner]
        start = np.array([one.start for one in cut])
        low, high = np.array(box).T
        kept = ((self.points >= low - 0.5) & (self.points < high - 0.5)).all(axis=1)

        def part(array: NDArray[Any] | None) -> Any:
            return None if array is None else array[..., cut[0], cut[1]]

        return replace(
            self,
            field=replace(
                field,
                image=part(field.image),
                target=part(target),
                weight=part(field.weight),
                teacher=part(field.teacher),
                regression=part(field.regression),
                objects=part(field.objects),
            ),
            points=self.points[kept] - start,
            point_class=self.point_class[kept],
        )

    def _where(
        self, area: NDArray[np.bool_], points: NDArray[np.bool_]
    ) -> AnnotatedArea:
        target = np.where(area, self.field.target, -1).astype(np.int16)
        return replace(
            self,
            field=replace(self.field, target=target),
            points=self.points[points],
            point_class=self.point_class[points],
        )


def on_working_grid(
    sample: Sample,
    factor: float,
    task: Task,
    normalisation: Normalisation,
    zones: TargetConfig | None = None,
) -> AnnotatedArea:
    """Bring one sample to the working grid; `zones` say how particles are drawn."""
    image = to_working(normalisation.apply(sample.image, sample.excerpt), factor)
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
    area = area_to_working(sample.area, shape)
    if not area.all():
        target = target.within(area)
        y, x = points.round().astype(int).clip(0, np.array(shape) - 1).T
        points, classes = points[area[y, x]], classes[area[y, x]]
    radii = {
        name: radius
        for name in task.classes[1:]
        if (radius := own_task.radius(name, own_scale)) is not None
    }
    return AnnotatedArea(
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
        sample=sample,
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


def _patches(foreground: NDArray[np.bool_]) -> int:
    """How many patches of a grid hold any of an area."""
    grow = [(0, -side % PATCH) for side in foreground.shape]
    high, wide = (-(-side // PATCH) for side in foreground.shape)
    blocks = np.pad(foreground, grow).reshape(high, PATCH, wide, PATCH)
    return int(blocks.any(axis=(1, 3)).sum())


def hold_out(
    pool: Sequence[AnnotatedArea], share: float, seed: int, before: Mapping[str, Any]
) -> tuple[list[AnnotatedArea], list[AnnotatedArea]]:
    """Choose what is learned from and what is held back.

    Parameters
    ----------
    pool
        All annotated images.
    share
        Of the images, or of what is marked on the only one, that is held back.
    seed
        Which images are taken.
    before
        What the checkpoint that is gone on with says of its own images (`held_out`,
        `learned`); empty = there is none. What was held back stays held back, and what
        was learned from is never judged on.

    Returns
    -------
    tuple
        What to learn from, and what to judge on; the latter may be empty.
    """
    boxes = {one["pixels"]: one["box"] for one in before.get("held_out", ())}
    learned = {one["pixels"] for one in before.get("learned", ())}
    taught: list[AnnotatedArea] = []
    judged: list[AnnotatedArea] = []
    for one in pool:
        box = boxes.get(one.pixels)
        if box is not None:
            rest, part = one.divided((box[0], box[1], box[2], box[3]))
            taught.append(rest)
            judged.append(part)
        else:
            (judged if one.pixels in boxes else taught).append(one)
    if judged:
        return taught, judged
    fresh = [one for one in pool if one.pixels not in learned and one.things]
    known = [one for one in pool if one.pixels in learned]
    if not known and len(fresh) < 2:
        return _part_of(pool, fresh, share)
    order = [fresh[i] for i in np.random.default_rng(seed).permutation(len(fresh))]
    wanted = max(1, round(share * len(pool)))
    limit = len(fresh) // 2
    most = max(min(wanted, limit), 0)
    while most < limit and sum(one.things for one in order[:most]) < ENOUGH:
        most += 1
    judged = order[:most]
    return [one for one in pool if not any(one is other for other in judged)], judged


def _part_of(
    pool: Sequence[AnnotatedArea], marked: Sequence[AnnotatedArea], share: float
) -> tuple[list[AnnotatedArea], list[AnnotatedArea]]:
    """Hold out one end of the only image on which anything is marked."""
    taught = list(pool)
    if not marked or marked[0].things < FEWEST:
        return taught, []
    whole = marked[0]
    share = min(0.5, max(share, ENOUGH / whole.things))
    target = whole.field.target
    best: tuple[AnnotatedArea, AnnotatedArea] | None = None
    longer = int(target.shape[1] >= target.shape[0])
    for axis in (longer, 1 - longer):
        for last in (True, False):
            rest, part = whole.divided(_end(whole, share, axis, last=last))
            if not rest.things or not (rest.field.target == 0).any():
                continue
            if best is None or min(part.things, ENOUGH) > min(best[1].things, ENOUGH):
                best = rest, part
    if best is None or not best[1].things:
        return taught, []
    return [best[0] if one is whole else one for one in pool], [best[1]]


def _end(whole: AnnotatedArea, share: float, axis: int, *, last: bool) -> Box:
    """The end of an image with a share of all that is marked on it."""
    target, original = whole.field.target, whole.sample.image.shape[1:]
    marked = (target > 0).sum(axis=1 - axis)
    along = (marked if last else marked[::-1]).cumsum()
    cut = int(np.searchsorted(along, (1 - share) * along[-1]))
    side = original[axis]
    cut = round(cut * side / target.shape[axis])
    ends = [[0, original[0]], [0, original[1]]]
    ends[axis] = [cut, side] if last else [0, side - cut]
    (top, bottom), (left, right) = ends
    return top, bottom, left, right


def for_choosing_and_figure(
    held: Sequence[AnnotatedArea],
) -> tuple[list[AnnotatedArea], list[AnnotatedArea]]:
    """Choose weights and thresholds on some, give the figure on others.

    Where there is not enough for two, both are done on all of it.
    """
    ordered = sorted(held, key=lambda one: (-one.things, one.pixels))
    if sum(one.things for one in ordered) < TWICE:
        return list(held), list(held)
    if len(ordered) > 1:
        # The largest and every other one: both sides have about as much.
        choosing, judging = ordered[1::2], ordered[::2]
    else:
        longer = int(np.argmax(ordered[0].field.target.shape))
        choosing, judging = _halves(ordered[0], longer)
    if min(sum(one.things for one in part) for part in (choosing, judging)) < ENOUGH:
        return list(held), list(held)
    return choosing, judging


def _halves(
    area: AnnotatedArea, axis: int
) -> tuple[list[AnnotatedArea], list[AnnotatedArea]]:
    """Two parts of one area, with as much marked on each."""
    half = _end(area, 0.5, axis, last=True)
    if area.box is not None:
        own = area.box
        half = (
            max(half[0], own[0]),
            min(half[1], own[1]),
            max(half[2], own[2]),
            min(half[3], own[3]),
        )
    rest, part = area.divided(half)
    return [rest], [part]


def _span(there: NDArray[np.bool_]) -> tuple[int, int]:
    """First and (left out) last place where something is."""
    places = np.flatnonzero(there)
    return int(places[0]), int(places[-1]) + 1


def _within(
    axis: int, first: int, last: int, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Where a place along an axis lies between two."""
    at = np.arange(shape[axis])
    inside = (at >= first) & (at < last)
    return inside[:, None] if axis == 0 else inside[None]
