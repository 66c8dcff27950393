"""A plan: everything ranked once, so that the slider is a cursor in a history.

Position 0 is the checkpoint as it was given; every further position removes one more
filter or weight. What a position keeps is a comparison with each unit's place in the
order, so positions nest by construction, and jumping to one is the same arithmetic as
walking there.

The slider counts *weights removed from the unpruned original*: for a checkpoint that
was pruned before, the first positions are taken already (`start`), so that the
compression ratio stays honest over several rounds.
"""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.networks.base import Network
from napari_topiary.networks.pruning_schedule import PrunedShape
from napari_topiary.pruning.structure import Coupling
from napari_topiary.pruning.surgery import network_like

FORMAT = 1
"""Version of the JSON form."""
TOLERANCE = 1e-9
"""Shares closer than this are the same position (0.8 is not exact in binary)."""


@dataclass(frozen=True)
class LayerKept:
    """What one layer keeps, for a bar."""

    name: str
    #: `kept`, `total`: output maps (filter pruning) or weights (weight pruning)
    kept: int
    total: int

    @property
    def share(self) -> float:
        """Share kept, 0..1."""
        return self.kept / self.total if self.total else 1.0


@dataclass(frozen=True, kw_only=True)
class PlanStatistics:
    """What a position of the slider means."""

    asked: float  #: Share of the unpruned network's weights that was asked to go
    #: Share that goes: the first position that removes at least `asked`, or the last
    #: one there is
    share: float
    ratio: float  #: Compression ratio: weights before / weights remaining
    #: `parameters`, `nonzero`: parameters in the network's tensors, and those that are
    #: not masked
    parameters: int
    nonzero: int
    unpruned_parameters: int  #: Of the original
    macs_per_pixel: float  #: Multiply-accumulates per pixel that the network reads
    #: Bytes of all layers' outputs for one million pixels, in float32: what is held in
    #: training, and a measure of the traffic in prediction
    memory_per_megapixel: float
    file_bytes: int  #: Size of the checkpoint's file
    #: What each layer keeps, in the order the network runs
    layers: tuple[LayerKept, ...]
    note: str = ""  #: A sentence where the position is not what was asked; mostly empty


