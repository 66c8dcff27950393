"""One image as two checkpoints see it, in a row of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_topiary.annotations import Centerlines, Labels, Points, Regions
from napari_topiary.comparison import compare
from napari_topiary.io.dataset import Sample
from napari_topiary.story.pictures import (
    MARK,
    UNKNOWN_RADIUS,
    Panel,
    changes_panel,
    difference_panel,
    labels_panel,
    panel,
    probability_panel,
    save_row,
)
from napari_topiary.types import Prediction, Task


def annotated_panel(sample: Sample, task: Task, caption: str) -> Panel:
    """Show what a person drew on an image.

    Parameters
    ----------
    sample
        Image and annotations.
    task
        Radii of the classes.
    caption
        A short line above it.
    """
    shown = panel(sample.image, caption)
    for drawn in sample.annotations:
        if isinstance(drawn, Labels):
            key = shown.key
            shown = labels_panel(sample.image, np.asarray(drawn.labels), caption)
            shown.key = key
    for drawn in sample.annotations:
        if isinstance(drawn, Points):
            names = np.array(drawn.classes, dtype=object)
            for name in dict.fromkeys(drawn.classes):
                radius = task.radius(name, sample.scale) or UNKNOWN_RADIUS
                mine = np.asarray(drawn.coordinates)[names == name]
                shown.circles(mine, radius=radius, colour=MARK)
        elif isinstance(drawn, Centerlines):
            shown.paths(drawn.paths, colour=MARK)
        elif isinstance(drawn, Regions):
            closed = [np.concatenate([p, p[:1]]) for p in drawn.polygons]
            shown.paths(closed, colour="#ffffff")
    return shown


def save_comparison(
    path: Path, sample: Sample, predictions: tuple[Prediction, Prediction]
) -> dict[str, Any]:
    """Write a row: annotated image, both probabilities, what changed, the difference.

    Parameters
    ----------
    path
        A `.png` file.
    sample
        The image and its annotations.
    predictions
        What was, and what is.

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
            changes_panel(sample.image, found),
            difference_panel(found.difference, "Difference: blue more, red less"),
        ],
    )
    return {
        "picture": str(path),
        "agreement": found.agreement,
        "disagreement_share": found.disagreement_share,
        **found.things.counts(),
        "lines": found.lines.counts(),
    }
