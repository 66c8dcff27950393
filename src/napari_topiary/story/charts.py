"""Simple line charts as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pictures
from PIL import ImageDraw

from napari_topiary.story.axes import LETTERS, Axes, Frame, close_limits
from napari_topiary.story.pictures import INK, PAPER, font, save

__all__ = ["Axes", "Line", "close_limits", "save_chart"]


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
    joined
        Whether the points are joined by lines; otherwise they are only dots.
    spread
        How far each point is uncertain, up and down; may be fewer.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    marks: bool = False
    labels: Sequence[str] = ()
    joined: bool = True
    spread: Sequence[float] = ()


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
    lines = [line for line in lines if len(line.points)]
    frame = Frame.around(axes, [point for line in lines for point in line.points])
    sheet = Pictures.new("RGB", frame.size, PAPER)
    pen = ImageDraw.Draw(sheet)
    frame.draw(pen)
    left = frame.left
    for line in lines:
        _draw_line(pen, frame, line)
        if line.joined:
            pen.line([left, 35, left + 18, 35], fill=line.colour, width=3)
        else:
            pen.ellipse([left + 5, 31, left + 13, 39], fill=line.colour)
        pen.text((left + 24, 27), line.name, fill=INK, font=font(LETTERS))
        left += 24 + round(pen.textlength(line.name, font=font(LETTERS))) + 18
    save(path, sheet)


def _draw_line(pen: ImageDraw.ImageDraw, frame: Frame, line: Line) -> None:
    places = [frame.place(x, y) for x, y in line.points]
    if line.joined:
        pen.line(places, fill=line.colour, width=2)
    for (x, y), reach in zip(line.points, line.spread, strict=False):
        low, high = frame.place(x, y - reach), frame.place(x, y + reach)
        pen.line([*low, *high], fill=line.colour, width=1)
    for x, y in places if line.marks or not line.joined else ():
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=line.colour)
    for index, ((x, y), label) in enumerate(zip(places, line.labels, strict=False)):
        width = pen.textlength(label, font=font(LETTERS - 1))
        # Above and below in turn, so that neighbours do not cover one another.
        at = (min(x + 6, frame.right - width), y + (6 if index % 2 else -18))
        pen.text(at, label, fill=line.colour, font=font(LETTERS - 1))
