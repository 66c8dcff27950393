"""cryoSPARC's particles, as a table or as its own .cs file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats.base import (
    Marks,
    annotation_formats,
    by_image,
    head_text,
    marks,
    number,
)
from napari_topiary.io.plain_files import check_plain_file
from napari_topiary.io.tables import read_rows

_X, _Y = "location/center_x_frac", "location/center_y_frac"
_IMAGE, _SIZE = "location/micrograph_path", "location/micrograph_psize_A"
_MAGIC = b"\x93NUMPY"


@annotation_formats.register("cryosparc")
class CryoSparc:
    """Centres as shares of width and height, with the path of the micrograph."""

    title: ClassVar[str] = "cryoSPARC"
    details: ClassVar[str] = "table, or `.cs`"
    marks: ClassVar[str] = "points"
    suffixes: ClassVar[tuple[str, ...]] = (".cs", ".csv", ".tsv", ".txt")

    @staticmethod
    def fits(head: bytes) -> bool:
        """Whether its columns are named, or its array begins."""
        return head.startswith(_MAGIC) or _X in head_text(head)

    @staticmethod
    def read(path: Path) -> list[Marks]:
        """Read the particles of each micrograph."""
        table, lines = _array(path) if path.suffix.lower() == ".cs" else _rows(path)
        if not {_X, _Y} <= table.keys():
            raise TopiaryError(
                f"{path.name} has no columns {_X} and {_Y}: export the particles "
                "together with their locations."
            )
        names = [str(name) for name in table.get(_IMAGE, [""] * len(lines))]

        def values(column: str, members: list[int]) -> list[float]:
            where = f"of {path.name}"
            return [
                number(table[column][i], f"Row {lines[i]} {where}") for i in members
            ]

        found = []
        for name, own in by_image(names).items():
            size = values(_SIZE, own[:1])[0] if _SIZE in table else 0.0
            found.append(
                marks(
                    list(zip(values(_Y, own), values(_X, own), strict=True)),
                    image=name,
                    unit="fraction",
                    scale=0.1 * size if size > 0 else None,
                )
            )
        return found


def _rows(path: Path) -> tuple[dict[str, list[Any]], list[int]]:
    rows = read_rows(path)
    if rows.fault:
        raise TopiaryError(rows.fault)
    return rows.table, rows.lines


def _array(path: Path) -> tuple[dict[str, list[Any]], list[int]]:
    check_plain_file(path)
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False, mmap_mode=None)
        names = array.dtype.names or ()
    except (ValueError, OSError, EOFError, SyntaxError, MemoryError) as error:
        raise TopiaryError(
            f"{path.name} cannot be read as a .cs file of cryoSPARC ({error}): copy it "
            "again."
        ) from error
    wanted = [name for name in (_X, _Y, _IMAGE, _SIZE) if name in names]
    table = {
        name: [v.decode() if isinstance(v, bytes) else v for v in array[name].tolist()]
        for name in wanted
    }
    return table, list(range(1, len(array) + 1))
