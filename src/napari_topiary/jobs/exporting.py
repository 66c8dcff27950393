"""What was found in several images, as files: maps, a summary, a row for each thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.exporting import OBJECTS_ENDING, write_summary
from napari_topiary.inference.measures import objects_table, summary_rows
from napari_topiary.inference.results import write_prediction
from napari_topiary.io.image_files import SUMMARY
from napari_topiary.io.tables import write_table
from napari_topiary.io.targets import written_by_topiary
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Prediction

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
