"""A layer that reads the maps in question: what its answer is without some of them.

A layer's answer (before any activation) is a sum over the maps that it reads. Without
one of them it is the same sum less one term, which costs a small part of the layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from napari_topiary.pruning.search.simplify import is_pointwise
from napari_topiary.pruning.structure import ChannelGroup, Cut

Channels = Sequence[int]
"""Some channels of a group, that go together."""

LANES = 16
"""Processors multiply so many numbers at a time: rows are filled up to a multiple."""
WIDE = 400
"""Numbers that an output is made of above which the convolution itself is faster than
laying them out side by side."""


class Reader:
    """One layer that reads the maps of a group.

    Parameters
    ----------
    module
        The layer; its weights are changed in place.
    cut
        Where the group's channels sit among its inputs.
    """

    def __init__(self, module: nn.Module, cut: Cut) -> None:
        assert isinstance(module, _ConvNd | nn.Linear)
        self.name, self.module = cut.layer, module
        self._roots, self._places = cut.roots, cut.places
        self._weight = module.weight.detach().clone()
        self._axis = 0 if isinstance(module, _ConvTransposeNd) else 1
        self.channel_axis = -1 if isinstance(module, nn.Linear) else 1
        self._sides: tuple[int, int] | None = None
        self._room: torch.Tensor | None = None
        self._known: dict[tuple[int, ...], torch.Tensor] = {}
        self._flat = isinstance(module, nn.Linear) or is_pointwise(module)
        self._windowed = isinstance(module, nn.Conv2d) and not self._flat

    def places(self, channels: Channels) -> torch.Tensor:
        """Inputs `(n,)` of the layer that are these channels of the group."""
        key = tuple(channels)
        if key not in self._known:
            found = self._places[np.isin(self._roots, key)]
            self._known[key] = torch.from_numpy(found).to(self._weight.device)
        return self._known[key]

    @torch.no_grad()
    def blank(self, channels: Channels) -> None:
        """Read zeros in these channels, for good: others than these are read again."""
        weight = self.module.weight
        every = torch.from_numpy(self._places).to(weight.device)
        weight.index_copy_(
            self._axis, every, self._weight.index_select(self._axis, every)
        )
        weight.index_fill_(self._axis, self.places(channels), 0.0)

    def alive(self, maps: torch.Tensor, channels: int) -> NDArray[np.bool_]:
        """Return which channels `(channels,)` are not zero everywhere."""
        rows = maps.movedim(self.channel_axis, 0).flatten(1)
        found = (rows != 0).any(1).cpu().numpy()[self._places]
        alive = np.zeros(channels, dtype=bool)
        np.logical_or.at(alive, self._roots, found)
        return alive

    @torch.no_grad()
    def read(self, maps: torch.Tensor, sides: tuple[int, int] | None = None) -> None:
        """Keep what the layer reads of these channels, and sum it up.

        Parameters
        ----------
        maps
            `(n, ...)` all that the layer reads.
        sides
            Rows and columns of the answer that matter; None = all.
        """
        self._maps, self._sides = maps, None if self._flat else sides
        self.sum_up()
        if not self._windowed:
            return
        every = torch.from_numpy(self._places).to(maps.device)
        planes = maps.transpose(0, 1).index_select(0, every)
        assert isinstance(self.module, nn.Conv2d)
        padding = self.module._reversed_padding_repeated_twice
        mode = self.module.padding_mode
        self._planes = F.pad(planes, padding, "constant" if mode == "zeros" else mode)
        self._planes = self._planes.contiguous()

    @torch.no_grad()
    def sum_up(self) -> None:
        """Make the sums anew from what is not blanked."""
        answer: torch.Tensor = self.module(self._maps)
        sums = self._cropped(_stored(answer))
        self._outputs = sums.shape[-1]
        extra = -self._outputs % LANES if self._windowed else 0
        self._sums = F.pad(sums, (0, extra)).contiguous()

    @torch.no_grad()
    def take(self, channels: Channels) -> None:
        """Subtract the terms of some channels from the sums, for good."""
        rows, sums = slice(0, len(self._sums)), self._sums
        self._sums = torch.zeros_like(sums)
        self._subtract(sums, rows, channels, self._sums)

    @torch.no_grad()
    def without(self, sets: Sequence[Channels], rows: slice) -> torch.Tensor:
        """Answers without each of some sets of channels.

        Parameters
        ----------
        sets
            One or more.
        rows
            Which `n` patches.

        Returns
        -------
        Tensor
            `(sets * n, ...)`: set by set, channels last in memory (their rows may have
            gaps), good until asked again.
        """
        sums = self._sums[rows]
        sizes = {len(self.places(channels)) for channels in sets}
        if self._flat and len(sizes) == 1 and 0 not in sizes:
            result = self._without_at_once(sums, rows, sets)
        else:
            result = self._room_for((len(sets), *sums.shape))
            for row, channels in zip(result, sets, strict=True):
                self._subtract(sums, rows, channels, row)
        flat = result.flatten(0, 1)[..., : self._outputs]
        return flat.permute(0, 3, 1, 2) if flat.dim() == 4 else flat

    def _room_for(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Memory for answers, used again and again: fresh memory costs time."""
        size = math.prod(shape)
        if self._room is None or self._room.numel() < size:
            self._room = self._sums.new_empty(size)
        return self._room[:size].view(shape)

    def _without_at_once(
        self, sums: torch.Tensor, rows: slice, sets: Sequence[Channels]
    ) -> torch.Tensor:
        """Rows of numbers times weights, for all sets at once."""
        places = torch.stack([self.places(channels) for channels in sets])
        maps = _stored(self._maps[rows])
        numbers = maps.reshape(-1, maps.shape[-1])[:, places].movedim(1, 0)
        weight = self._weight.flatten(1)[:, places].permute(1, 2, 0)
        lines = sums.reshape(1, -1, sums.shape[-1])
        found = torch.baddbmm(lines, numbers.contiguous(), weight, alpha=-1)
        return found.view(len(sets), *sums.shape)

    def _subtract(
        self, sums: torch.Tensor, rows: slice, channels: Channels, result: torch.Tensor
    ) -> None:
        """Write into `result` the sums without the terms of some channels."""
        places = self.places(channels)
        if not len(places):
            result.copy_(sums)
            return
        weight = self._weight.index_select(self._axis, places)
        if self._windowed and weight[0].numel() <= WIDE:
            chosen = np.flatnonzero(np.isin(self._roots, channels))
            torch.addmm(
                sums.view(-1, sums.shape[-1]),
                self._windows(chosen, rows, sums.shape[1:3]).T,
                F.pad(weight.flatten(1).T, (0, sums.shape[-1] - self._outputs)),
                alpha=-1,
                out=result.view(-1, sums.shape[-1]),
            )
            return
        maps = self._maps[rows].index_select(self.channel_axis, places)
        terms = self._cropped(_stored(_applied(self.module, maps, weight)))
        outputs = slice(0, self._outputs)
        result[..., outputs] = sums[..., outputs] - terms

    def _cropped(self, stored: torch.Tensor) -> torch.Tensor:
        if self._sides is None:
            return stored
        return stored[:, : self._sides[0], : self._sides[1]]

    def _windows(
        self, chosen: NDArray[np.int64], rows: slice, sides: Sequence[int]
    ) -> torch.Tensor:
        """Lay out `(m * ky * kx, n * y * x)` what outputs are made of, one by one."""
        assert isinstance(self.module, nn.Conv2d)
        (ky, kx), (sy, sx) = self.module.kernel_size, self.module.stride
        dy, dx = self.module.dilation
        lines = []
        for index in chosen:
            plane = self._planes[index, rows]
            n, y, x = plane.stride()
            view = plane.as_strided(
                (ky, kx, len(plane), *sides),
                (y * dy, x * dx, n, y * sy, x * sx),
                plane.storage_offset(),
            )
            lines.append(view.reshape(ky * kx, -1))
        return lines[0] if len(lines) == 1 else torch.cat(lines)


def readers_of(network: nn.Module, group: ChannelGroup) -> list[Reader]:
    """Return the layers that read a group's channels."""
    return [
        Reader(network.get_submodule(cut.layer), cut)
        for cut in group.cuts
        if cut.side == "in"
    ]


def _stored(maps: torch.Tensor) -> torch.Tensor:
    """Put channels last: for maps laid out so, without copying."""
    return maps.permute(0, 2, 3, 1) if maps.dim() == 4 else maps


def _applied(
    module: nn.Module, maps: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Apply a layer with other weights and no bias."""
    if isinstance(module, nn.Linear):
        return F.linear(maps, weight)
    if isinstance(module, nn.ConvTranspose2d):
        assert not isinstance(module.padding, str)
        return F.conv_transpose2d(
            maps,
            weight,
            None,
            module.stride,
            module.padding,
            module.output_padding,
            1,
            module.dilation,
        )
    assert isinstance(module, nn.Conv2d)
    answer: torch.Tensor = module._conv_forward(maps, weight, None)
    return answer
