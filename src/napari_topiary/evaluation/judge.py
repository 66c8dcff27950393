"""The truth of one image, as a checkpoint is judged by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import TargetConfig
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DistanceScale
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.prediction import reading_of
from napari_topiary.scoring import Score, score
from napari_topiary.truth import Truth, tolerances, truth_of
from napari_topiary.types import Prediction, Task


@dataclass(frozen=True)
class Judge:
    """The truth of one image and how strictly it is taken.

    Parameters
    ----------
    truth
        Annotations in pixels of the image.
    task
        Kind, classes and radii, the latter in pixels of this image.
    scale
        nm per pixel; that of the training images where it is not known.
    tolerance_px
        `(k,)` how far off a particle may be, in pixels.
    line_classes
        Classes that are judged by length.
    relative_to
        What is 1 in distance maps, as it was in training.
    """

    truth: Truth
    task: Task
    scale: float | None
    tolerance_px: NDArray[np.float64]
    line_classes: frozenset[str]
    relative_to: DistanceScale = "object"

    @classmethod
    def of(
        cls, checkpoint: Checkpoint, sample: Sample, tolerance_nm: float | None
    ) -> Judge:
        """Read the truth of a sample, or say what is wrong with it."""
        task, trained = checkpoint.task, checkpoint.pixel_size_nm
        # An image of unknown pixel size is taken to be like the training images.
        scale = trained if sample.scale is None else sample.scale
        if trained is not None and scale is not None:
            radii = {name: r * trained / scale for name, r in task.radius_px.items()}
            task = replace(task, radius_px=radii)
        shape = (sample.image.shape[1], sample.image.shape[2])
        try:
            truth = truth_of(
                sample.annotations,
                shape,
                task=task,
                scale=scale,
                zones=_zones(checkpoint),
            )
        except TopiaryError as error:
            raise TopiaryError(f"{sample.name}: {error}") from error
        return cls(
            truth,
            task,
            scale,
            tolerances(task, scale=scale, tolerance_nm=tolerance_nm),
            reading_of(checkpoint).line_classes,
            "image"
            if checkpoint.annotations_summary.get("distance") == "image"
            else "object",
        )

    def score(self, prediction: Prediction) -> Score:
        """Hold a prediction of the image against the truth."""
        return score(
            prediction,
            self.truth,
            tolerance_px=self.tolerance_px,
            line_classes=self.line_classes,
            relative_to=self.relative_to,
        )

    def report(self) -> dict[str, float | None]:
        """Tolerance in nm and pixels; of several classes the largest."""
        if self.task.kind != "detect":
            return {}
        pixels = float(self.tolerance_px[1:].max())
        nm = None if self.scale is None else pixels * self.scale
        return {"tolerance_nm": nm, "tolerance_px": pixels}


def _zones(checkpoint: Checkpoint) -> TargetConfig | None:
    """How large particles were drawn for this checkpoint to learn from."""
    drawn = checkpoint.annotations_summary.get("zones")
    if not isinstance(drawn, Mapping):
        return None
    known = {field.name for field in fields(TargetConfig)}
    zones = TargetConfig(**{k: float(v) for k, v in drawn.items() if k in known})
    return zones if zones.problem() is None else None
