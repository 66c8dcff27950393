"""What a network is to make small, step by step."""

from __future__ import annotations

import torch

from napari_topiary.config import TrainConfig
from napari_topiary.data.losses import (
    imitation_loss,
    masked_square_error,
    training_loss,
)
from napari_topiary.data.sampling import Batch

IMITATION = 0.9
"""Share of the loss that asks a pruned network to answer as the unpruned one did."""


def objective(
    answer: torch.Tensor,
    batch: Batch,
    config: TrainConfig,
    *,
    class_weight: torch.Tensor,
) -> torch.Tensor:
    """Loss of a batch: classes, values where there are any, and imitation.

    Parameters
    ----------
    answer
        `(b, k + r, y, x)` float32 logits and values.
    batch
        On the same device.
    config
        Shares of Dice and of the values.
    class_weight
        `(k,)` how much each class counts.

    Returns
    -------
    Tensor
        Scalar.
    """
    classes = len(class_weight)
    logits, values = answer[:, :classes], answer[:, classes:]
    loss = training_loss(
        logits,
        batch.target,
        batch.weight,
        class_weight=class_weight,
        dice_weight=config.dice_weight,
    )
    if batch.regression is not None:
        known = (batch.target >= 0) * batch.weight
        error = masked_square_error(values, batch.regression, known)
        loss = loss + config.distance_weight * error
    if batch.teacher is not None:
        said, valued = batch.teacher[:, :classes], batch.teacher[:, classes:]
        imitation = imitation_loss(logits, said)
        if valued.shape[1]:
            error = masked_square_error(values, valued, said.sum(dim=1))
            imitation = imitation + config.distance_weight * error
        loss = (1 - IMITATION) * loss + IMITATION * imitation
    return loss
