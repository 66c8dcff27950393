"""An image and a checkpoint -> probability, labels and detections."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.networks.base import Network
from napari_topiary.prediction.interpret import interpret
from napari_topiary.prediction.suitability import checked_image, working_factor_for
from napari_topiary.resample import check_working_memory, to_working
from napari_topiary.tiles import infer
from napari_topiary.types import Job, Prediction

DEFAULTS = PredictConfig()


def predict(
    image: NDArray[Any],
    checkpoint: Checkpoint,
    config: PredictConfig = DEFAULTS,
    *,
    scale: float | None = None,
    network: Network | None = None,
) -> Job[Prediction]:
    """Run a network over an image and read its answer.

    Parameters
    ----------
    image
        `(c, y, x)` or, if grey, `(y, x)`; any numeric dtype.
    checkpoint
        What to run.
    config
        Tile size, device and how the answer is read.
    scale
        nm per pixel of the image, None if unknown.
    network
        The checkpoint's network, if it is built already.

    Yields
    ------
    Progress
        After every tile, with the time that is left. `Stop` may be sent in; the rest
        of the image is then empty and `done` says where the network has run.

    Returns
    -------
    Prediction
        With the probability on the working grid, everything else on the image's.

    Raises
    ------
    TopiaryError
        With a sentence if the image does not suit the network.
    """
    sentence = config.problem()
    if sentence is not None:
        raise TopiaryError(sentence)
    image = checked_image(image, checkpoint)
    factor, notes = working_factor_for(checkpoint, scale)
    shape = (image.shape[1], image.shape[2])
    maps = 2 * (len(image) + len(checkpoint.task.classes))  # copies on the way
    check_working_memory(shape, factor, maps)
    working = to_working(checkpoint.normalisation.apply(image), factor)
    result = yield from infer(
        network if network is not None else checkpoint.build(),
        working,
        tile=config.tile,
        device=config.device,
    )
    labels, detections = interpret(
        result.probability,
        shape,
        checkpoint=checkpoint,
        config=config.detect,
        regression=result.regression,
    )
    return Prediction(
        probability=result.probability,
        shape=shape,
        task=checkpoint.task,
        scale=scale,
        labels=labels,
        detections=detections,
        checkpoint=checkpoint.name or checkpoint.hash[:12],
        notes=(*notes, *result.notes),
        done=None if result.done.all() else result.done,
        regression=result.regression,
    )
