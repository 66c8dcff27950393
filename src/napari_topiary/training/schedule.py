"""How far a training is: by time or by epochs, with the learning rate that is due."""

from __future__ import annotations

import math
import time

from napari_topiary.config import TrainConfig

WARM_UP = 0.03
FINAL_RATE = 0.02
ROUNDS = 20
FIRST_VALIDATION_S = 1.5
LONG_S = 2.0
VALIDATION_SHARE = 0.05
"""Judging the hold-out on the way may take this share of the time."""
ONCE_SHARE = 0.02
"""Judging it once takes about this share of a timed run, at most: with the first, the
last and the figure at the end a tenth."""


class Schedule:
    """Falling learning rate over a time budget or a number of steps.

    Parameters
    ----------
    config
        Minutes or epochs, and the highest learning rate.
    steps_per_epoch
        How many steps one pass over the data takes.
    """

    def __init__(self, config: TrainConfig, steps_per_epoch: int) -> None:
        self._peak, self._linear = config.learning_rate, config.schedule == "linear"
        self._steps = None if config.epochs is None else config.epochs * steps_per_epoch
        self._seconds = (
            math.inf
            if config.minutes is None or config.epochs is not None
            else config.minutes * 60.0
        )
        self._start = time.perf_counter()

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole run; None = it is timed."""
        return self._steps

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
        left = 1 - phase if self._linear else 0.5 * (1 + math.cos(math.pi * phase))
        return self._peak * (FINAL_RATE + (1 - FINAL_RATE) * left)


class ValidationRounds:
    """When to judge the hold-out.

    Runs counted in epochs are judged at fixed steps, so that the same seed gives the
    same result on any machine; timed runs so often that it takes a fixed share of time.

    Parameters
    ----------
    total_steps
        Steps of the run; None = timed.

    Attributes
    ----------
    lasts
        Seconds that it took the last time; 0 before the first.
    long
        Whether it took so long the last time that the weights are saved before.
    """

    def __init__(self, total_steps: int | None) -> None:
        self._every = None if total_steps is None else max(1, total_steps // ROUNDS)
        self._due_at = FIRST_VALIDATION_S
        self.lasts, self.long = 0.0, False

    def due(self, step: int, seconds: float) -> bool:
        """Whether to judge after this step."""
        if self._every is not None:
            return step % self._every == 0
        return seconds >= self._due_at

    def took(self, seconds: float, now: float) -> None:
        """Note how long judging took, to plan the next one."""
        self.lasts, self.long = seconds, seconds >= LONG_S
        self._due_at = now + max(1.0, seconds / VALIDATION_SHARE)
