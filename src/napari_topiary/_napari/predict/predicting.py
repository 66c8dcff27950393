"""Running a checkpoint over the images of a project; no Qt, for a worker thread."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.networks.base import Network
from napari_topiary.prediction import as_channels, predict
from napari_topiary.resample import Window
from napari_topiary.types import Job, Prediction, Progress, Stop


@dataclass(frozen=True)
class Wanted:
    """An image to predict.

    Parameters
    ----------
    name
        Of the image.
    image
        `(c, y, x)`.
    scale
        nm per pixel, None if unknown.
    window
        Only this part, in image pixels; None = all of it.
    """

    name: str
    image: NDArray[np.generic]
    scale: float | None
    window: Window | None = None


@dataclass(frozen=True)
class Answer:
    """What came of one image: a prediction, or a sentence that says why not."""

    wanted: Wanted
    prediction: Prediction | None
    problem: str = ""


def predicting(
    wanted: Sequence[Wanted],
    checkpoint: Checkpoint,
    config: PredictConfig,
    *,
    convert: bool = False,
) -> Job[int]:
    """Predict images one after the other; each answer is reported when it is there.

    Parameters
    ----------
    wanted
        Which.
    checkpoint
        What to run; its network is built once.
    config
        Tiles, device, and how the probability is read.
    convert
        Make colour images grey, or grey ones colour, as the network needs it.

    Returns
    -------
    int
        How many images were predicted, wholly or in part.
    """
    network, done = checkpoint.build(), 0
    for number, one in enumerate(wanted):
        where = f" {number + 1} of {len(wanted)}" if len(wanted) > 1 else ""
        try:
            prediction, stopped = yield from _shared(
                _predict(one, checkpoint, config, network, convert),
                (number, len(wanted)),
                f"Predicting {one.name}{where}",
            )
            answer = Answer(one, prediction)
            done += 1
        except TopiaryError as reason:
            answer, stopped = Answer(one, None, str(reason)), False
        message = yield Progress(number + 1, len(wanted), report=answer)
        if stopped or message is Stop:
            break
    return done


def can_convert(image: NDArray[np.generic], checkpoint: Checkpoint) -> bool:
    """Whether an image only lacks the right number of colours for a network.

    Parameters
    ----------
    image
        `(c, y, x)`.
    checkpoint
        Knows how many channels the network takes.
    """
    channels, needed = image.shape[0], checkpoint.in_channels
    return channels != needed and {channels, needed} <= {1, 3}


def _shared(
    job: Job[Prediction], place: tuple[int, int], words: str
) -> Generator[Progress, object, tuple[Prediction, bool]]:
    """Drive the job of one image; its progress counts as a part of all images."""
    number, total = place
    message: object = None
    stopped = False
    while True:
        try:
            progress = job.send(message)
        except StopIteration as end:
            return end.value, stopped
        eta = progress.eta_s if number == total - 1 else None
        message = yield Progress(number + progress.fraction, total, words, eta)
        stopped = stopped or message is Stop


def _predict(
    wanted: Wanted,
    checkpoint: Checkpoint,
    config: PredictConfig,
    network: Network,
    convert: bool,
) -> Job[Prediction]:
    image = wanted.image
    if convert and can_convert(image, checkpoint):
        image = as_channels(image, checkpoint.in_channels)
    return (
        yield from predict(
            image,
            checkpoint,
            config,
            scale=wanted.scale,
            network=network,
            window=wanted.window,
        )
    )
