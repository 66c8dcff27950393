"""What pruning needs to know of a network: coupled channels and what layers cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Side = Literal["out", "in"]
LayerKind = Literal["conv", "transposed", "linear", "depthwise", "norm"]


@dataclass(frozen=True)
class Cut:
    """Where the channels of a group sit in one layer.

    Parameters
    ----------
    layer
        Name of the layer.
    side
        `out` for its outputs (also of a normalisation), `in` for its inputs.
    roots
        `(n,)` channel of the group that each entry follows.
    places
        `(n,)` index in the layer: shifted behind a concatenation, several consecutive
        ones for one channel behind a flattening.
    """

    layer: str
    side: Side
    roots: NDArray[np.int64]
    places: NDArray[np.int64]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that only exist together in all the layers of `cuts`.

    Parameters
    ----------
    name
        The layer that produces them (the first, where several are added up).
    channels
        How many there are.
    cuts
        Where they sit, the producing layers included.
    """

    name: str
    channels: int
    cuts: tuple[Cut, ...]

    @property
    def producers(self) -> tuple[str, ...]:
        """Layers whose outputs these channels are, normalisations included."""
        return tuple(cut.layer for cut in self.cuts if cut.side == "out")


@dataclass(frozen=True)
class LayerFacts:
    """What a layer costs.

    Parameters
    ----------
    kind
        `norm` has one row of values per map, `depthwise` one kernel per map.
    outputs, inputs
        Channels.
    kernel
        Weights per pair of output and input.
    extra
        Further parameters per output (bias; scale and shift of a normalisation).
    positions
        How often the kernel is applied per pixel of the network's input.
    resolution
        Output positions per pixel of the network's input.
    """

    kind: LayerKind
    outputs: int
    inputs: int
    kernel: int
    extra: int
    positions: float
    resolution: float

    def parameters(self, outputs: int, inputs: int) -> int:
        """Count the parameters at these widths."""
        return outputs * (self.fan(inputs) * self.kernel + self.extra)

    def macs(self, outputs: int, inputs: int) -> float:
        """Multiply-accumulates per pixel of the network's input at these widths."""
        return self.positions * self.kernel * outputs * self.fan(inputs)

    def fan(self, inputs: int) -> int:
        """Inputs that one output reads."""
        return 1 if self.kind in ("norm", "depthwise") else inputs


@dataclass(frozen=True)
class Coupling:
    """Everything about a network's structure that pruning needs.

    Parameters
    ----------
    groups
        What can be cut, in the order the network runs.
    layers
        Facts of every layer with weights, by name.
    other_parameters
        Parameters in layers that pruning does not know; never touched.
    """

    groups: tuple[ChannelGroup, ...]
    layers: Mapping[str, LayerFacts]
    other_parameters: int

    @property
    def parameters(self) -> int:
        """Count all parameters of the whole network."""
        known = (f.parameters(f.outputs, f.inputs) for f in self.layers.values())
        return sum(known) + self.other_parameters
