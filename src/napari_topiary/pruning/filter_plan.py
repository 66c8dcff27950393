"""Filters: whole output maps go, physically; the network gets smaller and faster.

In which order: the same share of every layer, or network-wide.

Network-wide is more than one ranking of all filters. Most *weights* sit in the deepest
layers while most *time* goes into the full-resolution ones, so a plain ranking at 75 %
of the weights removed is hardly faster. Here the next filters come from the layer where
they do the least harm for what they save:

- harm grows steeply with what a layer has lost already (`HARM`), measured by the
  criterion's scores: that is what keeps a layer from being starved while others are
  wide, and lets a layer with many weak filters lose more;
- a map that several layers read, as over a skip connection, is missed more than once
  (`READERS`): a U-Net's edges come over its skips;
- the saving is part computing time, part parameters (`TIME_SHARE`);
- filters go in blocks that end where the hardware gains (`block_end`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig, Scope
from napari_topiary.networks.base import Network
from napari_topiary.networks.pruning_schedule import PrunedShape
from napari_topiary.pruning.plan import LayerKept, PruningPlan
from napari_topiary.pruning.structure import (
    CostCounter,
    Coupling,
    Cut,
    LayerFacts,
    Search,
    Step,
)
from napari_topiary.pruning.surgery import kept_indices, layer_widths, slice_tensors

HARM = 4.0
"""Harm of a layer that keeps the share f of its score: f ** -HARM."""
READERS = 1.5
"""Harm is multiplied by the number of layers that read a map, to this power."""
TIME_SHARE = 0.55
"""Part of the saving that is computing time; the rest is parameters."""
LANES = 16
"""Outputs that CPU convolutions compute at a time: a layer with 17 takes as long as
one with 32 (measured with oneDNN, AVX-512). A multiple of what GPUs like."""
FLOOR = 0.5
"""No layer keeps less than this part of the share that the network keeps on average,
as long as others can be cut instead."""


def filter_order(
    coupling: Coupling, scores: Mapping[str, torch.Tensor], scope: Scope
) -> tuple[Step, ...]:
    """Order all filters that can go; at least one of every group stays.

    Parameters
    ----------
    coupling
        Of the network.
    scores
        Group name -> `(channels,)`; within a group the lowest go first.
    scope
        `layer`: every group has lost the same share at every point of the order.
    """
    ranked = [np.asarray(scores[g.name], dtype=np.float64) for g in coupling.groups]
    weakest_first = [np.argsort(values, kind="stable") for values in ranked]
    if scope == "layer":
        return interleaved([order.tolist() for order in weakest_first])
    return _Greedy(coupling, ranked, weakest_first).order()


def block_end(width: int) -> int:
    """Next width below `width` that is worth stopping at.

    Examples
    --------
    >>> [block_end(w) for w in (256, 33, 32, 16, 6, 4, 2)]
    [240, 32, 16, 12, 4, 3, 1]
    """
    step = LANES if width > LANES else 4 if width > 4 else 1
    return (width - 1) // step * step


def interleaved(orders: Sequence[Sequence[int]]) -> tuple[Step, ...]:
    """Merge the groups' own orders so that all lose the same share at every point.

    Parameters
    ----------
    orders
        Per group, all its channels, first to go first; the last one stays.
    """
    quantiles = [
        ((place + 1) / len(order), group, int(channel))
        for group, order in enumerate(orders)
        for place, channel in enumerate(order[:-1])
    ]
    return tuple((group, channel) for _, group, channel in sorted(quantiles))


class _Greedy:
    """Repeatedly take the block that does the least harm for what it saves."""

    def __init__(
        self,
        coupling: Coupling,
        scores: Sequence[NDArray[np.float64]],
        weakest_first: Sequence[NDArray[np.int64]],
    ) -> None:
        self.layers = coupling.layers
        self.groups = coupling.groups
        self.queues = weakest_first
        self.kept = [len(order) for order in weakest_first]
        self.widths = {n: [f.outputs, f.inputs] for n, f in self.layers.items()}
        facts = self.layers.values()
        self.whole_time = sum(_time(f, f.outputs, f.inputs) for f in facts) or 1.0
        self.whole_size = coupling.parameters
        # Per group: the score's share that remains after k removals, k = 0..n-1.
        self.remaining = [
            np.cumsum(values[order][::-1])[::-1] / max(float(values.sum()), 1e-30)
            for values, order in zip(scores, weakest_first, strict=True)
        ]
        # Per group and layer: how many outputs and inputs one channel stands for.
        self.shares = [_shares(group.cuts, group.channels) for group in self.groups]
        self.missed: list[float] = [
            self._readers(group.cuts) ** READERS for group in self.groups
        ]

    def order(self) -> tuple[Step, ...]:
        steps: list[Step] = []
        prices = [self._price(group) for group in range(len(self.groups))]
        while any(kept > 1 for kept in self.kept):
            group = self._cheapest(prices)
            end = max(1, block_end(self.kept[group]))
            queue, kept = self.queues[group], self.kept[group]
            gone = len(queue) - kept
            steps += [(group, int(c)) for c in queue[gone : gone + kept - end]]
            self._narrow(group, end)
            touched = self.shares[group].keys()
            for other, shares in enumerate(self.shares):
                if shares.keys() & touched:
                    prices[other] = self._price(other)
        return tuple(steps)

    def _cheapest(self, prices: Sequence[float]) -> int:
        """Return the group to cut next, sparing those that have lost most."""
        whole = [len(queue) for queue in self.queues]
        average = sum(self.kept) / sum(whole)
        open_ = [g for g, kept in enumerate(self.kept) if kept > 1]
        spared = [
            g
            for g in open_
            if max(1, block_end(self.kept[g])) < FLOOR * average * whole[g]
        ]
        candidates = [g for g in open_ if g not in spared] or open_
        return min(candidates, key=lambda g: prices[g])

    def _price(self, group: int) -> float:
        """Harm of the group's next block per share of the network saved."""
        kept = self.kept[group]
        if kept <= 1:
            return float("inf")
        end = max(1, block_end(kept))
        remaining = self.remaining[group]
        gone = len(remaining) - kept
        before, after = (
            max(float(remaining[k]), 1e-12) for k in (gone, gone + kept - end)
        )
        saved = self._cost(group)
        self._narrow(group, end)
        saved -= self._cost(group)
        self._narrow(group, kept)
        harm = self.missed[group] * float(after**-HARM - before**-HARM)
        return harm / max(saved, 1e-30)

    def _readers(self, cuts: Sequence[Cut]) -> int:
        """Count the layers that read a group's maps; at least one."""
        reading = {cut.layer for cut in cuts if cut.side == "in"}
        return max(1, sum(self.layers[name].kind != "norm" for name in reading))

    def _cost(self, group: int) -> float:
        """Share of the network's price that sits in the layers a group touches."""
        total = 0.0
        for layer in self.shares[group]:
            facts, (outputs, inputs) = self.layers[layer], self.widths[layer]
            total += TIME_SHARE * _time(facts, outputs, inputs) / self.whole_time
            size = facts.parameters(outputs, inputs)
            total += (1 - TIME_SHARE) * size / self.whole_size
        return total

    def _narrow(self, group: int, kept: int) -> None:
        change = kept - self.kept[group]
        for layer, (out, into) in self.shares[group].items():
            self.widths[layer][0] += out * change
            self.widths[layer][1] += into * change
        self.kept[group] = kept


