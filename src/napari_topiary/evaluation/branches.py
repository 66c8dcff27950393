"""What each branch of a network with a distance map is worth by itself.

Figures as Mahbod et al. 2022 give them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import distance_map
from napari_topiary.config import DistanceScale
from napari_topiary.data.working_grid import to_original
from napari_topiary.postprocessing import COMMON_THRESHOLD
from napari_topiary.types import LabelImage, Prediction


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
        "segmentation_dice": _dice(there, foreground[known] >= COMMON_THRESHOLD),
        "distance_rmse": float(np.sqrt(np.mean(error**2))) if error.size else 0.0,
    }


def _dice(there: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """Dice; 1 where both are empty."""
    total = int(there.sum()) + int(found.sum())
    return 2 * int((there & found).sum()) / total if total else 1.0
