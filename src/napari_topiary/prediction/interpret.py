"""Reading a probability the way a checkpoint means it; live, no network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.instances import Seeds, threshold_of
from napari_topiary.reading import Reading
from napari_topiary.types import Detections, LabelImage, Prediction

AS_LEARNED = DetectConfig()
"""Thresholds from the checkpoint, spacing of one radius, nothing dropped."""


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


def reading_of(checkpoint: Checkpoint, config: DetectConfig = AS_LEARNED) -> Reading:
    """How a checkpoint's probability is read under a form.

    Parameters
    ----------
    checkpoint
        Knows radii, thresholds and which classes are filaments.
    config
        Its threshold, where given, wins over the checkpoint's.
    """
    task = checkpoint.task
    given = config.threshold
    limits = checkpoint.thresholds if given is None else given
    names = checkpoint.annotations_summary.get("line_classes", ())
    return Reading(
        thresholds={name: threshold_of(name, limits) for name in task.classes[1:]},
        radius_px={
            name: radius / checkpoint.working_factor
            for name in task.classes[1:]
            if (radius := task.radius(name, checkpoint.pixel_size_nm)) is not None
        },
        line_classes=frozenset(str(name) for name in names),
        spacing=config.spacing,
        min_size_px=config.min_size_px,
        seeds=Seeds(
            config.seed_smoothing_px,
            config.seed_spacing_px,
            config.seed_height,
            config.fill_holes,
        ),
    )
