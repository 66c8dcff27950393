"""The pixel size that a network works at.

Detection does not need full resolution. At the coarsest pixel size that keeps the
smallest class radius at about 6 px the network is as much faster, and sees as much
further, as the square of the shrinking.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_topiary.annotations import Centerlines, Points
from napari_topiary.config import TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.types import BACKGROUND, Task

SMALLEST_RADIUS_PX = 6.0
"""Radius of the smallest class on the working grid, in pixels."""


def propose_working_factor(
    task: Task, scale: float | None, samples: Sequence[Sample] = ()
) -> float:
    """Shrink factor that keeps the smallest class radius at about 6 px.

    Parameters
    ----------
    task
        Detection shrinks; segmentation and instances keep the original pixels.
    scale
        nm per pixel of the images, None if unknown.
    samples
        Only looked at for radii drawn with the annotations themselves.

    Returns
    -------
    float
        Original pixels per working pixel, >= 1.
    """
    if task.kind != "detect":
        return 1.0
    names = [name for name in task.classes if name != BACKGROUND]
    radii = [r for name in names if (r := task.radius(name, scale)) is not None]
    if scale is not None:
        radii += [r / scale for drawn in _drawn_radii(samples).values() for r in drawn]
    return max(1.0, min(radii) / SMALLEST_RADIUS_PX) if radii else 1.0


def with_drawn_radii(task: Task, samples: Sequence[Sample]) -> Task:
    """Return the task with a radius for each class that has one only where it is drawn.

    Parameters
    ----------
    task
        Classes of known radius keep it.
    samples
        The middle one of the radii that their annotations carry, in nm, is taken.
    """
    known = {**task.radius_nm, **task.radius_px}
    drawn = {
        name: float(np.median(radii))
        for name, radii in _drawn_radii(samples).items()
        if name not in known and name in task.classes[1:]
    }
    return replace(task, radius_nm={**task.radius_nm, **drawn}) if drawn else task


def _drawn_radii(samples: Sequence[Sample]) -> dict[str, list[float]]:
    """Class -> each radius in nm that was drawn with it; half of the width of lines."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for sample in samples:
        for item in sample.annotations:
            if isinstance(item, Points):
                own, share = item.radius_nm, 1.0
            elif isinstance(item, Centerlines):
                own, share = item.width_nm, 0.5
            else:
                continue
            for name, length in zip(item.classes, own or (), strict=False):
                if length:
                    found[name].append(length * share)
    return found


def working_task(task: Task, factor: float) -> Task:
    """Return the task with its pixel radii in working pixels."""
    return replace(
        task, radius_px={name: r / factor for name, r in task.radius_px.items()}
    )


def asked_factor(config: TrainConfig, scale: float | None) -> float | None:
    """Shrink factor that the form asks for; None = to be proposed."""
    if config.working_pixel_size_nm is not None:
        if scale is None:
            raise TopiaryError(
                f"A working pixel size of {config.working_pixel_size_nm:g} nm needs "
                "images of known pixel size: enter nm per pixel on the Data page."
            )
        return max(1.0, config.working_pixel_size_nm / scale)
    if config.working_factor is not None:
        return max(1.0, config.working_factor)
    return None
