"""Line charts and heat maps as pictures, drawn by matplotlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_topiary.errors import TopiaryError
from napari_topiary.io.atomic import writing
from napari_topiary.io.own_files import WRITER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN = "#2060c0", "#d06000", "#008060"
GUIDE, EMPTY = "#909090", "#e8e8e8"
DPI = 100
LEAST_SPAN = 0.02
"""Values that lie closer together are drawn as the nearly equal ones they are."""
DARK_BELOW = 0.6
"""Share of the colours below which writing on a field is white."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart."""

    name: str  #: For the key of the chart
    points: Sequence[tuple[float, float]]  #: `(x, y)` in the units of the axes
    colour: str  #: As ``"#rrggbb"``
    marks: bool = False  #: Whether every point gets a dot
    labels: Sequence[str] = ()  #: Texts beside the points; may be fewer
    #: Whether the points are joined by lines; otherwise they are only dots
    joined: bool = True
    #: How far each point is uncertain, up and down; none, or one for each
    spread: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What a chart is about."""

    #: `title`, `x`: heading, which says what is drawn upwards, and what is drawn across
    title: str
    x: str
    #: Lowest and highest value, each None = as needed
    y_limits: tuple[float | None, float | None] = (0.0, None)
    log_x: bool = False  #: Whether equal steps across are equal factors
    #: `levels`, `places`: value -> words beside a line across (levels) or upwards
    #: (places) at it
    levels: Sequence[tuple[float, str]] = ()
    places: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Values over two variables."""

    #: `title`, `x`, `y`: heading, and what runs across and downwards
    title: str
    x: str
    y: str
    #: `across`, `down`: names of the columns and of the rows
    across: Sequence[str]
    down: Sequence[str]
    #: `(rows, columns)`; None where nothing is known
    values: Sequence[Sequence[float | None]]
    #: Values of the first and the last colour; None = those that occur
    limits: tuple[float, float] | None = None


def see_to_charts() -> None:
    """Say what is missing for charts, before anybody has waited for one."""
    if importlib.util.find_spec("matplotlib") is None:
        raise TopiaryError(
            "The charts of a report are drawn by matplotlib, which is not installed: "
            "pip install 'napari-topiary[report]'."
        )


def save_chart(path: Path, chart: Chart, lines: Sequence[Line]) -> None:
    """Draw lines into a picture.

    Parameters
    ----------
    path
        A `.png` file.
    chart
        Heading, units and limits.
    lines
        Those without points are left out.
    """
    figure = _figure(6.4, 3.8)
    axes = figure.add_subplot(title=chart.title, xlabel=chart.x)
    if chart.log_x:
        from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    lines = [line for line in lines if len(line.points)]
    for line in lines:
        _draw(axes, line)
    low, high = axes.get_ylim()
    if high - low < LEAST_SPAN:
        axes.set_ylim((low + high - LEAST_SPAN) / 2, (low + high + LEAST_SPAN) / 2)
    axes.set_ylim(*chart.y_limits)
    across, upwards = axes.get_yaxis_transform(), axes.get_xaxis_transform()
    for value, words in chart.levels:
        axes.axhline(value, color=GUIDE, linewidth=1)
        at: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": "small"}
        axes.text(0.99, value, words, color=GUIDE, transform=across, **at)
    for row, (value, words) in enumerate(chart.places):
        axes.axvline(value, color=GUIDE, linewidth=1)
        at = {"ha": "right", "va": "bottom", "fontsize": "small"}
        low = 0.02 + 0.06 * row
        axes.text(value, low, f"{words} ", color=GUIDE, transform=upwards, **at)
    axes.grid(axis="y", alpha=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    if lines:
        axes.legend(frameon=False, fontsize="small")
    _save(path, figure)


def save_heat_map(path: Path, heat_map: HeatMap) -> None:
    """Draw a table of numbers as coloured fields."""
    values = np.array(heat_map.values, dtype=float)  # None becomes nan
    rows, columns = values.shape
    figure = _figure(max(4.2, 1.6 + 0.65 * columns), 1.4 + 0.35 * rows)
    axes = figure.add_subplot(title=heat_map.title, xlabel=heat_map.x)
    axes.set_ylabel(heat_map.y)
    low, high = heat_map.limits or (None, None)
    shown = axes.imshow(values, aspect="auto", vmin=low, vmax=high)
    axes.set_facecolor(EMPTY)
    axes.set_xticks(range(columns), heat_map.across)
    axes.set_yticks(range(rows), heat_map.down)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for row, column in np.argwhere(np.isfinite(values)):
        value = values[row, column]
        ink = "white" if np.asarray(shown.norm(value)) < DARK_BELOW else "black"
        at: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": "small"}
        axes.text(column, row, f"{value:.3f}", color=ink, **at)
    _save(path, figure)


def _draw(axes: Any, line: Line) -> None:
    x, y = np.array(line.points, dtype=float).T
    dots = "o" if line.marks or not line.joined else None
    style: dict[str, Any] = {"color": line.colour, "marker": dots, "label": line.name}
    axes.plot(x, y, linestyle="-" if line.joined else "", linewidth=2, **style)
    if len(line.spread):
        axes.errorbar(x, y, yerr=line.spread, fmt="none", ecolor=line.colour)
    for index, (place, words) in enumerate(zip(line.points, line.labels, strict=False)):
        # Above and below in turn, so that neighbours do not cover one another.
        beside = (0, -12 if index % 2 else 7)
        axes.annotate(
            words, place, beside, textcoords="offset points", color=line.colour,
            ha="right", fontsize="small",
        )  # fmt: skip


def _figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, that no screen is asked for."""
    see_to_charts()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _save(path: Path, figure: Figure) -> None:
    with writing(path) as beside:
        figure.savefig(beside, format="png", metadata={"Software": WRITER})
