"""RELION STAR: coordinates of one micrograph, or of many.

The tables are read here: the usual library for them brings a hundred times as much
code as this.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_topiary.annotations import Table
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats.base import (
    Marks,
    annotation_formats,
    by_image,
    check_one_slice,
    head_text,
    marks,
    number,
)
from napari_topiary.io.own_files import WRITER
from napari_topiary.io.plain_files import read_text
from napari_topiary.io.tables import odd_line

NM_PER_ANGSTROM = 0.1
NO_MERIT = -999.0
"""What RELION gives particles that were picked by hand."""
_CLASSES = "# classes:"
_X, _Y = "rlnCoordinateX", "rlnCoordinateY"
_IMAGES = ("rlnMicrographName", "rlnImageName", "rlnTomoName")
_SIZE, _GROUP = "rlnMicrographPixelSize", "rlnOpticsGroup"


@dataclass
class Block:
    """One table of a STAR file, or single values (a table of one row)."""

    name: str = ""
    columns: Table = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.lines)


def star_blocks(path: Path) -> list[Block]:
    """Read the tables of a STAR file; a name may be empty, or that of several.

    Raises
    ------
    TopiaryError
        With a sentence that names the line.
    """
    blocks = list[Block]()
    block, in_loop = Block(), False
    for count, line in enumerate(read_text(path, "STAR file").splitlines(), start=1):
        words = _words(line)
        if not words:
            continue
        first = words[0]
        if first.lower().startswith("data_"):
            block, in_loop = Block(first[5:]), False
            blocks.append(block)
        elif first.lower() == "loop_":
            in_loop = True
        elif first.startswith("_") and not (in_loop and _is_row(words, block)):
            value = [words[1]] if not in_loop and len(words) > 1 else []
            block.columns[first[1:]] = value
            if not in_loop:
                block.lines = [count]
        elif len(words) != len(block.columns) or not in_loop:
            raise TopiaryError(odd_line(count, path, len(words), len(block.columns)))
        else:
            block.lines.append(count)
            for column, word in zip(block.columns.values(), words, strict=True):
                column.append(word)
    return blocks


def _is_row(words: list[str], block: Block) -> bool:
    """Whether a line that begins as names of columns do has values: a file's name."""
    if block.lines or not block.columns or len(words) < 2:
        return bool(block.lines)
    # Names are counted behind them: "#3", of some programs 3.
    return not words[1].startswith("#") and words[1] != str(len(block.columns) + 1)


def star_text(columns: Mapping[str, Sequence[Any]]) -> str:
    """Return a table as STAR files have it."""
    head = [f"_{name} #{i}" for i, name in enumerate(columns, start=1)]
    rows = [" ".join(map(_word, row)) for row in zip(*columns.values(), strict=True)]
    return "\n".join(["loop_", *head, *rows]) + "\n"


@annotation_formats.register("star")
class Star:
    """Particles and helical tubes; in pixels of the micrograph."""

    title: ClassVar[str] = "RELION STAR"
    details: ClassVar[str] = "3.0, 3.1 with optics groups, autopick, helical tubes"
    marks: ClassVar[str] = "points, lines"
    suffixes: ClassVar[tuple[str, ...]] = (".star",)
    ending: ClassVar[str] = ".star"
    only_places: ClassVar[bool] = True
    names_classes: ClassVar[bool] = True

    @staticmethod
    def fits(head: bytes) -> bool:
        """Whether a table begins."""
        return "data_" in head_text(head).lower()

    @staticmethod
    def read(path: Path) -> list[Marks]:
        """Read coordinates, those of many micrographs apart."""
        blocks = star_blocks(path)
        found = [one for one in blocks if {_X, _Y} <= one.columns.keys()]
        if not found:
            raise TopiaryError(
                f"{path.name} has no columns _{_X} and _{_Y}: give the STAR file of "
                "the particles or of the picked coordinates."
            )
        known, result = _class_names(path), list[Marks]()
        for block in found:
            columns = (block.columns.get(name) for name in _IMAGES)
            usual = block.name if len(found) > 1 else ""
            names = next(filter(None, columns), [usual] * len(block))
            for name, rows in (by_image(names) or {usual: []}).items():
                scale = _scale(blocks, block, rows, path.name)
                result.append(_marks(path, block, rows, name, scale, known))
        return result

    @staticmethod
    def write(path: Path, marked: Marks) -> None:
        """Write coordinates; a filament is a tube through its vertices."""
        kinds = sorted({*marked.classes, *marked.line_classes})
        tubes = [0] * len(marked.places)
        for tube, line in enumerate(marked.lines, start=1):
            tubes += [tube] * len(line)
        places = np.concatenate([marked.places, *marked.lines])
        classes = [*marked.classes]
        for line, name in zip(marked.lines, marked.line_classes, strict=True):
            classes += [name] * len(line)
        columns: dict[str, Sequence[Any]] = {
            "rlnMicrographName": [marked.image or path.stem] * len(places),
            _X: places[:, 1].tolist(),
            _Y: places[:, 0].tolist(),
        }
        if len(kinds) > 1:
            columns["rlnClassNumber"] = [kinds.index(name) + 1 for name in classes]
        if marked.lines:
            columns["rlnHelicalTubeID"] = tubes
        if marked.scores is not None:
            more = len(places) - len(marked.scores)
            columns["rlnAutopickFigureOfMerit"] = [*marked.scores, *[1.0] * more]
        # Names of classes have no column in RELION; a comment keeps them.
        named = "".join(f" {i} {_word(n)}" for i, n in enumerate(kinds, start=1) if n)
        comment = f"# {WRITER}\n" + (f"{_CLASSES}{named}\n" if named else "")
        text = f"{comment}\ndata_\n\n{star_text(columns)}"
        # Bytes of a name that are no letters stay what they are on the disk.
        path.write_text(text, encoding="utf-8", errors="surrogateescape")


