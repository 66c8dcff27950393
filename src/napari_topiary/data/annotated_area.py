"""An image on the working grid with its truth, as training and validation see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import (
    MarkedThings,
    Points,
    TargetConfig,
    build_target,
    finished_area,
    object_numbers,
    rescaled,
    zones_for,
)
from napari_topiary.checkpoint import Checkpoint, factor_at
from napari_topiary.config import DistanceScale, TrainConfig
from napari_topiary.data.sampling import Field
from napari_topiary.data.working_grid import (
    area_to_working,
    to_working,
    working_factor,
    working_shape,
    working_task,
)
from napari_topiary.io.dataset import Sample
from napari_topiary.io.gate import Admitted
from napari_topiary.normalisation import Normalisation
from napari_topiary.normalisation.contrast import asymmetry_of
from napari_topiary.normalisation.normalisation import normalisation_for
from napari_topiary.types import Task

Box = tuple[int, int, int, int]
"""`(top, bottom, left, right)` in pixels of the image, the last ones left out."""
_WORTH_CUTTING = 0.8
"""Share of an area above which cutting it saves nothing worth speaking of."""
PATCH = 16
"""Side of a patch of a painted area, in working pixels."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AnnotatedArea:
    """An area of an image that something is known of, with its truth.

    Both on the working grid.
    """

    field: Field  #: Image and target; the target is −1 outside the area that is meant
    #: `(n, 2)` y, x of the true particles, in working pixels
    points: NDArray[np.float64]
    point_class: NDArray[np.int64]  #: `(n,)` int class index of each
    task: Task  #: Task with radii in working pixels
    sample: Sample  #: The image that it comes from
    #: `(top, bottom, left, right)` in pixels of the image in its file: what is meant of
    #: it; None = all
    box: Box | None = None
    #: `(y, x)` bool, what a person has finished: elsewhere no figure is measured, even
    #: where single places are known; None = all of it
    finished: NDArray[np.bool_] | None = None

    @property
    def pixels(self) -> str:
        """Fingerprint of the image: the same under another name, or in another set."""
        return self.sample.fingerprint

    @cached_property
    def asymmetry(self) -> NDArray[np.float64]:
        """How unevenly bright and dark are spread in the image, by scale."""
        return asymmetry_of(self.field.image)

    @cached_property
    def own_box(self) -> Box | None:
        """What is meant, in pixels of the sample's image: `box`, but of a cut-out."""
        if self.box is None or self.sample.excerpt is None:
            return self.box
        inside = self.sample.inside(self.box)
        (top, bottom), (left, right) = (
            _span(np.asarray(inside.any(axis=a))) for a in (1, 0)
        )
        return top, bottom, left, right

    @cached_property
    def things(self) -> int:
        """How much it holds: particles, objects, or patches of a painted area.

        Marks outside finished areas do not count, also where a person has answered
        about them: they teach, but no figure rests on them.
        """
        particles = int(self.counts.sum())
        if particles:
            return particles
        known = self.validated
        if self.field.objects is not None:
            objects = self.field.objects[known]
            return len(np.unique(objects[objects > 0]))
        return _patches((self.field.target > 0) & known)

    @cached_property
    def counts(self) -> NDArray[np.bool_]:
        """Which of the particles count in figures, `(n,)`."""
        last = np.array(self.field.target.shape) - 1
        y, x = np.rint(self.points).astype(int).clip(0, last).T
        return np.asarray(self.validated[y, x])

    @property
    def validated(self) -> NDArray[np.bool_]:
        """Where a network is held against what is known, `(y, x)`."""
        known = self.field.target >= 0
        return known if self.finished is None else known & self.finished

    def entry(self) -> dict[str, Any]:
        """Which area it is, for the checkpoint."""
        box = None if self.box is None else list(self.box)
        return {"image": self.sample.name, "pixels": self.pixels, "box": box}

    def divided(self, box: Box) -> tuple[AnnotatedArea, AnnotatedArea]:
        """What lies outside a box, and what lies inside; a gap belongs to neither."""
        shape, sample = self.field.target.shape, self.sample
        ratio = np.array(sample.image.shape[1:]) / np.array(shape)
        gaps = max([*self.task.radius_px.values(), 2.0]) * 2 * ratio
        inside, near = np.ones(shape, dtype=bool), np.ones(shape, dtype=bool)
        among = np.ones(len(self.points), dtype=bool)
        points = (self.points + 0.5) * ratio - 0.5
        if sample.excerpt is not None:
            points = sample.excerpt.original(points)
        for axis, (at, gap) in enumerate(zip(sample.origins(shape), gaps, strict=True)):
            first, last = box[2 * axis : 2 * axis + 2]
            inside &= (at >= first) & (at < last)
            near &= (at >= first - gap) & (at < last + gap)
            among &= (points[:, axis] >= first - 0.5) & (points[:, axis] < last - 0.5)
        return self._where(~near, ~among), replace(self._where(inside, among), box=box)

    def marked_along(self, axis: int) -> NDArray[np.int64]:
        """How many pixels are marked in each row (0) or column (1) of the image.

        In working pixels, of all of the image that is in the file.
        """
        target = self.field.target
        whole, own = self.sample.whole[axis], self.sample.image.shape[1 + axis]
        n = max(1, round(whole * target.shape[axis] / own))
        at = np.broadcast_to(self.sample.origins(target.shape)[axis], target.shape)
        places = np.floor(at[target > 0].astype(np.float64) * n / whole)
        counts = np.bincount(places.astype(np.int64), minlength=n)
        return np.asarray(counts, dtype=np.int64)

    def cropped(self, *, most: int, margin: int, step: int) -> AnnotatedArea:
        """Cut to what is known, where that saves much, or to its fullest part.

        Parameters
        ----------
        most
            Pixels at most.
        margin
            Pixels around them that a network needs to see.
        step
            The cut begins at a multiple of it, so that the network sees the same.
        """
        field = self.field
        known = field.target >= 0
        if not known.any():
            return self
        box = _fullest(known, known & (field.target > 0), most)
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
            field=replace(field, target=target).each(part),
            points=self.points[kept] - start,
            point_class=self.point_class[kept],
            finished=part(self.finished),
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


