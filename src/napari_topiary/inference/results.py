"""A prediction as files that other programs open."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_topiary.annotations import Centerlines, Table
from napari_topiary.data.working_grid import to_original
from napari_topiary.inference.measures import Counted
from napari_topiary.io.atomic import writing
from napari_topiary.io.formats.tiff import PACKING
from napari_topiary.io.tables import joined, write_table
from napari_topiary.io.targets import WRITER, check_replaced, signed
from napari_topiary.postprocessing import Numbering, line_lengths
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
    overwrite: bool = False,
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
    overwrite
        Replace also files that Topiary did not write; its own are replaced anyway.

    Returns
    -------
    dict
        What -> file: `probability` `(k, y, x)`, `labels` `(y, x)` in the smallest type
        that holds them, and for detection tasks `detections` and, where there are
        filaments, `lines`.
    """
    files = _files(Path(folder), stem, prediction.task, format)
    check_replaced(files.values(), overwrite=overwrite)
    about = _about(prediction, complete=prediction.done is None)
    _write_array(files["probability"], _probability(prediction, format), "kyx", about)
    highest = int(prediction.labels.max(initial=0))
    labels = prediction.labels.astype(_smallest_type(highest))
    _write_array(files["labels"], labels, "yx", about)
    maps = {what: files[what] for what in ("probability", "labels")}
    return maps | write_tables(folder, stem, found=prediction, filaments=filaments)


def write_tables(
    folder: Path | str, stem: str, *, found: Prediction | Counted, filaments: bool
) -> dict[str, Path]:
    """Write the tables of what was detected in one image, if the task has any.

    Parameters
    ----------
    folder, stem, filaments
        As for `write_prediction`.
    found
        In the image.
    """
    if found.task.kind != "detect":
        return {}
    home = Path(folder)
    files = {what: home / f"{stem}_{what}.csv" for what in ("detections", "lines")}
    write_table(files["detections"], detections_table(found))
    if filaments or len(found.detections.lines):
        write_table(files["lines"], lines_table(found))
    else:
        del files["lines"]
    return files


