"""Instance metrics, in the HoVer-Net conventions: AJI, and PQ = DQ x SQ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import distance_map
from napari_topiary.config import DistanceScale
from napari_topiary.data.working_grid import to_original
from napari_topiary.evaluation.pixel_metrics import row_blocks
from napari_topiary.postprocessing import COMMON_THRESHOLD
from napari_topiary.types import LabelImage, Prediction

LEAST_IOU = 0.5
"""Two objects are the same when they overlap by more than this; no object can have
two such partners."""
_FEW = 2**16
"""Numbers below this are counted in a table."""


@dataclass(frozen=True, kw_only=True)
class Overlaps:
    """Every pair of objects of two label images that share a pixel."""

    #: `first`, `second`: `(p,)` labels of each pair
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    #: `shared`, `iou`: `(p,)` common pixels, and common pixels over united pixels
    shared: NDArray[np.int64]
    iou: NDArray[np.float64]
    #: `first_area`, `second_area`: label -> area in pixels, background left out
    first_area: dict[int, int]
    second_area: dict[int, int]


def overlaps(
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    *,
    known: NDArray[np.bool_] | None = None,
) -> Overlaps:
    """Compare two label images `(y, x)`, 0 = background, any numbers otherwise.

    Only pairs that share a pixel are kept, so memory grows with the pairs, not with the
    number of objects squared.

    Parameters
    ----------
    first, second
        Label images.
    known
        `(y, x)` bool: pixels that count; None = all.
    """
    blocks = []
    for rows in row_blocks(first.shape):
        inside = slice(None) if known is None else known[rows]
        blocks.append(_counted(first[rows][inside], second[rows][inside]))
    a, b, pixels = (np.concatenate(part) for part in zip(*blocks, strict=True))
    labels_a, i = np.unique(a, return_inverse=True)
    labels_b, j = np.unique(b, return_inverse=True)
    pair, at = np.unique(i * len(labels_b) + j, return_inverse=True)
    shared = np.bincount(at, weights=pixels).astype(np.int64)
    i, j = np.divmod(pair, max(len(labels_b), 1))
    area_a, area_b = (
        np.bincount(index, weights=shared).astype(np.int64) for index in (i, j)
    )
    both = (labels_a[i] != 0) & (labels_b[j] != 0)
    i, j, shared = i[both], j[both], shared[both]
    return Overlaps(
        first=labels_a[i],
        second=labels_b[j],
        shared=shared,
        iou=shared / (area_a[i] + area_b[j] - shared),
        first_area=_areas(labels_a, area_a),
        second_area=_areas(labels_b, area_b),
    )


def _counted(
    first: NDArray[np.integer], second: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of labels of the same pixels, background as well, and their pixels."""
    labels_a, a = _ranks(first)
    labels_b, b = _ranks(second)
    pair, pixels = np.unique(a * max(len(labels_b), 1) + b, return_counts=True)
    i, j = np.divmod(pair, max(len(labels_b), 1))
    return labels_a[i], labels_b[j], pixels


def centroids(
    labels: LabelImage, area: NDArray[np.bool_] | None = None
) -> dict[int, tuple[float, float]]:
    """Middle `(y, x)` of every labelled area of `(y, x)`, background left out.

    Parameters
    ----------
    labels
        Object numbers.
    area
        `(y, x)` bool: pixels that count; None = all.
    """
    sums: dict[int, NDArray[np.float64]] = {}
    for rows in row_blocks(labels.shape):
        part = labels[rows] if area is None else labels[rows] * area[rows]
        y, x = np.nonzero(part)
        numbers, index, size = np.unique(
            part[y, x], return_inverse=True, return_counts=True
        )
        far = [np.bincount(index, weights=at) for at in (y + rows.start, x)]
        for number, values in zip(
            numbers.tolist(), np.stack([*far, size], axis=1), strict=True
        ):
            sums[number] = sums.get(number, 0.0) + values
    return {
        number: (float(y / size), float(x / size))
        for number, (y, x, size) in sorted(sums.items())
    }