@dataclass(frozen=True, kw_only=True)
class WorkingGrid:
    """The grid that all images of one training are brought to."""

    task: Task  #: Kind, classes and radii
    #: `factor`, `scale`: original pixels per working pixel of images of such nm per
    #: pixel; the others are brought to the same working size
    factor: float
    scale: float | None
    #: Brings intensities to the network's range; None = only what is drawn is asked
    #: for, and images are left blank
    normalisation: Normalisation | None
    zones: TargetConfig  #: How particles are drawn

    @classmethod
    def of(
        cls,
        known: Admitted,
        config: TrainConfig,
        *,
        start: Checkpoint | None,
        drawn_only: bool = False,
    ) -> WorkingGrid:
        """Choose it for annotated images, or take that of the checkpoint `start`.

        `drawn_only`: nothing will be asked for but what is drawn.
        """
        every, task = (*known.samples, *known.validation), known.task
        scale = every[0].scale
        marks = [(one, image.scale) for image in every for one in image.annotations]
        points = [(one, own) for one, own in marks if isinstance(one, Points)]
        zones, normalisation = zones_for(points, task), None
        if start is not None:
            factor, normalisation = start.factor_for(scale), start.normalisation
        else:
            factor = working_factor(config, task, scale, known.samples)
            if not drawn_only:
                normalisation = normalisation_for(every, task, zones)
        return cls(
            task=task,
            factor=factor,
            scale=scale,
            normalisation=None if drawn_only else normalisation,
            zones=zones,
        )

    def areas(self, known: Admitted) -> tuple[list[AnnotatedArea], list[AnnotatedArea]]:
        """Bring all to it: what may be learned from, and what is only judged on."""
        return [self.area(s) for s in known.samples], [
            self.area(s) for s in known.validation
        ]

    def area(self, sample: Sample) -> AnnotatedArea:
        """Bring an annotated image to it."""
        own = factor_at(sample.scale, self.factor, self.scale)
        return on_working_grid(sample, own, self.task, self.normalisation, self.zones)


