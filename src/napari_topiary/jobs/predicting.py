"""Running a checkpoint over images, reading what it said anew, and writing it out."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig, PredictConfig
from napari_topiary.errors import NotWritten, TopiaryError, sentence_for
from napari_topiary.inference.cluster import Cluster, engine_for
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.exporting import OBJECTS_ENDING, write_summary
from napari_topiary.inference.large import (
    LargePrediction,
    Said,
    predict_large,
    predict_window,
)
from napari_topiary.inference.measures import Counted, objects_table, summary_rows
from napari_topiary.inference.predict import predict
from napari_topiary.inference.results import write_prediction, write_tables
from napari_topiary.inference.suitability import as_channels
from napari_topiary.io.atomic import writing
from napari_topiary.io.image_files import SUMMARY
from napari_topiary.io.large_images import AnyImage, LargeImage
from napari_topiary.io.run_crate import Run, write_crate
from napari_topiary.io.tables import write_table
from napari_topiary.io.targets import WRITER, written_by_topiary
from napari_topiary.io.user_folder import cache_folder
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.registry import program_version
from napari_topiary.session.project import CHECKPOINTS
from napari_topiary.types import Job, Prediction, Progress, Stop, Window, relay

PREDICTIONS = "predictions"
KEPT_S = 7 * 24 * 3600
"""Results of large images in projects that have no folder are kept for a week."""


@dataclass(frozen=True, kw_only=True)
class ProjectImage:
    """An image of the project, or a part of it, that networks look at.

    Parameters
    ----------
    name
        Of the image.
    image
        `(c, y, x)`, at hand or large.
    scale
        nm per pixel, None if unknown.
    annotations
        What is drawn on it, where that is asked for.
    window
        Only this part, in image pixels; None = all of it.
    first
        Of a large image, the part that is looked at first.
    """

    name: str
    image: AnyImage
    scale: float | None
    annotations: tuple[Any, ...] = ()
    window: Window | None = None
    first: Window | None = None

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


@dataclass(frozen=True)
class Meanwhile:
    """What a network has said so far about a large image."""

    wanted: ProjectImage
    said: Said


def predicting(
    wanted: Sequence[ProjectImage],
    checkpoint: Checkpoint,
    config: PredictConfig,
    *,
    convert: bool = False,
    folder: Path | None = None,
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
    report = inner.report
    told = Meanwhile(wanted, report) if isinstance(report, Said) else None
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
    return (
        yield from predict_large(
            image,
            checkpoint,
            config,
            scale=wanted.scale,
            folder=home,
            stem=wanted.name,
            engine=engine,
            convert=convert,
            measure=True,
            stored="uint8",
            first=wanted.first,
            keep=True,
        )
    )


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
    *("_probability.zarr", "_labels.zarr"),
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
    source
        File of the image, None if it is in none.
    """

    prediction: Prediction | LargePrediction
    checkpoint: Checkpoint
    network: str
    config: DetectConfig
    source: Path | None = None

    @property
    def counted(self) -> Prediction | Counted:
        """What can be counted and measured."""
        found = self.prediction
        return found.found if isinstance(found, LargePrediction) else found

    def stem(self, name: str) -> str:
        """Return what the names of files begin with, by the name of the image."""
        found = self.prediction
        if isinstance(found, LargePrediction) or found.corner is None:
            return name
        y, x = (round(at) for at in found.corner)
        return f"{name} y{y} x{x}"  # a part of a large image, in its own pixels


def summary(found: Mapping[str, Found]) -> list[dict[str, Any]]:
    """Counts and densities of all images, and what they rest on, as `summary_rows`."""
    return [
        row
        for name, one in found.items()
        for row in summary_rows(
            one.stem(name),
            one.counted,
            thresholds=PostProcessing.of(one.checkpoint, one.config).thresholds,
            network=one.network,
        )
    ]


def already_there(folder: Path, found: Mapping[str, Found]) -> list[Path]:
    """Files that an export would replace; refuses those that Topiary did not write."""
    stems = [one.stem(name) for name, one in found.items()]
    names = [f"{stem}{ending}" for stem in stems for ending in ENDINGS]
    there = [path for n in (*names, SUMMARY) if (path := folder / n).exists()]
    for path in there:
        if not written_by_topiary(path):
            raise TopiaryError(
                f"{path.name} in this folder is no result of Topiary and would be "
                "replaced: choose another folder."
            )
    return there


def export(
    folder: Path, found: Mapping[str, Found], *, project: Path | None = None
) -> list[Path]:
    """Write the maps and tables of all images; returns the files.

    Beside them stands how they came about, as beside what the command line writes.

    Parameters
    ----------
    folder
        Made if it is not there.
    found
        By the name of the image.
    project
        Folder of the project, whose networks are in its files; None = not saved yet.
    """
    files: list[Path] = []
    begun = time.time()
    try:
        for name, one in found.items():
            stem = one.stem(name)
            stale = folder / f"{stem}_lines.csv"
            if isinstance(one.prediction, LargePrediction):
                written = _copied(folder, stem, one.prediction)
            else:
                written = write_prediction(folder, stem, prediction=one.prediction)
            if "lines" not in written:
                stale.unlink(missing_ok=True)
            written["objects"] = folder / f"{stem}{OBJECTS_ENDING}"
            write_table(written["objects"], objects_table(one.counted))
            files += written.values()
        files.append(write_summary(folder, summary(found)))
        _record(folder, found, files, project, begun)
    except OSError as reason:
        raise TopiaryError(
            f"The folder {folder} cannot be written to ({reason.strerror}): choose "
            "another one."
        ) from reason
    return files


def _record(
    folder: Path,
    found: Mapping[str, Found],
    files: Sequence[Path],
    project: Path | None,
    begun: float,
) -> None:
    """Say beside results how they came about: a run for each way to predict."""
    ways: dict[tuple[str, DetectConfig], list[str]] = {}
    for name, one in found.items():
        ways.setdefault((one.network, one.config), []).append(name)
    for (network, config), names in ways.items():
        checkpoint = Path(f"{network}.safetensors")
        if project is not None:
            checkpoint = project / CHECKPOINTS / checkpoint
        sources = [path for n in names if (path := found[n].source) is not None]
        settings = [
            f"--{row.name.replace('_', '-')}={value:g}"
            for row in fields(config)
            if (value := getattr(config, row.name)) not in (None, row.default)
        ]
        words = [str(found[n].source or n) for n in names]
        command = [WRITER, "predict", str(checkpoint), *words, *settings]
        run = Run(
            command=shlex.join([*command, "--out", str(folder)]),
            version=program_version(),
            inputs=[checkpoint, *sources],
            outputs=files,
            begun=begun,
            ended=time.time(),
        )
        try:
            write_crate(folder, run)
        except NotWritten:
            return  # a full disk: the results themselves are what matters


def _copied(folder: Path, stem: str, found: LargePrediction) -> dict[str, Path]:
    """Copy the maps of a large image, and write what was detected."""
    written: dict[str, Path] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for what, source in found.files.items():
        written[what] = folder / f"{stem}_{what}.zarr"
        if written[what].resolve() == source.resolve():
            continue
        with writing(written[what]) as beside:
            shutil.copytree(source, beside, dirs_exist_ok=True)
    return written | write_tables(folder, stem, found=found.found, filaments=False)
