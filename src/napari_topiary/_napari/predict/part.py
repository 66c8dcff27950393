"""A part of an image through a network, as if all of it were predicted; no Qt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_topiary._napari.canvas.visible import Window
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.networks.base import Network
from napari_topiary.prediction import checked_image, interpret, working_factor_for
from napari_topiary.resample import to_working
from napari_topiary.tile_boxes import round_up
from napari_topiary.tiles import infer
from napari_topiary.types import Job, Prediction


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


def predict_part(
    wanted: Wanted, checkpoint: Checkpoint, config: PredictConfig, network: Network
) -> Job[Prediction]:
    """Predict a window of an image, with the same result as if all were predicted.

    Parameters
    ----------
    wanted
        An image that suits the network, and the window.
    checkpoint
        What to run.
    config
        Tiles, device, and how the probability is read.
    network
        The checkpoint's network.
    """
    image = checked_image(wanted.image, checkpoint)
    factor, notes = working_factor_for(checkpoint, wanted.scale)
    working = to_working(checkpoint.normalisation.apply(image), factor)
    shape, grid = image.shape[1:], working.shape[1:]
    top, bottom, left, right = on_grid(
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


def on_grid(
    window: Window, shape: tuple[int, int], grid: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A window in image pixels as one on the grid that the network sees.

    Parameters
    ----------
    window
        In image pixels.
    shape, grid
        `(y, x)` of the image and of the grid.
    """
    top, bottom, left, right = window
    rows, columns = grid[0] / shape[0], grid[1] / shape[1]
    return (
        int(np.floor(top * rows)),
        min(grid[0], int(np.ceil(bottom * rows))),
        int(np.floor(left * columns)),
        min(grid[1], int(np.ceil(right * columns))),
    )
