"""A prediction as files that other programs open."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_topiary.annotations import Centerlines, Table
from napari_topiary.data.working_grid import to_original
from napari_topiary.inference.measures import Counted
from napari_topiary.io.atomic import writing
from napari_topiary.io.output_files import check_replaced
from napari_topiary.io.own_files import signed
from napari_topiary.io.tables import joined, write_table
from napari_topiary.io.tiff_writing import write_maps
from napari_topiary.postprocessing import Numbering, line_lengths
from napari_topiary.types import Prediction, Task

ResultFormat = Literal["tif", "zarr"]
CHUNK = 512
"""Side of the pieces that zarr arrays are stored in, in pixels."""
STORED = {"tif": np.float32, "zarr": np.float16}
"""Type of the probability: neither Fiji nor Pillow opens a TIFF of half floats."""
_MAPS, _TABLES = ("probability", "labels"), ("detections", "lines")


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
    smallest = _smallest_type(int(prediction.labels.max(initial=0)))
    _write_array(files["labels"], prediction.labels, "yx", about, smallest)
    maps = {what: files[what] for what in _MAPS}
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
    files = {what: Path(folder) / f"{stem}_{what}.csv" for what in _TABLES}
    tables = {"detections": _detections_table(found), "lines": _lines_table(found)}
    return _write_tables(files, tables, filaments=filaments)


def _write_tables(
    files: dict[str, Path], tables: Mapping[str, Table], *, filaments: bool
) -> dict[str, Path]:
    """Write the tables of what was detected; that of lines where there may be any."""
    written = dict(files)
    if not filaments and not tables["lines"]["index"]:
        del written["lines"]
    for what in written.keys() & tables:
        write_table(written[what], tables[what])
    return written


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
    last, files = None, dict[str, Path]()
    with tempfile.TemporaryDirectory(prefix=".part-", dir=home) as beside:
        slices = _Slices(Path(beside), count, numbering, format)
        for prediction in predictions:
            if last is None:
                files = _files(home, stem, prediction.task, format)
                check_replaced(files.values(), overwrite=overwrite)
            last = prediction
            slices.add(prediction)
        if last is None:
            raise ValueError("a stack without a slice")
        about = _about(last, complete=slices.complete == count)
        maps, smallest = slices.maps, _smallest_type(slices.highest)
        _write_array(files["probability"], maps["probability"], "zkyx", about)
        _write_array(files["labels"], maps["labels"], "zyx", about, smallest)
    if last.task.kind != "detect":
        return files
    tables = {what: joined(slices.tables[what]) for what in _TABLES}
    return _write_tables(files, tables, filaments=filaments)


class _Slices:
    """What was found in a stack so far; its maps lie on the disk, in `beside`."""

    def __init__(
        self, beside: Path, count: int, numbering: Numbering, format: ResultFormat
    ) -> None:
        self._beside, self._count = beside, count
        self._numbering, self._format = numbering, format
        self.maps: dict[str, Any] = {}
        self.tables: dict[str, list[Table]] = {what: [] for what in _TABLES}
        self.complete, self.highest = 0, 0

    def add(self, prediction: Prediction) -> None:
        """Take the next slice."""
        index, labels = len(self.tables["detections"]), prediction.labels
        if prediction.task.kind == "instances":
            labels = self._numbering.objects(labels)
        self.complete += prediction.done is None
        self.highest = max(self.highest, int(labels.max(initial=0)))
        self._put("probability", index, _probability(prediction, self._format))
        self._put("labels", index, labels.astype(np.uint32))
        found = _detections_table(prediction)
        if self._numbering.linked:
            found |= {"object": _numbers(prediction, self._numbering)}
        self.tables["detections"].append(_in_slice(found, index))
        self.tables["lines"].append(_in_slice(_lines_table(prediction), index))

    def _put(self, what: str, index: int, array: NDArray[Any]) -> None:
        import zarr

        if what not in self.maps:
            self.maps[what] = zarr.create_array(
                str(self._beside / what),
                shape=(self._count, *array.shape),
                dtype=array.dtype,
                chunks=(1, *array.shape),
            )
        self.maps[what][index] = array


def _files(home: Path, stem: str, task: Task, format: ResultFormat) -> dict[str, Path]:
    """Where the results of an image go; tables are those of detection tasks."""
    maps = {what: home / f"{stem}_{what}.{format}" for what in _MAPS}
    tables = _TABLES if task.kind == "detect" else ()
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
    files = _files(Path(folder), stem, task, format)
    if "detections" in files and not files["detections"].is_file():
        return False
    try:
        return all(_is_complete(files[what]) for what in _MAPS)
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


def _detections_table(prediction: Prediction | Counted) -> Table:
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


def _lines_table(prediction: Prediction | Counted) -> Table:
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
        if path.suffix != ".zarr":
            write_maps(beside, array, dtype, axes=axes, about=about)
            return
        import zarr

        sides = {"z": 1, "y": CHUNK, "x": CHUNK}
        chunks = (min(sides.get(a, n), n) for a, n in zip(axes, shape, strict=True))
        stored = zarr.create_array(
            str(beside),
            shape=shape,
            dtype=dtype,
            chunks=tuple(chunks),
            attributes=about,
            dimension_names=tuple(axes),
        )
        for index in range(shape[0]) if axes[0] == "z" else (...,):
            stored[index] = array[index]
