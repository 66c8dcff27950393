"""Trials of a network that cannot be traced: all of it runs for every candidate."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.networks.base import Network
from napari_topiary.pruning.search.lesson import Lesson
from napari_topiary.pruning.search.reader import Channels, readers_of
from napari_topiary.pruning.structure import ChannelGroup


class WholeTrial:
    """Candidates of one group of channels; the same answers as `Trial`, slowly.

    Parameters
    ----------
    network
        With what has been removed so far.
    group
        The channels that may go.
    lesson
        The mini-batches, and what is right.
    """

    def __init__(self, network: Network, group: ChannelGroup, lesson: Lesson) -> None:
        self.group = group
        self.gone: list[int] = []
        self._network, self._lesson = network, lesson
        self._readers = readers_of(network, group)

    @property
    def price(self) -> float:
        """Multiplications of one candidate, more or less."""
        weights = sum(p.numel() for p in self._network.parameters())
        return float(weights * self._lesson.image[:, 0].numel())

    def loss(self) -> float:
        """Loss without what is gone, and with all else."""
        return self.loss_without(())

    def losses(
        self, candidates: Sequence[Channels]
    ) -> Generator[float, bool | None, NDArray[np.float64] | None]:
        """Losses without what is gone and without each candidate; see `Trial`."""
        found = np.empty(len(candidates))
        for index, channels in enumerate(candidates):
            found[index] = self.loss_without(channels)
            if (yield 1):
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
        for image in self._lesson.pieces():
            rows = slice(start, start + len(image))
            logits = self._network.on_patches(image)
            total += float(self._lesson.losses(logits, rows, 1)[0])
            start += len(image)
        self.set_gone(self.gone)
        return total
