"""What became of every particle or object from prediction A to prediction B."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.detection_metrics import (
    match_points,
    points_inside,
    sample_points,
)
from napari_topiary.evaluation.object_metrics import Overlaps, centroids, overlaps
from napari_topiary.types import Detections, LabelImage, Prediction, Task

STATUSES = ("kept", "changed", "lost", "gained")

Path = NDArray[np.float64]
COVERED = 0.5
"""A line is kept when at least this share of its length is in the other one too; an
object without a partner is changed (cut, fused, resized), not lost, when the other
prediction has objects over at least this share of it."""
SAME_IOU = 0.5
"""Objects that overlap by more than this are the same."""
KINDS = {
    "detect": "detects particles",
    "segment": "segments classes",
    "instances": "separates objects",
}


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Particles or objects of A and B, each with its status.

    `kept` is in both, `changed` is in both with another class (particles) or another
    outline (objects), `lost` is in A only, `gained` in B only.
    """

    status: tuple[str, ...]  #: One of `STATUSES` each
    #: `(n, 2)` y, x in pixels of the image; where it is in both, B's
    coordinates: NDArray[np.float64]
    class_index: NDArray[np.int64]  #: `(n,)` class; where it is in both, B's
    #: `score_a`, `score_b`: `(n,)` scores, NaN where it is not; for objects the IoU
    #: with the best partner
    score_a: NDArray[np.float64]
    score_b: NDArray[np.float64]
    size: NDArray[np.float64]  #: `(n,)` area in pixels; 0 for particles

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
        status=tuple(row[0] for row in rows),
        coordinates=np.where(
            in_b[:, None],
            _taken(b.coordinates, index_b),
            _taken(a.coordinates, index_a),
        ),
        class_index=np.where(
            in_b, _taken(b.class_index, index_b), _taken(a.class_index, index_a)
        ),
        score_a=np.where(index_a >= 0, _taken(a.score, index_a), np.nan),
        score_b=np.where(in_b, _taken(b.score, index_b), np.nan),
        size=np.zeros(len(rows)),
    )


def _taken(values: NDArray[Any], index: NDArray[np.int64]) -> NDArray[Any]:
    """`values[index]`, and zeros where the index is negative."""
    result = np.zeros((len(index), *values.shape[1:]), dtype=values.dtype)
    known = index >= 0
    result[known] = values[index[known]]
    return result


@dataclass(frozen=True)
class LineChanges:
    """Traced filaments of A and B, each with its status."""

    #: `kept` (B's line), `lost` (A's) or `gained` (B's) each
    status: tuple[str, ...] = ()
    #: Paths `(v, 2)` y, x in pixels of the image
    lines: tuple[NDArray[np.float64], ...] = ()
    #: `line_class`, `line_score`: `(m,)` class index and score
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


def object_changes(
    a: LabelImage, b: LabelImage, *, area: NDArray[np.bool_] | None
) -> tuple[Changes, tuple[int, int]]:
    """Match the objects of two label images by their overlap; also count those of each.

    Parameters
    ----------
    a, b
        `(y, x)` object numbers, 0 = background.
    area
        `(y, x)` where both have looked; None = everywhere.
    """
    pairs = overlaps(a, b, known=area)
    rows = _object_rows(pairs)
    best_a, best_b = _best(pairs.first, pairs.iou), _best(pairs.second, pairs.iou)
    centres_a, centres_b = centroids(a, area), centroids(b, area)
    changes = Changes(
        status=tuple(status for status, _, _ in rows),
        coordinates=np.array(
            [centres_b[j] if j > 0 else centres_a[i] for _, i, j in rows]
        ).reshape(-1, 2),
        class_index=np.ones(len(rows), dtype=np.int64),
        score_a=np.array([best_a.get(i, 0.0) if i > 0 else np.nan for _, i, _ in rows]),
        score_b=np.array([best_b.get(j, 0.0) if j > 0 else np.nan for _, _, j in rows]),
        size=np.array(
            [
                pairs.second_area[j] if j > 0 else pairs.first_area[i]
                for _, i, j in rows
            ],
            dtype=np.float64,
        ),
    )
    return changes, (len(pairs.first_area), len(pairs.second_area))


