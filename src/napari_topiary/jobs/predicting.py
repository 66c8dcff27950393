"""Running a checkpoint over images, and reading what it said anew."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig, PredictConfig
from napari_topiary.errors import NotWritten, sentence_for
from napari_topiary.inference.cluster import Cluster, engine_for
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.large.finding import MapsSoFar
from napari_topiary.inference.large.measuring import predict_window
from napari_topiary.inference.large.running import predict_large
from napari_topiary.inference.large.writing import LargePrediction, ResultFiles
from napari_topiary.inference.network_input import as_channels
from napari_topiary.inference.predict import predict
from napari_topiary.io.large_images import AnyImage, LargeImage
from napari_topiary.io.own_files import cache_folder
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Job, Prediction, Progress, Stop, Window, relay

PREDICTIONS = "predictions"
KEPT_S = 7 * 24 * 3600
"""Results of large images in projects that have no folder are kept for a week."""


@dataclass(frozen=True, kw_only=True)
class ProjectImage:
    """An image of the project, or a part of it, that networks look at."""

    name: str
    image: AnyImage  #: `(c, y, x)`, at hand or large
    scale: float | None  #: nm per pixel, None if unknown
    annotations: tuple[Any, ...] = ()  #: What is drawn on it, where that is asked for
    window: Window | None = None  #: Only this part, in image pixels; None = all of it
    first: Window | None = None  #: Of a large image, the part that is looked at first

    @property
    def is_large(self) -> bool:
        """Whether its pixels are read when they are asked for."""
        return isinstance(self.image, LargeImage)


@dataclass(frozen=True)
class Answer:
    """What came of one image: a prediction, or a sentence that says why not."""

    wanted: ProjectImage
    prediction: Prediction | LargePrediction | None
    problem: str = ""

    @property
    def was_stopped(self) -> bool:
        """Whether less was looked at than was asked for."""
        if self.prediction is None or self.wanted.window is not None:
            return False
        if isinstance(self.prediction, LargePrediction):
            return not self.prediction.complete
        return self.prediction.done is not None


@dataclass(frozen=True)
class Meanwhile:
    """What a network has said so far about a large image."""

    wanted: ProjectImage
    so_far: MapsSoFar


def predicting(
    wanted: Sequence[ProjectImage],
    checkpoint: Checkpoint,
    config: PredictConfig,
    *,
    convert: bool = False,
    folder: Path | None = None,
) -> Job[int]:
    """Predict images one after the other; each answer is reported when it is there.

    What is to be said of an image before it is looked at is reported as a sentence.

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
    folder
        Where results of large images go.

    Returns
    -------
    int
        How many images were predicted, wholly or in part.
    """
    done = 0
    heard: list[object] = []
    with engine_for(checkpoint, config) as engine:
        for number, one in enumerate(wanted):
            try:
                prediction = yield from relay(
                    _predict(one, checkpoint, config, engine, convert, folder),
                    told=partial(_as_part, number, len(wanted), one),
                    heard=heard.append,
                )
                answer = Answer(one, prediction)
                done += 1
            except Exception as error:  # the other images are predicted, whatever it is
                words = sentence_for(error, f"Predicting {one.name}")
                answer = Answer(one, None, words)
            message = yield Progress(number + 1, len(wanted), report=answer)
            if Stop in (message, *heard):
                break
    return done


def can_convert(image: AnyImage, checkpoint: Checkpoint) -> bool:
    """Whether an image `(c, y, x)` only lacks the right number of colours."""
    channels, needed = image.shape[0], checkpoint.in_channels
    return channels != needed and {channels, needed} <= {1, 3}


def _as_part(
    number: int, total: int, wanted: ProjectImage, inner: Progress
) -> Progress:
    """Progress of one image, as a part of all images."""
    where = f" {number + 1} of {total}" if total > 1 else ""
    eta = inner.eta_s if number == total - 1 else None
    words = inner.message.replace("Predicting", f"Predicting {wanted.name}{where}", 1)
    told: object = None
    if isinstance(inner.report, MapsSoFar):
        told = Meanwhile(wanted, inner.report)
    elif isinstance(inner.report, str):
        told = f"{wanted.name}: {inner.report}"
    return Progress(number + inner.fraction, total, words, eta, told)


def _predict(
    wanted: ProjectImage,
    checkpoint: Checkpoint,
    config: PredictConfig,
    engine: Engine | Cluster,
    convert: bool,
    folder: Path | None,
) -> Job[Prediction | LargePrediction]:
    image, scale = wanted.image, wanted.scale
    if isinstance(image, LargeImage):
        job: Job[Prediction | LargePrediction] = _predict_large(
            wanted, image, checkpoint, config, engine, convert, folder
        )
        return (yield from job)
    if convert and can_convert(image, checkpoint):
        image = as_channels(image, checkpoint.in_channels)
    job = predict(
        image, checkpoint, config, scale=scale, network=engine, window=wanted.window
    )
    return (yield from job)


def _predict_large(
    wanted: ProjectImage,
    image: LargeImage,
    checkpoint: Checkpoint,
    config: PredictConfig,
    engine: Engine | Cluster,
    convert: bool,
    folder: Path | None,
) -> Job[Prediction | LargePrediction]:
    """Predict a part in memory, or all of it into files."""
    if wanted.window is not None:
        part = predict_window(
            image,
            checkpoint,
            config,
            scale=wanted.scale,
            window=wanted.window,
            engine=engine,
            convert=convert,
        )
        return (yield from part)
    home = (folder or large_results(None)) / checkpoint.hash[:12]
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritten(
            f"The results of {wanted.name} could not be written in {home} "
            f"({error.strerror or error}): save the project into another folder."
        ) from error
    whole = predict_large(
        image,
        checkpoint,
        config,
        scale=wanted.scale,
        engine=engine,
        into=ResultFiles(
            folder=home, stem=wanted.name, measure=True, stored="uint8", keep=True
        ),
        convert=convert,
        first=wanted.first,
    )
    return (yield from whole)


def large_results(project: Path | None) -> Path:
    """Return where results of large images go: beside a project, or for a while.

    Parameters
    ----------
    project
        Folder of the project; None = it has none yet.
    """
    if project is not None:
        return project / PREDICTIONS
    home = cache_folder() / PREDICTIONS
    for old in home.glob("*") if home.is_dir() else ():
        if time.time() - old.stat().st_mtime > KEPT_S:
            shutil.rmtree(old, ignore_errors=True)
    return home


def postprocess_again(
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


def postprocess_all(
    predictions: Mapping[str, tuple[Prediction, Checkpoint]], config: DetectConfig
) -> Job[dict[str, Prediction]]:
    """Read several probabilities anew; Stop drops what is left."""
    read: dict[str, Prediction] = {}
    for number, (name, (prediction, checkpoint)) in enumerate(predictions.items()):
        if (yield Progress(number, len(predictions), "Reading")) is Stop:
            break
        read[name] = PostProcessing.of(checkpoint, config).read(prediction)
    return read
