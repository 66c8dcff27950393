"""Particles and filaments found, against those that are there.

A pair of particles may match when its distance is at most the tolerance. Of all
one-to-one matchings the one with the most pairs counts, and of those the one with the
smallest sum of distances: no order of looking at the particles changes the result.

Filaments are compared by length. Precision is the share of the found length that lies
within the tolerance of a drawn line, recall the share of the drawn length that lies
within the tolerance of a found one: a filament found in two pieces is a found filament.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from napari_topiary.types import Detections

Coordinates = NDArray[np.float64]


def match_points(
    first: Coordinates, second: Coordinates, tolerance: float
) -> NDArray[np.intp]:
    """Pair up two sets of points.

    Parameters
    ----------
    first, second
        `(n, 2)` and `(m, 2)` y, x.
    tolerance
        Largest distance of a pair, in the same unit.

    Returns
    -------
    ndarray
        `(p, 2)`: index into `first`, index into `second`, ordered by the former.
    """
    near = near_pairs(first, second, tolerance)
    if not len(near):
        return np.zeros((0, 2), dtype=np.intp)
    distance = np.linalg.norm(first[near[:, 0]] - second[near[:, 1]], axis=1)
    size = len(first) + len(second)
    graph = coo_array(
        (np.ones(len(near)), (near[:, 0], near[:, 1] + len(first))), shape=(size, size)
    )
    _, group = connected_components(graph, directed=False)
    cluster = group[near[:, 0]]
    order = np.argsort(cluster, kind="stable")
    starts = np.flatnonzero(np.diff(cluster[order], prepend=-1))
    pairs = [
        _assigned(near[members], distance[members], tolerance)
        for members in np.split(order, starts[1:])
    ]
    matched = np.concatenate(pairs)
    result: NDArray[np.intp] = matched[np.argsort(matched[:, 0])]
    return result


def near_pairs(
    first: Coordinates, second: Coordinates, tolerance: float
) -> NDArray[np.intp]:
    """All pairs `(p, 2)` of indices whose points are within the tolerance."""
    if not len(first) or not len(second):
        return np.zeros((0, 2), dtype=np.intp)
    lists = cKDTree(second).query_ball_point(first, tolerance)
    pairs = [(i, j) for i, found in enumerate(lists) for j in found]
    return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def _assigned(
    near: NDArray[np.intp], distance: NDArray[np.float64], tolerance: float
) -> NDArray[np.intp]:
    if len(near) == 1:
        return near
    rows, row = np.unique(near[:, 0], return_inverse=True)
    columns, column = np.unique(near[:, 1], return_inverse=True)
    # A forbidden pair costs more than all allowed ones together: most pairs first,
    # then the smallest sum of distances.
    forbidden = (tolerance + 1.0) * (min(len(rows), len(columns)) + 1)
    cost = np.full((len(rows), len(columns)), forbidden)
    cost[row, column] = distance
    chosen = [(r, c) for r, c in zip(*linear_sum_assignment(cost), strict=True)]
    allowed = [(rows[r], columns[c]) for r, c in chosen if cost[r, c] < forbidden]
    return np.array(allowed, dtype=np.intp).reshape(-1, 2)


@dataclass(frozen=True)
class DetectionCounts:
    """What was found, missed and invented, by class; adds up over images."""

    #: `hit`, `extra`, `missed`: `(k,)` float: true positives, false positives, false
    #: negatives
    hit: NDArray[np.float64]
    extra: NDArray[np.float64]
    missed: NDArray[np.float64]
    distance: float = 0.0  #: Sum of the distances of the pairs, in pixels

    def __add__(self, other: DetectionCounts) -> DetectionCounts:
        """Pool two images."""
        return DetectionCounts(
            self.hit + other.hit,
            self.extra + other.extra,
            self.missed + other.missed,
            self.distance + other.distance,
        )

    def metrics(self) -> dict[str, Any]:
        """Precision, recall and F1, pooled over all classes and `per_class` (list)."""
        result: dict[str, Any] = _precision_recall(
            self.hit.sum(), self.extra.sum(), self.missed.sum()
        )
        n = float(self.hit.sum())
        result["localisation_px"] = self.distance / n if n else float("nan")
        result["per_class"] = [
            _precision_recall(*counts)
            for counts in zip(self.hit, self.extra, self.missed, strict=True)
        ]
        return result


def _precision_recall(hit: float, extra: float, missed: float) -> dict[str, float]:
    """Precision, recall, F1 and the counts they come from."""
    found, there = hit + extra, hit + missed
    perfect = 1.0 if found + there == 0 else 0.0
    return {
        "precision": float(hit / found) if found else perfect,
        "recall": float(hit / there) if there else perfect,
        "f1": float(2 * hit / (found + there)) if found + there else perfect,
        "true_positives": int(hit),
        "false_positives": int(extra),
        "false_negatives": int(missed),
    }


def count_detections(
    truth: tuple[Coordinates, NDArray[np.integer]],
    found: Detections,
    tolerance_px: float | Sequence[float],
    n_classes: int,
    *,
    area: NDArray[np.bool_] | None = None,
) -> DetectionCounts:
    """Count one image's particles.

    Parameters
    ----------
    truth
        Coordinates `(n, 2)` y, x and class index `(n,)`.
    found
        In the same pixels.
    tolerance_px
        Largest distance of a pair in pixels: one, or one per class (background too).
    n_classes
        Number of classes, background included.
    area
        `(y, x)` True where a person has finished; None = everywhere. Pairs are made
        everywhere; a pair counts where its true particle is inside, a single where it
        is itself inside.
    """
    limits = np.broadcast_to(np.asarray(tolerance_px, dtype=np.float64), (n_classes,))
    hit, extra, missed = np.zeros((3, n_classes))
    distance = 0.0
    for index in range(1, n_classes):
        there = np.asarray(truth[0], dtype=np.float64).reshape(-1, 2)
        there = there[np.asarray(truth[1]) == index]
        mine = found.coordinates[found.class_index == index]
        pairs = match_points(there, mine, float(limits[index]))
        there_inside = points_inside(there, area)
        mine_inside = points_inside(mine, area)
        counted = pairs[there_inside[pairs[:, 0]]]
        hit[index] = len(counted)
        missed[index] = there_inside.sum() - len(counted)
        alone = np.ones(len(mine), dtype=bool)
        alone[pairs[:, 1]] = False
        extra[index] = (mine_inside & alone).sum()
        gaps = there[counted[:, 0]] - mine[counted[:, 1]]
        distance += float(np.linalg.norm(gaps, axis=1).sum())
    return DetectionCounts(hit, extra, missed, distance)


def points_inside(
    points: Coordinates, area: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Which points `(n, 2)` y, x lie in an area `(y, x)`; None = all of them."""
    if area is None or not len(points):
        return np.ones(len(points), dtype=bool)
    at = np.clip(np.rint(points), 0, np.array(area.shape) - 1).astype(np.intp)
    inside: NDArray[np.bool_] = area[at[:, 0], at[:, 1]]
    return inside


