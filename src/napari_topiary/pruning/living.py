"""Cutting filters out of a network in the middle of its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from napari_topiary.pruning.structure import Coupling, LayerFacts
from napari_topiary.pruning.surgery import (
    Indices,
    Kept,
    kept_indices,
    layer_widths,
    set_widths,
    slice_tensor,
)
from napari_topiary.shaping import Living

NORM = LayerFacts("norm", 0, 0, 0, 2, 0.0, 0.0)
"""For slicing a lent normalisation: a row of values per map, whatever the layer."""


@torch.no_grad()
def cut_living(
    living: Living, coupling: Coupling, *, before: Kept, after: Kept
) -> None:
    """Cut a network, its lent norms and its optimizer's memory, in place.

    Parameters
    ----------
    living
        The network in the form `before`.
    coupling
        Of the uncut network.
    before, after
        What is left of each group now, and what shall be.
    """
    stood, goal = kept_indices(coupling, before), kept_indices(coupling, after)
    for name, index in goal.items():
        old = stood.get(name, Indices())
        step = Indices(_within(old.out, index.out), _within(old.into, index.into))
        layer = living.network.get_submodule(name)
        _cut_module(layer, coupling.layers[name], step, living.optimizer)
        norm = living.norms.get(name)
        if norm is not None:
            _cut_module(norm, NORM, Indices(step.out), living.optimizer)
    set_widths(living.network, layer_widths(coupling, goal))


def _cut_module(
    module: nn.Module,
    facts: LayerFacts,
    step: Indices,
    optimizer: torch.optim.Optimizer,
) -> None:
    for leaf, old in list(module.named_parameters(recurse=False)):

        def cut(tensor: torch.Tensor, leaf: str = leaf) -> torch.Tensor:
            return _laid_out(slice_tensor(tensor, leaf, facts, step), tensor)

        new = nn.Parameter(cut(old.detach()), old.requires_grad)
        setattr(module, leaf, new)
        _hand_over(optimizer, old, new, cut)
    for leaf, buffer in list(module.named_buffers(recurse=False)):
        setattr(module, leaf, slice_tensor(buffer, leaf, facts, step))
    if facts.kind == "norm" and step.out is not None:
        module.num_features = len(step.out)  # type: ignore[assignment]


def _hand_over(
    optimizer: torch.optim.Optimizer,
    old: nn.Parameter,
    new: nn.Parameter,
    cut: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """Let the optimizer go on with `new` where it had `old`."""
    for group in optimizer.param_groups:
        group["params"] = [new if p is old else p for p in group["params"]]
    memory: Mapping[str, object] = optimizer.state.pop(old, {})
    if memory:
        optimizer.state[new] = {
            key: cut(value)
            if isinstance(value, torch.Tensor) and value.shape == old.shape
            else value
            for key, value in memory.items()
        }


def _within(old: torch.Tensor | None, new: torch.Tensor | None) -> torch.Tensor | None:
    """Where the indices `new` sit in the ascending list `old` (None = everything)."""
    if new is None or old is None:
        return new
    return torch.from_numpy(np.searchsorted(old.numpy(), new.numpy()))


def _laid_out(tensor: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
    """Lay a tensor out in memory as `model` is: slicing undoes channels_last."""
    last = model.dim() == 4 and model.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return tensor.contiguous(memory_format=layout)
