"""The axes of a chart: where values lie in the picture, and what is written there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw

from napari_topiary.story.pictures import FAINT, INK, font

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 48, 52
LETTERS = 13
GUIDE = "#909090"
LEAST_SPAN = 0.02
"""Values that lie closer together are drawn as the nearly equal ones they are."""


@dataclass(frozen=True)
class Axes:
    """What a chart is about.

    Parameters
    ----------
    title, x
        Heading, which says what is drawn upwards, and what is drawn across.
    y_limits
        Lowest and highest value; None = as needed, from 0.
    log_x
        Whether equal steps across are equal factors.
    levels, places
        Value -> words beside a line across (levels) or upwards (places) at it.
    """

    title: str
    x: str
    y_limits: tuple[float, float] | None = None
    log_x: bool = False
    levels: Sequence[tuple[float, str]] = ()
    places: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True)
class Frame:
    """Axes with limits, which know where a value lies.

    Parameters
    ----------
    axes
        What is drawn.
    x_limits, y_limits
        Lowest and highest value.
    """

    axes: Axes
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]

    size = (WIDTH, HEIGHT)
    left, right = LEFT, WIDTH - RIGHT

    @classmethod
    def around(cls, axes: Axes, points: Sequence[tuple[float, float]]) -> Frame:
        """Choose limits so that all points lie inside."""
        across = [x for x, _ in points] + [x for x, _ in axes.places]
        if axes.log_x:
            x_limits = _decades([x for x in across if x > 0])
        else:
            x_limits = limits(across)
        return cls(axes, x_limits, axes.y_limits or limits([y for _, y in points]))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Screen pixels `(across, down)` of a value; outside it is on the border."""
        across = min(1.0, max(0.0, self._across(x)))
        up = (y - self.y_limits[0]) / (self.y_limits[1] - self.y_limits[0])
        up = min(1.0, max(0.0, up))
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    def draw(self, pen: ImageDraw.ImageDraw) -> None:
        """Draw heading, grid, numbers and guides."""
        bottom, letters = HEIGHT - BOTTOM, font(LETTERS - 1)
        pen.text((LEFT, 6), self.axes.title, fill=INK, font=font(LETTERS + 3))
        low, high = self.y_limits
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            y = bottom - share * (bottom - TOP)
            pen.line([LEFT, y, self.right, y], fill=FAINT)
            text = f"{low + share * (high - low):.3g}"
            pen.text((LEFT - 8, y), text, fill=INK, font=letters, anchor="rm")
        for value, text in self._ticks():
            x = self.place(value, low)[0]
            pen.text((x, bottom + 6), text, fill=INK, font=letters, anchor="mt")
        pen.line([LEFT, bottom, self.right, bottom], fill=INK)
        middle = (LEFT + self.right) / 2
        at = (middle, HEIGHT - 20)
        pen.text(at, self.axes.x, fill=INK, font=letters, anchor="mt")
        self._draw_guides(pen)

    def _draw_guides(self, pen: ImageDraw.ImageDraw) -> None:
        letters = font(LETTERS - 3)
        for value, words in self.axes.levels:
            y = self.place(self.x_limits[0], value)[1]
            pen.line([LEFT, y, self.right, y], fill=GUIDE)
            pen.text(
                (self.right - 2, y - 2), words, fill=GUIDE, font=letters, anchor="rb"
            )
        for row, (value, words) in enumerate(self.axes.places):
            x = self.place(value, self.y_limits[0])[0]
            pen.line([x, TOP, x, HEIGHT - BOTTOM], fill=GUIDE)
            below = HEIGHT - BOTTOM - 4 - 12 * row
            pen.text((x - 3, below), words, fill=GUIDE, font=letters, anchor="rb")

    def _across(self, x: float) -> float:
        low, high = self.x_limits
        if not self.axes.log_x:
            return (x - low) / (high - low)
        if x <= 0:
            return 0.0
        return math.log(x / low) / math.log(high / low)

    def _ticks(self) -> list[tuple[float, str]]:
        low, high = self.x_limits
        if not self.axes.log_x:
            values = [low + share * (high - low) for share in (0, 0.25, 0.5, 0.75, 1)]
            return [(value, f"{value:.3g}") for value in values]
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1, 2, 5) if high / low < 1e3 else (1,)
        values = [step * 10.0**exponent for exponent in exponents for step in steps]
        inside = [v for v in values if low * 0.999 <= v <= high * 1.001]
        return [(value, in_short(value)) for value in inside]


def in_short(number: float) -> str:
    """A number with its power of a thousand as a letter: 2 M, 50 k."""
    for unit, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= unit:
            return f"{number / unit:g}{letter}"
    return f"{number:g}"


def limits(values: Sequence[float]) -> tuple[float, float]:
    """From 0 to at least the highest value, so that four steps are round numbers."""
    highest = max([value for value in values if math.isfinite(value)], default=1.0)
    if highest <= 0:
        return 0.0, 1.0
    unit = 10.0 ** math.floor(math.log10(highest / 4))
    step = next(s * unit for s in (1, 2, 2.5, 5, 10) if 4 * s * unit >= highest)
    return 0.0, 4 * step


def close_limits(values: Sequence[float]) -> tuple[float, float]:
    """Limits just around all values, so that four steps are round numbers."""
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    unit = 10.0 ** math.floor(math.log10(max(high - low, LEAST_SPAN) / 4))
    for step in (factor * unit for factor in (1, 2, 2.5, 5, 10, 20)):
        begin = math.floor(low / step + 1e-9) * step
        if 4 * step > 0.99 * LEAST_SPAN and begin + 4 * step >= high - 1e-9:
            break
    return begin, begin + 4 * step


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Limits at 1, 2 or 5 times a power of ten that hold all values."""
    low, high = min(values, default=1.0), max(values, default=10.0)
    unit = 10.0 ** math.floor(math.log10(low))
    begin = max(step * unit for step in (1, 2, 5) if step * unit <= low * (1 + 1e-9))
    unit = 10.0 ** math.floor(math.log10(high))
    end = min(step * unit for step in (1, 2, 5, 10) if step * unit >= high * (1 - 1e-9))
    return (begin, end) if end > begin else (begin, 10 * begin)
