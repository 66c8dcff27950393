"""How good each branch of a nuclei segmenter is, and the objects of both together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations.distances import object_distances
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.io.dataset import Sample
from napari_topiary.metrics import instance_metrics
from napari_topiary.prediction import predict
from napari_topiary.resample import to_original
from napari_topiary.studies.base import Measured
from napari_topiary.studies.bench import Bench
from napari_topiary.truth import truth_of
from napari_topiary.types import Job, Prediction

THRESHOLD = 0.5


def nuclei_quality(checkpoint: Checkpoint, bench: Bench) -> Job[Measured]:
    """Judge a nuclei segmenter image by image, averaged without weights.

    Parameters
    ----------
    checkpoint
        Of a network with a distance branch, or without (then there is no `rmse`).
    bench
        Images and device.

    Returns
    -------
    dict
        `dice` of the segmentation branch at 0.5, `rmse` of the distance branch (0..1),
        and of the objects `instance_dice, aji, pq, dq, sq`.
    """
    config = PredictConfig(device=bench.budget.device)  # type: ignore[arg-type]
    network = checkpoint.build()
    found: list[Measured] = []
    for sample in bench.judged:
        job = predict(
            sample.image, checkpoint, config, scale=sample.scale, network=network
        )
        prediction = yield from bench.heard(job)
        if bench.stopped:
            return {}
        found.append(of_image(prediction, sample))
    return averaged(found)


def of_image(prediction: Prediction, sample: Sample) -> Measured:
    """Hold one prediction against its image's annotations."""
    shape = prediction.shape
    truth = truth_of(
        sample.annotations, shape, task=prediction.task, scale=sample.scale
    )
    known = truth.classes >= 0
    there = truth.classes > 0
    sure = to_original(prediction.probability, shape)[1] >= THRESHOLD
    measured: Measured = {
        "dice": dice(there[known], sure[known]),
        "instance_dice": dice(there[known], (prediction.labels > 0)[known]),
    }
    if truth.objects is not None:
        scores = instance_metrics(truth.objects, prediction.labels)
        measured |= {name: scores[name] for name in ("aji", "pq", "dq", "sq")}
    if prediction.regression is not None:
        distance = to_original(prediction.regression, shape)[0]
        true = object_distances(sample.annotations, shape)
        error = (distance.astype(np.float64) - true)[known]
        measured["rmse"] = float(np.sqrt(np.mean(error**2)))
    return measured


def dice(there: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """Dice of two masks; 1 if both are empty."""
    total = int(there.sum()) + int(found.sum())
    return 2 * int((there & found).sum()) / total if total else 1.0


def averaged(images: Sequence[Measured]) -> Measured:
    """Mean over the images, each counting the same."""
    names = dict.fromkeys(name for image in images for name in image)
    return {
        name: float(np.mean([image[name] for image in images if name in image]))
        for name in names
    }
