"""What two predictions of one image have in common and what not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.evaluation.changes import Changes
from napari_topiary.evaluation.line_changes import LineChanges
from napari_topiary.evaluation.places import Place
from napari_topiary.evaluation.score import without_nan
from napari_topiary.types import Task


@dataclass(frozen=True)
class Comparison:
    """What is different from A to B, in pixels of the image.

    Parameters
    ----------
    a, b
        What the predictions are called.
    task
        Kind, radii and the classes of both: A's, then those that only B knows.
    shape
        `(y, x)` of the image.
    scale
        nm per pixel, None if unknown.
    difference
        `(k, y, x)` float32: probability of B minus that of A, −1..1; 0 where one of
        them has not looked.
    disagreement
        `(y, x)` bool: where the class labels (object or not, for instances) differ.
    things
        Particles, or objects, each kept, changed, lost or gained.
    lines
        Filaments, each kept, lost or gained.
    places
        Disagreements, the worst first.
    looked
        `(y, x)` bool where both have looked; None = everywhere.
    agreement
        0..1: see `agreement`.
    metrics
        With a truth: ``{"a": ..., "b": ...}``, each with the metrics `as_shown`, at
        its `own_best` thresholds, and `at_common_threshold`; else None.
    """

    a: str
    b: str
    task: Task
    shape: tuple[int, int]
    scale: float | None
    difference: NDArray[np.float32]
    disagreement: NDArray[np.bool_]
    things: Changes
    lines: LineChanges
    places: tuple[Place, ...]
    looked: NDArray[np.bool_] | None
    agreement: float
    metrics: dict[str, Any] | None = None

    @property
    def disagreement_share(self) -> float:
        """Share of the pixels, where both have looked, whose labels differ."""
        if self.looked is None:
            return float(self.disagreement.mean())
        return float(self.disagreement.sum() / max(1, int(self.looked.sum())))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the maps, ready for JSON."""
        things = self.things
        names = self.task.classes
        result: dict[str, Any] = without_nan(
            {
                "a": self.a,
                "b": self.b,
                "task": self.task.kind,
                "classes": list(names),
                "agreement": self.agreement,
                "disagreement_share": self.disagreement_share,
                "largest_difference": float(np.abs(self.difference).max(initial=0.0)),
                "counts": things.counts(),
                "line_counts": self.lines.counts(),
                "things": [
                    {
                        "status": things.status[i],
                        "axis-0": float(things.coordinates[i, 0]),
                        "axis-1": float(things.coordinates[i, 1]),
                        "class": names[int(things.class_index[i])],
                        "score_a": float(things.score_a[i]),
                        "score_b": float(things.score_b[i]),
                    }
                    for i in range(len(things))
                ],
                "places": [vars(place) for place in self.places],
                "metrics": self.metrics,
            }
        )
        return result
