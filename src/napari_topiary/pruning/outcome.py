"""What came of a pruning: a failure never looks like a success."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.networks.base import in_shares
from napari_topiary.networks.layers import probe_side
from napari_topiary.postprocessing import class_labels

HARDLY = 0.25
"""Below this share of the quality before, a network finds hardly anything."""
NEAR = 0.02
"""Shares of weights closer than this are what was asked for."""
GRAINS = (0.0, 1.5, 4.0, 10.0)
"""Sizes of what is in the test images, in working pixels."""
SIDE, PATCHES = 160, 48
LITTLE = 0.05
"""Below this share of what was marked or told apart before, that is over."""


def pruning_problems(
    before: Checkpoint, after: Checkpoint, share: float
) -> tuple[str, ...]:
    """Return what was asked of a pruning and did not come; mostly nothing."""
    found = []
    if after.sparsity < share - NEAR:
        found.append(
            f"{after.sparsity:.1%} of the weights are gone instead of {share:.1%}."
        )
    quality, name = after.metrics.get("quality"), after.metrics.get("quality_name")
    if quality is None:
        return tuple(found)
    whole = float(before.metrics.get("quality") or 0.0)
    known = whole > 0 and before.metrics.get("quality_name") == name
    floor = HARDLY * whole if known else 0.05
    if float(quality) <= floor:
        held = after.metrics.get("held_out") or "what was held back"
        was = f" ({whole:.2f} before)" if known else ""
        found.append(
            f"The pruned network finds hardly anything any more: {name} "
            f"{float(quality):.2f}{was} on {held}. Remove less, or fine-tune it longer."
        )
    return tuple(found)


def pruning_doubt(before: Checkpoint, after: Checkpoint) -> str | None:
    """Return a sentence if a pruned network that was not judged seems to be dead.

    Both networks are shown noise. How good a network is that cannot tell, but whether
    it still tells anything apart; so this is a doubt to be looked into, no verdict.
    """
    if after.metrics.get("quality") is not None:
        return None
    (marked, spread), (left, still) = _answers(before), _answers(after)
    if still < LITTLE * spread:
        said = "gives the same answer to whatever it is shown"
    elif 0.01 <= marked < 0.99 and left < LITTLE * marked:
        said = f"finds nothing any more: in noise it marks {left:.1%}, the network"
        said += f" before {marked:.0%}"
    elif 0.01 <= marked < 0.99 and 1 - left < LITTLE * (1 - marked):
        said = f"finds something everywhere: in noise it marks {left:.1%}, the network"
        said += f" before {marked:.0%}"
    else:
        return None
    way_out = "Remove less, or fine-tune it on annotated images."
    return f"The pruned network {said}. {way_out}"


@torch.no_grad()
def _answers(checkpoint: Checkpoint) -> tuple[float, float]:
    """Share of noise that is marked, and how much the answers differ."""
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
    return float((labels > 0).mean()), float(classes.std(axis=(1, 2)).max())


def _noise(count: int, channels: int, side: int) -> Iterator[NDArray[np.float32]]:
    """Images `(b, c, y, x)` of every grain, normalised as networks see them."""
    random = np.random.default_rng(0)
    for grain in GRAINS:
        images = random.standard_normal((count, channels, side, side))
        images = ndimage.gaussian_filter(images, (0, 0, grain, grain))
        images /= images.std()
        yield (images - images.mean()).astype(np.float32)
