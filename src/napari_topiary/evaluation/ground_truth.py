"""What the annotations of an image say, in the form that results are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_topiary.annotations import (
    MarkedThings,
    TargetConfig,
    annotation_problem,
    build_target,
    finished_area,
    object_numbers,
    usable_annotations,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.pixel_metrics import Zones, particle_zones
from napari_topiary.types import BACKGROUND, Detections, LabelImage, Prediction, Task

MARGIN_OF_RADIUS = 0.5
"""Without a tolerance of its own a particle is found when this many radii off."""
SPECK = 5
"""A place without an image is at least so many pixels wide and high."""


@dataclass(frozen=True)
class Truth:
    """Annotations of one image, in its own pixels."""

    classes: NDArray[np.int16]  #: `(y, x)` class index; −1 = unknown
    particles: Detections  #: Marked centres and drawn lines, all with score 1
    #: `(y, x)` object numbers, 0 = background, −1 = unknown; None if the task has no
    #: objects
    objects: LabelImage | None = None
    #: `(y, x)` True where a person has finished; None = everywhere
    area: NDArray[np.bool_] | None = None

    def within(self, inside: NDArray[np.bool_] | None) -> Truth:
        """Return the truth of some pixels `(y, x)` alone; None = all of it."""
        return self if inside is None else self._where(inside, inside)

    def where_seen(self, image: NDArray[np.bool_]) -> Truth:
        """Return the truth where there is an image; in margins nothing can be found.

        A particle with a lost pixel in its middle still counts.

        Parameters
        ----------
        image
            `(y, x)` True where there is one, as `image_area` says.
        """
        if image.all():
            return self
        lost = ndimage.binary_opening(~image, np.ones((SPECK, SPECK)))
        return self._where(image, ~lost)

    def _where(self, pixels: NDArray[np.bool_], things: NDArray[np.bool_]) -> Truth:
        return Truth(
            np.where(pixels, self.classes, np.int16(-1)),
            self.particles,
            None if self.objects is None else np.where(pixels, self.objects, -1),
            things if self.area is None else things & self.area,
        )

    @cached_property
    def zones(self) -> Zones:
        """Pixels that certainly belong to one of the particles."""
        return particle_zones(self.classes, self.particles)


def truth_of(
    annotations: Sequence[Any],
    shape: tuple[int, int],
    *,
    task: Task,
    scale: float | None,
    zones: TargetConfig | None = None,
    drawn: bool = True,
) -> Truth:
    """Read annotations as the truth.

    Parameters
    ----------
    annotations
        All annotations of one image.
    shape
        `(y, x)` of the image in pixels.
    task
        Kind, classes and radii.
    scale
        nm per pixel of the image, None if unknown.
    zones
        How marked particles are drawn; None = the usual way.
    drawn
        False = places are enough: no pixel of any class is known, and none is drawn,
        which takes longest on a large image.

    Raises
    ------
    TopiaryError
        With a sentence if they do not fit the image or the task.
    """
    sentence = annotation_problem(annotations, shape, task=task, scale=scale)
    if sentence is not None:
        raise TopiaryError(sentence)
    given = annotations
    annotations, _ = usable_annotations(annotations, shape, task=task, scale=scale)
    area = finished_area(annotations, shape)
    objects: LabelImage | None = None
    if task.kind == "instances":
        objects = object_numbers(annotations, shape)
        objects = objects if area is None else np.where(area, objects, -1)
        # The thin line that training draws between objects is no background here.
        classes = (objects > 0).astype(np.int16)
        classes[objects < 0] = -1
    elif drawn:
        classes = build_target(
            given, shape, task=task, scale=scale, config=zones
        ).classes
    else:
        classes = np.broadcast_to(np.int16(-1), shape)
    return Truth(classes, _marked(annotations, task), objects, area)


def truth_prediction(
    truth: Truth, task: Task, *, scale: float | None, name: str = "truth"
) -> Prediction:
    """Show the truth as if a perfect network had said it."""
    known = np.maximum(truth.classes, 0)
    probability = np.stack(
        [known == index for index in range(len(task.classes))]
    ).astype(np.float32)
    return Prediction(
        probability=probability,
        shape=(known.shape[0], known.shape[1]),
        task=task,
        scale=scale,
        labels=known if truth.objects is None else np.maximum(truth.objects, 0),
        detections=truth.particles,
        checkpoint=name,
        done=None if (truth.classes >= 0).all() else truth.classes >= 0,
    )


def tolerances(
    task: Task, *, scale: float | None, tolerance_nm: float | None = None
) -> NDArray[np.float64]:
    """How far off a particle may be found, per class, in pixels of the image.

    Parameters
    ----------
    task
        Classes and radii.
    scale
        nm per pixel, None if unknown.
    tolerance_nm
        The same for all classes; None (or no scale) = half of the class's radius, and
        5 pixels where that is unknown.

    Returns
    -------
    ndarray
        `(k,)`, background included.
    """
    if tolerance_nm is not None and scale is not None:
        return np.full(len(task.classes), tolerance_nm / scale)
    radii = [task.radius_or_usual(name, scale) for name in task.classes]
    return MARGIN_OF_RADIUS * np.array(radii)


def _marked(annotations: Sequence[Any], task: Task) -> Detections:
    places, names = [np.zeros((0, 2))], list[str]()
    lines, line_names = list[NDArray[np.float64]](), list[str]()
    for annotation in annotations:
        if not isinstance(annotation, MarkedThings):
            continue
        real = [
            index for index, name in enumerate(annotation.classes) if name != BACKGROUND
        ]
        found = annotation.only(real)
        if annotation.is_line:
            lines += found.places()
            line_names += found.classes
        else:
            places.append(found.centres())
            names += found.classes
    particles = Detections(
        np.concatenate(places), _indices(names, task), np.ones(len(names))
    )
    return replace(
        particles,
        lines=tuple(lines),
        line_class=_indices(line_names, task),
        line_score=np.ones(len(lines)),
    )


def _indices(names: Sequence[str], task: Task) -> NDArray[np.int64]:
    return np.array([task.classes.index(name) for name in names], dtype=np.int64)
