"""Traced filaments against drawn ones, by length.

Precision is the share of the found length that lies within the tolerance of a drawn
line, recall the share of the drawn length that lies within the tolerance of a found
one: a filament found in two pieces is a found filament.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_topiary.evaluation.particles import points_inside

Path = NDArray[np.float64]
STEP = 0.5
"""Lines are compared at points this far apart, in pixels."""


@dataclass(frozen=True, kw_only=True)
class LineCounts:
    """Lengths in pixels; adds up over images.

    Parameters
    ----------
    found, found_right
        Length found, and the part of it near a drawn line.
    drawn, drawn_found
        Length drawn, and the part of it near a found line.
    n_found, n_drawn
        How many lines that is.
    """

    found: float = 0.0
    found_right: float = 0.0
    drawn: float = 0.0
    drawn_found: float = 0.0
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
