"""Images, annotations and answers side by side, without a window.

As pictures, and as a report of one HTML file with its pictures inside: to read, to
send, to print.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from napari_topiary.evaluation import Comparison, compare
from napari_topiary.inference.overlay import PAPER, Picture, save_picture
from napari_topiary.io.atomic import writing
from napari_topiary.io.dataset import Sample
from napari_topiary.io.own_files import WRITER, write_page
from napari_topiary.types import Prediction, Task

COLOURS = {
    "kept": "#00b880",
    "changed": "#e09000",
    "lost": "#ff3070",
    "gained": "#2090f0",
}
"""Colours of what became of a particle, also for people who see red as green."""
INK = "#202020"
SIDE = 460
"""Longer side of a panel, in screen pixels."""
GAP = 10
CAPTION = 16
HOT = ((0, 0, 0), (120, 20, 110), (240, 110, 40), (255, 240, 170))
"""Colours of probability 0 to 1."""
SIGNED = ((255, 48, 112), (255, 255, 255), (64, 140, 255))
"""Colours of a difference of −1, 0 and 1."""
MOST_PICTURES = 100
"""A page with more would be too large to be sent or opened."""
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #202020; background: #fff;
  max-width: 1100px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { border-bottom: 1px solid #ddd; padding: 4px 10px; text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 2em 0; } img { max-width: 100%; }
figcaption, .hint { color: #606060; }
"""


@dataclass
class Panel(Picture):
    """One picture with a caption."""

    caption: str = ""  #: A short line above it
    #: Words after the caption -> colour that they are written in
    key: dict[str, str] = field(default_factory=dict)


def panel(image: NDArray[Any], caption: str) -> Panel:
    """Show an image.

    Parameters
    ----------
    image
        `(c, y, x)`: one channel is grey, three are colours. Brightness is stretched.
    caption
        A short line above it.
    """
    return replace(Panel.of(image, SIDE), caption=caption)


def probability_panel(probability: NDArray[np.floating], caption: str) -> Panel:
    """Show how likely anything but background is.

    Parameters
    ----------
    probability
        `(k, y, x)`.
    caption
        A short line above it.
    """
    shown = _coloured(1.0 - probability[0], HOT, (0.0, 1.0))
    return replace(Panel.coloured(shown, SIDE), caption=caption)


def _difference_panel(difference: NDArray[np.floating], caption: str) -> Panel:
    """Show a signed difference `(k, y, x)` of probabilities, background left out."""
    shown = _coloured(-difference[0], SIGNED, (-1.0, 1.0))
    return replace(Panel.coloured(shown, SIDE), caption=caption)


def _changes_panel(image: NDArray[Any], comparison: Comparison) -> Panel:
    """Show on an image `(c, y, x)` what was kept, lost and gained, with how many."""
    task, things, lines = comparison.task, comparison.things, comparison.lines
    shown = panel(image, f"{comparison.a} to {comparison.b}")
    if task.kind != "detect":
        alpha = 0.6 if task.kind == "segment" else 0.3
        shown.tint(comparison.disagreement, colour=COLOURS["lost"], alpha=alpha)
        share = f"{comparison.disagreement_share:.1%} of the pixels differ"
        shown.key[share] = COLOURS["lost"]
    if task.kind == "segment":
        return shown
    counts = {status: things.counts()[status] for status in COLOURS}
    for status, more in lines.counts().items():
        counts[status] += more
    for status, colour in COLOURS.items():
        if counts[status] or status != "changed":
            shown.key[f"{counts[status]} {status}"] = colour
        for index, name in enumerate(task.classes):
            mine = things.which(status) & (things.class_index == index)
            radius = np.sqrt(things.size[mine] / np.pi)
            if task.kind == "detect":
                own = task.radius_or_usual(name, comparison.scale)
                radius = np.full(len(radius), own)
            shown.circles(things.coordinates[mine], radius=radius, colour=colour)
        pairs = zip(lines.lines, lines.status, strict=True)
        shown.paths([line for line, own in pairs if own == status], colour=colour)
    return shown


