"""Would more annotations help? Trained on nested shares of those that are there.

What is reached follows a power law that levels off, `q(x) = a - b x^-c`: with ever more
annotations quality nears `a`. Four or so noisy points do not say three numbers, so
every law on a grid is weighed by how well it agrees with them, and what is told are
means and spreads over all laws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.training.loop import fit
from napari_topiary.training.shares import nested_shares
from napari_topiary.types import Job, Progress, Stop, Task, relay

FRACTIONS = (0.125, 0.25, 0.5, 1.0)
WORDS = ("an eighth", "a quarter", "half", "all")
HARDLY = 0.005
"""Less than this is not worth an afternoon of annotating."""
SHORTEST_S = 2.0
"""Seconds that a training takes at least."""
CURVE_POINTS = 40
LEAST_NOISE = 0.01
"""Two trainings on the same annotations differ by about this much."""
STEPS = 60
LIKELY = (0.16, 0.84)
"""Two thirds of what is likely lies between these quantiles."""


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """Quality against the share of the annotations that was learned from."""

    #: `fractions`, `qualities`: what was measured: share of the annotations, and
    #: quality on what was held out
    fractions: tuple[float, ...] = ()
    qualities: tuple[float, ...] = ()
    quality_name: str = ""  #: ``"F1"``, ``"Dice"``..
    #: The fitted law: share (up to 2, twice as many), expected quality, and likely
    #: lowest and highest quality
    curve: tuple[tuple[float, float, float, float], ...] = ()
    #: `gain`, `gain_low`, `gain_high`: what twice as many annotations would add, and
    #: what that likely lies between; None while too little is known
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    #: All of it in one sentence
    sentence: str = "Too little is known yet to say what more annotations would bring."


def learning_curve(
    samples: Sequence[Sample], config: TrainConfig, *, task: Task, seconds: float | None
) -> Job[LearningCurve]:
    """Train on an eighth, a quarter, half and all of the annotations.

    Every training takes as long as the others and starts from nothing; all have the
    same held-out images (or end of the only one). The largest comes last.

    Parameters
    ----------
    samples
        Annotated images.
    config
        What to train.
    task
        Kind of answer and classes.
    seconds
        For everything together; None = each training is as long as `config` says.

    Yields
    ------
    Progress
        `report` is the `LearningCurve` so far. `Stop` ends it; the training that was
        going on does not count.

    Raises
    ------
    TopiaryError
        With a sentence if there is too little annotated.
    """
    shares = nested_shares(
        samples, task, held_share=config.validation_share, seed=config.seed
    )
    if seconds is not None:
        each = max(SHORTEST_S, seconds / len(FRACTIONS)) / 60
        config = replace(config, minutes=each, epochs=None)
    found = LearningCurve()
    for index, fraction in enumerate(FRACTIONS):
        count = max(1, round(fraction * len(shares.units)))
        job = fit(shares.first(count), config, task=task, validation=shares.held)
        checkpoint = yield from _trained(job, index, found)
        if checkpoint is None:
            break
        quality, name = _quality(checkpoint)
        found = _told(
            (*found.fractions, count / len(shares.units)),
            (*found.qualities, quality),
            name,
        )
    return found


def _trained(
    job: Job[Checkpoint], index: int, so_far: LearningCurve
) -> Job[Checkpoint | None]:
    """Do one of the trainings; None if stopped."""
    stopped = False

    def told(progress: Progress) -> Progress:
        left = progress.eta_s
        if left is not None:
            length = left / max(1e-6, 1 - progress.fraction)
            left += length * (len(FRACTIONS) - 1 - index)
        return Progress(
            index + progress.fraction,
            len(FRACTIONS),
            f"Learning from {WORDS[index]} of the annotations",
            eta_s=left,
            report=so_far,
        )

    def heard(message: object) -> None:
        nonlocal stopped
        stopped = stopped or message is Stop

    checkpoint = yield from relay(job, told=told, heard=heard)
    return None if stopped else checkpoint


def _quality(checkpoint: Checkpoint) -> tuple[float, str]:
    name = str(checkpoint.metrics.get("quality_name", "none"))
    value = checkpoint.metrics.get("quality")
    if value is None or name == "none":
        raise TopiaryError(
            "What was held back shows nothing of what is looked for, so there is "
            "nothing to judge by: annotate another image, or more of this one."
        )
    return float(value), name


def _told(
    fractions: tuple[float, ...], qualities: tuple[float, ...], name: str
) -> LearningCurve:
    """Fit what is known and say it."""
    measured = LearningCurve(
        fractions=fractions, qualities=qualities, quality_name=name
    )
    if len(set(fractions)) < 2:
        return measured
    law = fit_power_law(fractions, qualities)
    places = np.geomspace(min(fractions), 2 * max(fractions), CURVE_POINTS)
    gain, low, high = law.gain(2.0)
    told = replace(
        measured,
        curve=tuple((float(x), *law.at(float(x))) for x in places),
        gain=gain,
        gain_low=low,
        gain_high=high,
    )
    return replace(told, sentence=_sentence(told))


def _sentence(curve: LearningCurve) -> str:
    if curve.gain is None or curve.fractions[-1] < 1.0:
        return curve.sentence
    half = min(range(len(curve.fractions)), key=lambda i: abs(curve.fractions[i] - 0.5))
    begun = (
        f"With half of your annotations you reach {curve.quality_name} "
        f"{curve.qualities[half]:.2f}, with all {curve.qualities[-1]:.2f}; "
    )
    if curve.gain < HARDLY:
        return begun + "more would hardly help."
    return begun + (
        f"about twice as many would bring about {curve.gain:.2f} more "
        f"({curve.gain_low:.2f} to {curve.gain_high:.2f})."
    )


@dataclass(frozen=True)
class PowerLaw:
    """Laws `q(x) = a - b x^-c` and how likely each is."""

    #: `ceiling`, `drop`, `power`: `(n,)` a, b and c of each law
    ceiling: NDArray[np.float64]
    drop: NDArray[np.float64]
    power: NDArray[np.float64]
    weight: NDArray[np.float64]  #: `(n,)`, sums to 1

    def at(self, x: float) -> tuple[float, float, float]:
        """Expected quality at an amount, and what it likely lies between."""
        return self._told(self.ceiling - self.drop * x**-self.power)

    def gain(self, factor: float) -> tuple[float, float, float]:
        """What that many times all annotations would add, and likely limits."""
        return self._told(self.drop * (1.0 - factor**-self.power))

    def _told(self, values: NDArray[np.float64]) -> tuple[float, float, float]:
        order = np.argsort(values)
        total = np.cumsum(self.weight[order])
        low, high = (
            float(values[order[min(int(np.searchsorted(total, q)), len(order) - 1)]])
            for q in LIKELY
        )
        return float(values @ self.weight), low, high


def fit_power_law(amounts: Sequence[float], qualities: Sequence[float]) -> PowerLaw:
    """Weigh all laws by their agreement with what was measured.

    Parameters
    ----------
    amounts
        Share of all annotations, 0..1 each; at least two.
    qualities
        What was reached with each, 0..1.
    """
    x, q = np.asarray(amounts, dtype=float), np.asarray(qualities, dtype=float)
    # By the quality with all annotations and the ceiling above it, so that no law is
    # asked about that falls with more annotations.
    known = np.linspace(max(0.0, q.min() - 0.05), min(1.0, q.max() + 0.1), STEPS)
    above = np.linspace(0.0, 1.0, STEPS) ** 2
    powers = np.linspace(0.1, 2.0, STEPS // 2)
    reached, share, power = (
        grid.ravel() for grid in np.meshgrid(known, above, powers, indexing="ij")
    )
    drop = share * (1.0 - reached)
    ceiling = reached + drop
    expected = ceiling[:, None] - drop[:, None] * x[None] ** -power[:, None]
    squares = ((expected - q) ** 2).sum(axis=1)
    noise = max(LEAST_NOISE, float(np.sqrt(squares.min() / max(1, len(x) - 2))))
    weight = np.exp(-0.5 * (squares - squares.min()) / noise**2)
    return PowerLaw(ceiling, drop, power, weight / weight.sum())
