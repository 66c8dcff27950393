"""How good a classifier of centre pixels is, on a sample of held-out pixels.

Answering whole images takes such a network longer than a short training lasts. A few
thousand pixels, always the same ones, tell as well which weights are the best.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_topiary.data.annotated_area import AnnotatedArea
from napari_topiary.data.centre_sampling import Surroundings, centre_pixels
from napari_topiary.evaluation.quality import VALIDATING, Quality
from napari_topiary.evaluation.thresholds import best_pixel_threshold
from napari_topiary.inference.engine import Engine
from napari_topiary.networks.base import Network
from napari_topiary.postprocessing import COMMON_THRESHOLD
from napari_topiary.types import Job, Task

PIXELS = 4096
BATCH = 256
LEAST = 1e-12
"""No true class counts as less probable: a loss stays a number."""
MOST_DENSE = 150_000
"""Held-out pixels up to which a network that has a dense form answers all of them."""


def suits_pixels(network: Network, held: Sequence[AnnotatedArea], task: Task) -> bool:
    """Whether a network should be validated on single pixels instead of whole areas."""
    if network.patch is None or not network.dense:
        return network.patch is not None
    pixels = sum(area.field.target.size for area in held)
    return task.kind != "detect" and pixels > MOST_DENSE


class PixelValidator:
    """Validates networks on fixed pixels of held-out areas.

    Parameters
    ----------
    held
        The areas.
    task
        Its classes.
    patch
        Side of the patches, in pixels.
    usual_thresholds
        Whether no thresholds are chosen.
    """

    def __init__(
        self,
        held: Sequence[AnnotatedArea],
        task: Task,
        *,
        patch: int,
        usual_thresholds: bool = False,
    ) -> None:
        self._task, self._usual = task, usual_thresholds
        self._around = Surroundings([area.field for area in held], patch)
        self._pixels = np.sort(centre_pixels(self._around.target, PIXELS))
        self._truth = self._around.target[self._pixels].astype(np.int64)
        self._weight = self._around.weight[self._pixels]

    def validate(self, engine: Engine) -> Job[Quality]:
        """Validate a network; yields after every batch, so that others can breathe."""
        answers: list[NDArray[np.float32]] = []
        for first in range(0, len(self._pixels), BATCH):
            patches = self._around.around(self._pixels[first : first + BATCH])
            answers.append(engine.on_patches(patches))
            if not np.isfinite(answers[-1]).all():
                return Quality(value=0.0, name="not a number", loss=float("nan"))
            yield VALIDATING
        if not answers:
            return Quality(value=0.0, name="none", loss=float("nan"))
        probability = np.concatenate(answers)
        true = probability[np.arange(len(self._truth)), self._truth]
        losses = -np.log(np.maximum(true, LEAST))
        loss = float((losses * self._weight).sum() / max(self._weight.sum(), 1e-6))
        return self._quality(probability, loss)

    def _quality(self, probability: NDArray[np.float32], loss: float) -> Quality:
        thresholds, scores, at_common = {}, {}, []
        for index, name in enumerate(self._task.classes[1:], start=1):
            there = self._truth == index
            if not there.any():
                continue
            sure = probability[:, index]
            thresholds[name], scores[name] = best_pixel_threshold(there, sure)
            found = sure >= COMMON_THRESHOLD
            at_common.append(2 * (there & found).sum() / (there.sum() + found.sum()))
            if self._usual:
                thresholds[name], scores[name] = COMMON_THRESHOLD, float(at_common[-1])
        if not scores:
            return Quality(value=0.0, name="none", loss=loss)
        thresholds["common"] = float(np.mean(list(thresholds.values())))
        return Quality(
            value=float(np.mean(list(scores.values()))),
            name="Dice",
            loss=loss,
            thresholds=thresholds,
            per_class=scores,
            at_common=float(np.mean(at_common)),
        )
