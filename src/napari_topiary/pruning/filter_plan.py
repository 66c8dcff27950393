"""Filters: whole output maps go, physically; the network gets smaller and faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.networks.base import Network
from napari_topiary.pruning.ledger import Ledger
from napari_topiary.pruning.plan import PruningPlan
from napari_topiary.pruning.position import Form, LayerKept
from napari_topiary.pruning.search.record import Search, Step
from napari_topiary.pruning.structure import Coupling
from napari_topiary.pruning.surgery import (
    kept_indices,
    layer_widths,
    slice_tensors,
)


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
        ledger = Ledger(coupling, checkpoint.masks)
        table = [ledger.counts()]
        for place, (group, channel) in enumerate(self.steps):
            self._places[group][channel] = place
            ledger.remove(group, channel)
            table.append(ledger.counts())
        self._table = tuple(table)

    def __len__(self) -> int:
        """How many filters can go."""
        return len(self.steps)

    def nonzero(self, cursor: int) -> int:
        """Weights that remain after `cursor` filters have gone."""
        return self._table[cursor][1]

    def kept(self, cursor: int) -> list[NDArray[np.bool_]]:
        """Per group, `(channels,)` bool: which channels are left.

        Parameters
        ----------
        cursor
            How many filters have gone.
        """
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

    def form(self, cursor: int) -> Form:
        """Return widths and masks after `cursor` filters have gone."""
        indices = kept_indices(self.coupling, self.kept(cursor))
        masks = slice_tensors(self.checkpoint.masks, self.coupling, indices)
        return Form(
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
