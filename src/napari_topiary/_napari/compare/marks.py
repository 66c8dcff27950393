"""What was kept, lost and gained, marked on the image; and where labels differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_topiary._napari.compare.layers import ComparisonLayers
from napari_topiary._napari.compare.look import STATUSES, disagreement_colours
from napari_topiary.types import Prediction

UNKNOWN_RADIUS = 8.0
OUTLINE = 3
"""Labels that differ are outlined with this many pixels."""


def put_things(layers: ComparisonLayers, what: str = "things") -> None:
    """Mark what was kept, lost and gained.

    Parameters
    ----------
    layers
        Of the comparison.
    what
        "things", or "things-b" for a second set.
    """
    things = layers.match.comparison.things
    if not len(things):
        layers.remove(what)
        return
    looks = [STATUSES[status] for status in things.status]
    layers.put(
        what,
        things.coordinates,
        "points",
        features={
            "status": list(things.status),
            "score A": things.score_a,
            "score B": things.score_b,
        },
        size=_sizes(layers),
        border_color=[look.colour for look in looks],
        symbol=[look.symbol for look in looks],
        face_color="transparent",
        border_width=0.12,
        border_width_is_relative=True,
    )


def put_lines(layers: ComparisonLayers) -> None:
    """Draw filaments in the colours of kept, lost and gained.

    Parameters
    ----------
    layers
        Of the comparison.
    """
    comparison = layers.match.comparison
    lines, task = comparison.lines, comparison.task
    if not lines.lines:
        layers.remove("lines")
        return
    radii = [
        task.radius(task.classes[i], comparison.scale) or UNKNOWN_RADIUS
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
    """Outline where the labels differ.

    Parameters
    ----------
    layers
        Of the comparison.
    what
        "labels", or "labels-b" for a second set.
    """
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
    radii = [task.radius(n, comparison.scale) or UNKNOWN_RADIUS for n in task.classes]
    return [2 * radii[index] for index in things.class_index]


def _has(prediction: Prediction) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = prediction.labels > 0
    return found
