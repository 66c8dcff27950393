"""What a network says to noise, which nobody has to annotate: whether it lives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.inference.suitability import DEAD, answers_alike
from napari_topiary.networks.base import in_shares
from napari_topiary.networks.layers import probe_side
from napari_topiary.postprocessing import class_labels

GRAINS = (0.0, 1.5, 4.0, 10.0)
"""Sizes of what is in the test images, in working pixels."""
SIDE, PATCHES = 160, 48


@dataclass(frozen=True)
class NoiseAnswers:
    """What a network says to noise of every grain."""

    marked: float  #: Share of it that is not called background
    spread: float  #: How much the answers differ, as a deviation
    #: Whether it says the same everywhere. In 205 networks that had learned something,
    #: pruned by up to 99 %, the odds differed at least five times as much as counts
    is_constant: bool


@torch.no_grad()
def answers_to_noise(checkpoint: Checkpoint) -> NoiseAnswers:
    """Show a network noise."""
    network = checkpoint.build()
    side = probe_side(network, SIDE)
    count = 1 if network.patch is None else PATCHES
    # Near the border even a dead network may say something else: zeros lie beyond.
    rim = 0 if network.patch is not None else min(network.halo, side // 3)
    shown = []
    for images in _noise(count, checkpoint.in_channels, side):
        answer = in_shares(network, network.on_patches(torch.from_numpy(images)))
        inner = answer[..., rim : answer.shape[-2] - rim, rim : answer.shape[-1] - rim]
        shown += list(inner.numpy())
    sheet = np.concatenate(shown, axis=1)  # (k, y, x): one below the other
    task = checkpoint.task
    labels = class_labels(sheet, task=task, threshold=dict(checkpoint.thresholds))
    classes = sheet[: len(task.classes)]
    return NoiseAnswers(
        marked=float((labels > 0).mean()),
        spread=float(classes.std(axis=(1, 2)).max()),
        is_constant=answers_alike(classes),
    )


def lifeless(checkpoint: Checkpoint) -> str | None:
    """Return a sentence if a network says the same to whatever it is shown."""
    try:
        constant = answers_to_noise(checkpoint).is_constant
    except (RuntimeError, MemoryError):  # no room for a look is no reason to stop
        return None
    if not constant:
        return None
    return f"The network gives the same answer to whatever it is shown: {DEAD}"


def _noise(count: int, channels: int, side: int) -> Iterator[NDArray[np.float32]]:
    """Images `(b, c, y, x)` of every grain, normalised as networks see them."""
    random = np.random.default_rng(0)
    for grain in GRAINS:
        images = random.standard_normal((count, channels, side, side))
        images = ndimage.gaussian_filter(images, (0, 0, grain, grain))
        images /= images.std()
        yield (images - images.mean()).astype(np.float32)