def _shares(cuts: Sequence[Cut], channels: int) -> dict[str, tuple[int, int]]:
    shares: dict[str, tuple[int, int]] = {}
    for cut in cuts:
        out, into = shares.get(cut.layer, (0, 0))
        places = len(cut.places) // channels
        shares[cut.layer] = (
            (out + places, into) if cut.side == "out" else (out, into + places)
        )
    return shares


def _time(facts: LayerFacts, outputs: int, inputs: int) -> float:
    return facts.macs(-(-outputs // LANES) * LANES, inputs)


class FilterPlan(PruningPlan):
    """An order of filters, and what is left after each.

    Parameters
    ----------
    checkpoint, config, network, coupling
        As for every plan.
    steps
        (group, channel), first to go first; no channel twice.
    search
        How the order was found, where it was searched for: each layer's own order and
        its losses.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: PruneConfig,
        *,
        network: Network,
        coupling: Coupling,
        steps: Sequence[Step],
        search: Search | None = None,
    ) -> None:
        super().__init__(checkpoint, config, network=network, coupling=coupling)
        self.steps = tuple(steps)
        self.search = search
        # Place of every channel in the order; those that never go come after all.
        self._places: list[NDArray[np.int64]] = [
            np.full(group.channels, len(self.steps)) for group in coupling.groups
        ]
        costs = CostCounter(coupling, checkpoint.masks)
        table = [costs.counts()]
        for place, (group, channel) in enumerate(self.steps):
            self._places[group][channel] = place
            costs.remove(group, channel)
            table.append(costs.counts())
        self._table = tuple(table)

    def __len__(self) -> int:
        """How many filters can go."""
        return len(self.steps)

    def nonzero(self, cursor: int) -> int:
        """Weights that remain after `cursor` filters have gone."""
        return self._table[cursor][1]

    def kept(self, cursor: int) -> list[NDArray[np.bool_]]:
        """Per group, `(channels,)` bool: which channels are left."""
        return [places >= cursor for places in self._places]

    def network_after(self, cursor: int, device: torch.device | str = "cpu") -> Network:
        """Return the cut network, in evaluation mode."""
        indices = kept_indices(self.coupling, self.kept(cursor))
        tensors = slice_tensors(self.state_on(device), self.coupling, indices)
        return self.own_network(tensors, layer_widths(self.coupling, indices), device)

    def layers_kept(self, cursor: int) -> tuple[LayerKept, ...]:
        """Output maps of every layer that can be cut."""
        rows = {}
        for group, kept in zip(self.coupling.groups, self.kept(cursor), strict=True):
            for name in group.producers:
                if self.coupling.layers[name].kind != "norm":
                    rows[name] = LayerKept(name, int(kept.sum()), group.channels)
        return tuple(rows[name] for name in self.coupling.layers if name in rows)

    def shape(self, cursor: int) -> PrunedShape:
        """Return widths and masks after `cursor` filters have gone."""
        indices = kept_indices(self.coupling, self.kept(cursor))
        masks = slice_tensors(self.checkpoint.masks, self.coupling, indices)
        return PrunedShape(
            widths={**self.checkpoint.widths, **layer_widths(self.coupling, indices)},
            masks={name: mask for name, mask in masks.items() if not mask.all()},
        )

    def _state(self, cursor: int) -> dict[str, torch.Tensor]:
        indices = kept_indices(self.coupling, self.kept(cursor))
        return slice_tensors(self.checkpoint.state, self.coupling, indices)

    def _counts(self, cursor: int) -> tuple[int, float, float]:
        parameters, _, macs, maps = self._table[cursor]
        return parameters, macs, maps

    def _record(self) -> dict[str, Any]:
        record = {
            "groups": [group.name for group in self.coupling.groups],
            "steps": [list(step) for step in self.steps],
            "parameters": [row[0] for row in self._table],
            "macs_per_pixel": [row[2] for row in self._table],
        }
        if self.search is not None:
            record["search"] = self.search.to_record()
        return record

    def _note(self, share: float, cursor: int) -> str:
        found = "" if self.search is None else self.search.note
        return " ".join(filter(None, (found, super()._note(share, cursor))))
