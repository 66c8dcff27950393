"""Reading probabilities anew with other settings; no Qt, for a worker thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.prediction import reading_of, reinterpret
from napari_topiary.types import Job, Prediction, Progress, Stop


def rereading(
    prediction: Prediction,
    checkpoint: Checkpoint,
    config: DetectConfig,
    *,
    labels: bool = True,
) -> Job[Prediction]:
    """Read a probability anew, with other thresholds; the network does not run.

    Parameters
    ----------
    prediction
        Made by the checkpoint.
    checkpoint
        Knows radii and thresholds.
    config
        The new settings.
    labels
        Whether the labels are wanted too; the detections alone are faster.
    """
    yield Progress(0, 0, "Reading")
    if labels:
        return reinterpret(prediction, checkpoint, config=config)
    found = reading_of(checkpoint, config).detections(
        prediction.probability, prediction.shape, prediction.task
    )
    return replace(prediction, detections=found)


def rereading_all(
    predictions: Mapping[str, tuple[Prediction, Checkpoint]], config: DetectConfig
) -> Job[dict[str, Prediction]]:
    """Read several probabilities anew; Stop drops what is left.

    Parameters
    ----------
    predictions
        Image name -> its prediction and what made it.
    config
        The new settings.
    """
    read: dict[str, Prediction] = {}
    for number, (name, (prediction, checkpoint)) in enumerate(predictions.items()):
        if (yield Progress(number, len(predictions), "Reading")) is Stop:
            break
        read[name] = reinterpret(prediction, checkpoint, config=config)
    return read
