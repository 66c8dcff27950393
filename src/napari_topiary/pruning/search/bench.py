"""The network on the bench: what has been removed so far, and what may be next."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import torch

from napari_topiary.networks.base import Network
from napari_topiary.pruning.search.flow import Flow, Values
from napari_topiary.pruning.search.lesson import Lesson
from napari_topiary.pruning.search.trial import Trial
from napari_topiary.pruning.search.whole import WholeTrial
from napari_topiary.pruning.structure import ChannelGroup, Coupling

logger = logging.getLogger(__name__)

AnyTrial = Trial | WholeTrial


class Bench:
    """A network whose filters are tried out.

    Parameters
    ----------
    network
        Its own: weights that are not read any more become zero.
    coupling
        Of that network.
    lesson
        What the loss is measured on.
    """

    def __init__(self, network: Network, coupling: Coupling, lesson: Lesson) -> None:
        network.requires_grad_(False)
        network.to(lesson.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.coupling, self.lesson = network, coupling, lesson
        # Where nothing reads a map, there is nothing to find out.
        self.groups = tuple(
            (index, group)
            for index, group in enumerate(coupling.groups)
            if any(cut.side == "in" for cut in group.cuts)
        )
        self._flow: Flow | None = None
        try:
            self._flow = Flow(network, lesson.image[:2])
        except Exception as error:
            # Whatever a foreign network's code does under tracing: it can still be run.
            logger.info("cannot be traced, every trial runs all of it: %s", error)

    def trial(self, group: ChannelGroup) -> AnyTrial:
        """Prepare to try the channels of one group.

        Parameters
        ----------
        group
            One of the coupling's.
        """
        return self.trials([group])[0]

    def trials(self, groups: Sequence[ChannelGroup]) -> list[AnyTrial]:
        """Prepare to try several groups, with a single run of the network.

        Parameters
        ----------
        groups
            Of the coupling's.
        """
        return list(self.each(groups))

    def each(self, groups: Sequence[ChannelGroup]) -> Iterator[AnyTrial]:
        """Prepare to try one group after the other, with a single run of the network.

        Parameters
        ----------
        groups
            Of the coupling's.
        """
        flow = self._flow
        if flow is None:
            yield from (WholeTrial(self.network, g, self.lesson) for g in groups)
            return
        trials = [Trial(flow, group, self.lesson) for group in groups]
        wanted = {node for trial in trials for node in trial.wanted}
        pieces = [flow.run(image, wanted) for image in self.lesson.pieces()]
        kept: Values = {}
        for node in wanted:
            kept[node] = torch.cat([piece.pop(node) for piece in pieces])
        while trials:
            trial = trials.pop(0)
            trial.begin(kept)
            yield trial

    def prices(self) -> dict[str, float]:
        """Group name -> multiplications that one candidate costs."""
        flow, network = self._flow, self.network
        trials: list[AnyTrial] = [
            WholeTrial(network, group, self.lesson)
            if flow is None
            else Trial(flow, group, self.lesson)
            for _, group in self.groups
        ]
        return {trial.group.name: trial.price for trial in trials}
