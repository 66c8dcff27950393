"""What was found, in the formats of other programs, and as tables of figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as PillowImage
from scipy import ndimage as ndi
from skimage.measure import find_contours

from napari_topiary.errors import TopiaryError
from napari_topiary.inference.measures import (
    SUMMARY_COLUMNS,
    Counted,
    numbered_areas,
    objects_table,
)
from napari_topiary.inference.overlay import save_picture
from napari_topiary.io.annotation_formats import (
    DrawnArea,
    Marks,
    WritingFormat,
    writing_formats,
)
from napari_topiary.io.atomic import writing
from napari_topiary.io.image_files import SUMMARY
from napari_topiary.io.own_files import written_by_topiary
from napari_topiary.io.pairing import safe_name
from napari_topiary.io.tables import read_table, write_table
from napari_topiary.types import Image, Prediction, Task

OBJECTS = "csv"
"""The export that is a table of figures, a row for each thing."""
PICTURE = "png"
"""The export that is a picture of what was found on the image."""
ENDINGS = {OBJECTS: "_objects.csv", PICTURE: "_overlay.png"}
"""How names of exported files that are no annotations go on after the image's."""


def export_kinds() -> tuple[str, ...]:
    """Return the names of everything that results can be exported as."""
    return (*ENDINGS, *writing_formats())


def export_title(kind: str) -> str:
    """Return what people call a kind of export."""
    own = {OBJECTS: "Table of all objects", PICTURE: "Picture with what was found"}
    return own.get(kind) or writing_formats()[kind].title


def export_problem(kinds: Sequence[str], task: Task) -> str | None:
    """Return what stops results of a task from being exported, as a sentence."""
    known = export_kinds()
    for kind in kinds:
        if kind not in known:
            return (
                f"There is no export {kind!r}: results can be written as "
                f"{', '.join(known)}."
            )
        formats = writing_formats()
        if kind in ENDINGS or task.kind != "segment":
            continue
        if formats[kind].only_places:
            areas = [n for n in known if n in ENDINGS or not formats[n].only_places]
            return (
                f"{formats[kind].title} holds places, but this network paints areas: "
                f"export {' or '.join(areas)}."
            )
    return None


