"""Masks: parameter name -> bool tensor, True = kept. Nothing is hooked into modules."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

Masks = Mapping[str, torch.Tensor]


def removed_weights(masks: Masks, network: nn.Module) -> dict[str, torch.Tensor]:
    """Turn masks round and put them beside the parameters they belong to.

    Parameters
    ----------
    masks
        True = kept.
    network
        Whose device and memory layout to follow.

    Returns
    -------
    dict
        Parameter name -> bool tensor, True = removed.
    """
    parameters = dict(network.named_parameters())
    removed = {}
    for name, mask in masks.items():
        # Same strides as the weights (channels_last, mostly): no slow mixed access.
        twin = torch.empty_like(parameters[name], dtype=torch.bool)
        removed[name] = twin.copy_(mask.logical_not())
    return removed


@torch.no_grad()
def largest_weights(
    masks: Masks, network: nn.Module, *, among: Masks
) -> dict[str, torch.Tensor]:
    """Keep as many weights as masks do, but those that are largest at present.

    Parameters
    ----------
    masks
        How many of each parameter are kept.
    network
        Whose weights are looked at.
    among
        Weights that are still there, True = kept; parameters not named are whole.

    Returns
    -------
    dict
        Parameter name -> bool tensor on the CPU, True = kept.
    """
    parameters = dict(network.named_parameters())
    chosen = {}
    for name, mask in masks.items():
        size = parameters[name].detach().abs().cpu()
        if name in among:
            size = size.masked_fill(~among[name], -1.0)
        # Sorted stably, so that ties go by position as they do in a plan.
        first = size.flatten().argsort(descending=True, stable=True)[: int(mask.sum())]
        kept = torch.zeros(size.numel(), dtype=torch.bool)
        kept[first] = True
        chosen[name] = kept.view(size.shape)
    return chosen


def ignore_removed(network: nn.Module, removed: Masks) -> None:
    """Take removed weights out of the gradient, in place.

    Parameters
    ----------
    network
        The gradients of its parameters are changed, where there are any.
    removed
        From `removed_weights`.
    """
    parameters = dict(network.named_parameters())
    for name, gone in removed.items():
        gradient = parameters[name].grad
        if gradient is not None:
            gradient.masked_fill_(gone, 0.0)


@torch.no_grad()
def zero_removed(network: nn.Module, removed: Masks) -> None:
    """Set removed weights to exactly zero, in place.

    Parameters
    ----------
    network
        Its parameters are changed.
    removed
        From `removed_weights`.
    """
    parameters = dict(network.named_parameters())
    for name, gone in removed.items():
        parameters[name].masked_fill_(gone, 0.0)
