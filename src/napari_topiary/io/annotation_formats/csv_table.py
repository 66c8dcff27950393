"""CSV tables: napari's points and shapes, ImageJ's results, Topaz, x and y of any."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from napari_topiary.annotations import Table
from napari_topiary.annotations.columns import coordinates, numbers, paths_from_table
from napari_topiary.annotations.regions import outline
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats.base import (
    DrawnArea,
    Marks,
    Unit,
    annotation_formats,
    by_image,
    check_one_slice,
    head_text,
    marks,
)
from napari_topiary.io.stacks import SLICES
from napari_topiary.io.tables import read_rows

_IMAGE = ("image", "image_name", "micrograph", "filename", "file_name", "file", "label")
_CLASS = ("class", "type", "category", "name")
_SCORE = ("score", "confidence", "probability")
_IN_NM = {
    axis: re.compile(
        rf"(?:(?:centroid )?{name}|{axis})[ _]*[\[(]?(nm|um|µm|μm|micron)s?[\])]?", re.I
    )
    for axis, name in (("axis-0", "y"), ("axis-1", "x"))
}
_NUMBERS = re.compile(r"\s*[\d.+-]+( +[\d.+-]+)+\s*[\r\n]")
"""A first line of numbers with blanks between: no names of columns, nor a CSV."""
_PER_NM = {"nm": 1.0}
_LINES = ("path", "line", "polyline")


@annotation_formats.register("csv")
class CsvTable:
    """Rows with y and x, or napari's shapes with one row a vertex."""

    title: ClassVar[str] = "CSV (napari, ImageJ, Topaz)"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".txt")

    @staticmethod
    def fits(head: bytes) -> bool:
        """Whether it is text; what is in it is told when it is read."""
        is_text = b"\0" not in head or head.startswith((b"\xff\xfe", b"\xfe\xff"))
        return is_text and not _NUMBERS.match(head_text(head))

    @staticmethod
    def read(path: Path) -> list[Marks]:
        """Read places, lines and areas, those of several images apart."""
        rows = read_rows(path)
        if rows.fault:
            raise TopiaryError(rows.fault)
        table, unit = _in_one_unit(rows.table)
        lower = {name.lower(): name for name in table}
        image = next((lower[name] for name in _IMAGE if name in lower), None)
        names = (
            [str(v) for v in table[image]] if image else [""] * len(rows.lines)
        ) or [""]
        try:
            return [
                _marks({n: [v[i] for i in own] for n, v in table.items()}, name, unit)
                for name, own in (by_image(names) if rows.lines else {"": []}).items()
            ]
        except TopiaryError as error:
            raise TopiaryError(f"{path.name}: {error}") from error


def _marks(table: Table, image: str, unit: Unit) -> Marks:
    lower = {name.lower(): name for name in table}
    named = next((lower[name] for name in _CLASS if name in lower), None)
    count = len(next(iter(table.values()), []))
    classes = [str(value) for value in table[named]] if named else [""] * count
    for name in (lower[name] for name in SLICES if name in lower):
        check_one_slice(table[name], image or "The table")
    if "shape-type" in table:
        return _shapes(table, classes, image, unit)
    places = coordinates(table)
    scored = next((lower[name] for name in _SCORE if name in lower), None)
    return marks(
        places,
        classes,
        scores=tuple(numbers(table, scored)) if scored and count else None,
        image=image,
        unit=unit,
    )


def _shapes(table: Table, classes: list[str], image: str, unit: Unit) -> Marks:
    paths, types, first_rows = paths_from_table(table)
    lines, line_classes, areas = list[Any](), list[str](), list[DrawnArea]()
    for path, kind, row in zip(paths, types, first_rows, strict=True):
        if kind in _LINES:
            lines.append(path)
            line_classes.append(classes[row])
        else:
            areas.append(DrawnArea((outline(path, kind),), classes[row]))
    return marks(
        lines=tuple(lines),
        line_classes=tuple(line_classes),
        areas=tuple(areas),
        image=image,
        unit=unit,
    )


def _in_one_unit(table: Table) -> tuple[Table, Unit]:
    """Columns with a unit in their names as nm, under napari's names."""
    if {"axis-0", "axis-1"} <= table.keys():
        return table, "pixel"
    renamed, units = dict(table), set[str]()
    for wanted, pattern in _IN_NM.items():
        found = {n: m for n in table if (m := pattern.fullmatch(n))}
        if len(found) == 1:
            name, match = found.popitem()
            renamed[wanted] = renamed.pop(name)
            units.add(match[1].lower())
    if len(units) != 1 or not {"axis-0", "axis-1"} <= renamed.keys():
        return table, "pixel"
    factor = _PER_NM.get(units.pop(), 1000.0)
    for wanted in _IN_NM:
        renamed[wanted] = [factor * v for v in _floats(renamed, wanted)]
    return renamed, "nm"


def _floats(table: Table, name: str) -> list[float]:
    with_points = [str(v).replace(",", ".") for v in table[name]]
    return numbers({name: with_points}, name)
