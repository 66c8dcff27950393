"""What became of every filament from prediction A to prediction B."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_topiary.evaluation.lines import sample_points
from napari_topiary.types import Detections

Path = NDArray[np.float64]

COVERED = 0.5
"""A line is kept when at least this share of its length is in the other one too."""


@dataclass(frozen=True)
class LineChanges:
    """Traced filaments of A and B, each with its status.

    Parameters
    ----------
    status
        `kept` (B's line), `lost` (A's) or `gained` (B's) each.
    lines
        Paths `(v, 2)` y, x in pixels of the image.
    line_class, line_score
        `(m,)` class index and score.
    """

    status: tuple[str, ...] = ()
    lines: tuple[NDArray[np.float64], ...] = ()
    line_class: tuple[int, ...] = ()
    line_score: tuple[float, ...] = ()

    def counts(self) -> dict[str, int]:
        """How many of each status."""
        found = Counter(self.status)
        return {s: found[s] for s in ("kept", "lost", "gained")}


def line_changes(
    a: Detections, b: Detections, *, tolerance_px: NDArray[np.float64]
) -> LineChanges:
    """Match the filaments of two predictions by the length that they share."""
    found: list[tuple[str, NDArray[np.float64], int, float]] = []
    for index in range(1, len(tolerance_px)):
        ours, theirs = _lines_of(a, index), _lines_of(b, index)
        reach = float(tolerance_px[index])
        for line, score in theirs:
            covered = _covered(line, [other for other, _ in ours], reach)
            status = "kept" if covered >= COVERED else "gained"
            found.append((status, line, index, score))
        for line, score in ours:
            if _covered(line, [other for other, _ in theirs], reach) < COVERED:
                found.append(("lost", line, index, score))
    return LineChanges(
        status=tuple(status for status, _, _, _ in found),
        lines=tuple(line for _, line, _, _ in found),
        line_class=tuple(index for _, _, index, _ in found),
        line_score=tuple(score for _, _, _, score in found),
    )


def _lines_of(found: Detections, index: int) -> list[tuple[Path, float]]:
    return [
        (line, float(score))
        for line, own, score in zip(
            found.lines, found.line_class, found.line_score, strict=True
        )
        if own == index
    ]


def _covered(line: Path, others: Sequence[Path], reach: float) -> float:
    """Share of a line's length that lies within `reach` of other lines."""
    mine, there = sample_points([line]), sample_points(others)
    if not len(mine) or not len(there):
        return 0.0
    distance, _ = cKDTree(there).query(mine)
    return float((distance <= reach).mean())
