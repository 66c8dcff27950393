"""CSV tables: napari's points and shapes, ImageJ's results, Topaz, x and y of any."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_topiary.annotations import Table
from napari_topiary.annotations.centerlines import LINE_SHAPES
from napari_topiary.annotations.columns import coordinates, numbers, paths_from_table
from napari_topiary.annotations.regions import outline
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats.base import (
    Collector,
    Marks,
    Places,
    Unit,
    annotation_formats,
    by_image,
    head_text,
    is_text,
    marks,
)
from napari_topiary.io.pixel_size import nm_per_unit
from napari_topiary.io.stacks import SLICES, with_slices
from napari_topiary.io.tables import read_rows

_IMAGE = (
    *("image", "image_name", "micrograph", "micrograph_name", "filename"),
    *("file_name", "file", "image_file", "image_path", "file_path", "path"),
)
MOST_SLICES = 1_000_000
_CLASS = ("class", "type", "category", "name", "label")
_ROIS = frozenset(
    "point rectangle oval ellipse polygon freehand traced line polyline freeline "
    "straight angle composite rotated".split()
)
"""What the ROI manager of ImageJ calls shapes, in a column that has no classes."""
_LABEL = "label"
"""What ImageJ calls the name of the image, others that of the class."""
_OF_IMAGEJ = re.compile(r"([^:]+\.\w{2,5})(:.*)?|([^:]+):.*")
"""An image, and which part of it was measured."""
_SCORE = ("score", "confidence", "probability")
_WITH_UNIT = {
    axis: re.compile(
        rf"(?:(?:centroid )?{name}|{axis})[ _]*[\[(]?"
        r"(nm|um|µm|μm|microns?|å|å|angst|[aå]ngstr[oö]ms?)[\])]?",
        re.I,
    )
    for axis, name in (("axis-0", "y"), ("axis-1", "x"))
}
_CORNERS = (
    ("ymin", "xmin", "ymax", "xmax"),
    ("y1", "x1", "y2", "x2"),
    ("top", "left", "bottom", "right"),
    ("bbox-0", "bbox-1", "bbox-2", "bbox-3"),
)
_SIZES = (
    ("by", "bx", "height", "width"),
    ("y", "x", "height", "width"),
    ("y", "x", "h", "w"),
)
"""What boxes are called: by two corners, or by the first one and their size."""
_NUMBERS = re.compile(r"\s*[\d.+-]+( +[\d.+-]+)+\s*[\r\n]")
"""A first line of numbers with blanks between: no names of columns, nor a CSV."""


@annotation_formats.register("csv")
class CsvTable:
    """Rows with y and x, or napari's shapes with one row a vertex."""

    title: ClassVar[str] = "CSV (napari, ImageJ, Topaz)"
    details: ClassVar[str] = (
        "napari's points and shapes, ImageJ's results, Topaz, `y,x` of "
        "anything; `;`, decimal commas, columns in nm or µm"
    )
    marks: ClassVar[str] = "points, lines, areas"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".txt")

    @staticmethod
    def fits(head: bytes) -> bool:
        """Whether it is text; what is in it is told when it is read."""
        text = head_text(head)
        # JSON, or run lengths, in its cells.
        other = re.search("region_shape_attributes|EncodedPixels", text)
        return is_text(head) and not other and not _NUMBERS.match(text)

    @staticmethod
    def read(path: Path) -> list[Marks]:
        """Read places, lines and areas, those of several images apart."""
        rows = read_rows(path)
        if rows.fault:
            raise TopiaryError(rows.fault)
        table, unit = _in_one_unit(rows.table)
        names = _images(table) or [""] * max(1, len(rows.lines))
        try:
            table, slices = _slices(table)
            return [
                replace(
                    _marks(
                        {n: [v[i] for i in own] for n, v in table.items()}, name, unit
                    ),
                    slice=slices[own[0]] if slices else None,
                )
                for name, every in (by_image(names) if rows.lines else {"": []}).items()
                for own in _by_slice(every, slices)
            ]
        except TopiaryError as error:
            raise TopiaryError(f"{path.name}: {error}") from error


def _images(table: Table) -> list[str]:
    """The image of each row; empty where none is named."""
    names = _plain_names(table)
    image = next((names[name] for name in _IMAGE if name in names), None)
    if image is not None:
        return [str(value) for value in table[image]]
    given = table.get(names.get(_LABEL, ""), ())
    found = [_OF_IMAGEJ.fullmatch(str(value)) for value in given]
    if not found or not all(found):
        return []
    del table[names[_LABEL]]  # it names no class
    return [one[1] or one[3] for one in found if one]


