"""Which marks teach a network: those in finished areas, and answers about a place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations.centerlines import Centerlines
from napari_topiary.annotations.points import Points
from napari_topiary.annotations.regions import Regions
from napari_topiary.types import BACKGROUND


def teaching(annotations: Sequence[Any]) -> tuple[Any, ...]:
    """Return annotations without the marks that teach nothing.

    Training targets are unknown outside finished areas, except where a person has
    answered about one place: "this is not one", and particles that were reviewed. All
    other marks there teach nothing. A centerline teaches where any of its vertices lies
    inside.

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
        inside = _contained(annotation.coordinates, areas)
        return annotation.only(np.flatnonzero(inside | annotation.judged))
    if isinstance(annotation, Centerlines):
        pairs = zip(annotation.paths, annotation.classes, strict=True)
        return annotation.only(
            [
                index
                for index, (path, name) in enumerate(pairs)
                if name == BACKGROUND or _contained(path, areas).any()
            ]
        )
    return annotation


def _contained(
    places: NDArray[np.float64], areas: Sequence[Regions]
) -> NDArray[np.bool_]:
    inside = np.zeros(len(places), dtype=bool)
    for one in areas:
        inside |= one.contains(places)
    return inside
