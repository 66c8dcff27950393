"""What is gathered about one of several checkpoints, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.evaluation.calibration import Sweep, sweep
from napari_topiary.evaluation.compare import compare
from napari_topiary.evaluation.evaluate import at_common_threshold
from napari_topiary.evaluation.score import Judge, Score
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Sample
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Job, Prediction

WARMING = 256
"""Side of the corner that is predicted before the clock starts, in pixels."""


class Entry:
    """What is gathered about one checkpoint; `row` says it.

    Parameters
    ----------
    name
        Of the checkpoint.
    checkpoint
        What is judged.
    config
        How images are predicted.
    """

    def __init__(
        self, name: str, checkpoint: Checkpoint, config: PredictConfig
    ) -> None:
        self.name, self.checkpoint, self.config = name, checkpoint, config
        self.network = checkpoint.build()
        self.own: list[Score] = []
        self.common: list[Score] = []
        self.sweep = Sweep()
        self.seconds: list[float] = []
        self.megapixels: list[float] = []
        self.agreement: list[float] = []
        self.counts = dict.fromkeys(("kept", "changed", "lost", "gained"), 0)

    def warm_up(self, sample: Sample) -> Job[Prediction]:
        """Predict a corner of an image, so that no image pays for beginning."""
        corner = sample.image[:, :WARMING, :WARMING]
        return self.job(replace(sample, image=corner, annotations=()))

    def job(self, sample: Sample) -> Job[Prediction]:
        """Predict an image."""
        return predict(
            sample.image,
            self.checkpoint,
            self.config,
            scale=sample.scale,
            network=self.network,
        )

    def add(
        self,
        sample: Sample,
        predictions: Mapping[str, Prediction],
        tolerance_nm: float | None,
    ) -> None:
        """Count one image.

        Parameters
        ----------
        sample
            The image.
        predictions
            Of all checkpoints, the first of which the others are held against.
        tolerance_nm
            How far off a particle may be; None = half of its class's radius.
        """
        mine, first = predictions[self.name], next(iter(predictions.values()))
        judge = Judge.of(self.checkpoint, sample, tolerance_nm)
        self.own.append(judge.score(mine))
        common = at_common_threshold(mine, self.checkpoint, self.config)
        self.common.append(judge.score(common))
        self.sweep += sweep(
            mine,
            judge.truth,
            reading=PostProcessing.of(self.checkpoint, self.config.detect),
            tolerance_px=judge.tolerance_px,
        )
        self.megapixels.append(mine.shape[0] * mine.shape[1] / 1e6)
        tolerance = tolerance_nm if mine.scale is not None else None
        found = compare(first, mine, tolerance=tolerance)
        self.agreement.append(found.agreement)
        for counts in (found.things.counts(), found.lines.counts()):
            for status, count in counts.items():
                self.counts[status] += count

    def row(self) -> dict[str, Any]:
        """Everything about the checkpoint."""
        made = self.checkpoint
        left = max(1, made.parameters_nonzero)
        row: dict[str, Any] = {
            "name": self.name,
            "parameters": made.parameters,
            "parameters_nonzero": made.parameters_nonzero,
            "sparsity": made.sparsity,
            "compression_ratio": made.unpruned_parameters / left,
            "file_bytes": made.file_bytes(),
            "ms_per_megapixel": self._speed(),
        }
        if not self.own:
            return row
        best = self.sweep.best()
        return {
            **row,
            "thresholds": dict(PostProcessing.of(made, self.config.detect).thresholds),
            "own": sum(self.own[1:], self.own[0]).report(),
            "at_common_threshold": sum(self.common[1:], self.common[0]).report(),
            "own_best": {
                "thresholds": {name: found[0] for name, found in best.items()},
                "per_class": {name: found[1] for name, found in best.items()},
                "quality": _mean([found[1] for found in best.values()]),
                # Objects' thresholds are swept by their pixels.
                "quality_name": "F1" if made.task.kind == "detect" else "Dice",
            },
            "agreement": _mean(self.agreement),
            **self.counts,
        }

    def _speed(self) -> float | None:
        """Of the middle image: one that something else ran beside does not count."""
        each = [
            1e3 * spent / size
            for spent, size in zip(self.seconds, self.megapixels, strict=False)
        ]
        return float(np.median(each)) if each else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