def _slices(table: Table) -> tuple[Table, list[int | None]]:
    """The table as that of 2-D images, and the slice of each row where it says one."""
    deep = "axis-2" in table and "axis-3" not in table
    if not deep and not any(name.lower() in SLICES for name in table):
        return table, []
    flat, slices = with_slices(table, MOST_SLICES)
    known = {one for one in slices if one is not None}
    if len(known) < 2 and not deep:  # blanks are of the only one
        return flat, [next(iter(known), None)] * len(slices)
    if None in slices:
        raise TopiaryError(
            f"row {slices.index(None) + 1} does not say a slice, as the others do: "
            "slices are whole numbers from 0 (ImageJ's from 1)."
        )
    return flat, slices


def _by_slice(rows: list[int], slices: Sequence[int | None]) -> list[list[int]]:
    """The rows of each slice."""
    if not slices or not rows:
        return [rows]
    found: dict[int | None, list[int]] = {}
    for row in rows:
        found.setdefault(slices[row], []).append(row)
    return list(found.values())


def _words(values: Sequence[Any]) -> set[str]:
    return {str(value).lower() for value in values}


def _plain_names(table: Table) -> dict[str, str]:
    """Names of columns by what they are but for case and blanks."""
    return {name.lower().replace(" ", "_"): name for name in table}


def _marks(table: Table, image: str, unit: Unit) -> Marks:
    lower = _plain_names(table)
    known = [lower[name] for name in _CLASS if name in lower]
    named = next((n for n in known if not _ROIS.issuperset(_words(table[n]))), None)
    count = len(next(iter(table.values()), []))
    classes = [str(value) for value in table[named]] if named else [""] * count
    if "shape-type" in table:
        return _shapes(table, classes, image, unit)
    places, radius = _boxes(table) or (coordinates(table), None)
    scored = next((lower[name] for name in _SCORE if name in lower), None)
    return marks(
        places,
        classes,
        scores=tuple(numbers(table, scored)) if scored and count else None,
        radius=radius,
        image=image,
        unit=unit,
    )


def _boxes(table: Table) -> tuple[Places, tuple[float, ...]] | None:
    """Middles of boxes, and half their sides; None where the table has no boxes."""
    own = {"axis-0": "y", "axis-1": "x"}
    names = {own.get(n, n.replace("_m", "m")): n for n in map(str.lower, table)}
    given = {name.lower(): name for name in table}
    for four in (*_CORNERS, *_SIZES):
        if set(four) <= names.keys():
            values = np.array([_floats(table, given[names[n]]) for n in four])
            first, second = values[:2], values[2:]
            size = second - first if four in _CORNERS else second
            if (size < 0).any():
                raise TopiaryError(
                    "a box has a size below 0: correct or delete its line."
                )
            return (first + size / 2).T, tuple((size.sum(axis=0) / 4).tolist())
    return None


def _shapes(table: Table, classes: list[str], image: str, unit: Unit) -> Marks:
    paths, types, first_rows = paths_from_table(table)
    drawn = Collector()
    for path, kind, row in zip(paths, types, first_rows, strict=True):
        if kind in LINE_SHAPES:
            drawn.add_line(path, classes[row])
        else:
            drawn.add_area((outline(path, kind),), classes[row])
    return drawn.marks(image=image, unit=unit)


def _in_one_unit(table: Table) -> tuple[Table, Unit]:
    """Columns with a unit in their names as nm, under napari's names."""
    if {"axis-0", "axis-1"} <= table.keys():
        return table, "pixel"
    renamed, units = dict(table), set[float]()
    for wanted, pattern in _WITH_UNIT.items():
        found = {n: m for n in table if (m := pattern.fullmatch(n))}
        if len(found) == 1:
            name, match = found.popitem()
            renamed[wanted] = renamed.pop(name)
            unit = "angstrom" if match[1].lower() == "angst" else match[1]
            units.add(nm_per_unit(unit) or 1.0)
    if len(units) != 1 or not {"axis-0", "axis-1"} <= renamed.keys():
        return table, "pixel"
    factor = units.pop()
    for wanted in _WITH_UNIT:
        renamed[wanted] = [factor * v for v in _floats(renamed, wanted)]
    return renamed, "nm"


def _floats(table: Table, name: str) -> list[float]:
    with_points = [str(v).replace(",", ".") for v in table[name]]
    return numbers({name: with_points}, name)
