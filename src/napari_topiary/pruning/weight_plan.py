"""Weights: single weights become zero; the file gets smaller, nothing gets faster.

In which order: one ranking, or the same share of every layer.

A network with branches has one ranking for each of them, and all branches lose the same
share: they answer different questions, and their weights need not be of one size
(Mahbod et al. 2022).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig, Scope
from napari_topiary.networks.base import Network
from napari_topiary.networks.pruning_schedule import PrunedShape
from napari_topiary.pruning.plan import LayerKept, PruningPlan
from napari_topiary.pruning.structure import CostCounter, Coupling

GONE = -1
"""Place of a weight that was removed before the plan began."""
FLOOR = 0.2
"""Network-wide, no layer keeps (much) less than this part of the share that the whole
network keeps: one threshold alone would cut deep layers, whose weights are many and
small, off entirely, and with them all that the network knows of the surroundings."""


def weight_places(
    scores: Mapping[str, torch.Tensor],
    masks: Mapping[str, torch.Tensor],
    scope: Scope,
    branches: Sequence[str] = (),
) -> tuple[torch.Tensor, int]:
    """Give every weight its place in the order of removal.

    Parameters
    ----------
    scores
        Parameter name -> score of each weight; the lowest go first, ties by position.
    masks
        Parameter name -> bool, False = gone already.
    scope
        `layer`: every parameter has lost the same share of its weights at every point
        of the order (a parameter that has lost more already waits for the others).
    branches
        Prefixes of names that are ranked apart from one another; what has none of
        them is one more.

    Returns
    -------
    places
        `(n,)` int32 over all parameters in the order of `scores`, flattened: `GONE`,
        or 0, 1, 2...; the highest of every parameter stays for ever and comes last.
    count
        How many weights can go.
    """
    runs: list[_Run] = []
    for name, values in scores.items():
        flat = values.flatten().float()
        lost = ~masks[name].flatten() if name in masks else torch.zeros_like(flat) > 0
        flat = flat.masked_fill(lost, -torch.inf)
        order = torch.argsort(flat, stable=True).numpy()
        runs.append(_Run(order, flat.numpy()[order], int(lost.sum())))
    if scope == "layer":
        merged = _merged([run.marked(run.share_gone()) for run in runs])
    else:
        turns: list[NDArray[np.float64]] = [np.zeros(0)] * len(runs)
        for members in _branches(tuple(scores), branches):
            own = _turns([runs[index] for index in members])
            for index, turn in zip(members, own, strict=True):
                turns[index] = turn
        merged = _merged([r.marked(t) for r, t in zip(runs, turns, strict=True)])
    starts = np.cumsum([0, *(len(run.order) for run in runs)])
    positions = [run.order + start for run, start in zip(runs, starts, strict=False)]
    gone = sum(run.lost for run in runs)
    places = np.empty(len(merged), dtype=np.int32)
    places[np.concatenate(positions)[merged]] = np.arange(len(merged)) - gone
    np.maximum(places, GONE, out=places)
    stay = sum(run.lost < len(run.order) for run in runs)
    return torch.from_numpy(places), len(merged) - gone - stay


@dataclass(frozen=True)
class _Run:
    """The weights of one parameter, weakest first.

    `order` `(n,)` their positions, `scores` `(n,)` ascending, `lost` how many of them
    are gone already.
    """

    order: NDArray[np.int64]
    scores: NDArray[np.float32]
    lost: int

    def share_gone(self) -> NDArray[np.float64]:
        """Share of the parameter that is gone when each weight has gone."""
        n = len(self.order)
        return np.arange(1, n + 1) / n

    def earliest(self) -> NDArray[np.float64]:
        """Share of the network that has to be gone before each weight may go."""
        return 1.0 - (1.0 - self.share_gone()) / FLOOR

    def marked(self, keys: NDArray[np.floating]) -> NDArray[np.float64]:
        """Sort keys with what is gone before everything and the last one after."""
        marked = np.array(keys, dtype=np.float64)
        marked[-1] = np.inf
        marked[: self.lost] = -np.inf
        return marked


def _branches(names: Sequence[str], prefixes: Sequence[str]) -> list[list[int]]:
    """Indices of the names of each branch; those of none are one more."""
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        mine = [p for p in prefixes if name.startswith(f"{p}.")]
        found.setdefault(mine[0] if mine else "", []).append(index)
    return list(found.values())


def _turns(runs: Sequence[_Run]) -> list[NDArray[np.float64]]:
    """Share of all these weights that is gone when each has gone, by one ranking."""
    ends = np.cumsum([len(run.order) for run in runs])
    merged = _merged([run.marked(run.scores) for run in runs])
    turns = np.split(_share_gone(merged), ends[:-1])
    late = [
        run.marked(np.maximum(turn, run.earliest()))
        for run, turn in zip(runs, turns, strict=True)
    ]
    return np.split(_share_gone(_merged(late)), ends[:-1])


def _share_gone(merged: NDArray[np.int64]) -> NDArray[np.float64]:
    """Place of each weight in an order, as a share of it."""
    share = np.empty(len(merged))
    share[merged] = np.arange(len(merged)) / len(merged)
    return share


def _merged(runs: Sequence[NDArray[np.float64]]) -> NDArray[np.int64]:
    """Order of all keys; a stable sort of ascending runs only has to merge them."""
    return np.argsort(np.concatenate(runs), kind="stable")


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
        costs = CostCounter(coupling, checkpoint.masks)
        self._start = costs.nonzero
        self._fixed = costs.parameters, costs.macs, costs.maps

    def __len__(self) -> int:
        """How many weights can go."""
        return self._count

    def nonzero(self, cursor: int) -> int:
        """Weights that remain after `cursor` have gone."""
        return self._start - cursor

    def masks(self, cursor: int) -> dict[str, torch.Tensor]:
        """Parameter name -> bool, True = kept, for every prunable parameter."""
        return {n: places >= cursor for n, places in self._places_on("cpu").items()}

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

    def shape(self, cursor: int) -> PrunedShape:
        """Return widths and masks after `cursor` weights have gone."""
        masks = {**self.checkpoint.masks, **self.masks(cursor)}
        return PrunedShape(
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
