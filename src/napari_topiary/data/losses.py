"""Losses on partly known targets: unknown pixels (−1) count nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from napari_topiary.config import TrainConfig
from napari_topiary.data.sampling import Batch

IMITATION = 0.9
"""Share of the loss that asks a pruned network to answer as the unpruned one did."""


def masked_cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    *,
    class_weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weighted mean cross-entropy over the pixels whose class is known.

    Parameters
    ----------
    logits
        `(b, k, y, x)` float.
    target
        `(b, y, x)` int64 class index, −1 = unknown.
    weight
        `(b, y, x)` float, how much each pixel counts.
    class_weight
        `(k,)` float, how much each class counts; None = equally.

    Returns
    -------
    torch.Tensor
        Scalar; 0 (with a gradient of 0) where nothing is known.
    """
    per_pixel = F.cross_entropy(logits, target, ignore_index=-1, reduction="none")
    known = (target >= 0).to(per_pixel.dtype) * weight
    if class_weight is not None:
        known = known * class_weight[target.clamp(min=0)]
    return (per_pixel * known).sum() / known.sum().clamp(min=1e-6)


def masked_dice_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """One minus the mean soft Dice of the classes other than background.

    Parameters
    ----------
    logits
        `(b, k, y, x)` float.
    target
        `(b, y, x)` int64 class index, −1 = unknown.

    Returns
    -------
    torch.Tensor
        Scalar in 0..1. Smoothed by 1 and taken over the flattened batch, as in
        Mahbod et al. 2022.
    """
    known = (target >= 0).unsqueeze(1).to(logits.dtype)
    probability = logits.softmax(dim=1)[:, 1:] * known
    classes = torch.arange(1, logits.shape[1], device=target.device)
    truth = target.unsqueeze(1) == classes.view(1, -1, 1, 1)
    truth = truth.to(logits.dtype)
    axes = (0, 2, 3)
    overlap = (probability * truth).sum(axes)
    total = probability.sum(axes) + truth.sum(axes)
    dice = (2 * overlap + 1) / (total + 1)
    return 1 - dice.mean()


def masked_square_error(
    values: torch.Tensor, wanted: torch.Tensor, known: torch.Tensor
) -> torch.Tensor:
    """Mean square error of values over the pixels that are known.

    Parameters
    ----------
    values, wanted
        `(b, r, y, x)` float.
    known
        `(b, y, x)` bool, or float as how much each pixel counts.

    Returns
    -------
    torch.Tensor
        Scalar; 0 (with a gradient of 0) where nothing is known.
    """
    weight = known.to(values.dtype).unsqueeze(1).expand_as(values)
    error = (values - wanted).square() * weight
    return error.sum() / weight.sum().clamp(min=1e-6)


def _imitation_loss(logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Cross-entropy against another network's probabilities `(b, k, y, x)`.

    What a large network has learned is less noisy than the annotations it learned
    from, and it is known at every pixel (Hinton et al. 2015). Where the teacher's are
    all zero it is not known.
    """
    per_pixel = -(teacher * logits.log_softmax(dim=1)).sum(dim=1)
    return per_pixel.sum() / teacher.sum().clamp(min=1e-6)


def training_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    *,
    class_weight: torch.Tensor | None = None,
    dice_weight: float = 0.0,
) -> torch.Tensor:
    """Cross-entropy mixed with Dice: `(1 − d)·CE + d·Dice`.

    Parameters
    ----------
    logits, target, weight, class_weight
        As for `masked_cross_entropy`.
    dice_weight
        The share d of Dice, 0..1.
    """
    loss = masked_cross_entropy(logits, target, weight, class_weight=class_weight)
    if dice_weight > 0:
        dice = masked_dice_loss(logits, target)
        loss = (1 - dice_weight) * loss + dice_weight * dice
    return loss


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
        imitation = _imitation_loss(logits, said)
        if valued.shape[1]:
            error = masked_square_error(values, valued, said.sum(dim=1))
            imitation = imitation + config.distance_weight * error
        loss = (1 - IMITATION) * loss + IMITATION * imitation
    return loss
