"""A report as one HTML file with its pictures inside: to read, to send, to print."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from napari_topiary.io.atomic import writing
from napari_topiary.io.own_files import WRITER, write_page

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
