"""Batch normalisation as a training aid that leaves no trace.

The published networks have no normalisation layers, yet with them a small network
learns in one minute what it otherwise learns in three. So they are lent: while
training, the output of every convolution is normalised by a hook; before the network
is validated, kept or saved, each normalisation is folded into the weights and bias of
its convolution. The folded network computes the same function, has exactly the
published number of weights and is faster. Fine-tuning lends them again, set so that
nothing changes at first.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from napari_topiary.networks.base import Network

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
SMALLEST_SPREAD = 1e-3
"""Standard deviation below which a map counts as constant."""
EPSILON = 1e-3
"""Added to variances: bounds how much rounding errors of nearly constant maps (pruned
networks have many) can be blown up."""


class LentNorms(nn.Module):
    """Normalisations attached to the convolutions of one network.

    Parameters
    ----------
    network
        The network; a network with normalisation layers of its own gets none.
    example
        `(b, c, y, x)`: a batch from which the first statistics are taken, so that the
        network computes the same as before at first.
    """

    def __init__(self, network: Network, example: torch.Tensor) -> None:
        super().__init__()
        self._network = [network]  # in a list: not a submodule, its state is its own
        self._names: list[str] = []
        self.norms = nn.ModuleList()
        self._handles: list[RemovableHandle] = []
        own = any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
        if not own:
            for name, layer in network.named_modules():
                if (
                    isinstance(layer, CONVOLUTIONS)
                    and name not in network.output_layers
                ):
                    self._names.append(name)
                    norm = nn.BatchNorm2d(layer.out_channels, eps=EPSILON)
                    self.norms.append(norm.to(layer.weight.device))
            self._measure(network, example)
            self._attach()

    @torch.no_grad()
    def _measure(self, network: Network, example: torch.Tensor) -> None:
        """Set every normalisation to the identity on the example's statistics."""

        def recorder(norm: nn.BatchNorm2d) -> Callable[..., None]:
            def record(_layer: nn.Module, _in: object, output: torch.Tensor) -> None:
                variance, mean = torch.var_mean(
                    output.float(), dim=(0, 2, 3), correction=0
                )
                variance = variance.clamp(min=SMALLEST_SPREAD**2)
                norm.running_mean.copy_(mean)  # type: ignore[union-attr]
                norm.running_var.copy_(variance)  # type: ignore[union-attr]
                norm.weight.copy_((variance + norm.eps).sqrt())
                norm.bias.copy_(mean)

            return record

        handles = [
            network.get_submodule(name).register_forward_hook(recorder(norm))
            for name, norm in self._pairs()
        ]
        network.eval()
        network.on_patches(example)
        for handle in handles:
            handle.remove()

    def _pairs(self) -> list[tuple[str, nn.BatchNorm2d]]:
        pairs: list[tuple[str, nn.BatchNorm2d]] = []
        for name, norm in zip(self._names, self.norms, strict=True):
            if isinstance(norm, nn.BatchNorm2d):
                pairs.append((name, norm))
        return pairs

    def by_layer(self) -> dict[str, nn.Module]:
        """Layer name -> the normalisation of its outputs."""
        return dict(self._pairs())

    @torch.no_grad()
    def settle(self, examples: Sequence[torch.Tensor]) -> None:
        """Re-estimate the statistics of a network that has changed under the norms.

        What they scale *to* stays, so that every layer that is left reads what it is
        used to: this undoes most of the harm of removing others. Of a sparse network
        the running statistics of the last steps are too noisy to be validated by.

        Parameters
        ----------
        examples
            Batches `(b, c, y, x)`; the statistics become the average over them.
        """
        network = self._network[0]
        modules = [*network.modules(), *self.norms]
        norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
        usual = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over these batches
        self.train()
        network.train()
        for example in examples:
            network.on_patches(example)
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum

    def _attach(self) -> None:
        def applier(norm: nn.BatchNorm2d) -> Callable[..., torch.Tensor]:
            def apply(_layer: nn.Module, _in: object, output: torch.Tensor) -> Any:
                normal = norm(output)
                if normal.requires_grad:
                    normal.register_hook(_packed)
                return normal

            return apply

        network = self._network[0]
        self._handles = [
            network.get_submodule(name).register_forward_hook(applier(norm))
            for name, norm in self._pairs()
        ]

    def detach(self) -> None:
        """Take the normalisations off the network without folding them in."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @torch.no_grad()
    def folded(self) -> Network:
        """Return a copy of the network, in eval mode, with the norms folded in."""
        network = self._network[0]
        self.detach()
        plain = copy.deepcopy(network).eval()
        self._attach()
        plain.requires_grad_(True)
        for name, norm in self._pairs():
            layer = plain.get_submodule(name)
            if not isinstance(layer, CONVOLUTIONS) or layer.bias is None:
                raise TypeError(f"Layer {name} is not a convolution with a bias.")
            if norm.running_var is None or norm.running_mean is None:
                raise TypeError(f"The normalisation of {name} keeps no statistics.")
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            # The mean of a constant map, seen in reduced precision, is not its exact
            # value: what training sees is the norm's offset alone.
            gain = gain.where(norm.running_var > SMALLEST_SPREAD**2, 0.0)
            outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
            view = [1, 1, 1, 1]
            view[outputs] = -1
            layer.weight.mul_(gain.view(view))
            layer.bias.copy_((layer.bias - norm.running_mean) * gain + norm.bias)
        return plain


def _packed(gradient: torch.Tensor) -> torch.Tensor:
    """Lay a gradient out without gaps.

    Where maps are joined each part's gradient is cut out of that of all, and of such a
    piece torch takes ten times as long to find the gradient of a normalisation.
    """
    return gradient.contiguous(memory_format=torch.channels_last)
