"""The verb: prune a checkpoint to a share, in one go."""

from __future__ import annotations

from collections.abc import Sequence

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.io.dataset import Sample
from napari_topiary.pruning.making import plan_job
from napari_topiary.pruning.recalibration import recalibrate
from napari_topiary.types import Job, Progress


def prune(
    checkpoint: Checkpoint, config: PruneConfig, samples: Sequence[Sample] = ()
) -> Job[Checkpoint]:
    """Remove `config.remove` of a checkpoint's weights; the original is not changed.

    Fine-tuning afterwards, or better instead (`GradualPruning` handed to the training),
    is the caller's to arrange, and so is judging the result at its own best threshold.

    Parameters
    ----------
    checkpoint
        What to prune.
    config
        Kind, criterion, scope and share.
    samples
        Images on which batch-normalisation statistics are re-estimated; annotated
        ones for criteria that measure a loss.
    """
    plan = yield from plan_job(checkpoint, config, samples=samples)
    yield Progress(0, 0, "Removing")
    pruned = plan.checkpoint_at(config.remove)
    result = yield from recalibrate(pruned, samples)
    return result
