"""Proof by trial that couplings are right, before anything is cut for good.

Tracing can be fooled: a network that joins its raw image to its maps, say, shifts
channels in a way that the autograd graph does not show. So half of the channels are
cut from a copy, and the copy must say what the whole network says when its layers read
zeros in their place. Groups that fail are left whole.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_topiary.networks.base import Network
from napari_topiary.networks.layers import probe_side
from napari_topiary.pruning.coupling import TRACE_SIDE
from napari_topiary.pruning.structure import Coupling
from napari_topiary.pruning.surgery import (
    Kept,
    kept_indices,
    layer_widths,
    network_like,
    slice_tensors,
)

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""Relative to the largest logit; a wrong coupling is off by its whole size."""


def proven(network: Network, coupling: Coupling, in_channels: int) -> Coupling:
    """Drop the groups that cannot be cut without changing anything else.

    Parameters
    ----------
    network
        In evaluation mode; left as it is.
    coupling
        What tracing found.
    in_channels
        Channels of the images it reads.
    """
    side = probe_side(network, TRACE_SIDE)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, in_channels, side, side, generator=generator)
    image = image.to(next(network.parameters()).device)
    every = range(len(coupling.groups))
    if _holds(network, coupling, every, image):
        return coupling
    sound = [g for g in every if _holds(network, coupling, [g], image)]
    left = [coupling.groups[g].name for g in every if g not in sound]
    logger.warning("left whole, coupling not understood: %s", ", ".join(left))
    groups = tuple(coupling.groups[g] for g in sound)
    return dataclasses.replace(coupling, groups=groups)


@torch.no_grad()
def _holds(
    network: Network, coupling: Coupling, tried: Sequence[int], image: torch.Tensor
) -> bool:
    """Whether cutting half of each tried group equals reading zeros there."""
    kept = [
        np.arange(group.channels) % 2 == 0 if index in tried else _all(group.channels)
        for index, group in enumerate(coupling.groups)
    ]
    indices = kept_indices(coupling, kept)
    tensors = {n: t.detach() for n, t in network.state_dict(keep_vars=True).items()}
    tensors |= dict(network.named_buffers())
    try:
        cut = slice_tensors(tensors, coupling, indices)
        twin = network_like(network, cut, layer_widths(coupling, indices))
        found = twin.on_patches(image)
    except (RuntimeError, IndexError, ValueError):
        return False
    expected = logits_reading_zeros(network, coupling, kept, image)
    if found.shape != expected.shape:
        return False
    error = float((found - expected).abs().max())
    return error <= TOLERANCE * max(float(expected.abs().max()), 1e-6)


def logits_reading_zeros(
    network: Network, coupling: Coupling, kept: Kept, image: torch.Tensor
) -> torch.Tensor:
    """Logits of the whole network whose layers read zeros for removed channels.

    Parameters
    ----------
    network
        The uncut network, in evaluation mode.
    coupling
        Its couplings.
    kept
        What stays of each group.
    image
        `(b, c, y, x)`, as `on_patches` takes it.

    Returns
    -------
    Tensor
        `(b, k, y, x)`.
    """
    handles = []
    for group, mask in zip(coupling.groups, kept, strict=True):
        for cut in group.cuts:
            if cut.side == "in":
                gone = torch.from_numpy(cut.places[~mask[cut.roots]]).to(image.device)
                layer = network.get_submodule(cut.layer)
                handles.append(layer.register_forward_pre_hook(_Blank(gone)))
    try:
        logits = network.on_patches(image)
    finally:
        for handle in handles:
            handle.remove()
    return logits


class _Blank:
    """A hook that lets a layer read zeros in some channels (axis 1)."""

    def __init__(self, gone: torch.Tensor) -> None:
        self.gone = gone

    def __call__(
        self, module: nn.Module, inputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        axis = -1 if isinstance(module, nn.Linear) else 1
        return (inputs[0].index_fill(axis, self.gone, 0.0), *inputs[1:])


def _all(channels: int) -> NDArray[np.bool_]:
    return np.ones(channels, dtype=bool)
