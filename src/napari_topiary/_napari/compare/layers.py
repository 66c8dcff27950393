"""The layers of a comparison: A, B, the difference, what was kept, lost and gained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import Colormap, DirectLabelColormap
from napari.utils.theme import get_theme
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPixmap, QPolygonF

from napari_topiary._napari.canvas.layers import (
    image_layer,
    layer_for,
    put_layer,
    remove_layer,
)
from napari_topiary._napari.canvas.result_layers import probability_picture
from napari_topiary._napari.state import unwrap
from napari_topiary.jobs.comparing import Match
from napari_topiary.types import Prediction

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

LOSS, GAIN = "#ff5d8f", "#ffd43b"
SMALLEST_LIMIT = 0.1
"""Differences below this are not blown up to full colour."""
KINDS = {
    "a": "A",
    "b": "B",
    "difference": "B minus A",
    "labels": "other label",
    "lines": "lines",
    "things": "changes",
    "line": "curtain",
    "place": "disagreement",
    "name-a": "name of A",
    "image-b": "copy for B",
    "labels-b": "other label (B)",
    "things-b": "changes (B)",
    "name-b": "name of B",
}
"""What a layer shows -> how it is called; in the order in which they are stacked."""
MAPS = ("a", "b", "difference", "labels", "labels-b")
"""Those that have a value for each pixel of what was compared."""
NAME_WIDTH = 26
"""Letters of a name on one line: half of a canvas is narrow."""
BORDER = 0.12
"""Thickness of a mark, of its diameter."""
OUTLINE = 3
"""Labels that differ are outlined with this many pixels."""


@dataclass(frozen=True)
class Status:
    """How a status looks, told apart by colour and by shape."""

    colour: str
    symbol: str
    tip: str


STATUSES = {
    "kept": Status("#4db8ff", "disc", "Found by A and by B."),
    "lost": Status("#ff5d8f", "square", "Found by A only."),
    "gained": Status("#ffd43b", "diamond", "Found by B only."),
    "changed": Status("#c9a0ff", "triangle_up", "Found by both, but not as the same."),
}


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


def mark(status: str) -> QPixmap:
    """Draw the mark of a status as it looks on the image."""
    look, side = STATUSES[status], 18
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


def ramp() -> QPixmap:
    """Draw the colours of the difference, from "only A" to "only B"."""
    width, height = 120, 10
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


def key(what: str, image_name: str) -> tuple[str, str]:
    """Key of one of the layers."""
    return f"compare-{what}", image_name


class ComparisonLayers:
    """Makes, finds and removes the layers of one comparison."""

    def __init__(
        self, viewer: napari.viewer.Viewer, match: Match, colours: Mapping[str, str]
    ) -> None:
        self.viewer, self.match = viewer, match
        self.name = match.subject.name
        self.colours = dict(colours)
        self.pictures = [
            probability_picture(side, colours) for side in (match.a, match.b)
        ]

    @property
    def image(self) -> Layer | None:
        """The layer of the image; None if it is not shown."""
        return image_layer(self.viewer, self.name)

    def layer(self, what: str) -> Layer | None:
        """One of the layers, None if there is none."""
        return layer_for(self.viewer, key(what, self.name))

    def stack(self) -> None:
        """Bring the marks above what they are marks on."""
        layers = unwrap(self.viewer).layers
        own = [one for what in KINDS if (one := self.layer(what)) is not None]
        if [one for one in layers if one in own] == own:
            return
        for one in own:
            layers.move(layers.index(one), len(layers))

    def remove(self, *which: str) -> None:
        """Take layers away."""
        remove_layer(self.viewer, *(key(what, self.name) for what in which))

    def put(self, what: str, data: Any, layer_type: str, **visual: Any) -> Layer | None:
        """Show one of the layers, in place of what it showed; None without image."""
        image = self.image
        if image is None:
            return None
        layer = put_layer(
            self.viewer,
            key(what, self.name),
            data,
            layer_type,
            like=image,
            name=f"{self.name} · {KINDS[what]}",
            origin=self.match.corner if what in MAPS else (0.0, 0.0),
            **visual,
        )
        if not layer.visible:
            layer.visible = True
        return layer

    def put_side(self, what: str, picture: NDArray[np.uint8] | None = None) -> None:
        """Show the probability of A or B."""
        whole, factor = self.pictures["ab".index(what)]
        self.put(
            what,
            whole if picture is None else picture,
            "image",
            rgb=True,
            interpolation2d="linear",
            grid_factor=factor,
        )

    def make_side(self, what: str) -> None:
        """Show the probability of A or B, unless something of it is shown."""
        if self.layer(what) is None:
            self.put_side(what)

    def put_name(self, which: str) -> None:
        """Write on the image whether it is A or B, and what that is."""
        side = self.match.sides["ab".index(which)]
        self.put(
            f"name-{which}",
            np.array([self.match.corner]),
            "points",
            size=1,
            opacity=1.0,
            face_color="transparent",
            border_color="transparent",
            text={
                "string": [fill(f"{which.upper()}: {side.name}", NAME_WIDTH)],
                "color": get_theme(self.viewer.theme).text.as_hex(),
                "size": 11,
                "anchor": "upper_left",
            },
        )

    def put_difference(self, class_index: int = 0) -> float:
        """Show B minus A."""
        maps = self.match.comparison.difference
        if class_index == 0 and len(maps) == 2:
            class_index = 1  # of one class that is what is no background: no copy
        difference = maps[class_index] if class_index else -maps[0]
        ends = float(difference.max(initial=0.0)), -float(difference.min(initial=0.0))
        limit = max(SMALLEST_LIMIT, *ends)
        layer = self.put(
            "difference",
            difference,
            "image",
            colormap=diverging(),
            blending="translucent_no_depth",
            contrast_limits=(-limit, limit),
        )
        if layer is not None:
            layer.contrast_limits_range = (-1.0, 1.0)
            layer.contrast_limits = (-limit, limit)
        return limit


def put_things(layers: ComparisonLayers, what: str = "things") -> None:
    """Mark what was kept, lost and gained."""
    things = layers.match.comparison.things
    if not len(things):
        layers.remove(what)
        return
    if layers.layer(what) is not None:
        return  # of one comparison they are always the same
    looks = [STATUSES[status] for status in things.status]
    sizes = _sizes(layers)
    layers.put(
        what,
        things.coordinates,
        "points",
        features={
            "status": list(things.status),
            "score A": things.score_a,
            "score B": things.score_b,
        },
        size=sizes,
        border_color=[look.colour for look in looks],
        symbol=[look.symbol for look in looks],
        face_color="transparent",
        # The rings of large objects would hide what is in them.
        border_width=np.minimum(sizes, np.median(sizes)) * BORDER,
        border_width_is_relative=False,
    )


def put_lines(layers: ComparisonLayers) -> None:
    """Draw filaments in the colours of kept, lost and gained."""
    comparison = layers.match.comparison
    lines, task = comparison.lines, comparison.task
    if not lines.lines:
        layers.remove("lines")
        return
    radii = [
        task.radius_or_usual(task.classes[i], comparison.scale)
        for i in lines.line_class
    ]
    layers.put(
        "lines",
        list(lines.lines),
        "shapes",
        shape_type="path",
        features={"status": list(lines.status)},
        edge_width=[max(1.0, 0.5 * radius) for radius in radii],
        edge_color=[STATUSES[status].colour for status in lines.status],
        face_color="transparent",
    )


def put_labels(layers: ComparisonLayers, what: str = "labels") -> None:
    """Outline where the labels differ."""
    differs = layers.match.comparison.disagreement
    if not differs.any():
        layers.remove(what)
        return
    layer = layers.put(
        what,
        _which_labels(layers, differs),
        "labels",
        opacity=0.9,
        colormap=disagreement_colours(),
    )
    if layer is not None:
        layer.contour = OUTLINE if max(differs.shape) > 300 else 1


def _which_labels(
    layers: ComparisonLayers, differs: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """1 where only A has something, 2 where only B has, 3 where both differ."""
    from_a, from_b = _has(layers.match.a), _has(layers.match.b)
    which = np.where(from_a & from_b, 3, np.where(from_a, 1, 2))
    return np.where(differs, which, 0).astype(np.uint8)


def _sizes(layers: ComparisonLayers) -> list[float]:
    comparison = layers.match.comparison
    things, task = comparison.things, comparison.task
    if task.kind == "instances":
        return [max(6.0, float(1.2 * np.sqrt(size))) for size in things.size]
    radii = [task.radius_or_usual(n, comparison.scale) for n in task.classes]
    return [2 * radii[index] for index in things.class_index]


def _has(prediction: Prediction) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = prediction.labels > 0
    return found
