"""Quality of a classifier of centre pixels on patches of images kept for validating.

As the publications count: every patch once, the more probable class is the answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import Balance
from napari_topiary.data.annotated_area import as_learned
from napari_topiary.data.centre_sampling import Surroundings, centre_pixels
from napari_topiary.inference.devices import pick_device
from napari_topiary.inference.engine import Engine
from napari_topiary.io.dataset import Sample
from napari_topiary.networks.base import Network
from napari_topiary.studies.base import Measured
from napari_topiary.studies.context import StudyContext
from napari_topiary.types import Job, Progress, Stop

MANY, FEW = 20_000, 1_000
"""Patches that are measured on, and those of a quick study."""
BATCH = 256
PREDICTIONS = 100
"""Single patches whose mean time counts."""


def patch_accuracy(
    checkpoint: Checkpoint, context: StudyContext, *, balance: Balance
) -> Job[Measured]:
    """Validate a checkpoint on a fixed selection of patches.

    Parameters
    ----------
    checkpoint
        Of a network with a `patch`.
    context
        Images and device.
    balance
        `natural`: patches as they are; `classes`: as many of each class.

    Returns
    -------
    dict
        `sensitivity, specificity, dice, accuracy` of the foreground, `cross_entropy`
        (natural logarithm), the same of a softmax on top of sigmoids in
        `cross_entropy_of_sigmoids` (the only way in which the published values of the
        DCCN come about), and `patches`.
    """
    device = pick_device(context.budget.device)
    network = checkpoint.build(device)
    around = Surroundings(
        [as_learned(sample, checkpoint).field for sample in context.held_out],
        network.patch or 1,
    )
    wanted = FEW if context.budget.quick else MANY
    chosen = np.sort(centre_pixels(around.target, wanted, balance=balance))
    answers = []
    for first in range(0, len(chosen), BATCH):
        patches = around.around(chosen[first : first + BATCH])
        answers.append(_answers(network, patches, device))
        message = yield Progress(first + BATCH, len(chosen), "Validating on patches")
        if message is Stop:
            return {}
    truth = torch.from_numpy(around.target[chosen].astype(np.int64))
    return counted(torch.cat(answers), truth)


def counted(logits: torch.Tensor, truth: torch.Tensor) -> Measured:
    """Count the answers to patches.

    Parameters
    ----------
    logits
        `(n, k)`; anything but class 0 is foreground.
    truth
        `(n,)` class index.
    """
    there, found = truth > 0, logits.argmax(dim=1) > 0
    right = (logits.argmax(dim=1) == truth).float().mean()
    hit, missed = int((there & found).sum()), int((there & ~found).sum())
    extra, rest = int((~there & found).sum()), int((~there & ~found).sum())
    return {
        "sensitivity": _ratio(hit, hit + missed),
        "specificity": _ratio(rest, rest + extra),
        "dice": _ratio(2 * hit, 2 * hit + missed + extra),
        "accuracy": float(right),
        "cross_entropy": float(F.cross_entropy(logits, truth)),
        "cross_entropy_of_sigmoids": float(F.cross_entropy(logits.sigmoid(), truth)),
        "prevalence": _ratio(hit + missed, len(truth)),
        "patches": len(truth),
    }


def inference_ms(checkpoint: Checkpoint, device_name: str) -> float:
    """Mean milliseconds of a prediction of one single patch."""
    engine = Engine(checkpoint.build(), device_name)
    side = engine.network.patch or 1
    patch = np.zeros((1, checkpoint.in_channels, side, side), np.float32)
    engine.on_patches(patch)
    begun = time.perf_counter()
    for _ in range(PREDICTIONS):
        engine.on_patches(patch)
    return 1e3 * (time.perf_counter() - begun) / PREDICTIONS


def known_pixels(checkpoint: Checkpoint, samples: Sequence[Sample]) -> int:
    """Return how many annotated pixels images have on a checkpoint's working grid."""
    fields = [as_learned(sample, checkpoint).field for sample in samples]
    return sum(int((field.target >= 0).sum()) for field in fields)


def _answers(
    network: Network, patches: NDArray[np.float32], device: torch.device
) -> torch.Tensor:
    with torch.inference_mode():
        batch = torch.from_numpy(patches).to(device)
        return network.on_patches(batch)[:, :, 0, 0].float().cpu()


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