def write_stack_prediction(
    folder: Path | str,
    stem: str,
    *,
    predictions: Iterable[Prediction],
    count: int,
    numbering: Numbering,
    format: ResultFormat = "tif",
    filaments: bool = False,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write what a network says about a stack, slice by slice as it comes.

    The memory is that of one slice. In tables `axis-0` is the slice, counted from 0,
    `axis-1` is y and `axis-2` x, as napari has them in 3-D.

    Parameters
    ----------
    folder, stem, format, filaments, overwrite
        As for `write_prediction`.
    predictions
        One of each slice, at least one; where they end early, the rest is empty.
    count
        Slices of the stack.
    numbering
        Gives objects their numbers through the stack; if it links them, particles have
        theirs in the column `object`.

    Returns
    -------
    dict
        As from `write_prediction`: `probability` `(z, k, y, x)`, `labels` `(z, y, x)`.
    """
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[Table]] = {"detections": [], "lines": []}
    last, done, highest, lines = None, 0, 0, 0
    with tempfile.TemporaryDirectory(prefix=".part-", dir=home) as beside:
        maps: dict[str, Any] = {}
        for index, prediction in enumerate(predictions):
            if last is None:
                own = _files(home, stem, prediction.task, format)
                check_replaced(own.values(), overwrite=overwrite)
            last = prediction
            done += prediction.done is None
            labels = prediction.labels
            if prediction.task.kind == "instances":
                labels = numbering.objects(labels)
            highest = max(highest, int(labels.max(initial=0)))
            pieces = {"probability": _probability(prediction, format), "labels": labels}
            for what, array in pieces.items():
                if not index:
                    import zarr

                    dtype = STORED[format] if what == "probability" else np.uint32
                    maps[what] = zarr.create_array(
                        str(Path(beside) / what),
                        shape=(count, *array.shape),
                        dtype=dtype,
                        chunks=(1, *array.shape),
                    )
                maps[what][index] = array
            found = detections_table(prediction)
            if numbering.linked:
                found |= {"object": _numbers(prediction, numbering)}
            tables["detections"].append(_in_slice(found, index))
            tables["lines"].append(_in_slice(lines_table(prediction), index))
            lines += len(prediction.detections.lines)
        if last is None:
            raise ValueError("a stack without a slice")
        files = _files(home, stem, last.task, format)
        about = _about(last, complete=done == count)
        _write_array(files["probability"], maps["probability"], "zkyx", about)
        dtype = _smallest_type(highest)
        _write_array(files["labels"], maps["labels"], "zyx", about, dtype)
    if last.task.kind == "detect":
        write_table(files["detections"], joined(tables["detections"]))
        if filaments or lines:
            write_table(files["lines"], joined(tables["lines"]))
        else:
            del files["lines"]
    return files


def _files(home: Path, stem: str, task: Task, format: ResultFormat) -> dict[str, Path]:
    """Where the results of an image go; tables are those of detection tasks."""
    maps = {
        what: home / f"{stem}_{what}.{format}" for what in ("probability", "labels")
    }
    tables = ("detections", "lines") if task.kind == "detect" else ()
    return maps | {what: home / f"{stem}_{what}.csv" for what in tables}


def _about(prediction: Prediction, *, complete: bool) -> dict[str, Any]:
    """What is written into the maps; where the network has not run, they are 0."""
    about = {
        "classes": list(prediction.task.classes),
        "pixel_size_nm": prediction.scale,
        "complete": complete,
    }
    if prediction.problems:
        about["problems"] = list(prediction.problems)
    return signed(about)


def _probability(prediction: Prediction, format: ResultFormat) -> NDArray[Any]:
    """`(k, y, x)` on the grid of the image, in the type that the format stores."""
    maps = to_original(prediction.probability, prediction.shape)
    return maps.astype(STORED[format])


def _in_slice(table: Table, index: int) -> Table:
    """Put a table of one image into the space of its stack."""
    places: Table = {
        "axis-0": [float(index)] * len(table["axis-0"]),
        "axis-1": table["axis-0"],
        "axis-2": table["axis-1"],
    }
    before = {name: table[name] for name in table if name in _BEFORE_PLACES}
    rest = {k: v for k, v in table.items() if k not in before and k not in places}
    return before | places | rest


_BEFORE_PLACES = ("index", "shape-type", "vertex-index")
"""Columns of napari's tables that come before the places."""


def _numbers(prediction: Prediction, numbering: Numbering) -> list[int | None]:
    """Number of each particle through the stack; lines have none."""
    found, task = prediction.detections, prediction.task
    radii = [
        task.radius_or_usual(task.classes[index], prediction.scale)
        for index in found.class_index
    ]
    numbers = numbering.particles(
        found.coordinates, found.class_index, np.array(radii, dtype=np.float64)
    )
    return [*numbers.tolist(), *(None for _ in found.lines)]


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
        import zarr

        return zarr.open(path, mode="r").attrs.get("complete") is True
    with tifffile.TiffFile(path) as file:
        return any(about.get("complete") for about in file.shaped_metadata or ())


def detections_table(prediction: Prediction | Counted) -> Table:
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


def lines_table(prediction: Prediction | Counted) -> Table:
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


def _lengths_nm(prediction: Prediction | Counted) -> list[float | None]:
    """Length of every filament; None where the pixel size is unknown."""
    scale = prediction.scale
    lengths = line_lengths(prediction.detections.lines)
    return [None if scale is None else float(n) * scale for n in lengths]


def _smallest_type(highest: int) -> Any:
    """Return the smallest type of labels that other programs read."""
    for dtype in (np.uint8, np.uint16):
        if highest <= np.iinfo(dtype).max:
            return dtype
    return np.uint32


def large_as_tiff(files: Mapping[str, Path]) -> dict[str, Path]:
    """Turn the OME-Zarr results of a large image into TIFF files, map by map.

    Parameters
    ----------
    files
        `probability` and `labels`; they are removed.

    Returns
    -------
    dict
        What -> file.
    """
    import zarr

    made = dict[str, Path]()
    for what, path in files.items():
        group = zarr.open_group(str(path), mode="r")
        about = {name: one for name, one in group.attrs.items() if name != "ome"}
        axes, dtype = ("kyx", STORED["tif"]) if what == "probability" else ("yx", None)
        made[what] = path.with_suffix(".tif")
        _write_array(made[what], group["0"], axes, about, dtype)
    for path in files.values():
        shutil.rmtree(path)
    return made


def _write_array(
    path: Path, array: Any, axes: str, about: dict[str, Any], dtype: Any = None
) -> None:
    """Write an array, which may be lazy along its first axis; `dtype` changes it."""
    shape, dtype = tuple(array.shape), np.dtype(dtype or array.dtype)
    with writing(path) as beside:
        if path.suffix == ".zarr":
            import zarr

            sides = {"z": 1, "y": CHUNK, "x": CHUNK}
            stored = zarr.create_array(
                str(beside),
                shape=shape,
                dtype=dtype,
                chunks=tuple(
                    min(sides.get(name, n), n)
                    for name, n in zip(axes, shape, strict=True)
                ),
                attributes=about,
                dimension_names=tuple(axes),
            )
            for index in range(shape[0]) if axes[0] == "z" else (...,):
                stored[index] = array[index]
            return
        scale = about["pixel_size_nm"]
        size = {} if scale is None else _resolution(scale)
        names = {"axes": axes.upper().replace("K", "C")}
        tifffile.imwrite(
            beside,
            _pages(array, dtype),
            shape=shape,
            dtype=dtype,
            photometric="minisblack",
            software=WRITER,
            metadata=names | about | {"classes": json.dumps(about["classes"])},
            **PACKING,
            **size,
        )


def _pages(array: Any, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Every `(y, x)` of an array in turn."""
    for part in [array] if array.ndim == 2 else array:
        pages = np.asarray(part, dtype=dtype)
        yield from pages.reshape(-1, *pages.shape[-2:])


def _resolution(scale: float) -> dict[str, Any]:
    """Pixels per centimetre, as TIFF keeps the pixel size."""
    return {"resolution": (NM_PER_CM / scale,) * 2, "resolutionunit": "CENTIMETER"}