Path = NDArray[np.float64]
STEP = 0.5
"""Lines are compared at points this far apart, in pixels."""


@dataclass(frozen=True, kw_only=True)
class LineCounts:
    """Lengths in pixels; adds up over images."""

    #: `found`, `found_right`: length found, and the part of it near a drawn line
    found: float = 0.0
    found_right: float = 0.0
    #: `drawn`, `drawn_found`: length drawn, and the part of it near a found line
    drawn: float = 0.0
    drawn_found: float = 0.0
    #: `n_found`, `n_drawn`: how many lines that is
    n_found: int = 0
    n_drawn: int = 0

    def __add__(self, other: LineCounts) -> LineCounts:
        """Pool two images."""
        return LineCounts(
            found=self.found + other.found,
            found_right=self.found_right + other.found_right,
            drawn=self.drawn + other.drawn,
            drawn_found=self.drawn_found + other.drawn_found,
            n_found=self.n_found + other.n_found,
            n_drawn=self.n_drawn + other.n_drawn,
        )

    def metrics(self) -> dict[str, float]:
        """Precision, recall and F1 (their harmonic mean)."""
        perfect = 1.0 if self.found + self.drawn == 0 else 0.0
        precision = self.found_right / self.found if self.found else perfect
        recall = self.drawn_found / self.drawn if self.drawn else perfect
        both = precision + recall
        f1 = 2 * precision * recall / both if both else 0.0
        return {"precision": precision, "recall": recall, "f1": f1}


def count_lines(
    truth: Sequence[Path],
    found: Sequence[Path],
    tolerance_px: float,
    *,
    area: NDArray[np.bool_] | None = None,
) -> LineCounts:
    """Compare the lines of one class in one image.

    Parameters
    ----------
    truth, found
        Paths, each `(v, 2)` y, x.
    tolerance_px
        Largest distance that is still the same line, in pixels.
    area
        `(y, x)` True where a person has finished; None = everywhere. What lies outside
        does not count, but may be near what lies inside.
    """
    drawn, traced = (
        [points[points_inside(points, area)] for points in map(_sampled, paths)]
        for paths in (truth, found)
    )
    found_length, right = _near_length(traced, sample_points(truth), tolerance_px)
    drawn_length, seen = _near_length(drawn, sample_points(found), tolerance_px)
    return LineCounts(
        found=found_length,
        found_right=right,
        drawn=drawn_length,
        drawn_found=seen,
        n_found=sum(len(points) > 0 for points in traced),
        n_drawn=sum(len(points) > 0 for points in drawn),
    )


def sample_points(paths: Sequence[Path]) -> Path:
    """Points `(n, 2)` every half pixel along the paths."""
    return np.concatenate([np.zeros((0, 2)), *map(_sampled, paths)])


def _sampled(path: Path) -> Path:
    path = np.asarray(path, dtype=np.float64)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    along = np.concatenate([[0.0], steps.cumsum()])
    if along[-1] == 0:
        return np.zeros((0, 2))
    at = np.linspace(0.0, along[-1], max(2, round(along[-1] / STEP)))
    return np.stack([np.interp(at, along, axis) for axis in path.T], axis=1)


def _near_length(
    lines: Sequence[Path], others: Path, tolerance: float
) -> tuple[float, float]:
    """Length of sampled lines, and the part of it near the other points."""
    points = np.concatenate([np.zeros((0, 2)), *lines])
    length = STEP * len(points)
    if not len(points) or not len(others):
        return length, 0.0
    distance, _ = cKDTree(others).query(points)
    return length, STEP * int((distance <= tolerance).sum())
