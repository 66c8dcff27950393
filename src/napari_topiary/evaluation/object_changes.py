"""What became of every object from prediction A to prediction B."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_topiary.evaluation.changes import Changes
from napari_topiary.evaluation.objects import overlaps
from napari_topiary.types import LabelImage

SAME_IOU = 0.5
"""Objects that overlap by more than this are the same."""
COVERED = 0.5
"""An object without a partner is changed (cut, fused, resized), not lost, when the
other prediction has objects over at least this share of it."""


def object_changes(
    a: LabelImage, b: LabelImage, *, area: NDArray[np.bool_] | None
) -> Changes:
    """Match the objects of two label images by their overlap.

    Parameters
    ----------
    a, b
        `(y, x)` object numbers, 0 = background.
    area
        `(y, x)` where both have looked; None = everywhere.
    """
    if area is not None:
        a, b = np.where(area, a, 0), np.where(area, b, 0)
    pairs = overlaps(a, b)
    same = pairs.iou > SAME_IOU
    partner = dict(
        zip(pairs.first[same].tolist(), pairs.second[same].tolist(), strict=True)
    )
    covered_a = _covered(pairs.first, pairs.shared, pairs.first_area)
    covered_b = _covered(pairs.second, pairs.shared, pairs.second_area)
    rows = [("kept", i, j) for i, j in partner.items()]
    rows += [
        ("changed" if covered_a[i] >= COVERED else "lost", i, -1)
        for i in pairs.first_area
        if i not in partner
    ]
    # What became of two objects of A that B fused is said once, by those two.
    taken = set(partner.values())
    rows += [
        ("gained", -1, j)
        for j in pairs.second_area
        if j not in taken and covered_b[j] < COVERED
    ]
    best_a, best_b = _best(pairs.first, pairs.iou), _best(pairs.second, pairs.iou)
    centres_a, centres_b = centroids(a), centroids(b)
    return Changes(
        status=tuple(status for status, _, _ in rows),
        coordinates=np.array(
            [centres_b[j] if j > 0 else centres_a[i] for _, i, j in rows]
        ).reshape(-1, 2),
        class_index=np.ones(len(rows), dtype=np.int64),
        score_a=np.array([best_a.get(i, 0.0) if i > 0 else np.nan for _, i, _ in rows]),
        score_b=np.array([best_b.get(j, 0.0) if j > 0 else np.nan for _, _, j in rows]),
        index_a=np.array([i for _, i, _ in rows], dtype=np.int64),
        index_b=np.array([j for _, _, j in rows], dtype=np.int64),
        size=np.array(
            [
                pairs.second_area[j] if j > 0 else pairs.first_area[i]
                for _, i, j in rows
            ],
            dtype=np.float64,
        ),
    )


def centroids(labels: LabelImage) -> dict[int, tuple[float, float]]:
    """Middle `(y, x)` of every labelled area of `(y, x)`, background left out."""
    y, x = np.nonzero(labels)
    numbers, index = np.unique(labels[y, x], return_inverse=True)
    size = np.bincount(index)
    middle = [np.bincount(index, weights=at) / size for at in (y, x)] if len(y) else []
    return {
        int(number): (float(middle[0][i]), float(middle[1][i]))
        for i, number in enumerate(numbers)
    }


def _covered(
    labels: NDArray[np.int64], shared: NDArray[np.int64], areas: dict[int, int]
) -> dict[int, float]:
    """Share of every object that any object of the other image covers."""
    common = dict.fromkeys(areas, 0)
    for label, pixels in zip(labels.tolist(), shared.tolist(), strict=True):
        common[label] += pixels
    return {label: common[label] / area for label, area in areas.items()}


def _best(labels: NDArray[np.int64], iou: NDArray[np.float64]) -> dict[int, float]:
    """Highest IoU of every object that overlaps any."""
    best: dict[int, float] = {}
    for label, value in zip(labels.tolist(), iou.tolist(), strict=True):
        best[label] = max(value, best.get(label, 0.0))
    return best
