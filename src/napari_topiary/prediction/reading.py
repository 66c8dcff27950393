"""Probability -> labels and detections, the way a checkpoint means it; live."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.instances import (
    class_labels,
    find_detections,
    label_objects,
    threshold_of,
)
from napari_topiary.resample import to_original, working_to_original_coords
from napari_topiary.types import Detections, LabelImage, Prediction

AS_LEARNED = DetectConfig()
"""Thresholds from the checkpoint, nothing thinned out or dropped beyond the default."""


def interpret(
    probability: NDArray[np.floating],
    shape: tuple[int, int],
    *,
    checkpoint: Checkpoint,
    config: DetectConfig = AS_LEARNED,
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

    Returns
    -------
    tuple
        Labels `(y, x)` and detections, both in pixels of the image.
    """
    task, limits = checkpoint.task, thresholds_for(checkpoint, config)
    working = (probability.shape[1], probability.shape[2])
    if task.kind == "instances":
        ratio = (working[0] * working[1]) / (shape[0] * shape[1])
        objects = label_objects(
            probability[1],
            threshold=limits[task.classes[1]],
            min_size=round(config.min_size_px * ratio),
        )
        return _nearest(objects, shape), Detections.empty()
    labels = class_labels(to_original(probability, shape), task=task, threshold=limits)
    if config.min_size_px > 1:
        labels = _without_specks(labels, config.min_size_px)
    if task.kind == "segment":
        return labels, Detections.empty()
    found = find_detections(
        probability,
        task=task,
        radius_px=working_radii(checkpoint),
        threshold=limits,
        spacing=config.spacing,
        line_classes=line_classes(checkpoint),
    )
    return labels, replace(
        found,
        coordinates=working_to_original_coords(found.coordinates, shape, working),
        lines=tuple(
            working_to_original_coords(line, shape, working) for line in found.lines
        ),
    )


def reinterpret(
    prediction: Prediction, checkpoint: Checkpoint, config: DetectConfig
) -> Prediction:
    """Return a prediction read anew with other settings."""
    labels, detections = interpret(
        prediction.probability, prediction.shape, checkpoint=checkpoint, config=config
    )
    return replace(prediction, labels=labels, detections=detections)


def thresholds_for(checkpoint: Checkpoint, config: DetectConfig) -> dict[str, float]:
    """Threshold of every class: the form's, else the best on the hold-out, else 0.5."""
    given = config.threshold
    source = checkpoint.thresholds if given is None else given
    return {name: threshold_of(name, source) for name in checkpoint.task.classes[1:]}


def line_classes(checkpoint: Checkpoint) -> frozenset[str]:
    """Classes that were annotated with centerlines: filaments, not particles."""
    names = checkpoint.annotations_summary.get("line_classes", ())
    return frozenset(str(name) for name in names)


def working_radii(checkpoint: Checkpoint) -> dict[str, float]:
    """Radius of each class in working pixels, where it is known."""
    task = checkpoint.task
    return {
        name: radius / checkpoint.working_factor
        for name in task.classes[1:]
        if (radius := task.radius(name, checkpoint.pixel_size_nm)) is not None
    }


def _nearest(labels: LabelImage, shape: tuple[int, int]) -> LabelImage:
    """Labels `(h, w)` on a grid of `shape`, every pixel from the one it lies in."""
    if labels.shape == shape:
        return labels
    rows, columns = (
        ((np.arange(n) + 0.5) * own / n).astype(np.intp)
        for n, own in zip(shape, labels.shape, strict=True)
    )
    stretched: LabelImage = labels[rows[:, None], columns]
    return stretched


def _without_specks(labels: NDArray[np.uint8], smallest: int) -> NDArray[np.uint8]:
    """Set connected areas of a class with fewer pixels to background."""
    result = labels.copy()
    for index in range(1, int(labels.max(initial=0)) + 1):
        areas, count = ndi.label(labels == index)
        small = np.bincount(areas.ravel(), minlength=count + 1) < smallest
        small[0] = False
        result[small[areas]] = 0
    return result
