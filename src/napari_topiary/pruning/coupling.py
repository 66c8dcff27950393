"""Which channels must go together; the only importer of torch_pruning.

Cutting an output map of one layer takes an input from every layer that reads it: the
next convolution, the other side of a skip connection, the batch normalisation between.
torch_pruning finds these couplings by tracing the network once. What is kept of its
answer is plain index arithmetic, so that any number of cuts after that is one slicing
pass (see `surgery`).

Tracing can be fooled: a network that joins its raw image to its maps, say, shifts
channels in a way that the autograd graph does not show. So couplings are proven by
trial before anything is cut for good: half of the channels are cut from a copy, and the
copy must say what the whole network says when its layers read zeros in their place.
Groups that fail are left whole.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch_pruning
from numpy.typing import NDArray
from torch import nn

from napari_topiary.networks.base import Network
from napari_topiary.networks.layers import per_pixel, probe_side
from napari_topiary.pruning.structure import (
    ChannelGroup,
    Coupling,
    Cut,
    LayerFacts,
    LayerKind,
)
from napari_topiary.pruning.surgery import (
    Kept,
    kept_indices,
    layer_widths,
    network_like,
    slice_tensors,
)

logger = logging.getLogger(__name__)

TRACE_SIDE = 32
"""Pixels of the traced image's side, rounded up to the network's stride."""
TOLERANCE = 1e-3
"""Relative to the largest logit; a wrong coupling is off by its whole size."""

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTION = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_NORM = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)
"""Normalisations that treat every map alone; others (group, layer) mix maps, so that
removing one changes the rest: their groups are left whole."""


def build_coupling(network: Network, in_channels: int) -> Coupling:
    """Trace a network once and say which channels go together."""
    side = probe_side(network, TRACE_SIDE)
    reference = next(network.parameters())
    image = torch.zeros(1, in_channels, side, side, device=reference.device)
    was_training = network.training
    wanted = {p: p.requires_grad for p in network.parameters()}
    calls: Counter[str] = Counter()
    facts: dict[str, LayerFacts] = {}
    hooks = [
        module.register_forward_hook(_recorder(name, (network, side), facts, calls))
        for name, module in network.named_modules()
        if _kind(module) is not None
    ]
    try:
        with torch.inference_mode(False), torch.enable_grad():
            network.requires_grad_(True)  # torch_pruning follows the autograd graph
            graph = torch_pruning.DependencyGraph().build_dependency(
                network,
                image,
                forward_fn=lambda traced, patches: traced.on_patches(patches),
                unwrapped_parameters=[],  # fresh: its defaults are shared lists
                customized_pruners={},
                ignored_layers=[],
                ignored_params=[],
                verbose=False,
            )
            groups = _groups(graph, network, facts, calls)
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, flag in wanted.items():
            parameter.requires_grad_(flag)
        network.train(was_training)
    order = {name: index for index, name in enumerate(facts)}
    total = sum(p.numel() for p in network.parameters())
    known = sum(f.parameters(f.outputs, f.inputs) for f in facts.values())
    return Coupling(
        groups=tuple(sorted(groups, key=lambda group: order[group.name])),
        layers=facts,
        other_parameters=total - known,
    )


def _kind(module: nn.Module) -> LayerKind | None:
    if isinstance(module, _CONVOLUTION):
        if module.groups == 1:
            return "transposed" if isinstance(module, _TRANSPOSED) else "conv"
        alone = module.groups == module.in_channels == module.out_channels
        return "depthwise" if alone else None
    if isinstance(module, nn.Linear):
        return "linear"
    return "norm" if isinstance(module, _NORM) else None


def _recorder(
    name: str,
    probed: tuple[Network, int],
    facts: dict[str, LayerFacts],
    calls: Counter[str],
) -> Any:
    network, side = probed

    def record(
        module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
    ) -> None:
        calls[name] += 1
        kind = _kind(module)
        if kind is None or name in facts:
            return
        read = inputs[0]
        weight = getattr(module, "weight", None)
        own = sum(p.numel() for p in module.parameters(recurse=False))
        axis = -1 if kind == "linear" else 1
        outputs, width = output.shape[axis], read.shape[axis]
        pairs = outputs * (1 if kind in ("norm", "depthwise") else width)
        kernel = 0 if kind == "norm" or weight is None else weight.numel() // pairs
        applied = read if kind == "transposed" else output
        facts[name] = LayerFacts(
            kind=kind,
            outputs=outputs,
            inputs=width,
            kernel=kernel,
            extra=(own - pairs * kernel) // outputs,
            positions=per_pixel(network, applied.numel() / applied.shape[axis], side),
            resolution=per_pixel(network, output.numel() / outputs, side),
        )

    return record


def _groups(
    graph: Any, network: Network, facts: Mapping[str, LayerFacts], calls: Counter[str]
) -> list[ChannelGroup]:
    names = {module: name for name, module in network.named_modules()}
    found = graph.get_all_groups(
        ignored_layers=[network.get_submodule(name) for name in network.output_layers],
        root_module_types=[*_CONVOLUTION, nn.Linear],
    )
    groups = []
    for group in found:
        cuts: list[Cut] = []
        for item in group.items:
            target = item.dep.target.module
            if isinstance(target, nn.Parameter):
                break  # a bare parameter: what it means is not known
            name = names.get(target)
            if name is None:
                continue  # an operation without weights
            if name not in facts or calls[name] != 1:
                break  # mixes its maps, or is shared by several places
            outward = graph.is_out_channel_pruning_fn(item.dep.handler)
            single = facts[name].kind in ("norm", "depthwise")
            cut = Cut(
                layer=name,
                side="out" if outward or single else "in",
                roots=np.asarray(item.root_idxs, dtype=np.int64),
                places=np.asarray(item.idxs, dtype=np.int64),
            )
            if not any(c.layer == name and c.side == cut.side for c in cuts):
                cuts.append(cut)
        else:
            root = names[group[0].dep.target.module]
            groups.append(ChannelGroup(root, facts[root].outputs, tuple(cuts)))
    return groups


def proven(network: Network, coupling: Coupling, in_channels: int) -> Coupling:
    """Drop the groups that cannot be cut without changing anything else."""
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
