"""Writing out what was found in the images of a project: maps, tables, counts."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from glob import escape
from pathlib import Path
from typing import Any

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.errors import NotWritten, TopiaryError
from napari_topiary.inference.large.writing import LargePrediction
from napari_topiary.inference.leftovers import LABELS, RESULTS, remove_leftovers
from napari_topiary.inference.measures import Counted, summary_rows
from napari_topiary.inference.overlay import overlay_of
from napari_topiary.inference.result_exports import (
    OBJECTS,
    PICTURE,
    export_endings,
    export_kinds,
    export_problem,
    write_exports,
    write_summary,
)
from napari_topiary.inference.results import write_prediction, write_tables
from napari_topiary.io.atomic import writing
from napari_topiary.io.image_files import SUMMARY
from napari_topiary.io.large_images import AnyImage, LargeImage
from napari_topiary.io.output_files import check_file_target
from napari_topiary.io.own_files import WRITER, written_by_topiary
from napari_topiary.io.run_crate import Run, is_edited, noting_tables, write_crate
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.registry import program_version
from napari_topiary.session.project import CHECKPOINTS
from napari_topiary.types import Prediction

ALWAYS = (OBJECTS,)
"""What is exported without being asked for."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found in one image, by whom, and how the probability was read."""

    prediction: Prediction | LargePrediction  #: Read with `config`
    checkpoint: Checkpoint  #: That made it
    network: str  #: How the project calls it
    #: Threshold, spacing and smallest size; what it leaves open is the checkpoint's
    config: DetectConfig
    source: Path | None = None  #: File of the image, None if it is in none
    image: AnyImage | None = None  #: That was looked at, None if it is not at hand

    @property
    def counted(self) -> Prediction | Counted:
        """What can be counted and measured."""
        found = self.prediction
        return found.found if isinstance(found, LargePrediction) else found

    @property
    def is_whole(self) -> bool:
        """Whether all of the image was to be looked at."""
        found = self.prediction
        return isinstance(found, LargePrediction) or found.corner is None

    def stem(self, name: str) -> str:
        """Return what the names of files begin with, by the name of the image."""
        found = self.prediction
        if isinstance(found, LargePrediction) or found.corner is None:
            return name
        y, x = (round(at) for at in found.corner)
        return f"{name} y{y} x{x}"  # a part of a large image, in its own pixels

    def pixels(self) -> AnyImage | None:
        """Return what the network has looked at, part or whole; a large whole stays."""
        found, image = self.prediction, self.image
        if image is None or isinstance(found, LargePrediction):
            return image
        height, width = found.shape
        y, x = (round(at) for at in found.corner or (0, 0))
        window = (y, y + height, x, x + width)
        if isinstance(image, LargeImage):
            return image.read(window)
        return image[:, y : y + height, x : x + width]


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


def kinds_for(found: Iterable[Found]) -> tuple[str, ...]:
    """Return what such results can be exported as, beside what always is."""
    tasks = {one.checkpoint.task.kind: one.checkpoint.task for one in found}
    return tuple(
        kind
        for kind in export_kinds()
        if kind not in ALWAYS
        and not any(export_problem([kind], task) for task in tasks.values())
    )


def already_there(
    folder: Path, found: Mapping[str, Found], kinds: Sequence[str] = ()
) -> list[Path]:
    """Files that an export would replace; refuses those that Topiary did not write."""
    endings = (*RESULTS, *export_endings((*ALWAYS, *kinds)))
    places = [folder / SUMMARY]
    for name, one in found.items():
        stem = one.stem(name)
        own = any(written_by_topiary(folder / f"{stem}{end}") for end in LABELS)
        for ending in endings:
            # Boxes are numbers alone and cannot be told: they go with the labels.
            if own and ending.endswith(".box"):
                continue
            if "*" in ending:
                places += sorted(folder.glob(f"{escape(stem)}{ending}"))
            else:  # a link to nowhere is not found by a pattern
                places.append(folder / f"{stem}{ending}")
    return to_be_replaced(places)


def to_be_replaced(places: Iterable[Path]) -> list[Path]:
    """Return which files are there already; refuses those that Topiary did not write.

    Parameters
    ----------
    places
        Where results are going to be written.
    """
    places = list(places)
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
    folder: Path,
    found: Mapping[str, Found],
    *,
    kinds: Sequence[str] = (),
    project: Path | None = None,
) -> list[Path]:
    """Write the maps and tables of all images; returns the files.

    Beside them stands how they came about, as beside what the command line writes.

    Parameters
    ----------
    folder
        Made if it is not there.
    found
        By the name of the image.
    kinds
        What to write beside maps and tables, out of `kinds_for`.
    project
        Folder of the project, whose networks are in its files; None = not saved yet.
    """
    files: list[Path] = []
    begun = time.time()
    try:
        with noting_tables(folder):
            for name, one in found.items():
                files += _write_one(folder, one.stem(name), one, kinds)
            files.append(write_summary(folder, summary(found)))
        _record(folder, found, files, (project, kinds), begun)
    except OSError as reason:
        raise TopiaryError(
            f"The folder {folder} cannot be written to ({reason.strerror}): choose "
            "another one."
        ) from reason
    return files


def _write_one(folder: Path, stem: str, one: Found, kinds: Sequence[str]) -> list[Path]:
    pixels = _pixels_of(one, kinds)
    if isinstance(one.prediction, LargePrediction):
        written = _copied(folder, stem, one.prediction)
    else:
        written = write_prediction(folder, stem, prediction=one.prediction)
    written |= write_exports(
        folder,
        stem,
        prediction=one.counted,
        kinds=(*ALWAYS, *kinds),
        # The places in a part are not those in the image's file.
        image_name=one.source.name if one.source and one.is_whole else stem,
        image=None if isinstance(pixels, LargeImage) else pixels,
        overlay=None if pixels is None else partial(overlay_of, one.prediction, pixels),
    )
    remove_leftovers(folder, stem, written=written.values(), task=one.checkpoint.task)
    return list(written.values())


def _pixels_of(one: Found, kinds: Sequence[str]) -> AnyImage | None:
    """The image, unless its file is gone and only brightness is to be had from it."""
    try:
        return one.pixels()
    except TopiaryError:
        if PICTURE in kinds:
            raise
        return None


def _record(
    folder: Path,
    found: Mapping[str, Found],
    files: Sequence[Path],
    asked: tuple[Path | None, Sequence[str]],
    begun: float,
) -> None:
    """Say beside results how they came about: a run for each way to predict."""
    project, kinds = asked
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
        settings.append(f"--export={','.join((*ALWAYS, *kinds))}")
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
