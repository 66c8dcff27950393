"""What was found in several images, as files: maps, a summary, a row for each thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_topiary.annotations import Table
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.measures import objects_table, summary_table
from napari_topiary.inference.results import write_prediction
from napari_topiary.io.tables import write_table
from napari_topiary.io.targets import written_by_topiary
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Prediction

SUMMARY, OBJECTS = "summary.csv", "_objects.csv"
ENDINGS = (
    *("_probability.tif", "_labels.tif", "_detections.csv", "_lines.csv"),
    OBJECTS,
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


def summary(found: Mapping[str, Found]) -> Table:
    """Counts and densities of all images, and what they rest on.

    Parameters
    ----------
    found
        By image.

    Returns
    -------
    Table
        As `summary_table`, with the threshold and the network.
    """
    table = dict(summary_table({name: one.prediction for name, one in found.items()}))
    rows = [found[str(name)] for name in table["image"]]
    table["threshold"] = [
        round(PostProcessing.of(one.checkpoint, one.config).thresholds[str(name)], 4)
        for one, name in zip(rows, table["class"], strict=True)
    ]
    table["network"] = [one.network for one in rows]
    return table


def already_there(folder: Path, found: Mapping[str, Found]) -> list[Path]:
    """Files that an export would replace; refuses those that Topiary did not write.

    Parameters
    ----------
    folder
        Where to.
    found
        By image.
    """
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
    """Write the maps and tables of all images; returns the files.

    Parameters
    ----------
    folder
        Where to.
    found
        By image.
    """
    files: list[Path] = []
    try:
        for name, one in found.items():
            stale = folder / f"{name}_lines.csv"
            written = write_prediction(folder, name, prediction=one.prediction)
            if "lines" not in written:
                stale.unlink(missing_ok=True)
            written["objects"] = folder / f"{name}{OBJECTS}"
            write_table(written["objects"], objects_table(one.prediction))
            files += written.values()
        write_table(folder / SUMMARY, summary(found))
        files.append(folder / SUMMARY)
    except OSError as reason:
        raise TopiaryError(
            f"The folder {folder} cannot be written to ({reason.strerror}): choose "
            "another one."
        ) from reason
    return files
