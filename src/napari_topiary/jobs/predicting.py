"""Running a checkpoint over images, reading what it said anew, and writing it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig, PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.cluster import Cluster, engine_for
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.exporting import OBJECTS_ENDING, write_summary
from napari_topiary.inference.measures import objects_table, summary_rows
from napari_topiary.inference.predict import predict
from napari_topiary.inference.results import write_prediction
from napari_topiary.inference.suitability import as_channels
from napari_topiary.io.image_files import SUMMARY
from napari_topiary.io.tables import write_table
from napari_topiary.io.targets import written_by_topiary
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Job, Prediction, Progress, Stop, Window, relay


@dataclass(frozen=True, kw_only=True)
class ProjectImage:
    """An image of the project, or a part of it, that networks look at.

    Parameters
    ----------
    name
        Of the image.
    image
        `(c, y, x)`.
    scale
        nm per pixel, None if unknown.
    annotations
        What is drawn on it, where that is asked for.
    window
        Only this part, in image pixels; None = all of it.
    """

    name: str
    image: NDArray[np.generic]
    scale: float | None
    annotations: tuple[Any, ...] = ()
    window: Window | None = None


@dataclass(frozen=True)
class Answer:
    """What came of one image: a prediction, or a sentence that says why not."""

    wanted: ProjectImage
    prediction: Prediction | None
    problem: str = ""


def predicting(
    wanted: Sequence[ProjectImage],
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
    with engine_for(checkpoint, config) as engine:
        return (yield from _one_by_one(wanted, checkpoint, config, engine, convert))


def _one_by_one(
    wanted: Sequence[ProjectImage],
    checkpoint: Checkpoint,
    config: PredictConfig,
    engine: Engine | Cluster,
    convert: bool,
) -> Job[int]:
    done = 0
    heard: list[object] = []
    for number, one in enumerate(wanted):
        try:
            prediction = yield from relay(
                _predict(one, checkpoint, config, engine, convert),
                told=partial(_as_part, number, len(wanted), one.name),
                heard=heard.append,
            )
            answer = Answer(one, prediction)
            done += 1
        except TopiaryError as reason:
            answer = Answer(one, None, str(reason))
        message = yield Progress(number + 1, len(wanted), report=answer)
        if Stop in (message, *heard):
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


def _as_part(number: int, total: int, name: str, inner: Progress) -> Progress:
    """Progress of one image, as a part of all images."""
    where = f" {number + 1} of {total}" if total > 1 else ""
    eta = inner.eta_s if number == total - 1 else None
    words = inner.message.replace("Predicting", f"Predicting {name}{where}", 1)
    return Progress(number + inner.fraction, total, words, eta)


def _predict(
    wanted: ProjectImage,
    checkpoint: Checkpoint,
    config: PredictConfig,
    engine: Engine | Cluster,
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
            network=engine,
            window=wanted.window,
        )
    )


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
    how = PostProcessing.of(checkpoint, config)
    if labels:
        return how.read(prediction)
    found = how.detections(prediction.probability, prediction.shape, prediction.task)
    return replace(prediction, detections=found)


def rereading_all(
    predictions: Mapping[str, tuple[Prediction, Checkpoint]], config: DetectConfig
) -> Job[dict[str, Prediction]]:
    """Read several probabilities anew; Stop drops what is left."""
    read: dict[str, Prediction] = {}
    for number, (name, (prediction, checkpoint)) in enumerate(predictions.items()):
        if (yield Progress(number, len(predictions), "Reading")) is Stop:
            break
        read[name] = PostProcessing.of(checkpoint, config).read(prediction)
    return read


ENDINGS = (
    *("_probability.tif", "_labels.tif", "_detections.csv", "_lines.csv"),
    OBJECTS_ENDING,
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found in one image, by whom, and how the probability was read.

    Parameters
    ----------
    prediction
        Read with `config`.
    checkpoint
        That made it.
    network
        How the project calls it.
    config
        Threshold, spacing and smallest size; what it leaves open is the checkpoint's.
    """

    prediction: Prediction
    checkpoint: Checkpoint
    network: str
    config: DetectConfig


def summary(found: Mapping[str, Found]) -> list[dict[str, Any]]:
    """Counts and densities of all images, and what they rest on, as `summary_rows`."""
    return [
        row
        for name, one in found.items()
        for row in summary_rows(
            name,
            one.prediction,
            thresholds=PostProcessing.of(one.checkpoint, one.config).thresholds,
            network=one.network,
        )
    ]


def already_there(folder: Path, found: Mapping[str, Found]) -> list[Path]:
    """Files that an export would replace; refuses those that Topiary did not write."""
    names = [f"{name}{ending}" for name in found for ending in ENDINGS]
    there = [path for n in (*names, SUMMARY) if (path := folder / n).exists()]
    for path in there:
        if not written_by_topiary(path):
            raise TopiaryError(
                f"{path.name} in this folder is no result of Topiary and would be "
                "replaced: choose another folder."
            )
    return there


def export(folder: Path, found: Mapping[str, Found]) -> list[Path]:
    """Write the maps and tables of all images; returns the files."""
    files: list[Path] = []
    try:
        for name, one in found.items():
            stale = folder / f"{name}_lines.csv"
            written = write_prediction(folder, name, prediction=one.prediction)
            if "lines" not in written:
                stale.unlink(missing_ok=True)
            written["objects"] = folder / f"{name}{OBJECTS_ENDING}"
            write_table(written["objects"], objects_table(one.prediction))
            files += written.values()
        files.append(write_summary(folder, summary(found)))
    except OSError as reason:
        raise TopiaryError(
            f"The folder {folder} cannot be written to ({reason.strerror}): choose "
            "another one."
        ) from reason
    return files
