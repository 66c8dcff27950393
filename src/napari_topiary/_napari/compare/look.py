"""Colours and shapes of what was kept, lost and gained: on the image and the page."""

from __future__ import annotations

from dataclasses import dataclass

from napari.utils.colormaps import Colormap, DirectLabelColormap
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPixmap, QPolygonF


@dataclass(frozen=True)
class Status:
    """How a status looks, told apart by colour and by shape.

    Parameters
    ----------
    colour
        `#rrggbb`; read on images of any brightness, and by the colour-blind.
    symbol
        napari's name of the shape.
    tip
        What it means.
    """

    colour: str
    symbol: str
    tip: str


STATUSES = {
    "kept": Status("#4db8ff", "disc", "Found by A and by B."),
    "lost": Status("#ff5d8f", "square", "Found by A only."),
    "gained": Status("#ffd43b", "diamond", "Found by B only."),
    "changed": Status("#c9a0ff", "triangle_up", "Found by both, but not as the same."),
}
LOSS, GAIN = "#ff5d8f", "#ffd43b"
SMALLEST_LIMIT = 0.1
"""Differences below this are not blown up to full colour."""


def diverging() -> Colormap:
    """Where B is less sure than A, transparent where they agree, where it is surer."""
    return Colormap(
        colors=[
            _rgba(LOSS, 1.0),
            _rgba(LOSS, 0.45),
            (0.5, 0.5, 0.5, 0.0),
            _rgba(GAIN, 0.45),
            _rgba(GAIN, 1.0),
        ],
        controls=[0.0, 0.35, 0.5, 0.65, 1.0],
        name="topiary-difference",
    )


def disagreement_colours() -> DirectLabelColormap:
    """Labels 1 = only A, 2 = only B, 3 = both, but not the same."""
    return DirectLabelColormap(
        color_dict={
            None: "transparent",
            0: "transparent",
            1: LOSS,
            2: GAIN,
            3: STATUSES["changed"].colour,
        }
    )


def mark(status: str, side: int = 18) -> QPixmap:
    """Draw the mark of a status as it looks on the image.

    Parameters
    ----------
    status
        A key of `STATUSES`.
    side
        Of the picture, in pixels.
    """
    look = STATUSES[status]
    picture = QPixmap(side, side)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor("#3a3f47"))  # as dark as an image, on any theme
    painter.drawRoundedRect(QRectF(0, 0, side, side), 4, 4)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(look.colour), 2))
    low, high, middle = 4.0, side - 4.0, side / 2
    if look.symbol == "disc":
        painter.drawEllipse(QRectF(low, low, high - low, high - low))
    else:
        corners = {
            "square": [(low, low), (high, low), (high, high), (low, high)],
            "diamond": [
                (middle, 2.5),
                (side - 2.5, middle),
                (middle, side - 2.5),
                (2.5, middle),
            ],
            "triangle_up": [(middle, low), (high, high), (low, high)],
        }[look.symbol]
        painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in corners]))
    painter.end()
    return picture


def ramp(width: int = 120, height: int = 10) -> QPixmap:
    """Draw the colours of the difference, from "only A" to "only B".

    Parameters
    ----------
    width, height
        Of the picture, in pixels.
    """
    picture = QPixmap(width, height)
    painter = QPainter(picture)
    ground = QColor("#3a3f47")
    for x in range(width):
        share = 2 * x / (width - 1) - 1
        colour = QColor(GAIN if share > 0 else LOSS)
        weight = abs(share)
        painter.setPen(
            QColor.fromRgbF(
                *(
                    weight * getattr(colour, part)()
                    + (1 - weight) * getattr(ground, part)()
                    for part in ("redF", "greenF", "blueF")
                )
            )
        )
        painter.drawLine(x, 0, x, height)
    painter.end()
    return picture


def _rgba(colour: str, opacity: float) -> tuple[float, float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue, opacity