class PruningPlan(ABC):
    """Recorded order of removals from one checkpoint.

    Parameters
    ----------
    checkpoint
        What is pruned; never changed.
    config
        Kind, criterion, scope; `remove` is only the slider's first position.
    network
        The checkpoint's network; only its structure is used, to copy.
    coupling
        Of that network.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: PruneConfig,
        *,
        network: Network,
        coupling: Coupling,
    ) -> None:
        self.checkpoint = checkpoint
        self.config = config
        self.coupling = coupling
        self.network = network
        #: Sentences about the network itself, mostly none
        self.problems: tuple[str, ...] = ()
        self._states: dict[torch.device, dict[str, torch.Tensor]] = {}

    @abstractmethod
    def __len__(self) -> int:
        """How many single removals there are."""

    @abstractmethod
    def nonzero(self, cursor: int) -> int:
        """Weights that remain after `cursor` removals (masked ones do not count)."""

    @abstractmethod
    def network_after(self, cursor: int, device: torch.device | str) -> Network:
        """Return the network after `cursor` removals, in evaluation mode."""

    @abstractmethod
    def shape(self, cursor: int) -> PrunedShape:
        """Return widths and masks after `cursor` removals."""

    @abstractmethod
    def _state(self, cursor: int) -> dict[str, torch.Tensor]:
        """Return the checkpoint's tensors after `cursor` removals."""

    @abstractmethod
    def _counts(self, cursor: int) -> tuple[int, float, float]:
        """Parameters, MACs and map values per pixel after `cursor` removals."""

    @abstractmethod
    def layers_kept(self, cursor: int) -> tuple[LayerKept, ...]:
        """What each layer keeps after `cursor` removals."""

    @abstractmethod
    def _record(self) -> dict[str, Any]:
        """Return the kind's own part of the JSON form."""

    @property
    def start(self) -> float:
        """Share of the original's weights that the checkpoint has lost already."""
        return self.share(0)

    @property
    def end(self) -> float:
        """Largest share that can be reached."""
        return self.share(len(self))

    def share(self, cursor: int) -> float:
        """Share of the unpruned network's weights gone after `cursor` removals."""
        return 1.0 - self.nonzero(cursor) / self.checkpoint.unpruned_parameters

    def cursor(self, share: float) -> int:
        """First position with at least `share` of the weights gone (or the last).

        Parameters
        ----------
        share
            0..1, of the unpruned network's weights.
        """
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self.share(middle) >= share - TOLERANCE:
                high = middle
            else:
                low = middle + 1
        return low

    def network_at(self, share: float, device: torch.device | str = "cpu") -> Network:
        """Return the pruned network, fast enough for a slider.

        Parameters
        ----------
        share
            Of the unpruned network's weights to be gone.
        device
            Where the network is wanted; tensors stay there between calls.
        """
        return self.network_after(self.cursor(share), device)

    def checkpoint_at(self, share: float) -> Checkpoint:
        """Return the pruned checkpoint, with one more entry in its history.

        Its thresholds are still those of the parent and its metrics are empty: whoever
        has annotated images evaluates it and picks new ones.
        """
        cursor = self.cursor(share)
        shape = self.shape(cursor)
        return dataclasses.replace(
            self.checkpoint,
            state=self._state(cursor),
            widths=shape.widths,
            masks=shape.masks,
            pruning=(*self.checkpoint.pruning, self.entry(share)),
            metrics={},
            provenance={**self.checkpoint.provenance, "parent": self.parent_hash},
        )

    def statistics(self, share: float) -> PlanStatistics:
        """Return what this position of the slider means."""
        cursor = self.cursor(share)
        parameters, macs, maps = self._counts(cursor)
        nonzero = self.nonzero(cursor)
        whole = self.checkpoint.unpruned_parameters
        return PlanStatistics(
            asked=share,
            share=self.share(cursor),
            ratio=whole / max(nonzero, 1),
            parameters=parameters,
            nonzero=nonzero,
            unpruned_parameters=whole,
            macs_per_pixel=macs,
            memory_per_megapixel=4e6 * maps,
            file_bytes=self.checkpoint_at(share).file_bytes(),
            layers=self.layers_kept(cursor),
            note=" ".join(filter(None, (*self.problems, self._note(share, cursor)))),
        )

    def entry(self, share: float) -> dict[str, Any]:
        """Return the line of the pruning history for this position (JSON-able)."""
        cursor = self.cursor(share)
        parameters, macs, _ = self._counts(cursor)
        before, macs_before, _ = self._counts(0)
        config, nonzero = self.config, self.nonzero(cursor)
        return {
            "kind": config.kind,
            "criterion": config.criterion,
            "scope": config.scope,
            "include_output": config.include_output,
            "asked": share,
            "share": self.share(cursor),
            "ratio": self.checkpoint.unpruned_parameters / max(nonzero, 1),
            "removals": cursor,
            "parameters": [before, parameters],
            "nonzero": [self.nonzero(0), nonzero],
            "macs_per_pixel": [macs_before, macs],
            "layers": {k.name: [k.kept, k.total] for k in self.layers_kept(cursor)},
        }

    def to_json(self) -> str:
        """Write the plan down; `plan_from_json` with the same checkpoint reads it."""
        record = {
            "format": FORMAT,
            "config": dataclasses.asdict(self.config),
            "checkpoint": self.parent_hash,
            "removals": len(self),
        }
        return json.dumps(record | self._record())

    @cached_property
    def parent_hash(self) -> str:
        """Hash of the checkpoint that the plan is for."""
        return self.checkpoint.hash

    def _note(self, share: float, cursor: int) -> str:
        if share > self.end + TOLERANCE:
            return (
                f"{share:.1%} cannot be reached: every layer keeps something, so at "
                f"most {self.end:.1%} of the weights can go."
            )
        if share < self.start - TOLERANCE:
            return f"{self.start:.1%} of the original's weights are gone already."
        return ""

    def own_network(
        self,
        tensors: Mapping[str, torch.Tensor],
        widths: Mapping[str, tuple[int, int]],
        device: torch.device | str,
    ) -> Network:
        """Build a network around tensors, copying those that are still the plan's."""
        state = self.state_on(device)
        own = {n: t.clone() if t is state[n] else t for n, t in tensors.items()}
        return network_like(self.network, own, widths)

    def state_on(self, device: torch.device | str) -> dict[str, torch.Tensor]:
        """Return the checkpoint's tensors on a device, moved there once."""
        place = torch.device(device)
        if place not in self._states:
            state = self.checkpoint.state
            self._states[place] = {name: t.to(place) for name, t in state.items()}
        return self._states[place]
