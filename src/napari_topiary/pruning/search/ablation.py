"""What the loss would be without some filters, for many candidates at a time.

A network that cannot be traced runs as a whole for every candidate: the same answers,
slowly.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from napari_topiary.networks.base import Network
from napari_topiary.pruning.search.calibration import CalibrationBatches
from napari_topiary.pruning.search.graph import OperationGraph, Values
from napari_topiary.pruning.search.reader import Channels, Reader, readers_of
from napari_topiary.pruning.structure import ChannelGroup, Coupling
from napari_topiary.types import Job, Progress, Stop

logger = logging.getLogger(__name__)

REFRESH = 8
"""Removals after which sums are made anew, so that rounding does not add up."""
VALUES_AT_ONCE = {"cpu": 2**21}
"""Numbers in the largest map of what is computed at once: processors are fastest on
what stays in their caches."""
VALUES_ON_GPU = 2**27
VALUE_COST = 20.0
"""Multiplications that take as long as writing and reading one number."""


class Ablation:
    """Candidates of one group of channels, all else as it is now.

    Parameters
    ----------
    graph
        The network with what has been removed so far.
    group
        The channels that may go.
    calibration
        The mini-batches, and what is right.
    """

    def __init__(
        self,
        graph: OperationGraph,
        group: ChannelGroup,
        calibration: CalibrationBatches,
    ) -> None:
        self.group = group
        self.gone: list[int] = []
        self._graph, self._calibration = graph, calibration
        readers = readers_of(graph.network, group)
        nodes = {reader.name: graph.layers[reader.name] for reader in readers}
        # Readers that another reader of these maps feeds have to run as a whole.
        after = {n for node in nodes.values() for n in graph.after(node)}
        self._readers = readers
        self._first = {nodes[r.name]: r for r in readers if nodes[r.name] not in after}
        self._later = {nodes[r.name]: r for r in readers if nodes[r.name] in after}
        self._again = graph.downstream(self._first, self._later)
        self._sources = {n: n.all_input_nodes[0] for n in nodes.values()}
        self._since = 0
        largest = max(
            graph.values.get(n, 1) for n in (*self._first, *self._again.order)
        )
        limit = VALUES_AT_ONCE.get(calibration.device.type, VALUES_ON_GPU)
        count = len(calibration)
        pieces = int(np.clip(np.ceil(count * largest / limit), 1, count))
        ends = [count * (piece + 1) // pieces for piece in range(pieces)]
        self._parts = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]
        self._at_once = max(1, int(limit // (largest * count)))

    @property
    def wanted(self) -> set[fx.Node]:
        """Operations whose answers are needed to begin."""
        return {*self._sources.values(), *self._again.needed}

    @torch.no_grad()
    def begin(self, values: Values) -> None:
        """Take what the network answers with all that has been removed so far.

        Parameters
        ----------
        values
            Of `wanted`, on all patches.
        """
        self.alive = np.zeros(self.group.channels, dtype=bool)
        for node, reader in (self._first | self._later).items():
            maps = values[self._sources[node]]
            self.alive |= reader.alive(maps, self.group.channels)
        for node, reader in self._first.items():
            maps = values[self._sources[node]]
            reader.read(maps, self._graph.positions_used(node))
        self._needed = {node: values[node] for node in self._again.needed}

    @property
    def price(self) -> float:
        """Multiplications (or what takes as long) that one candidate costs."""
        graph = self._graph
        total = sum(
            graph.macs.get(node, 0.0) + VALUE_COST * graph.values.get(node, 0.0)
            for node in self._again.order
        )
        for node in self._first:
            total += graph.macs[node] / self.group.channels
            total += VALUE_COST * graph.values[node]
        return float(total * len(self._calibration))

    def loss(self) -> float:
        """Loss without what is gone, and with all else."""
        return self.loss_without(())

    def loss_without(self, channels: Channels) -> float:
        """Loss without what is gone and without some more channels."""
        return float(sum(self._part([channels], rows)[0] for rows in self._parts))

    def losses(self, candidates: Sequence[Channels]) -> Job[NDArray[np.float64] | None]:
        """Losses without what is gone and without each candidate.

        Some patches at a time, on which all candidates are tried: what these have in
        common then stays in the processor's caches.

        Yields
        ------
        Progress
            `done` candidates have been tried since the last; `Stop` sent in gives up.

        Returns
        -------
        ndarray
            `(candidates,)`; None if given up.
        """
        found = np.zeros(len(candidates))
        alive = [bool(self.alive[list(c)].any()) for c in candidates]
        dead = np.flatnonzero(~np.array(alive, dtype=bool))
        if len(dead):  # they change nothing, to the last bit
            found[dead] = self.loss()
            if (yield Progress(len(dead), 0)) is Stop:
                return None
        trying = np.flatnonzero(alive)
        for rows in self._parts:
            share = (rows.stop - rows.start) / len(self._calibration)
            for start in range(0, len(trying), self._at_once):
                some = trying[start : start + self._at_once]
                found[some] += self._part([candidates[i] for i in some], rows)
                if (yield Progress(share * len(some), 0)) is Stop:
                    return None
        return found

    def remove(self, channels: Channels) -> None:
        """Let channels be gone from now on."""
        self.gone += channels
        for reader in self._readers:
            reader.blank(self.gone)
        self._since += len(channels)
        afresh = self._since >= REFRESH
        self._since = 0 if afresh else self._since
        for reader in self._first.values():
            reader.sum_up() if afresh else reader.take(channels)

    def set_gone(self, channels: Channels) -> None:
        """Let exactly these channels be gone, for whoever comes after."""
        for reader in self._readers:
            reader.blank(channels)

    @torch.no_grad()
    def _part(self, sets: Sequence[Channels], rows: slice) -> NDArray[np.float64]:
        """What some patches add to the losses without each of some sets."""
        logits = self._again.run(
            *(reader.without(sets, rows) for reader in self._first.values()),
            *(_repeated(kept[rows], len(sets)) for kept in self._needed.values()),
            *(_Blank(reader, sets) for reader in self._later.values()),
        )
        return self._calibration.losses(logits, rows, len(sets))


class WholeAblation:
    """Candidates of one group of channels; the same answers as `Ablation`, slowly."""

    def __init__(
        self, network: Network, group: ChannelGroup, calibration: CalibrationBatches
    ) -> None:
        self.group = group
        self.gone: list[int] = []
        self._network, self._calibration = network, calibration
        self._readers = readers_of(network, group)

    @property
    def price(self) -> float:
        """Multiplications of one candidate, more or less."""
        weights = sum(p.numel() for p in self._network.parameters())
        return float(weights * self._calibration.image[:, 0].numel())

    def loss(self) -> float:
        """Loss without what is gone, and with all else."""
        return self.loss_without(())

    def losses(self, candidates: Sequence[Channels]) -> Job[NDArray[np.float64] | None]:
        """Losses without what is gone and without each candidate; see `Ablation`."""
        found = np.empty(len(candidates))
        for index, channels in enumerate(candidates):
            found[index] = self.loss_without(channels)
            if (yield Progress(1, 0)) is Stop:
                return None
        return found

    def remove(self, channels: Channels) -> None:
        """Let channels be gone from now on."""
        self.gone += channels
        self.set_gone(self.gone)

    def set_gone(self, channels: Channels) -> None:
        """Let exactly these channels be gone, for whoever comes after."""
        for reader in self._readers:
            reader.blank(channels)

    @torch.no_grad()
    def loss_without(self, channels: Channels) -> float:
        """Loss without what is gone and without some more channels."""
        self.set_gone([*self.gone, *channels])
        total, start = 0.0, 0
        for image in self._calibration.pieces():
            rows = slice(start, start + len(image))
            logits = self._network.on_patches(image)
            total += float(self._calibration.losses(logits, rows, 1)[0])
            start += len(image)
        self.set_gone(self.gone)
        return total


AnyAblation = Ablation | WholeAblation


class AblatedNetwork:
    """A network whose filters are tried out.

    Parameters
    ----------
    network
        Its own: weights that are not read any more become zero.
    coupling
        Of that network.
    calibration
        What the loss is measured on.
    """

    def __init__(
        self, network: Network, coupling: Coupling, calibration: CalibrationBatches
    ) -> None:
        network.requires_grad_(False)
        network.to(calibration.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.coupling, self.calibration = network, coupling, calibration
        # Where nothing reads a map, there is nothing to find out.
        self.groups = tuple(
            (index, group)
            for index, group in enumerate(coupling.groups)
            if any(cut.side == "in" for cut in group.cuts)
        )
        self._graph: OperationGraph | None = None
        try:
            self._graph = OperationGraph(network, calibration.image[:2])
        except Exception as error:
            # Whatever a foreign network's code does under tracing: it can still be run.
            logger.info("cannot be traced, every ablation runs all of it: %s", error)

    def ablation(self, group: ChannelGroup) -> AnyAblation:
        """Prepare to try the channels of one group."""
        return self.ablations([group])[0]

    def ablations(self, groups: Sequence[ChannelGroup]) -> list[AnyAblation]:
        """Prepare to try several groups, with a single run of the network."""
        return list(self.each(groups))

    def each(self, groups: Sequence[ChannelGroup]) -> Iterator[AnyAblation]:
        """Prepare to try one group after the other, with one run of the network."""
        graph = self._graph
        if graph is None:
            yield from (
                WholeAblation(self.network, g, self.calibration) for g in groups
            )
            return
        ablations = [Ablation(graph, group, self.calibration) for group in groups]
        wanted = {node for ablation in ablations for node in ablation.wanted}
        pieces = [graph.run(image, wanted) for image in self.calibration.pieces()]
        kept: Values = {}
        for node in wanted:
            kept[node] = torch.cat([piece.pop(node) for piece in pieces])
        while ablations:
            ablation = ablations.pop(0)
            ablation.begin(kept)
            yield ablation

    def prices(self) -> dict[str, float]:
        """Group name -> multiplications that one candidate costs."""
        graph, network = self._graph, self.network
        ablations: list[AnyAblation] = [
            WholeAblation(network, group, self.calibration)
            if graph is None
            else Ablation(graph, group, self.calibration)
            for _, group in self.groups
        ]
        return {ablation.group.name: ablation.price for ablation in ablations}


class _Blank:
    """Sets to zero, variant by variant, what a layer must not read."""

    def __init__(self, reader: Reader, sets: Sequence[Channels]) -> None:
        self._axis = reader.channel_axis
        self._places = [reader.places(channels) for channels in sets]

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        blanked = maps.clone()
        for variant, places in zip(
            blanked.chunk(len(self._places)), self._places, strict=True
        ):
            variant.index_fill_(self._axis, places, 0.0)
        return blanked


def _repeated(maps: torch.Tensor, times: int) -> torch.Tensor:
    """`(n, ...)` -> `(times * n, ...)`, in the same layout."""
    if times == 1:
        return maps
    repeated = maps.unsqueeze(0).expand(times, *maps.shape)
    if maps.dim() == 4:
        last = repeated.permute(0, 1, 3, 4, 2).reshape(-1, *_moved(maps))
        return last.permute(0, 3, 1, 2)
    return repeated.reshape(-1, *maps.shape[1:])


def _moved(maps: torch.Tensor) -> tuple[int, ...]:
    return (*maps.shape[2:], maps.shape[1])
