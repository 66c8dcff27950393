"""Bringing two predictions to the same classes, and to where both have looked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.types import Detections, LabelImage, Prediction, Task

KINDS = {
    "detect": "detects particles",
    "segment": "segments classes",
    "instances": "separates objects",
}


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