def object_counts(
    a: LabelImage, b: LabelImage, *, area: NDArray[np.bool_] | None
) -> tuple[dict[str, int], tuple[int, int]]:
    """Count what `object_changes` finds by its status, and the objects of each."""
    pairs = overlaps(a, b, known=area)
    found = Counter(status for status, _, _ in _object_rows(pairs))
    counts = {status: found[status] for status in STATUSES}
    return counts, (len(pairs.first_area), len(pairs.second_area))


def _object_rows(pairs: Overlaps) -> list[tuple[str, int, int]]:
    """Every object with its status, its number in A and that in B; −1 = in neither."""
    same = pairs.iou > SAME_IOU
    partner = dict(
        zip(pairs.first[same].tolist(), pairs.second[same].tolist(), strict=True)
    )
    covered_a = _share_covered(pairs.first, pairs.shared, pairs.first_area)
    covered_b = _share_covered(pairs.second, pairs.shared, pairs.second_area)
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
    return rows


def _share_covered(
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


def aligned(a: Prediction, b: Prediction) -> tuple[Prediction, Prediction]:
    """Give both the same classes: A's, then those that only B knows.

    Raises
    ------
    TopiaryError
        If they are not of the same image or not of the same kind.
    """
    if a.shape != b.shape:
        raise TopiaryError(
            f"{a.checkpoint} was predicted on {a.shape[0]} x {a.shape[1]} pixels and "
            f"{b.checkpoint} on {b.shape[0]} x {b.shape[1]}: compare predictions of "
            "the same image."
        )
    if a.task.kind != b.task.kind:
        raise TopiaryError(
            f"{a.checkpoint} {KINDS[a.task.kind]} and {b.checkpoint} "
            f"{KINDS[b.task.kind]}: compare networks that do the same."
        )
    if a.task.kind == "instances" or a.task.classes == b.task.classes:
        return a, b
    classes = a.task.classes + tuple(
        name for name in b.task.classes if name not in a.task.classes
    )
    task = Task(
        a.task.kind,
        classes,
        {**b.task.radius_nm, **a.task.radius_nm},
        {**b.task.radius_px, **a.task.radius_px},
    )
    return _renumbered(a, task), _renumbered(b, task)


def both_looked(a: Prediction, b: Prediction) -> NDArray[np.bool_] | None:
    """Where `(y, x)` in the image both networks have run; None = everywhere."""
    looked: NDArray[np.bool_] | None = None
    for prediction in (a, b):
        if prediction.done is None:
            continue
        rows, columns = (
            ((np.arange(n) + 0.5) * own / n).astype(np.intp)
            for n, own in zip(prediction.shape, prediction.done.shape, strict=True)
        )
        here = prediction.done[rows[:, None], columns]
        looked = here if looked is None else looked & here
    return looked


def class_labels_of(prediction: Prediction) -> LabelImage:
    """Class index `(y, x)`; for instances 1 where there is an object."""
    if prediction.task.kind == "instances":
        return (prediction.labels > 0).astype(np.uint8)
    return prediction.labels


def _renumbered(prediction: Prediction, task: Task) -> Prediction:
    """Number the classes as another task does, which knows them all."""
    to = np.array([task.classes.index(name) for name in prediction.task.classes])
    maps = np.zeros((len(task.classes), *prediction.probability.shape[1:]), np.float32)
    maps[to] = prediction.probability
    found = prediction.detections
    detections: Detections = replace(
        found,
        class_index=to[found.class_index].astype(np.int64),
        line_class=to[found.line_class].astype(np.int64),
    )
    return replace(
        prediction,
        task=task,
        probability=maps,
        labels=to[prediction.labels],
        detections=detections,
    )
