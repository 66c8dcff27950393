"""Which marks lie in finished areas: only those teach a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations.centerlines import Centerlines
from napari_topiary.annotations.points import Points
from napari_topiary.annotations.regions import Regions


def teaching(annotations: Sequence[Any]) -> tuple[Any, ...]:
    """Return annotations without the marks that lie outside all finished areas.

    Training targets are unknown there, so that these marks teach nothing. A centerline
    teaches where any of its vertices lies inside.

    Parameters
    ----------
    annotations
        All annotations of one image.

    Returns
    -------
    tuple
        The same annotations where nothing is left out.
    """
    areas = [one for one in annotations if isinstance(one, Regions) and len(one)]
    if not areas:
        return tuple(annotations)
    return tuple(_inside(one, areas) for one in annotations)


def marks_outside(annotations: Sequence[Any]) -> tuple[int, int]:
    """Count the marks that teach nothing, and all marks.

    Parameters
    ----------
    annotations
        All annotations of one image.
    """
    every = _marks(annotations)
    return every - _marks(teaching(annotations)), every


def _marks(annotations: Sequence[Any]) -> int:
    return sum(len(one) for one in annotations if isinstance(one, Points | Centerlines))


def _inside(annotation: Any, areas: Sequence[Regions]) -> Any:
    if isinstance(annotation, Points):
        kept = np.flatnonzero(_contained(annotation.coordinates, areas))
        own = annotation.radius_nm
        return Points(
            annotation.coordinates[kept],
            tuple(annotation.classes[i] for i in kept),
            None if own is None else tuple(own[i] for i in kept),
        )
    if isinstance(annotation, Centerlines):
        paths, own = annotation.paths, annotation.width_nm
        kept = np.flatnonzero([_contained(path, areas).any() for path in paths])
        return Centerlines(
            tuple(paths[i] for i in kept),
            tuple(annotation.classes[i] for i in kept),
            None if own is None else tuple(own[i] for i in kept),
        )
    return annotation


def _contained(
    places: NDArray[np.float64], areas: Sequence[Regions]
) -> NDArray[np.bool_]:
    inside = np.zeros(len(places), dtype=bool)
    for one in areas:
        inside |= one.contains(places)
    return inside