def _marks(
    path: Path,
    block: Block,
    rows: list[int],
    image: str,
    scale: float | None,
    known: Mapping[int, str],
) -> Marks:
    if "rlnCoordinateZ" in block.columns:
        check_one_slice([block.columns["rlnCoordinateZ"][r] for r in rows], path.name)

    def values(name: str) -> list[float]:
        column = block.columns[name]
        return [
            number(column[r], f"Line {block.lines[r]} of {path.name}") for r in rows
        ]

    places = np.array([values(_Y), values(_X)]).reshape(2, -1).T
    kinds = [""] * len(rows)
    if known:
        given = block.columns.get("rlnClassNumber", ["1"] * len(block))
        kinds = [known.get(_whole(given[row]), "") for row in rows]
    tubes = [0] * len(rows)
    if "rlnHelicalTubeID" in block.columns:
        tubes = [_whole(block.columns["rlnHelicalTubeID"][row]) for row in rows]
    order = range(len(rows))
    if "rlnHelicalTrackLengthAngst" in block.columns:
        along = values("rlnHelicalTrackLengthAngst")
        order = sorted(order, key=along.__getitem__)  # type: ignore[assignment]
    lines, line_classes, alone = list[Any](), list[str](), list[int]()
    by_tube = sorted(order, key=tubes.__getitem__)
    for tube, group in groupby(by_tube, key=tubes.__getitem__):
        members = list(group)
        if tube <= 0 or len(members) < 2:
            alone += members
            continue
        lines.append(places[members])
        line_classes.append(kinds[members[0]])
    alone.sort()
    merit = "rlnAutopickFigureOfMerit"
    scores = values(merit) if merit in block.columns else None
    if scores is not None and NO_MERIT in scores:
        scores = None  # picked by hand, some of it at least
    return marks(
        places[alone],
        [kinds[i] for i in alone],
        scores=None if scores is None else tuple(scores[i] for i in alone),
        lines=tuple(lines),
        line_classes=tuple(line_classes),
        image=image,
        scale=scale,
    )


def _scale(
    blocks: Sequence[Block], block: Block, rows: list[int], file: str
) -> float | None:
    """Pixel size in nm of the micrograph that some rows are about.

    None where no table says it, or not one alone: that of detector pixels and that of
    the extracted particles may be another one.
    """
    groups = {block.columns[_GROUP][row] for row in rows if _GROUP in block.columns}
    for one in blocks:
        sizes, own = one.columns.get(_SIZE, ()), range(len(one))
        if one is block:
            own = rows  # type: ignore[assignment]
        elif groups and _GROUP in one.columns:
            of = one.columns[_GROUP]
            own = [row for row in own if of[row] in groups]  # type: ignore[assignment]
        given = {str(sizes[row]) for row in own} if sizes else set[str]()
        if len(given) == 1:
            size = number(given.pop(), f"_{_SIZE} of {file}")
            return size * NM_PER_ANGSTROM if size > 0 else None
    return None


def _class_names(path: Path) -> dict[int, str]:
    """Names of the classes, in files that were written here."""
    for line in read_text(path, "STAR file").splitlines()[:5]:
        if line.startswith(_CLASSES):
            words = _words(line.removeprefix(_CLASSES))
            pairs = zip(words[::2], words[1::2], strict=False)
            return {_whole(index): name for index, name in pairs}
    return {}


def _words(line: str) -> list[str]:
    if line.lstrip().startswith("#"):
        return []
    if '"' not in line and "'" not in line:
        return line.partition(" #")[0].split()
    try:
        return shlex.split(line, comments=False)
    except ValueError:  # a lone quotation mark, in a name
        return line.split()


def _word(value: object) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    return f'"{text}"' if not text or any(c.isspace() for c in text) else text


def _whole(text: object) -> int:
    try:
        return int(float(str(text)))
    except (ValueError, OverflowError):
        return 0
