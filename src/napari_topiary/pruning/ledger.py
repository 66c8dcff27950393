"""Counting what is left while channels go, one by one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.pruning.structure import Coupling, LayerFacts


class Ledger:
    """Parameters, nonzero parameters, MACs and maps of a network being cut.

    Parameters
    ----------
    coupling
        Of the uncut network.
    masks
        Parameter name -> bool tensor, True = kept: weights that are zero already.

    Attributes
    ----------
    widths
        Layer name -> [outputs, inputs] now.
    parameters, zeros
        Parameters now, and how many of them are masked.
    macs
        Multiply-accumulates per pixel of the network's input.
    maps
        Values in all layers' outputs per pixel of the network's input.
    """

    def __init__(
        self, coupling: Coupling, masks: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        self.coupling = coupling
        layers = coupling.layers
        self.widths = {n: [f.outputs, f.inputs] for n, f in layers.items()}
        self.parameters = coupling.parameters
        self.macs = sum(f.macs(f.outputs, f.inputs) for f in layers.values())
        self.maps = sum(f.outputs * f.resolution for f in layers.values())
        self.zeros = 0
        self._zeros: dict[str, NDArray[np.int64]] = {}
        for name, mask in (masks or {}).items():
            layer = name.rpartition(".")[0]
            self._zeros[layer] = _zero_counts(mask, layers[layer])
            self.zeros += int(self._zeros[layer].sum())

    @property
    def nonzero(self) -> int:
        """Parameters that are not masked."""
        return self.parameters - self.zeros

    def counts(self) -> tuple[int, int, float, float]:
        """Parameters, nonzero parameters, MACs and map values per pixel, now."""
        return self.parameters, self.nonzero, self.macs, self.maps

    def remove(self, group: int, channel: int) -> None:
        """Take one channel of a group out of every layer it sits in."""
        for cut in self.coupling.groups[group].cuts:
            places = cut.places[cut.roots == channel]
            facts, widths = self.coupling.layers[cut.layer], self.widths[cut.layer]
            self.parameters -= facts.parameters(*widths)
            self.macs -= facts.macs(*widths)
            widths[0 if cut.side == "out" else 1] -= len(places)
            self.parameters += facts.parameters(*widths)
            self.macs += facts.macs(*widths)
            if cut.side == "out":
                self.maps -= len(places) * facts.resolution
            zeros = self._zeros.get(cut.layer)
            if zeros is not None:
                lines = zeros if cut.side == "out" else zeros.T
                self.zeros -= int(lines[places].sum())
                lines[places] = 0


def _zero_counts(mask: torch.Tensor, facts: LayerFacts) -> NDArray[np.int64]:
    """Masked weights per `(output, input)` pair."""
    zeros = ~mask.cpu()
    if facts.kind == "transposed":
        zeros = zeros.transpose(0, 1)
    counts = zeros.reshape(*zeros.shape[:2], -1).sum(-1)
    return np.array(counts.numpy(), dtype=np.int64)
