"""Writing out what was found in the images of a project: maps, tables, counts."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.errors import NotWritten, TopiaryError
from napari_topiary.inference.exporting import OBJECTS_ENDING, write_summary
from napari_topiary.inference.large.writing import LargePrediction
from napari_topiary.inference.measures import Counted, objects_table, summary_rows
from napari_topiary.inference.results import write_prediction, write_tables
from napari_topiary.io.atomic import writing
from napari_topiary.io.image_files import SUMMARY
from napari_topiary.io.own_files import WRITER, written_by_topiary
from napari_topiary.io.run_crate import Run, is_edited, noting_tables, write_crate
from napari_topiary.io.tables import write_table
from napari_topiary.io.targets import check_file_target
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.registry import program_version
from napari_topiary.session.project import CHECKPOINTS
from napari_topiary.types import Prediction

ENDINGS = (
    *("_probability.tif", "_labels.tif", "_detections.csv", "_lines.csv"),
    *("_probability.zarr", "_labels.zarr"),
    OBJECTS_ENDING,
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found in one image, by whom, and how the probability was read."""

    prediction: Prediction | LargePrediction  #: Read with `config`
    checkpoint: Checkpoint  #: That made it
    network: str  #: How the project calls it
    #: Threshold, spacing and smallest size; what it leaves open is the checkpoint's
    config: DetectConfig
    source: Path | None = None  #: File of the image, None if it is in none

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
    places = [folder / name for name in (*names, SUMMARY)]
    for path in places:
        check_file_target(path)
    there = [path for path in places if path.exists()]
    for path in there:
        own = written_by_topiary(path)
        if not own or is_edited(path):
            what = (
                "was changed since Topiary wrote it"
                if own
                else "is no result of Topiary"
            )
            raise TopiaryError(
                f"{path.name} in this folder {what} and would be replaced: choose "
                "another folder."
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
        with noting_tables(folder):
            for name, one in found.items():
                files += _write_one(folder, one.stem(name), one)
            files.append(write_summary(folder, summary(found)))
        _record(folder, found, files, project, begun)
    except OSError as reason:
        raise TopiaryError(
            f"The folder {folder} cannot be written to ({reason.strerror}): choose "
            "another one."
        ) from reason
    return files


def _write_one(folder: Path, stem: str, one: Found) -> list[Path]:
    stale = folder / f"{stem}_lines.csv"
    if isinstance(one.prediction, LargePrediction):
        written = _copied(folder, stem, one.prediction)
    else:
        written = write_prediction(folder, stem, prediction=one.prediction)
    if "lines" not in written:
        stale.unlink(missing_ok=True)
    written["objects"] = folder / f"{stem}{OBJECTS_ENDING}"
    write_table(written["objects"], objects_table(one.counted))
    return list(written.values())


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