def annotated_panel(sample: Sample, task: Task, caption: str) -> Panel:
    """Show what a person drew on an image."""
    shown = panel(sample.image, caption)
    # What is painted would cover what is drawn.
    for drawn in sorted(sample.annotations, key=lambda one: one.storage != "image"):
        drawn.show(shown, task, sample.scale)
    return shown


def save_row(path: Path, panels: Sequence[Panel]) -> None:
    """Write panels side by side into one picture."""
    top = GAP + (2 if any(p.key for p in panels) else 1) * CAPTION + GAP // 2
    width = GAP + sum(p.picture.width + GAP for p in panels)
    height = top + max(p.picture.height for p in panels) + GAP
    sheet = Pictures.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    left = GAP
    for one in panels:
        at, letters = float(left), ImageFont.load_default(CAPTION - 2)
        pen.text((at, GAP), one.caption, fill=INK, font=letters)
        for words, colour in one.key.items():
            pen.text((at, GAP + CAPTION), words, fill=colour, font=letters)
            at += pen.textlength(words + "   ", font=letters)
        sheet.paste(one.picture, (left, top))
        left += one.picture.width + GAP
    save_picture(path, sheet)


def save_comparison(
    path: Path, sample: Sample, predictions: tuple[Prediction, Prediction]
) -> dict[str, Any]:
    """Write a row: annotated image, both probabilities, what changed, the difference.

    Returns
    -------
    dict
        Agreement, and how many were kept, lost and gained; ready for JSON.
    """
    a, b = predictions
    found = compare(a, b)
    save_row(
        path,
        [
            annotated_panel(sample, a.task, f"{sample.name}, as annotated"),
            probability_panel(a.probability, f"Probability, {a.checkpoint}"),
            probability_panel(b.probability, f"Probability, {b.checkpoint}"),
            _changes_panel(sample.image, found),
            _difference_panel(found.difference, "Difference: blue more, red less"),
        ],
    )
    return {
        "picture": str(path),
        "agreement": found.agreement,
        "disagreement_share": found.disagreement_share,
        **found.things.counts(),
        "lines": found.lines.counts(),
    }


def _coloured(
    values: NDArray[np.floating],
    colours: Sequence[tuple[int, int, int]],
    limits: tuple[float, float],
) -> NDArray[np.float64]:
    """`(y, x)` -> `(y, x, 3)`, evenly between the colours."""
    stops = np.linspace(*limits, len(colours))
    channels = [np.interp(values, stops, [c[i] for c in colours]) for i in range(3)]
    return np.stack(channels, axis=-1)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a report says."""

    #: `title`, `heading`: what it is about, and a line below
    title: str
    heading: str
    #: Rows of text, the first one the names of the columns
    table: Sequence[Sequence[str]]
    pictures: Sequence[tuple[Path, str]] = ()  #: PNG files, each with a caption
    notes: Sequence[str] = ()  #: Sentences for the reader


def write_report(path: Path, report: Report) -> None:
    """Write a report; nothing outside of the file is needed to read it.

    Parameters
    ----------
    path
        An `.html` file; replaced only once the new one is complete.
    report
        What it says.
    """
    with writing(path) as beside:
        write_page(beside, _parts(report))


def _parts(report: Report) -> Iterator[str]:
    names, *rows = report.table
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n"
        for row in rows
    )
    notes = "".join(f'<p class="hint">{escape(note)}</p>\n' for note in report.notes)
    left_out = len(report.pictures) - MOST_PICTURES
    if left_out > 0:
        notes += f'<p class="hint">{left_out} more pictures lie beside this file.</p>\n'
    yield (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="generator" content="{WRITER}">\n'
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(report.title)}</h1>\n<p>{escape(report.heading)}</p>\n"
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>\n"
        f"{notes}"
    )
    for picture, caption in report.pictures[:MOST_PICTURES]:
        data = base64.b64encode(picture.read_bytes()).decode("ascii")
        yield (
            f'<figure><img src="data:image/png;base64,{data}" '
            f'alt="{escape(caption)}">\n'
            f"<figcaption>{escape(caption)}</figcaption></figure>\n"
        )
    yield "</body></html>\n"