def on_working_grid(
    sample: Sample,
    factor: float,
    task: Task,
    normalisation: Normalisation | None,
    zones: TargetConfig | None = None,
) -> AnnotatedArea:
    """Bring an annotated image to the working grid.

    `factor` is original pixels per working pixel; the rest is as for `WorkingGrid`.
    """
    channels, *original = sample.image.shape
    shape = working_shape((original[0], original[1]), factor)
    image, as_part = np.broadcast_to(np.float32(0), (channels, *shape)), (0.0, 1.0)
    if normalisation is not None:
        values, as_part = normalisation.applied(sample.image, sample.excerpt)
        image = to_working(values, factor)
    area, own_task = area_to_working(sample.area, shape), working_task(task, factor)
    ratio = (shape[0] / original[0], shape[1] / original[1])
    annotations = tuple(rescaled(item, ratio) for item in sample.annotations)
    own_scale = None if sample.scale is None else sample.scale * factor
    target = build_target(
        annotations, shape, task=own_task, scale=own_scale, config=zones
    )
    points, classes = _true_points(annotations, task)
    if not area.all():
        target = target.within(area)
        y, x = points.round().astype(int).clip(0, np.array(shape) - 1).T
        points, classes = points[area[y, x]], classes[area[y, x]]
    radii = {
        name: radius
        for name in task.classes[1:]
        if (radius := own_task.radius(name, own_scale)) is not None
    }
    numbers = object_numbers(annotations, shape) if task.kind == "instances" else None
    return AnnotatedArea(
        field=Field(
            image, target.classes, target.weight, objects=numbers, as_part=as_part
        ),
        points=points,
        point_class=classes,
        task=replace(own_task, radius_px=radii, radius_nm={}),
        sample=sample,
        finished=finished_area(annotations, shape),
    )


def as_learned(sample: Sample, checkpoint: Checkpoint) -> AnnotatedArea:
    """Bring an annotated image to the working grid as a checkpoint has learned it.

    Its pixel size and intensities count, and how large particles were drawn.
    """
    return on_working_grid(
        sample,
        checkpoint.factor_for(sample.scale),
        checkpoint.task,
        checkpoint.normalisation,
        learned_zones(checkpoint),
    )


def learned_zones(checkpoint: Checkpoint) -> TargetConfig | None:
    """How large particles were drawn to be learned; None = as usual."""
    drawn = checkpoint.annotations_summary.get("zones")
    if not isinstance(drawn, Mapping):
        return None
    known = {row.name for row in fields(TargetConfig)}
    zones = TargetConfig(**{k: float(v) for k, v in drawn.items() if k in known})
    return zones if zones.problem() is None else None


def learned_distance(checkpoint: Checkpoint) -> DistanceScale | None:
    """What is 1 in the distance maps that a checkpoint learned; None = none."""
    scale = checkpoint.annotations_summary.get("distance")
    return next((each for each in get_args(DistanceScale) if each == scale), None)


def _true_points(
    annotations: Sequence[object], task: Task
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    coordinates, classes = [np.zeros((0, 2))], [np.zeros(0, dtype=np.int64)]
    for item in annotations:
        if isinstance(item, MarkedThings) and not item.is_line:
            index = np.array([task.classes.index(c) for c in item.classes], dtype=int)
            wanted = index > 0
            coordinates.append(item.centres()[wanted])
            classes.append(index[wanted])
    return np.concatenate(coordinates), np.concatenate(classes).astype(np.int64)


def _patches(foreground: NDArray[np.bool_]) -> int:
    """How many patches of a grid hold any of an area."""
    grow = [(0, -side % PATCH) for side in foreground.shape]
    high, wide = (-(-side // PATCH) for side in foreground.shape)
    blocks = np.pad(foreground, grow).reshape(high, PATCH, wide, PATCH)
    return int(blocks.any(axis=(1, 3)).sum())


def _span(there: NDArray[np.bool_]) -> tuple[int, int]:
    """First and (left out) last place where something is."""
    places = np.flatnonzero(there)
    return int(places[0]), int(places[-1]) + 1


def _fullest(
    known: NDArray[np.bool_], full: NDArray[np.bool_], most: int
) -> list[tuple[int, int]]:
    """First and (left out) last row and column of what is known, where most is full.

    Of more than `most` pixels only those rows and columns are taken that hold most.
    """
    box = [_span(np.asarray(known.any(axis=1 - axis))) for axis in (0, 1)]
    side = int(most**0.5)
    for axis, (first, last) in enumerate(box):
        across = box[1 - axis][1] - box[1 - axis][0]
        if (last - first) * across > most:
            profile = full.sum(axis=1 - axis)[first:last].cumsum()
            longest = max(side, most // max(1, across)) if axis else side
            length = min(last - first, longest)
            inside = np.r_[profile[length - 1], profile[length:] - profile[:-length]]
            first += int(inside.argmax())
            box[axis] = (first, first + length)
            chosen = np.zeros_like(full)
            np.moveaxis(chosen, axis, 0)[first : first + length] = True
            full = full & chosen
    return box
