"""Probability -> class labels, with a threshold of its own for every class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from napari_topiary.types import Task

COMMON_THRESHOLD = 0.5
"""Where a checkpoint knows nothing better, and where all are compared alike."""


def threshold_of(name: str, threshold: float | Mapping[str, float]) -> float:
    """Threshold of class `name`: one for all, or per class with 0.5 where missing."""
    if isinstance(threshold, Mapping):
        return float(threshold.get(name, COMMON_THRESHOLD))
    return float(threshold)


def class_labels(
    probability: NDArray[np.floating],
    *,
    task: Task,
    threshold: float | Mapping[str, float],
) -> NDArray[np.uint8]:
    """Class index of every pixel, 0 where no class reaches its threshold.

    Where several do, the one that exceeds its own threshold by the largest factor
    wins; with equal thresholds that is the most probable one.

    Parameters
    ----------
    probability
        `(k, y, x)`, class order of the task.
    task
        Names the classes.
    threshold
        One for all classes, or class name -> threshold.
    """
    limits = [threshold_of(name, threshold) for name in task.classes]
    labels: NDArray[np.uint8] = (probability[1] >= limits[1]).astype(np.uint8)
    if len(limits) == 2:
        return labels
    best = probability[1] / max(limits[1], 1e-6)
    for index in range(2, len(limits)):
        ratio = probability[index] / max(limits[index], 1e-6)
        better = (probability[index] >= limits[index]) & (ratio > best)
        labels[better] = index
        np.copyto(best, ratio, where=better)
    return labels
