"""Batch-normalisation statistics, re-estimated for a network that was pruned.

Removing weights shifts every layer's outputs; the running mean and variance of the
unpruned network are then wrong, and a pruned network looks far worse than it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.data.sampling import Field, Surroundings
from napari_topiary.data.working_grid import to_working
from napari_topiary.inference.devices import pick_device
from napari_topiary.io.dataset import Sample
from napari_topiary.networks.base import Network
from napari_topiary.types import Job, Progress, Stop

PASSES = 2
"""Every image is seen this often, at different places."""
SIDE = 256
"""Largest side of the crops, in network pixels."""
PATCHES = 256
"""Patches of an image that a classifier of centre pixels sees at a time."""

_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def recalibrate(
    checkpoint: Checkpoint, samples: Sequence[Sample], *, seed: int = 0
) -> Job[Checkpoint]:
    """Re-estimate batch-normalisation statistics; weights do not change.

    Parameters
    ----------
    checkpoint
        Returned as it is when it has no batch normalisation.
    samples
        Images like those it was trained on; annotations are not needed.
    seed
        Of the crops.

    Yields
    ------
    Progress
        After every crop; a `Stop` sent in leaves the checkpoint as it was.
    """
    device = pick_device("auto")
    network = checkpoint.build().to(device)
    norms = [
        m for m in network.modules() if isinstance(m, _NORM) and m.track_running_stats
    ]
    if not norms or not samples:
        return checkpoint
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over everything that is seen
    generator = torch.Generator().manual_seed(seed)
    network.train()
    total = PASSES * len(samples)
    for index in range(total):
        crop = learned_part(
            checkpoint, samples[index % len(samples)], network, generator
        )
        with torch.no_grad():
            network.on_patches(crop.to(device))
        message = yield Progress(index + 1, total, "Re-estimating batch statistics")
        if message is Stop:
            return checkpoint
    fresh = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    return dataclasses.replace(checkpoint, state={**checkpoint.state, **fresh})


def learned_part(
    checkpoint: Checkpoint,
    sample: Sample,
    network: Network,
    generator: torch.Generator,
) -> torch.Tensor:
    """Cut a random piece `(1, c, y, x)` as the network sees images.

    Of an image for a classifier of centre pixels: `PATCHES` patches.

    Parameters
    ----------
    checkpoint
        Knows how images are normalised, and their working grid.
    sample
        The image.
    network
        The checkpoint's.
    generator
        Says where.
    """
    factor = checkpoint.factor_for(sample.scale)
    normalised = checkpoint.normalisation.apply(sample.image, sample.excerpt)
    image = torch.from_numpy(to_working(normalised, factor))
    if network.patch is not None:
        return _patches(image, network.patch, generator)
    stride = network.stride
    for axis in (1, 2):
        length = image.shape[axis]
        side = max(stride, min(SIDE, length) // stride * stride)
        if length < side:
            missing = [0, 0] * (2 - axis) + [0, side - length]
            image = nn.functional.pad(image, missing)
        room = image.shape[axis] - side
        start = int(torch.randint(room + 1, (1,), generator=generator))
        image = image.narrow(axis, start, side)
    return image[None]


def _patches(
    image: torch.Tensor, patch: int, generator: torch.Generator
) -> torch.Tensor:
    """Patches `(n, c, p, p)` around random pixels of an image `(c, y, x)`."""
    height, width = image.shape[1:]
    nothing = np.zeros((height, width))
    around = Surroundings(
        [Field(image.numpy(), nothing.astype(np.int16), nothing.astype(np.float32))],
        patch,
    )
    pixels = torch.randint(height * width, (PATCHES,), generator=generator)
    return torch.from_numpy(around.around(pixels.numpy()))
