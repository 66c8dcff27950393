"""CBOX, the boxes of crYOLO."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats.base import (
    Marks,
    annotation_formats,
    check_one_slice,
    is_text,
    marks,
    number,
    row_words,
)
from napari_topiary.io.annotation_formats.star import star_blocks, star_text
from napari_topiary.io.own_files import WRITER
from napari_topiary.io.plain_files import read_text

USUAL_BOX = 20.0
"""Side of the box around what has no radius, in pixels."""
_NONE = "<NA>"
_WANTED = ("CoordinateX", "CoordinateY", "Width", "Height")


@annotation_formats.register("cbox")
class Cbox:
    """Boxes by their lower corner and size, with a confidence; filaments too."""

    title: ClassVar[str] = "crYOLO CBOX"
    details: ClassVar[str] = "old and new"
    marks: ClassVar[str] = "points, lines, sizes"
    suffixes: ClassVar[tuple[str, ...]] = (".cbox",)
    ending: ClassVar[str] = ".cbox"
    only_places: ClassVar[bool] = True
    names_classes: ClassVar[bool] = False

    @staticmethod
    def fits(head: bytes) -> bool:
        """Whether it is text."""
        return is_text(head)

    @staticmethod
    def read(path: Path) -> list[Marks]:
        """Read the middles of the boxes; those of one filament are a line."""
        if "data_" not in read_text(path, "CBOX file"):
            return [_old(path)]
        named = (one for one in star_blocks(path) if one.name.lower() == "cryolo")
        block = next(named, None)
        if block is None or not set(_WANTED) <= block.columns.keys():
            raise TopiaryError(
                f"{path.name} has no table data_cryolo with the columns "
                f"{', '.join('_' + name for name in _WANTED)}: it is no CBOX file of "
                "crYOLO 1.8 or newer."
            )

        def values(name: str) -> np.ndarray[Any, Any]:
            column = zip(block.columns[name], block.lines, strict=True)
            where = f"of {path.name}"
            return np.array([number(v, f"Line {n} {where}") for v, n in column])

        check_one_slice(block.columns.get("CoordinateZ", ()), path.name)
        x, y, width, height = map(values, _WANTED)
        places = np.stack([y + height / 2, x + width / 2], axis=1)
        given = block.columns.get("Confidence")
        scores = (
            values("Confidence")
            if given and _NONE not in given and len(block)
            else None
        )
        tubes = block.columns.get("filamentid", [_NONE] * len(block))
        lines = []
        for tube in dict.fromkeys(tubes):
            members = [i for i, other in enumerate(tubes) if other == tube]
            if tube.lower() not in (_NONE.lower(), "nan") and len(members) > 1:
                lines.append((members, places[members]))
        on_lines = {i for members, _ in lines for i in members}
        alone = [i for i in range(len(block)) if i not in on_lines]
        radius = (width + height) / 4
        return [
            marks(
                places[alone],
                scores=None if scores is None else tuple(map(float, scores[alone])),
                radius=tuple(map(float, radius[alone])),
                lines=tuple(line for _, line in lines),
                line_classes=("",) * len(lines),
            )
        ]

    @staticmethod
    def write(path: Path, marked: Marks) -> None:
        """Write boxes; those of a filament have its number."""
        places = np.concatenate([marked.places, *marked.lines])
        tubes: list[object] = [_NONE] * len(marked.places)
        for tube, line in enumerate(marked.lines):
            tubes += [tube] * len(line)
        radius = [*(marked.radius or [USUAL_BOX / 2] * len(marked.places))]
        usual = max(radius, default=USUAL_BOX / 2)
        sides = [2 * r for r in radius] + [2 * usual] * (len(places) - len(radius))
        scores = [*(marked.scores or [1.0] * len(marked.places))]
        scores += [1.0] * (len(places) - len(scores))
        nothing, half = [_NONE] * len(places), np.array(sides) / 2
        columns = {
            "CoordinateX": (places[:, 1] - half).tolist(),
            "CoordinateY": (places[:, 0] - half).tolist(),
            "CoordinateZ": nothing,
            "Width": sides,
            "Height": sides,
            "Depth": nothing,
            "EstWidth": sides,
            "EstHeight": sides,
            "Confidence": scores,
            "NumBoxes": nothing,
            "Angle": nothing,
            "filamentid": tubes,
        }
        path.write_text(
            f"# {WRITER}\n\ndata_global\n\n_cbox_format_version 1.0\n\n"
            f"data_cryolo\n\n{star_text(columns)}\n"
            f"data_cryolo_include\n\n{star_text({'slice_index': []})}",
            encoding="utf-8",
        )


def _old(path: Path) -> Marks:
    """Files before crYOLO 1.8: x, y, width, height, confidence, ... in columns."""
    places, radius, scores = [], [], []
    lines = read_text(path, "CBOX file").splitlines()
    for count, line in enumerate(lines, start=1):
        words = row_words(line)
        if not words:
            continue
        if len(words) < 4:
            raise TopiaryError(
                f"Line {count} of {path.name} has {len(words)} values, but a box needs "
                "x, y, width and height: correct or delete the line."
            )
        x, y, width, height, *others = (
            number(word, f"Line {count} of {path.name}") for word in words[:5]
        )
        places.append((y + height / 2, x + width / 2))
        radius.append((width + height) / 4)
        scores += others
    return marks(
        places,
        radius=tuple(radius),
        scores=tuple(scores) if places and len(scores) == len(places) else None,
    )
