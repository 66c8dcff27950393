"""How pruning takes part in training without training knowing about pruning.

A schedule may change the network while it is being fine-tuned: cut filters, grow masks.
Training calls it at three places and otherwise does not care what it does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from napari_topiary.networks.base import Network


@dataclass(frozen=True)
class PrunedShape:
    """What a checkpoint must record of the network's present shape."""

    #: Layer name -> (outputs, inputs) where they differ from what the sizes say
    widths: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    #: Parameter name -> bool tensor, True = kept
    masks: Mapping[str, torch.Tensor] = field(default_factory=dict)
    #: The pruning history, JSON-able, oldest first
    pruning: tuple[dict[str, Any], ...] = ()


class TrainingOptimizer(Protocol):
    """What training and pruning need of an optimizer; those of torch have it."""

    param_groups: list[dict[str, Any]]
    state: defaultdict[torch.Tensor, Any]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""

    def step(self) -> object:
        """Make one step along the gradients that there are."""


@dataclass(frozen=True)
class NetworkInTraining:
    """A network in training, with all that has to follow its shape."""

    #: Changed in place: its parameters may be replaced by smaller ones
    network: Network
    #: Knows these parameters and remembers something about each
    optimizer: TrainingOptimizer
    #: Layer name -> normalisation of that layer's outputs that training has lent
    norms: Mapping[str, nn.Module] = field(default_factory=dict)


class PruningSchedule(Protocol):
    """Changes the network in the course of a fine-tuning."""

    @property
    def settled(self) -> bool:
        """Whether the final shape is reached: only then can weights be "the best"."""

    def due(self, fraction: float) -> bool:
        """Whether the network must change its shape at `fraction` (0..1) of the run.

        Asked before every step, and with 1.0 when the run ends early.
        """

    def update(self, fraction: float, trained: NetworkInTraining) -> None:
        """Bring the network to the shape due at `fraction`, in place.

        Called when `due`. What the optimizer remembers of the weights that stay is
        carried over; normalisations keep what they scale to, and training re-estimates
        what they scale from.
        """

    def before_step(self, network: Network) -> None:
        """Take removed weights out of the gradient.

        They would bend the step of those that stay, where a layer's weights are
        stepped together or gradients are limited in length.
        """

    def after_step(self, network: Network) -> None:
        """Undo what the optimizer did to removed weights: zeros stay zero."""

    def shape(self) -> PrunedShape:
        """Describe the present shape for the checkpoint."""


class FixedShape:
    """The schedule of an ordinary (fine-)training: the shape stays as it is.

    Parameters
    ----------
    shape
        Shape of the checkpoint that training starts from; its masks are kept exactly.
    """

    settled = True

    def __init__(self, shape: PrunedShape) -> None:
        self._shape = shape

    def due(self, fraction: float) -> bool:
        """Nothing is ever due."""
        return False

    def update(self, fraction: float, trained: NetworkInTraining) -> None:
        """Change nothing."""

    def before_step(self, network: Network) -> None:
        """Take masked weights out of the gradient."""
        parameters = dict(network.named_parameters())
        for name, mask in self._shape.masks.items():
            gradient = parameters[name].grad
            if gradient is not None:
                gradient.mul_(mask.to(gradient.device))

    @torch.no_grad()
    def after_step(self, network: Network) -> None:
        """Set masked weights back to exactly zero."""
        if self._shape.masks:
            parameters = dict(network.named_parameters())
            for name, mask in self._shape.masks.items():
                parameters[name].mul_(mask.to(parameters[name].device))

    def shape(self) -> PrunedShape:
        """Return the shape given at the start."""
        return self._shape
