"""Reading a probability the way a checkpoint means it; live, no network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.reading import AS_LEARNED, reading_of
from napari_topiary.types import Detections, LabelImage, Prediction


def interpret(
    probability: NDArray[np.floating],
    shape: tuple[int, int],
    *,
    checkpoint: Checkpoint,
    config: DetectConfig = AS_LEARNED,
    regression: NDArray[np.floating] | None = None,
) -> tuple[LabelImage, Detections]:
    """Read labels and detections from a probability; no network runs.

    Parameters
    ----------
    probability
        `(k, y, x)` on the working grid.
    shape
        `(y, x)` of the image in pixels.
    checkpoint
        Task, radii, and thresholds where the form leaves them open.
    config
        Threshold, spacing and smallest size (in pixels of the image; for labels).
    regression
        `(r, y, x)` on the working grid, where the network has such maps.

    Returns
    -------
    tuple
        Labels `(y, x)` and detections, both in pixels of the image.
    """
    reading, task = reading_of(checkpoint, config), checkpoint.task
    return (
        reading.labels(probability, shape, task, regression),
        reading.detections(probability, shape, task),
    )


def reinterpret(
    prediction: Prediction, checkpoint: Checkpoint, *, config: DetectConfig
) -> Prediction:
    """Return a prediction read anew with other settings.

    Parameters
    ----------
    prediction
        Made by the checkpoint.
    checkpoint
        As for `interpret`.
    config
        The new settings.
    """
    labels, detections = interpret(
        prediction.probability,
        prediction.shape,
        checkpoint=checkpoint,
        config=config,
        regression=prediction.regression,
    )
    return replace(prediction, labels=labels, detections=detections)
