"""Running a checkpoint over the images of a project; no Qt, for a worker thread."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary._napari.canvas.visible import Window
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.networks.base import Network
from napari_topiary.prediction import (
    as_channels,
    checked_image,
    interpret,
    predict,
    working_factor_for,
)
from napari_topiary.resample import to_working
from napari_topiary.tile_boxes import round_up
from napari_topiary.tiles import infer
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
    if wanted.window is None:
        whole = predict(image, checkpoint, config, scale=wanted.scale, network=network)
        return (yield from whole)
    return (
        yield from _predict_part(
            replace(wanted, image=image), checkpoint, config, network
        )
    )


def _predict_part(
    wanted: Wanted, checkpoint: Checkpoint, config: PredictConfig, network: Network
) -> Job[Prediction]:
    """Predict a window of an image, with the same result as if all were predicted."""
    image = checked_image(wanted.image, checkpoint)
    factor, notes = working_factor_for(checkpoint, wanted.scale)
    working = to_working(checkpoint.normalisation.apply(image), factor)
    shape, grid = image.shape[1:], working.shape[1:]
    top, bottom, left, right = _on_grid(
        wanted.window or (0, shape[0], 0, shape[1]), shape, grid
    )
    stride, halo = network.stride, round_up(network.halo, network.stride)
    first = [max(0, at // stride * stride - halo) for at in (top, left)]
    result = yield from infer(
        network,
        working[:, first[0] : bottom + halo, first[1] : right + halo],
        tile=config.tile,
        device=config.device,
    )
    inside = np.s_[
        top - first[0] : bottom - first[0], left - first[1] : right - first[1]
    ]
    place = np.s_[top:bottom, left:right]
    done = np.zeros(grid, dtype=bool)
    done[place] = result.done[inside]
    probability = _placed(result.probability[:, *inside], place, done)
    regression = None
    if result.regression is not None:
        regression = _placed(result.regression[:, *inside], place, done)
    labels, detections = interpret(
        probability,
        shape,
        checkpoint=checkpoint,
        config=config.detect,
        regression=regression,
    )
    return Prediction(
        probability=probability,
        shape=shape,
        task=checkpoint.task,
        scale=wanted.scale,
        labels=labels,
        detections=detections,
        checkpoint=checkpoint.name or checkpoint.hash[:12],
        notes=(*notes, *result.notes),
        done=None if done.all() else done,
        regression=regression,
    )


def _placed(
    maps: NDArray[np.float32], place: tuple[slice, slice], done: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Maps `(k, ...)` of a part in their place among zeros `(k, y, x)`."""
    whole = np.zeros((len(maps), *done.shape), np.float32)
    whole[:, *place] = maps * done[place]
    return whole


def _on_grid(
    window: Window, shape: tuple[int, int], grid: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A window in image pixels as one on the grid that the network sees."""
    top, bottom, left, right = window
    rows, columns = grid[0] / shape[0], grid[1] / shape[1]
    return (
        int(np.floor(top * rows)),
        min(grid[0], int(np.ceil(bottom * rows))),
        int(np.floor(left * columns)),
        min(grid[1], int(np.ceil(right * columns))),
    )
