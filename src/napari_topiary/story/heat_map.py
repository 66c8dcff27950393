"""A table of numbers as a picture of coloured fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw

from napari_topiary.story.pictures import INK, PAPER, font, save

FIELD = (62, 30)
"""Width and height of a field, in screen pixels."""
LEFT, TOP, BOTTOM, RIGHT = 110, 46, 40, 16
LETTERS = 12
COLOURS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""From the lowest to the highest value; also for people who see red as green."""
EMPTY = "#e8e8e8"
DARK_BELOW = 0.6


@dataclass(frozen=True)
class HeatMap:
    """Values over two variables.

    Parameters
    ----------
    title, x, y
        Heading, and what runs across and downwards.
    across, down
        Names of the columns and of the rows.
    values
        `(rows, columns)`; None where nothing is known.
    limits
        Values of the first and the last colour; None = those that occur.
    """

    title: str
    x: str
    y: str
    across: Sequence[str]
    down: Sequence[str]
    values: Sequence[Sequence[float | None]]
    limits: tuple[float, float] | None = None


def save_heat_map(path: Path, about: HeatMap) -> None:
    """Draw a heat map into a picture.

    Parameters
    ----------
    path
        A `.png` file.
    about
        What is drawn.
    """
    width = LEFT + FIELD[0] * len(about.across) + RIGHT
    height = TOP + FIELD[1] * (len(about.down) + 1) + BOTTOM
    sheet = Pictures.new("RGB", (max(width, 360), height), PAPER)
    pen, letters = ImageDraw.Draw(sheet), font(LETTERS)
    pen.text((8, 6), about.title, fill=INK, font=font(LETTERS + 4))
    pen.text((8, TOP + 7), about.y, fill=INK, font=letters)
    bottom = TOP + FIELD[1] * (len(about.down) + 1)
    middle = LEFT + FIELD[0] * len(about.across) / 2
    pen.text((middle, bottom + 10), about.x, fill=INK, font=letters, anchor="mt")
    low, high = about.limits or _limits(about.values)
    for column, name in enumerate(about.across):
        x = LEFT + FIELD[0] * (column + 0.5)
        pen.text((x, TOP + 15), name, fill=INK, font=letters, anchor="mm")
    for row, (name, values) in enumerate(zip(about.down, about.values, strict=True)):
        top = TOP + FIELD[1] * (row + 1)
        middle = top + FIELD[1] / 2
        pen.text((LEFT - 8, middle), name, fill=INK, font=letters, anchor="rm")
        for column, value in enumerate(values):
            left = LEFT + FIELD[0] * column
            box = (left, top, left + FIELD[0] - 2, top + FIELD[1] - 2)
            if value is None:
                pen.rectangle(box, fill=EMPTY)
                continue
            share = float(np.clip((value - low) / max(high - low, 1e-9), 0.0, 1.0))
            pen.rectangle(box, fill=_colour(share))
            ink = PAPER if share < DARK_BELOW else INK
            at = (left + FIELD[0] / 2, middle)
            pen.text(at, f"{value:.3f}", fill=ink, font=letters, anchor="mm")
    save(path, sheet)


def _limits(values: Sequence[Sequence[float | None]]) -> tuple[float, float]:
    known = [value for row in values for value in row if value is not None]
    return (min(known), max(known)) if known else (0.0, 1.0)


def _colour(share: float) -> tuple[int, int, int]:
    stops = np.linspace(0.0, 1.0, len(COLOURS))
    red, green, blue = (
        round(float(np.interp(share, stops, [c[i] for c in COLOURS]))) for i in range(3)
    )
    return red, green, blue
