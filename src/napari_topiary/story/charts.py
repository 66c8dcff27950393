"""Simple line charts as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pictures
from PIL import ImageDraw

from napari_topiary.story.pictures import FAINT, INK, PAPER, font, save

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 48, 52
LETTERS = 13


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Parameters
    ----------
    name
        For the key above the chart.
    points
        `(x, y)` in the units of the axes.
    colour
        As ``"#rrggbb"``.
    marks
        Whether every point gets a dot.
    labels
        Texts beside the points; may be fewer.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    marks: bool = False
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Axes:
    """What a chart is about.

    Parameters
    ----------
    title, x
        Heading, which says what is drawn upwards, and what is drawn across.
    y_limits
        Lowest and highest value; None = as needed, from 0.
    """

    title: str
    x: str
    y_limits: tuple[float, float] | None = None


def save_chart(path: Path, lines: Sequence[Line], axes: Axes) -> None:
    """Draw lines into a picture.

    Parameters
    ----------
    path
        A `.png` file.
    lines
        Those without points are left out.
    axes
        Heading, units and limits.
    """
    sheet = Pictures.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(sheet)
    lines = [line for line in lines if len(line.points)]
    pen.text((LEFT, 6), axes.title, fill=INK, font=font(LETTERS + 3))
    points = [point for line in lines for point in line.points]
    x_limits = _limits([x for x, _ in points])
    y_limits = axes.y_limits or _limits([y for _, y in points])
    _draw_axes(pen, axes, x_limits, y_limits)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_limits[0]) / (x_limits[1] - x_limits[0])
        up = (y - y_limits[0]) / (y_limits[1] - y_limits[0])
        up = min(1.0, max(0.0, up))
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    left = LEFT
    for line in lines:
        pen.line([left, 35, left + 18, 35], fill=line.colour, width=3)
        pen.text((left + 24, 27), line.name, fill=INK, font=font(LETTERS))
        left += 24 + round(pen.textlength(line.name, font=font(LETTERS))) + 18
        places = [place(x, y) for x, y in line.points]
        pen.line(places, fill=line.colour, width=2)
        for x, y in places if line.marks else ():
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=line.colour)
        for (x, y), label in zip(places, line.labels, strict=False):
            width = pen.textlength(label, font=font(LETTERS - 1))
            at = (min(x + 6, WIDTH - RIGHT - width), y - 18)
            pen.text(at, label, fill=line.colour, font=font(LETTERS - 1))
    save(path, sheet)


def _draw_axes(
    pen: ImageDraw.ImageDraw,
    axes: Axes,
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
) -> None:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    letters = font(LETTERS - 1)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - share * (bottom - TOP)
        pen.line([LEFT, y, right, y], fill=FAINT)
        value = y_limits[0] + share * (y_limits[1] - y_limits[0])
        text = f"{value:.3g}"
        pen.text((LEFT - 8, y), text, fill=INK, font=letters, anchor="rm")
        x = LEFT + share * (right - LEFT)
        value = x_limits[0] + share * (x_limits[1] - x_limits[0])
        pen.text((x, bottom + 6), f"{value:.3g}", fill=INK, font=letters, anchor="mt")
    pen.line([LEFT, bottom, right, bottom], fill=INK)
    middle = (LEFT + right) / 2
    pen.text((middle, HEIGHT - 20), axes.x, fill=INK, font=letters, anchor="mt")


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """From 0 to at least the highest value, so that four steps are round numbers."""
    highest = max([value for value in values if math.isfinite(value)], default=1.0)
    if highest <= 0:
        return 0.0, 1.0
    unit = 10.0 ** math.floor(math.log10(highest / 4))
    step = next(s * unit for s in (1, 2, 2.5, 5, 10) if 4 * s * unit >= highest)
    return 0.0, 4 * step
