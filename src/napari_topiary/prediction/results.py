"""A prediction as files that other programs open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from napari_topiary.annotations import Centerlines, Table
from napari_topiary.instances import line_lengths
from napari_topiary.io.atomic import writing
from napari_topiary.io.tables import write_table
from napari_topiary.io.targets import WRITER, signed
from napari_topiary.resample import to_original
from napari_topiary.types import Prediction, Task

ResultFormat = Literal["tif", "zarr"]
CHUNK = 512
"""Side of the pieces that zarr arrays are stored in, in pixels."""
NM_PER_CM = 1e7
STORED = {"tif": np.float32, "zarr": np.float16}
"""Type of the probability: neither Fiji nor Pillow opens a TIFF of half floats."""


def write_prediction(
    folder: Path | str,
    stem: str,
    *,
    prediction: Prediction,
    format: ResultFormat = "tif",
    filaments: bool = False,
) -> dict[str, Path]:
    """Write everything that a network says about one image.

    Parameters
    ----------
    folder
        Made if it is not there.
    stem
        What the names start with.
    prediction
        Written on the image's own grid.
    format
        Of the probability and the labels.
    filaments
        Whether the network knows filaments: their table is then written even where
        none was found.

    Returns
    -------
    dict
        What -> file: `probability` `(k, y, x)`, `labels` `(y, x)` in the smallest type
        that holds them, and for detection tasks `detections` and, where there are
        filaments, `lines`.
    """
    home, task = Path(folder), prediction.task
    files = {
        "probability": home / f"{stem}_probability.{format}",
        "labels": home / f"{stem}_labels.{format}",
    }
    probability = to_original(prediction.probability, prediction.shape)
    about = signed(
        {
            "classes": list(task.classes),
            "pixel_size_nm": prediction.scale,
            # Where the network has not run, the maps are 0.
            "complete": prediction.done is None,
        }
    )
    _write_array(files["probability"], probability.astype(STORED[format]), about)
    _write_array(files["labels"], _compact(prediction.labels), about)
    if task.kind == "detect":
        files["detections"] = home / f"{stem}_detections.csv"
        write_table(files["detections"], detections_table(prediction))
        if filaments or len(prediction.detections.lines):
            files["lines"] = home / f"{stem}_lines.csv"
            write_table(files["lines"], lines_table(prediction))
    return files


def is_written(
    folder: Path | str, stem: str, *, task: Task, format: ResultFormat = "tif"
) -> bool:
    """Say whether all results of an image are there, and complete.

    Parameters
    ----------
    folder, stem, format
        As for `write_prediction`.
    task
        Of the checkpoint.
    """
    home = Path(folder)
    maps = [home / f"{stem}_{what}.{format}" for what in ("probability", "labels")]
    if task.kind == "detect" and not (home / f"{stem}_detections.csv").is_file():
        return False
    try:
        return all(_is_complete(path) for path in maps)
    except Exception:  # a damaged file is not complete, whatever the library calls it
        return False


def _is_complete(path: Path) -> bool:
    if not path.exists():
        return False
    if path.suffix == ".zarr":
        return zarr.open_array(path, mode="r").attrs.get("complete") is True
    with tifffile.TiffFile(path) as file:
        return any(about.get("complete") for about in file.shaped_metadata or ())


def detections_table(prediction: Prediction) -> Table:
    """Particles as `axis-0, axis-1, class, score`, in pixels of the image.

    Where there are filaments, each follows with its middle, and a column `length_nm`
    (empty for particles, and where the pixel size of the image is unknown).
    """
    found, classes = prediction.detections, prediction.task.classes
    middles = [line[len(line) // 2] for line in found.lines]
    places = [*found.coordinates, *middles]
    scores = [*found.score, *found.line_score]
    table: Table = {
        "axis-0": [float(place[0]) for place in places],
        "axis-1": [float(place[1]) for place in places],
        "class": [classes[i] for i in (*found.class_index, *found.line_class)],
        "score": [round(float(score), 6) for score in scores],
    }
    if middles:
        lengths = _lengths_nm(prediction)
        table["length_nm"] = [None] * len(found) + lengths
    return table


def lines_table(prediction: Prediction) -> Table:
    """Filaments as napari's shapes, one row a vertex, with class, score and length.

    `length_nm` is empty where the pixel size of the image is unknown.
    """
    found = prediction.detections
    names = tuple(prediction.task.classes[index] for index in found.line_class)
    table = Centerlines(found.lines, names).to_table()
    rows = [int(index) for index in table["index"]]
    lengths, lengths_nm = line_lengths(found.lines), _lengths_nm(prediction)
    table["score"] = [round(float(found.line_score[row]), 6) for row in rows]
    table["length_px"] = [float(lengths[row]) for row in rows]
    table["length_nm"] = [lengths_nm[row] for row in rows]
    return table


def _lengths_nm(prediction: Prediction) -> list[float | None]:
    """Length of every filament; None where the pixel size is unknown."""
    scale = prediction.scale
    lengths = line_lengths(prediction.detections.lines)
    return [None if scale is None else float(n) * scale for n in lengths]


def _compact(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels in the smallest type that other programs read."""
    highest = int(labels.max(initial=0))
    for dtype in (np.uint8, np.uint16):
        if highest <= np.iinfo(dtype).max:
            return labels.astype(dtype)
    return labels.astype(np.uint32)


def _write_array(path: Path, array: NDArray[Any], about: dict[str, Any]) -> None:
    with writing(path) as beside:
        if path.suffix == ".zarr":
            chunks = tuple(min(CHUNK, n) for n in array.shape[-2:])
            stored = zarr.create_array(
                str(beside),
                shape=array.shape,
                dtype=array.dtype,
                chunks=(*array.shape[:-2], *chunks),
                attributes=about,
                dimension_names=("k", "y", "x")[-array.ndim :],
            )
            stored[...] = array
            return
        scale = about["pixel_size_nm"]
        size = {} if scale is None else _resolution(scale)
        axes = {"axes": "CYX"[-array.ndim :]}
        tifffile.imwrite(
            beside,
            array,
            photometric="minisblack",
            compression="zlib",
            software=WRITER,
            metadata=axes | about | {"classes": json.dumps(about["classes"])},
            **size,
        )


def _resolution(scale: float) -> dict[str, Any]:
    """Pixels per centimetre, as TIFF keeps the pixel size."""
    return {"resolution": (NM_PER_CM / scale,) * 2, "resolutionunit": "CENTIMETER"}
