"""What pruning needs to know of a network: coupled channels and what layers cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

Side = Literal["out", "in"]
LayerKind = Literal["conv", "transposed", "linear", "depthwise", "norm"]
Step = tuple[int, int]
"""(group index, channel): one filter."""


@dataclass(frozen=True)
class Cut:
    """Where the channels of a group sit in one layer."""

    layer: str
    side: Side  #: `out` for its outputs (also of a normalisation), `in` for its inputs
    roots: NDArray[np.int64]  #: `(n,)` channel of the group that each entry follows
    #: `(n,)` index in the layer: shifted behind a concatenation, several consecutive
    #: ones for one channel behind a flattening
    places: NDArray[np.int64]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that only exist together in all the layers of `cuts`."""

    name: str  #: The layer that produces them (the first, where several are added up)
    channels: int  #: How many there are
    cuts: tuple[Cut, ...]  #: Where they sit, the producing layers included

    @property
    def producers(self) -> tuple[str, ...]:
        """Layers whose outputs these channels are, normalisations included."""
        return tuple(cut.layer for cut in self.cuts if cut.side == "out")


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """What a layer costs."""

    #: `norm` has one row of values per map, `depthwise` one kernel per map
    kind: LayerKind
    #: `outputs`, `inputs`: channels
    outputs: int
    inputs: int
    kernel: int  #: Weights per pair of output and input
    #: Further parameters per output (bias; scale and shift of a normalisation)
    extra: int
    #: How often the kernel is applied per pixel of the network's input
    positions: float
    resolution: float  #: Output positions per pixel of the network's input

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
    """Everything about a network's structure that pruning needs."""

    groups: tuple[ChannelGroup, ...]  #: What can be cut, in the order the network runs
    layers: Mapping[str, LayerFacts]  #: Facts of every layer with weights, by name
    #: Parameters in layers that pruning does not know; never touched
    other_parameters: int

    @property
    def parameters(self) -> int:
        """Count all parameters of the whole network."""
        known = (f.parameters(f.outputs, f.inputs) for f in self.layers.values())
        return sum(known) + self.other_parameters


class CostCounter:
    """Parameters, nonzero parameters, MACs and maps of a network being cut.

    Parameters
    ----------
    coupling
        Of the uncut network.
    masks
        Parameter name -> bool tensor, True = kept: weights that are zero already.
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


@dataclass(frozen=True, kw_only=True)
class LayerSearch:
    """One layer's filters in the order in which they go."""

    name: str  #: The layer (the first, where several go together)
    channels: int  #: How many filters it has
    #: Filters, first to go first; the last one stays and is not among them
    order: tuple[int, ...]
    #: For each of them: the loss without it, when it was chosen
    tried: tuple[float, ...]
    #: `removed`, `curve`: loss after so many have gone, from 0 on: the curve of Roels
    #: et al. 2017.
    removed: tuple[int, ...]
    curve: tuple[float, ...]

    @property
    def complete(self) -> bool:
        """Whether all that can go have been ordered."""
        return len(self.order) >= self.channels - 1


@dataclass(frozen=True, kw_only=True)
class Search:
    """The result of a search by loss."""

    steps: tuple[Step, ...]  #: The plan's order
    layers: tuple[LayerSearch, ...]  #: Each layer's own order, from the bottom
    #: Layer -> how many of its filters were gone while those above were ordered
    given: Mapping[str, int]
    at_once: float  #: Share of the filters left that went at each step; 0 = one by one
    #: `batches`, `seed`: of the mini-batches
    batches: int
    seed: int
    stopped: bool = False  #: Whether somebody ended it early
    images_note: str = ""  #: What is odd about the images that filters were tried on

    @property
    def note(self) -> str:
        """Return what a person should know about the order; mostly empty."""
        if not self.stopped:
            return self.images_note
        done = sum(layer.complete for layer in self.layers)
        stopped = (
            f"The search was stopped when {done} of {len(self.layers)} layers were "
            "ordered: filters without a place in the order stay."
        )
        return f"{stopped} {self.images_note}".rstrip()

    def to_record(self) -> dict[str, Any]:
        """Write down everything but the steps, which the plan has."""
        record = asdict(self)
        del record["steps"]
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any], steps: tuple[Step, ...]) -> Search:
        """Read what `to_record` wrote.

        Parameters
        ----------
        record
            Of any origin; `TypeError` or `KeyError` if it is something else.
        steps
            The plan's order.
        """
        layers = tuple(
            LayerSearch(
                name=str(layer["name"]),
                channels=int(layer["channels"]),
                order=tuple(int(channel) for channel in layer["order"]),
                tried=tuple(float(loss) for loss in layer["tried"]),
                removed=tuple(int(count) for count in layer["removed"]),
                curve=tuple(float(loss) for loss in layer["curve"]),
            )
            for layer in record["layers"]
        )
        rest = {k: v for k, v in record.items() if k != "layers"}
        return cls(steps=steps, layers=layers, **rest)
