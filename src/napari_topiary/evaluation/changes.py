"""What became of every particle or object from prediction A to prediction B."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.evaluation.particles import match_points, points_inside
from napari_topiary.types import Detections

STATUSES = ("kept", "changed", "lost", "gained")


@dataclass(frozen=True)
class Changes:
    """Particles or objects of A and B, each with its status.

    `kept` is in both, `changed` is in both with another class (particles) or another
    outline (objects), `lost` is in A only, `gained` in B only.

    Parameters
    ----------
    status
        One of `STATUSES` each.
    coordinates
        `(n, 2)` y, x in pixels of the image; where it is in both, B's.
    class_index
        `(n,)` class; where it is in both, B's.
    score_a, score_b
        `(n,)` scores, NaN where it is not; for objects the IoU with the best partner.
    index_a, index_b
        `(n,)` place in the detections, or number of the object; −1 where it is not.
    size
        `(n,)` area in pixels; 0 for particles.
    """

    status: tuple[str, ...]
    coordinates: NDArray[np.float64]
    class_index: NDArray[np.int64]
    score_a: NDArray[np.float64]
    score_b: NDArray[np.float64]
    index_a: NDArray[np.int64]
    index_b: NDArray[np.int64]
    size: NDArray[np.float64]

    def __len__(self) -> int:
        """Count the things."""
        return len(self.status)

    def counts(self) -> dict[str, int]:
        """How many of each status."""
        found = Counter(self.status)
        return {status: found[status] for status in STATUSES}

    def which(self, status: str) -> NDArray[np.bool_]:
        """Which ones have a status `(n,)`."""
        return np.array([own == status for own in self.status], dtype=bool)


def particle_changes(
    a: Detections,
    b: Detections,
    *,
    tolerance_px: NDArray[np.float64],
    area: NDArray[np.bool_] | None,
) -> Changes:
    """Match the particles of two predictions.

    Parameters
    ----------
    a, b
        With the same classes.
    tolerance_px
        `(k,)` largest distance of a pair, per class, in pixels.
    area
        `(y, x)` where both have looked; None = everywhere. What lies elsewhere and has
        no partner is left out.
    """
    rows: list[tuple[str, int, int]] = []
    open_a, open_b = np.ones(len(a), dtype=bool), np.ones(len(b), dtype=bool)
    groups = [
        (a.class_index == index, b.class_index == index, float(tolerance_px[index]))
        for index in range(1, len(tolerance_px))
    ]
    # What is left may be the same particle with another class.
    everything = (open_a.copy(), open_b.copy(), float(tolerance_px[1:].min()))
    for status, group in [*(("kept", g) for g in groups), ("changed", everything)]:
        i = np.flatnonzero(group[0] & open_a)
        j = np.flatnonzero(group[1] & open_b)
        pairs = match_points(a.coordinates[i], b.coordinates[j], group[2])
        rows += [(status, int(i[p]), int(j[q])) for p, q in pairs]
        open_a[i[pairs[:, 0]]] = False
        open_b[j[pairs[:, 1]]] = False
    open_a &= points_inside(a.coordinates, area)
    open_b &= points_inside(b.coordinates, area)
    rows += [("lost", int(i), -1) for i in np.flatnonzero(open_a)]
    rows += [("gained", -1, int(j)) for j in np.flatnonzero(open_b)]
    index_a = np.array([row[1] for row in rows], dtype=np.int64)
    index_b = np.array([row[2] for row in rows], dtype=np.int64)
    in_b = index_b >= 0
    return Changes(
        tuple(row[0] for row in rows),
        np.where(
            in_b[:, None],
            _taken(b.coordinates, index_b),
            _taken(a.coordinates, index_a),
        ),
        np.where(in_b, _taken(b.class_index, index_b), _taken(a.class_index, index_a)),
        np.where(index_a >= 0, _taken(a.score, index_a), np.nan),
        np.where(in_b, _taken(b.score, index_b), np.nan),
        index_a,
        index_b,
        np.zeros(len(rows)),
    )


def _taken(values: NDArray[Any], index: NDArray[np.int64]) -> NDArray[Any]:
    """`values[index]`, and zeros where the index is negative."""
    result = np.zeros((len(index), *values.shape[1:]), dtype=values.dtype)
    known = index >= 0
    result[known] = values[index[known]]
    return result
