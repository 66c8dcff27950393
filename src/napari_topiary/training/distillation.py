"""What a network is to make small, and what the unpruned network says, to be imitated.

Fine-tuning a pruned network on the annotations alone repeats their noise; the unpruned
network has already averaged that out, and it answers everywhere, also where nobody has
annotated. It is asked once, before the first step.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import torch

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.data.losses import (
    imitation_loss,
    masked_square_error,
    training_loss,
)
from napari_topiary.data.prepared import PreparedData
from napari_topiary.data.sampling import Batch, Field
from napari_topiary.inference.devices import pick_device
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.tiles import infer
from napari_topiary.types import Job, Progress, run

IMITATION = 0.9
"""Share of the loss that asks a pruned network to answer as the unpruned one did."""
SHARE_OF_TIME = 0.1
"""Asking may take this share of the time; images not reached have no answers."""


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


def with_answers_of(
    teacher: Checkpoint, prepared: PreparedData, config: TrainConfig
) -> Job[PreparedData]:
    """Add what a teacher answers, values included, to the fields to learn from.

    Yields
    ------
    Progress
        After every image.
    """
    seconds = math.inf if config.minutes is None else config.minutes * 60
    device = pick_device(config.device)
    network = teacher.build()
    if not network.dense:
        return prepared  # it is asked about every batch instead
    engine = Engine(network, device, backend="torch", precision="reduced")
    maps = len(teacher.task.classes) + network.regressions
    begun = time.perf_counter()
    fields: list[Field] = []

    def late() -> bool:
        return time.perf_counter() - begun >= SHARE_OF_TIME * seconds

    for field in prepared.train:
        if not late():
            asking = infer(engine, field.image)
            # What it has not answered by then is 0: not known.
            answer = run(asking, should_stop=late)
            said = answer.probability
            if answer.regression is not None:
                said = np.concatenate([said, answer.regression])
            said = said.astype(np.float16)
        else:
            said = np.zeros((maps, *field.target.shape), dtype=np.float16)
        fields.append(replace(field, teacher=said))
        yield Progress(len(fields), len(prepared.train), "Asking the unpruned network")
    return replace(prepared, train=tuple(fields))
