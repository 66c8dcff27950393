"""Jobs of the Prune page, composed of the verbs; no Qt in here."""

from __future__ import annotations

from dataclasses import dataclass

from napari_topiary._napari.learning.readiness import Lesson
from napari_topiary._napari.prune.view import PruningView
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.hold_out_validator import HoldOut
from napari_topiary.evaluation.validate import rejudge
from napari_topiary.networks import tuning_config
from napari_topiary.pruning import (
    GradualPruning,
    PlanStatistics,
    PruningPlan,
    plan_job,
    pruning_doubt,
    pruning_problems,
    recalibrate,
)
from napari_topiary.training import fit
from napari_topiary.types import Job, Progress


@dataclass(frozen=True)
class Ready:
    """A plan, and all that the page needs to begin.

    Parameters
    ----------
    plan
        The order of removals.
    view
        Looks at its positions.
    before
        Statistics of the first position.
    """

    plan: PruningPlan
    view: PruningView
    before: PlanStatistics


def planning(
    checkpoint: Checkpoint, config: PruneConfig, lesson: Lesson, colours: dict[str, str]
) -> Job[Ready]:
    """Rank everything once; `Stop` keeps an order that is not finished.

    Parameters
    ----------
    checkpoint
        To be pruned.
    config
        Kind, criterion, scope.
    lesson
        Annotated images, for criteria that measure a loss.
    colours
        Class name -> `#rrggbb`.
    """
    plan = yield from plan_job(checkpoint, config, samples=lesson.samples)
    return Ready(plan, PruningView(plan, colours), plan.statistics(plan.start))


def keeping(
    plan: PruningPlan, share: float, name: str, hold_out: HoldOut
) -> Job[Checkpoint]:
    """Make the checkpoint of a position, judged at its own best threshold.

    Parameters
    ----------
    plan, share
        The position.
    name
        To be written into it.
    hold_out
        What to judge on.
    """
    yield Progress(0, 0, "Keeping the pruned network")
    made = plan.checkpoint_at(share)
    made = yield from recalibrate(made, hold_out.samples or hold_out.validation)
    if hold_out.samples or hold_out.validation:
        made = yield from rejudge(
            made, hold_out.samples, validation=hold_out.validation
        )
    doubt = pruning_doubt(plan.checkpoint, made)
    problems = [*pruning_problems(plan.checkpoint, made, share)]
    problems += [] if doubt is None else [doubt]
    about = {**made.provenance, "name": name, "problems": problems}
    return made.replaced(provenance=about)


@dataclass(frozen=True)
class Tuning:
    """How to fine-tune.

    Parameters
    ----------
    minutes
        Time budget.
    gradual
        Remove little by little while training, instead of all at once before.
    """

    minutes: float
    gradual: bool


def fine_tuning(
    plan: PruningPlan, share: float, tuning: Tuning, lesson: Lesson
) -> Job[Checkpoint]:
    """Train a pruned network on; ends exactly at the slider's position.

    Parameters
    ----------
    plan, share
        The position.
    tuning
        How long, and how.
    lesson
        What to learn from.
    """
    if not lesson.samples:
        raise TopiaryError(
            "Fine-tuning learns from annotated images, and this project has none: "
            "annotate one, or keep the network as it is."
        )
    original = plan.checkpoint
    shaper = GradualPruning(plan, share, stages=None if tuning.gradual else 1)
    seed = int(original.provenance.get("seed") or 0)
    return (
        yield from fit(
            lesson.samples,
            tuning_config(
                original.network,
                plan.config.kind,
                {"minutes": tuning.minutes, "seed": seed},
            ),
            task=original.task,
            start=original,
            validation=lesson.validation,
            shaper=shaper,
        )
    )