def export_endings(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return patterns of how names of exported files go on after the image's."""
    endings = list[str]()
    for kind in kinds:
        if kind in ENDINGS:
            endings.append(ENDINGS[kind])
        else:
            one = writing_formats()[kind]
            endings += [one.ending, *(() if one.names_classes else (_of("*", one),))]
    return tuple(endings)


def _of(name: str, one: type[WritingFormat]) -> str:
    """Return what the file of one class ends in."""
    return f"_{name}{one.ending}"


def write_exports(
    folder: Path | str,
    stem: str,
    *,
    prediction: Prediction | Counted,
    kinds: Sequence[str],
    image_name: str = "",
    image: Image | None = None,
    overlay: Callable[[], PillowImage] | None = None,
) -> dict[str, Path]:
    """Write what was found in one image for other programs.

    Coordinates are in pixels of the image, as each program counts them; the table of
    figures has nm too.

    Parameters
    ----------
    folder
        Made if it is not there.
    stem
        What the names start with.
    prediction
        Of the image.
    kinds
        Names out of `export_kinds`.
    image_name
        Name of the image's file, which some formats hold.
    image
        `(c, y, x)`, for mean intensities; None = left empty.
    overlay
        Draws the picture, where that is wanted.

    Returns
    -------
    dict
        What -> file; formats that know no classes have a file for each class, if the
        task has several.
    """
    problem = export_problem(kinds, prediction.task)
    if problem:
        raise TopiaryError(problem)
    home, files = Path(folder), dict[str, Path]()
    for kind in dict.fromkeys(kinds):
        if kind == OBJECTS:
            files["objects"] = home / f"{stem}{ENDINGS[OBJECTS]}"
            write_table(files["objects"], objects_table(prediction, image))
            continue
        if kind == PICTURE:
            if overlay is None:
                raise TypeError("an overlay has to be drawn by somebody")
            files["overlay"] = home / f"{stem}{ENDINGS[PICTURE]}"
            save_picture(files["overlay"], overlay())
            continue
        one = writing_formats()[kind]
        marks = marks_of(prediction, only_places=one.only_places, image=image_name)
        parts = {kind: (one.ending, marks)}
        if not one.names_classes and len(prediction.task.classes) > 2:
            parts = {
                f"{kind}_{safe_name(name)}": (
                    _of(safe_name(name), one),
                    of_class(marks, name),
                )
                for name in prediction.task.classes[1:]
            }
        for what, (ending, own) in parts.items():
            files[what] = home / f"{stem}{ending}"
            with writing(files[what]) as beside:
                one.write(beside, own)
    return files


def marks_of(
    prediction: Prediction | Counted, *, only_places: bool = False, image: str = ""
) -> Marks:
    """Return what was found as places, lines and outlines.

    Parameters
    ----------
    prediction
        Of an image.
    only_places
        Whether objects are their middles instead of their outlines.
    image
        Name of the image's file.
    """
    task, found = prediction.task, prediction.detections
    if task.kind != "detect":
        return _of_areas(prediction, only_places, image)
    names = tuple(task.classes[index] for index in found.class_index)
    radii = [task.radius(name, prediction.scale) for name in names]
    known = [radius for radius in radii if radius is not None]
    return Marks(
        places=found.coordinates,
        classes=names,
        scores=tuple(round(float(score), 6) for score in found.score),
        radius=tuple(known) if len(known) == len(radii) else None,
        lines=found.lines,
        line_classes=tuple(task.classes[index] for index in found.line_class),
        image=image,
        scale=prediction.scale,
    )


def of_class(marks: Marks, name: str) -> Marks:
    """Return what is of one class."""
    own = [i for i, other in enumerate(marks.classes) if other == name]
    lines = [i for i, other in enumerate(marks.line_classes) if other == name]

    def picked(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if values is None else tuple(values[i] for i in own)

    return Marks(
        places=marks.places[own],
        classes=(name,) * len(own),
        scores=picked(marks.scores),
        radius=picked(marks.radius),
        lines=tuple(marks.lines[i] for i in lines),
        line_classes=(name,) * len(lines),
        areas=tuple(area for area in marks.areas if area.name == name),
        image=marks.image,
        scale=marks.scale,
    )


def write_summary(folder: Path | str, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write what was counted in each image; rows of other images there stay.

    Parameters
    ----------
    folder
        Made if it is not there.
    rows
        As from `summary_rows`.
    """
    path, new = Path(folder) / SUMMARY, list(rows)
    images = {row["image"] for row in new}
    kept = list[Mapping[str, Any]]()
    if path.is_file() and written_by_topiary(path):
        before = read_table(path)
        for index, name in enumerate(before.get("image", [])):
            if name not in images:
                kept.append({column: before[column][index] for column in before})
    every = [*kept, *new]
    write_table(path, {n: [row.get(n) for row in every] for n in SUMMARY_COLUMNS})
    return path


def outlines(numbers: NDArray[np.integer]) -> list[tuple[NDArray[np.float64], ...]]:
    """Return the outlines of the objects of a label image, holes after the outside.

    Filled again, they are the same pixels: an outline runs half-way between the pixels
    of an object and those beside it.

    Parameters
    ----------
    numbers
        `(y, x)`: 0 = background, 1..n.

    Returns
    -------
    list
        For each number `(v, 2)` y, x of its rings; none for numbers that are not there.
    """
    rings = list[tuple[NDArray[np.float64], ...]]()
    for number, box in enumerate(ndi.find_objects(numbers), start=1):
        if box is None:
            rings.append(())
            continue
        mask = np.pad(numbers[box] == number, 1)
        corner = np.array([box[0].start - 1, box[1].start - 1])
        found = find_contours(mask.astype(np.float32), 0.5, fully_connected="high")
        own = [_without_middles(ring[:-1] + corner) for ring in found]
        rings.append(tuple(sorted(own, key=_enclosed, reverse=True)))
    return rings


def _of_areas(prediction: Prediction | Counted, only_places: bool, image: str) -> Marks:
    if only_places or isinstance(prediction, Counted):
        table = objects_table(prediction)
        middles = np.array([table["axis-0"], table["axis-1"]], dtype=np.float64).T
        return Marks(
            places=middles.reshape(-1, 2),
            classes=tuple(table["class"]),
            scores=tuple(table["score"]),
            radius=tuple(d / 2 for d in table["diameter_px"]),
            image=image,
            scale=prediction.scale,
        )
    numbers, classes = numbered_areas(prediction)
    names = [prediction.task.classes[index] for index in classes]
    areas = tuple(
        DrawnArea(rings, name)
        for rings, name in zip(outlines(numbers), names, strict=True)
        if rings
    )
    return Marks(
        places=np.zeros((0, 2)),
        classes=(),
        areas=areas,
        image=image,
        scale=prediction.scale,
    )


def _without_middles(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """A ring without the vertices that lie on a straight line between their others."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return ring[np.abs(turn) > 1e-9]


def _enclosed(ring: NDArray[np.float64]) -> float:
    y, x = ring.T
    return float(abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2)
