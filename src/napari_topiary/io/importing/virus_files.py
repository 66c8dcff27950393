"""Side files of the public set of virus images: positions of particles, and tags.

Context Virus (doi 10.17632/x4dwwfwtw3, branch RAW), in folders by part and class:

    particle_positions/<image>_particlepositions.txt
        three lines of heading, then records that a line `particleposition` separates;
        a record has one or more lines `x;y` in pixels: one is a centre, two or more
        follow the particle
    tags/<image>.tif_tags.csv
        semicolons between fields, commas in numbers; rows 0 and 1 are height and width
        in pixels, rows 5 and 6 the size of a pixel in nm across and down
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.plain_files import check_plain_file

POSITIONS, TAGS = "_particlepositions.txt", ".tif_tags.csv"
HEADING_LINES = 3
SEPARATOR = "particleposition"
HEIGHT_ROW, WIDTH_ROW, X_SIZE_ROW, Y_SIZE_ROW = 0, 1, 5, 6
UNEVEN = 0.02
"""Pixels whose sides differ by more than this share are not square."""


@dataclass(frozen=True, eq=False)
class Positions:
    """Particles of one image."""

    #: `(n, 2)` y, x in pixels, of particles with one position
    centres: NDArray[np.float64]
    #: `(v, 2)` y, x in pixels along each particle with two or more
    lines: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True)
class Tags:
    """What the microscope wrote down about one image."""

    shape: tuple[int, int]  #: `(y, x)` in pixels
    scale: float  #: nm per pixel


def read_positions(path: Path) -> Positions:
    """Read the particles of one image.

    Parameters
    ----------
    path
        A file `<image>_particlepositions.txt`.

    Raises
    ------
    TopiaryError
        With a sentence that names the line, if it is damaged.
    """
    lines = _text(path).splitlines()
    if len(lines) < HEADING_LINES:
        raise TopiaryError(
            f"{path.name} ends within its heading of {HEADING_LINES} lines: get the "
            "file again, or remove it."
        )
    records: list[list[tuple[float, float]]] = [[]]
    for number, line in enumerate(lines[HEADING_LINES:], start=HEADING_LINES + 1):
        if line.strip().lower() == SEPARATOR:
            records.append([])
        elif line.strip():
            records[-1].append(_position(line, f"{path.name}, line {number}"))
    particles = [np.array(record) for record in records if record]
    centres = [p[0] for p in particles if len(p) == 1]
    return Positions(
        np.array(centres, dtype=np.float64).reshape(-1, 2),
        tuple(p for p in particles if len(p) > 1),
    )


def read_tags(path: Path) -> Tags:
    """Read size and pixel size of one image.

    Parameters
    ----------
    path
        A file `<image>.tif_tags.csv`.

    Raises
    ------
    TopiaryError
        With a sentence that names the row, if it is damaged.
    """
    rows = _text(path).splitlines()
    height, width, x_size, y_size = (
        _last_number(rows, row, path.name)
        for row in (HEIGHT_ROW, WIDTH_ROW, X_SIZE_ROW, Y_SIZE_ROW)
    )
    if height != round(height) or width != round(width):
        raise TopiaryError(
            f"{path.name} says that the image is {height:g} x {width:g} pixels large: "
            "get the file again."
        )
    if abs(x_size - y_size) > UNEVEN * max(x_size, y_size):
        raise TopiaryError(
            f"{path.name} gives pixels of {x_size:g} x {y_size:g} nm, but only square "
            "ones can be used: resample the image, or correct the file."
        )
    return Tags((round(height), round(width)), (x_size + y_size) / 2)


def _text(path: Path) -> str:
    check_plain_file(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TopiaryError(f"{path.name} cannot be read: {error.strerror}.") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if "\0" in text:
        raise TopiaryError(f"{path.name} is not a text file: get it again.")
    return text


def _position(line: str, where: str) -> tuple[float, float]:
    """Return y and x of a line `x;y`."""
    fields = [field for field in line.split(";") if field.strip()]
    values = [_number(field) for field in fields]
    x, y = (*values, None, None)[:2]
    if len(values) != 2 or x is None or y is None:
        raise TopiaryError(
            f"{where}: {line.strip()!r} is not a position: it must be x;y in pixels."
        )
    return y, x


def _last_number(rows: list[str], row: int, name: str) -> float:
    fields = rows[row].split(";") if row < len(rows) else []
    found = [value for field in fields if (value := _number(field)) is not None]
    if not found or not found[-1] > 0:
        told = f"says {rows[row].strip()!r}" if row < len(rows) else "is missing"
        raise TopiaryError(
            f"{name}: row {row + 1} {told}, but must hold a number above 0: get the "
            "file again."
        )
    return found[-1]


def _number(field: str) -> float | None:
    """Read a number with a comma or a point; None if it is none."""
    try:
        value = float(field.strip().strip('"').replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
