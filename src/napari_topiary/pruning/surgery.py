"""Cutting a network to the channels that stay: one slicing pass, whatever the cut."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from napari_topiary.networks.base import Network
from napari_topiary.networks.pruning_schedule import (
    NetworkInTraining,
    TrainingOptimizer,
)
from napari_topiary.pruning.structure import Coupling, LayerFacts

Kept = Sequence[NDArray[np.bool_]]
"""One `(channels,)` bool array per group of a coupling, True = stays."""
NORM = LayerFacts(
    kind="norm", outputs=0, inputs=0, kernel=0, extra=2, positions=0.0, resolution=0.0
)
"""For slicing a lent normalisation: a row of values per map, whatever the layer."""


@dataclass(frozen=True)
class Indices:
    """What stays of one layer; None = all of it."""

    #: `out`, `into`: `(n,)` int64: kept outputs and kept inputs, ascending
    out: torch.Tensor | None = None
    into: torch.Tensor | None = None


def kept_indices(coupling: Coupling, kept: Kept) -> dict[str, Indices]:
    """Translate kept channels of groups to kept indices of layers.

    Returns
    -------
    dict
        Only layers that lose something.
    """
    stays: dict[tuple[str, str], NDArray[np.bool_]] = {}
    for group, mask in zip(coupling.groups, kept, strict=True):
        if mask.all():
            continue
        for cut in group.cuts:
            facts = coupling.layers[cut.layer]
            width = facts.outputs if cut.side == "out" else facts.inputs
            layer = stays.setdefault((cut.layer, cut.side), np.ones(width, bool))
            layer[cut.places[~mask[cut.roots]]] = False
    indices: dict[str, Indices] = {}
    for layer_name in {name for name, _ in stays}:
        out, into = (
            None
            if (found := stays.get((layer_name, side))) is None
            else torch.from_numpy(np.flatnonzero(found))
            for side in ("out", "in")
        )
        indices[layer_name] = Indices(out, into)
    return indices


def layer_widths(
    coupling: Coupling, indices: Mapping[str, Indices]
) -> dict[str, tuple[int, int]]:
    """Return (outputs, inputs) of every layer that loses something."""
    widths = {}
    for name, index in indices.items():
        facts = coupling.layers[name]
        out = facts.outputs if index.out is None else len(index.out)
        into = facts.inputs if index.into is None else len(index.into)
        single = facts.kind in ("norm", "depthwise")
        widths[name] = (out, out if single else into)
    return widths


def slice_tensors(
    tensors: Mapping[str, torch.Tensor],
    coupling: Coupling,
    indices: Mapping[str, Indices],
) -> dict[str, torch.Tensor]:
    """Cut every tensor to what stays; untouched ones are passed on, not copied.

    Parameters
    ----------
    tensors
        Parameters, buffers, masks or optimizer state by parameter name.
    coupling
        Of the network the tensors belong to.
    indices
        From `kept_indices`.
    """
    result = {}
    for name, tensor in tensors.items():
        layer, _, leaf = name.rpartition(".")
        index = indices.get(layer)
        result[name] = (
            tensor
            if index is None
            else _slice_tensor(tensor, leaf, coupling.layers[layer], index)
        )
    return result


def _slice_tensor(
    tensor: torch.Tensor, leaf: str, facts: LayerFacts, index: Indices
) -> torch.Tensor:
    """Cut a layer's `(out, in, ...)`, or transposed `(in, out, ...)`, or `(out,)`.

    `leaf` is its name inside the layer (weight, bias, running_mean...).
    """
    if tensor.dim() == 0:
        return tensor  # a counter
    out_axis, in_axis = (1, 0) if facts.kind == "transposed" else (0, 1)
    if leaf != "weight" or facts.kind == "norm":
        out_axis, in_axis = 0, -1
    if index.out is not None:
        tensor = tensor.index_select(out_axis, index.out.to(tensor.device))
    if index.into is not None and in_axis >= 0 and facts.kind != "depthwise":
        tensor = tensor.index_select(in_axis, index.into.to(tensor.device))
    return tensor


def network_like(
    network: Network,
    tensors: Mapping[str, torch.Tensor],
    widths: Mapping[str, tuple[int, int]],
) -> Network:
    """Copy a network's structure around other tensors.

    Nothing is initialised and no tensor is copied, which is what makes a slider
    position cheap.

    Parameters
    ----------
    network
        The structure to copy; left alone.
    tensors
        Every parameter and buffer by name, in the new shapes; the copy owns them.
    widths
        Layer name -> (outputs, inputs) of layers whose width is new.
    """
    memo: dict[int, torch.Tensor] = {}
    for name, parameter in network.named_parameters():
        memo[id(parameter)] = nn.Parameter(tensors[name], parameter.requires_grad)
    for name, buffer in network.named_buffers():
        memo[id(buffer)] = tensors[name]
    twin = copy.deepcopy(network, memo)
    _set_widths(twin, widths)
    return twin


def _set_widths(network: Network, widths: Mapping[str, tuple[int, int]]) -> None:
    """Tell layers their new widths (the tensors are already cut)."""
    for name, (outputs, inputs) in widths.items():
        layer = network.get_submodule(name)
        if isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = outputs, inputs
        elif isinstance(layer, _ConvNd):
            layer.groups = 1 if layer.groups == 1 else outputs
            layer.out_channels, layer.in_channels = outputs, inputs
        elif isinstance(layer, _NormBase):
            layer.num_features = outputs


@torch.no_grad()
def cut_in_training(
    trained: NetworkInTraining, coupling: Coupling, *, before: Kept, after: Kept
) -> None:
    """Cut a network, its lent norms and its optimizer's memory, in place.

    Parameters
    ----------
    trained
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
        layer = trained.network.get_submodule(name)
        _cut_module(layer, coupling.layers[name], step, trained.optimizer)
        norm = trained.norms.get(name)
        if norm is not None:
            _cut_module(norm, NORM, Indices(step.out), trained.optimizer)
    _set_widths(trained.network, layer_widths(coupling, goal))


def _cut_module(
    module: nn.Module, facts: LayerFacts, step: Indices, optimizer: TrainingOptimizer
) -> None:
    for leaf, old in list(module.named_parameters(recurse=False)):

        def cut(tensor: torch.Tensor, leaf: str = leaf) -> torch.Tensor:
            return _laid_out(_slice_tensor(tensor, leaf, facts, step), tensor)

        new = nn.Parameter(cut(old.detach()), old.requires_grad)
        setattr(module, leaf, new)
        _hand_over(optimizer, old, new, cut)
    for leaf, buffer in list(module.named_buffers(recurse=False)):
        setattr(module, leaf, _slice_tensor(buffer, leaf, facts, step))
    if facts.kind == "norm" and step.out is not None:
        module.num_features = len(step.out)  # type: ignore[assignment]


def _hand_over(
    optimizer: TrainingOptimizer,
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
