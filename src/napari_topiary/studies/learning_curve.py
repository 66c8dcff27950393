"""Would more annotations help? Trained on nested shares of those that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.studies.power_law import fit_power_law
from napari_topiary.studies.shares import Shares, nested_shares
from napari_topiary.training import fit
from napari_topiary.types import Job, Progress, Stop, Task

FRACTIONS = (0.125, 0.25, 0.5, 1.0)
WORDS = ("an eighth", "a quarter", "half", "all")
HARDLY = 0.005
"""Less than this is not worth an afternoon of annotating."""
SHORTEST_S = 2.0
"""Seconds that a training takes at least."""
CURVE_POINTS = 40


@dataclass(frozen=True)
class LearningCurve:
    """Quality against the share of the annotations that was learned from.

    Parameters
    ----------
    fractions, qualities
        What was measured: share of the annotations, and quality on what was held out.
    quality_name
        ``"F1"``, ``"Dice"``...
    curve
        The fitted law: share (up to 2, twice as many), expected quality, and likely
        lowest and highest quality.
    gain, gain_low, gain_high
        What twice as many annotations would add, and what that likely lies between;
        None while too little is known.
    sentence
        All of it in one sentence.
    """

    fractions: tuple[float, ...] = ()
    qualities: tuple[float, ...] = ()
    quality_name: str = ""
    curve: tuple[tuple[float, float, float, float], ...] = ()
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    sentence: str = "Too little is known yet to say what more annotations would bring."


def learning_curve(
    samples: Sequence[Sample],
    config: TrainConfig,
    *,
    task: Task,
    seconds: float | None,
) -> Job[LearningCurve]:
    """Train on an eighth, a quarter, half and all of the annotations.

    Every training takes as long as the others and starts from nothing; all are judged
    on the same held-out images (or end of the only one). The largest comes last.

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
    for index, (fraction, words) in enumerate(zip(FRACTIONS, WORDS, strict=True)):
        count = max(1, round(fraction * len(shares.units)))
        checkpoint = yield from _trained(
            shares, count, config, task, (index, words, found)
        )
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
    shares: Shares,
    count: int,
    config: TrainConfig,
    task: Task,
    told: tuple[int, str, LearningCurve],
) -> Job[Checkpoint | None]:
    """Train on the first units; None if stopped."""
    index, words, so_far = told
    job = fit(shares.first(count), config, task=task, validation=shares.held)
    message: object = None
    stopped = False
    while True:
        try:
            progress = job.send(message)
        except StopIteration as end:
            checkpoint: Checkpoint = end.value
            return None if stopped else checkpoint
        left = progress.eta_s
        if left is not None:
            length = left / max(1e-6, 1 - progress.fraction)
            left += length * (len(FRACTIONS) - 1 - index)
        message = yield Progress(
            index + progress.fraction,
            len(FRACTIONS),
            f"Learning from {words} of the annotations",
            eta_s=left,
            report=so_far,
        )
        stopped = stopped or message is Stop


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
    measured = LearningCurve(fractions, qualities, name)
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
