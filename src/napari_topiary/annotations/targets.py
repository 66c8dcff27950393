"""Annotations -> what a network is to answer at each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations.base import annotation_problem
from napari_topiary.annotations.canvas import IGNORED, Canvas
from napari_topiary.config import form_problem
from napari_topiary.errors import TopiaryError
from napari_topiary.types import Task


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


@dataclass(frozen=True)
class Target:
    """What is to be learned from one image.

    Parameters
    ----------
    classes
        `(y, x)` int16 class index; −1 = unknown, not learned from.
    weight
        `(y, x)` float32, how much each pixel counts; 0 where unknown.
    """

    classes: NDArray[np.int16]
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
