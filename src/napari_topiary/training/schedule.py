"""How far a training is: by time or by epochs, with the learning rate that is due."""

from __future__ import annotations

import math
import time

from napari_topiary.config import TrainConfig

WARM_UP = 0.03
FINAL_RATE = 0.02


class Schedule:
    """Cosine schedule over a time budget or a number of steps.

    Parameters
    ----------
    config
        Minutes or epochs, and the highest learning rate.
    steps_per_epoch
        How many steps one pass over the data takes.
    """

    def __init__(self, config: TrainConfig, steps_per_epoch: int) -> None:
        self._peak = config.learning_rate
        self._steps = None if config.epochs is None else config.epochs * steps_per_epoch
        self._seconds = (
            math.inf
            if config.minutes is None or config.epochs is not None
            else config.minutes * 60.0
        )
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    def fraction(self, step: int) -> float:
        """Share of the run that is done, 0..1, before step number `step`."""
        if self._steps is not None:
            return min(1.0, step / self._steps)
        return min(1.0, self.seconds / self._seconds)

    def seconds_left(self, step: int) -> float | None:
        """Estimated seconds to the end; None before anything is known."""
        fraction = self.fraction(step)
        if self._steps is None:
            return max(0.0, self._seconds - self.seconds)
        return self.seconds * (1 - fraction) / fraction if fraction > 0 else None

    def learning_rate(self, fraction: float) -> float:
        """Learning rate due at a fraction of the run."""
        if fraction < WARM_UP:
            return self._peak * max(fraction / WARM_UP, 0.05)
        phase = (fraction - WARM_UP) / (1 - WARM_UP)
        cosine = 0.5 * (1 + math.cos(math.pi * phase))
        return self._peak * (FINAL_RATE + (1 - FINAL_RATE) * cosine)
