"""Weights: single weights become zero; the file gets smaller, nothing gets faster."""

from __future__ import annotations

import zlib
from typing import Any

import torch

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.networks.base import Network
from napari_topiary.pruning.ledger import Ledger
from napari_topiary.pruning.plan import PruningPlan
from napari_topiary.pruning.position import Form, LayerKept
from napari_topiary.pruning.structure import Coupling


class WeightPlan(PruningPlan):
    """The place of every prunable weight in the order of removal.

    Parameters
    ----------
    checkpoint, config, network, coupling
        As for every plan.
    names
        The prunable parameters.
    places
        `(n,)` int32 over them, flattened; -1 = gone before.
    count
        How many weights can go.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: PruneConfig,
        *,
        network: Network,
        coupling: Coupling,
        names: tuple[str, ...],
        places: torch.Tensor,
        count: int,
    ) -> None:
        super().__init__(checkpoint, config, network=network, coupling=coupling)
        self.names = names
        self._count = count
        self._places = {torch.device("cpu"): self._split(places)}
        ledger = Ledger(coupling, checkpoint.masks)
        self._start = ledger.nonzero
        self._fixed = ledger.parameters, ledger.macs, ledger.maps

    def __len__(self) -> int:
        """How many weights can go."""
        return self._count

    def nonzero(self, cursor: int) -> int:
        """Weights that remain after `cursor` have gone."""
        return self._start - cursor

    def masks(
        self, cursor: int, device: torch.device | str = "cpu"
    ) -> dict[str, torch.Tensor]:
        """Parameter name -> bool, True = kept, for every prunable parameter.

        Parameters
        ----------
        cursor
            How many weights have gone.
        device
            Where the masks are wanted.
        """
        return {n: places >= cursor for n, places in self._places_on(device).items()}

    def network_after(self, cursor: int, device: torch.device | str = "cpu") -> Network:
        """Return the network with its removed weights at zero, in evaluation mode."""
        return self.own_network(self._masked(cursor, device), {}, device)

    def layers_kept(self, cursor: int) -> tuple[LayerKept, ...]:
        """Weights of every layer that can lose some."""
        return tuple(
            LayerKept(name.rpartition(".")[0], int(mask.sum()), mask.numel())
            for name, mask in self.masks(cursor).items()
        )

    def _masked(
        self, cursor: int, device: torch.device | str
    ) -> dict[str, torch.Tensor]:
        tensors = dict(self.state_on(device))
        for name, places in self._places_on(device).items():
            # masked_fill, not a product: a removed weight is +0 whatever it was.
            tensors[name] = tensors[name].masked_fill(places < cursor, 0.0)
        return tensors

    def form(self, cursor: int) -> Form:
        """Return widths and masks after `cursor` weights have gone."""
        masks = {**self.checkpoint.masks, **self.masks(cursor)}
        return Form(
            widths=dict(self.checkpoint.widths),
            masks={name: mask for name, mask in masks.items() if not mask.all()},
        )

    def _state(self, cursor: int) -> dict[str, torch.Tensor]:
        return self._masked(cursor, "cpu")

    def _counts(self, cursor: int) -> tuple[int, float, float]:
        return self._fixed

    def _record(self) -> dict[str, Any]:
        # The ranking follows from checkpoint and config; only its fingerprint is kept.
        return {"parameters": list(self.names), "ranking": self.fingerprint()}

    def fingerprint(self) -> int:
        """Checksum of the ranking, to see whether a written plan is this one."""
        value = 0
        for places in self._places_on("cpu").values():
            value = zlib.crc32(places.contiguous().numpy().tobytes(), value)
        return value

    def _split(self, places: torch.Tensor) -> dict[str, torch.Tensor]:
        shapes = {name: self.checkpoint.state[name].shape for name in self.names}
        pieces = torch.split(places, [shape.numel() for shape in shapes.values()])
        return {
            name: piece.view(shape)
            for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
        }

    def _places_on(self, device: torch.device | str) -> dict[str, torch.Tensor]:
        place = torch.device(device)
        if place not in self._places:
            source = self._places[torch.device("cpu")]
            self._places[place] = {n: t.to(place) for n, t in source.items()}
        return self._places[place]
