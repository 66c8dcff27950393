"""How large marked particles may be drawn so that neighbours stay apart."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_topiary.annotations.points import Points
from napari_topiary.annotations.targets import TargetConfig
from napari_topiary.types import BACKGROUND, Task

CROWDED = 2.0
"""The closest pairs count, but not single slips: this percentile of all distances."""
SHARE_OF_DISTANCE = 0.4
"""A disc reaches less than half of the way to the next centre."""
SMALLEST = 0.35
"""Smaller discs, in radii, would leave too little to learn from."""


def zones_for(
    images: Iterable[tuple[Points, float | None]], task: Task
) -> TargetConfig:
    """Choose the zones of marked particles by how close they lie to one another.

    With the usual zones particles that overlap in projection are drawn as one area,
    and what is learned as one cannot be told apart again.

    Parameters
    ----------
    images
        Marks of every image, with its nm per pixel (None if unknown).
    task
        Radii of the classes.

    Returns
    -------
    TargetConfig
        The usual zones, or narrower ones of the same width of ignored rim.
    """
    usual = TargetConfig()
    distances = [_in_radii(points, scale, task) for points, scale in images]
    found = np.concatenate([np.zeros(0), *distances])
    if len(found) == 0:
        return usual
    reach = SHARE_OF_DISTANCE * float(np.percentile(found, CROWDED))
    certain = float(np.clip(reach, SMALLEST, usual.certain))
    return TargetConfig(certain, certain + usual.ignore - usual.certain)


def _in_radii(points: Points, scale: float | None, task: Task) -> NDArray[np.float64]:
    """Distance of every particle to the next one, in the mean radius of the two."""
    radii = np.array([task.radius(name, scale) or np.nan for name in task.classes])
    index = np.array([task.classes.index(name) for name in points.classes], dtype=int)
    own = radii[index] if len(index) else np.zeros(0)
    marked = np.array([name != BACKGROUND for name in points.classes], dtype=bool)
    marked &= np.isfinite(own)
    if marked.sum() < 2:
        return np.zeros(0)
    places, own = np.asarray(points.coordinates)[marked], own[marked]
    distance, neighbour = cKDTree(places).query(places, k=2)
    ratio: NDArray[np.float64] = distance[:, 1] / (own + own[neighbour[:, 1]]) * 2
    return ratio