def instance_metrics(
    truth: NDArray[np.integer], found: NDArray[np.integer]
) -> dict[str, Any]:
    """Instance metrics of one image; averaged over images without weights.

    Parameters
    ----------
    truth
        `(y, x)` object numbers, 0 = background, negative = unknown (left out of both).
    found
        `(y, x)` object numbers, 0 = background.

    Returns
    -------
    dict
        `aji`, `pq`, `dq`, `sq`, and the counts `true_positives`, `false_positives`,
        `false_negatives`. Both empty: all scores 1; one empty: all 0.
    """
    pairs = overlaps(truth, found, known=truth >= 0)
    n_true, n_found = len(pairs.first_area), len(pairs.second_area)
    same = pairs.iou > LEAST_IOU
    hits = int(same.sum())
    counts = {
        "true_positives": hits,
        "false_positives": n_found - hits,
        "false_negatives": n_true - hits,
    }
    if n_true == 0 or n_found == 0:
        score = 1.0 if n_true == n_found else 0.0
        return {"aji": score, "pq": score, "dq": score, "sq": score, **counts}
    dq = hits / (hits + 0.5 * (n_found - hits) + 0.5 * (n_true - hits))
    sq = float(pairs.iou[same].mean()) if hits else 0.0
    return {"aji": _aji(pairs), "pq": dq * sq, "dq": dq, "sq": sq, **counts}


def _aji(pairs: Overlaps) -> float:
    """Aggregated Jaccard index; a found object may be chosen more than once."""
    shared, united = 0, 0
    chosen: set[int] = set()
    matched: set[int] = set()
    # Ascending IoU, so that the last entry of each true object is its best partner.
    order = np.argsort(pairs.iou, kind="stable")
    best = {int(pairs.first[p]): int(p) for p in order}
    for there, p in best.items():
        mine = int(pairs.second[p])
        common = int(pairs.shared[p])
        shared += common
        united += pairs.first_area[there] + pairs.second_area[mine] - common
        chosen.add(mine)
        matched.add(there)
    united += sum(a for label, a in pairs.first_area.items() if label not in matched)
    united += sum(a for label, a in pairs.second_area.items() if label not in chosen)
    return shared / united


def _ranks(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The different numbers, and which of them every pixel has `(pixels,)`."""
    flat = labels.ravel()
    if flat.size and flat.min() >= 0 and flat.max() < max(_FEW, flat.size):
        # Many times faster than sorting all pixels.
        there = np.bincount(flat.astype(np.int64)) > 0
        return np.flatnonzero(there).astype(np.int64), (np.cumsum(there) - 1)[flat]
    numbers, index = np.unique(flat, return_inverse=True)
    # Numbers above the largest int64 wrap round, but stay distinct and not 0.
    return numbers.astype(np.int64), index.astype(np.int64)


def _areas(labels: NDArray[Any], areas: NDArray[np.integer]) -> dict[int, int]:
    return {
        int(label): int(area)
        for label, area in zip(labels, areas, strict=True)
        if label != 0
    }


def branch_metrics(
    objects: LabelImage, prediction: Prediction, *, relative_to: DistanceScale
) -> dict[str, float]:
    """Dice of the foreground and error of the distance, before objects are made.

    Parameters
    ----------
    objects
        `(y, x)` true object numbers, 0 = background, negative = unknown (left out).
    prediction
        Of the same image.
    relative_to
        What is 1 in the distance map.

    Returns
    -------
    dict
        `segmentation_dice` at a threshold of 0.5 and `distance_rmse` (root of the mean
        square error); empty for networks without a distance map.
    """
    if prediction.regression is None:
        return {}
    known = objects >= 0
    there = objects[known] > 0
    foreground = to_original(prediction.probability, prediction.shape)[1]
    distance = to_original(prediction.regression, prediction.shape)[0]
    true = distance_map(np.maximum(objects, 0), relative_to=relative_to)
    error = (distance.astype(np.float64) - true)[known]
    return {
        "segmentation_dice": dice(there, foreground[known] >= COMMON_THRESHOLD),
        "distance_rmse": float(np.sqrt(np.mean(error**2))) if error.size else 0.0,
    }


def dice(there: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """Dice of two masks; 1 if both are empty."""
    total = int(there.sum()) + int(found.sum())
    return 2 * int((there & found).sum()) / total if total else 1.0
