"""Writing what was predicted, as the command line does; no Qt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from napari_topiary.errors import TopiaryError
from napari_topiary.prediction import write_prediction
from napari_topiary.types import Prediction

_ENDINGS = ("_probability.tif", "_labels.tif", "_detections.csv", "_lines.csv")


def already_there(folder: Path, predictions: Mapping[str, Prediction]) -> list[Path]:
    """Files that an export would replace.

    Parameters
    ----------
    folder
        Where to.
    predictions
        By image.
    """
    return [
        path
        for name in predictions
        for ending in _ENDINGS
        if (path := folder / f"{name}{ending}").exists()
    ]


def export(folder: Path, predictions: Mapping[str, Prediction]) -> list[Path]:
    """Write the predictions of all images; returns the files.

    Parameters
    ----------
    folder
        Where to.
    predictions
        By image.
    """
    files: list[Path] = []
    try:
        for name, prediction in predictions.items():
            stale = folder / f"{name}_lines.csv"
            written = write_prediction(folder, name, prediction=prediction)
            if "lines" not in written:
                stale.unlink(missing_ok=True)
            files += written.values()
    except OSError as reason:
        raise TopiaryError(
            f"The folder {folder} cannot be written to ({reason.strerror}): choose "
            "another one."
        ) from reason
    return files
