"""What U-Nets are put together from, whole ones and those with two decoders.

Parts are added to a module under fixed names (`down0` .. , `bottom`, .. `up0`; the
number is the level, 0 at full resolution), so that networks which share parts also
share the names of their weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class Pair(nn.Module):
    """Two 3×3 convolutions, each with ReLU.

    Parameters
    ----------
    into, out
        Maps before and after.
    middle
        Maps between the two; None = as many as after.
    batch_norm
        Normalise between convolution and ReLU.
    dropout
        Share of the values between the two that training leaves out.
    """

    def __init__(
        self,
        into: int,
        out: int,
        *,
        middle: int | None = None,
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        between = out if middle is None else middle
        self.conv1 = nn.Conv2d(into, between, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(between) if batch_norm else nn.Identity()
        self.drop = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = nn.Conv2d(between, out, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(out) if batch_norm else nn.Identity()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """`(b, into, y, x)` -> `(b, out, y, x)`."""
        maps = self.drop(F.relu_(self.norm1(self.conv1(maps))))
        return F.relu_(self.norm2(self.conv2(maps)))


class Up(Pair):
    """Double the size, join the skip connection, convolve twice.

    Parameters
    ----------
    below, skip, out
        Maps of the coarser level, of the skip connection, and after.
    batch_norm, dropout
        As for `Pair`.
    """

    def __init__(
        self,
        below: int,
        skip: int,
        out: int,
        *,
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(2 * skip, out, batch_norm=batch_norm, dropout=dropout)
        self.transpose = nn.ConvTranspose2d(below, skip, 2, stride=2)

    def join(self, below: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """`(b, below, y/2, x/2)` and `(b, skip, y, x)` -> `(b, out, y, x)`."""
        return self.forward(torch.cat([skip, self.transpose(below)], dim=1))


def encoded(owner: nn.Module, levels: int, image: torch.Tensor) -> list[torch.Tensor]:
    """Run `down0` .. and `bottom` of a module.

    Parameters
    ----------
    owner
        Has these parts.
    levels
        How often the image is halved.
    image
        `(b, c, y, x)`.

    Returns
    -------
    list
        Maps of every level before halving, the finest first, and of the bottom.
    """
    levels_maps, maps = [], image
    for i in range(levels):
        maps = owner.get_submodule(f"down{i}")(maps)
        levels_maps.append(maps)
        maps = F.max_pool2d(maps, 2)
    return [*levels_maps, owner.get_submodule("bottom")(maps)]


def decoded(owner: nn.Module, maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Run .. `up0` and `output` of a module.

    Parameters
    ----------
    owner
        Has these parts.
    maps
        From `encoded`.

    Returns
    -------
    Tensor
        `(b, k, y, x)`.
    """
    joined = maps[-1]
    for i in reversed(range(len(maps) - 1)):
        up = owner.get_submodule(f"up{i}")
        if not isinstance(up, Up):
            raise TypeError(f"The part up{i} is a {type(up).__name__}.")
        joined = up.join(joined, maps[i])
    answer: torch.Tensor = owner.get_submodule("output")(joined)
    return answer


def initialise(module: nn.Module) -> None:
    """He initialisation: keeps the variance through ReLUs, so that depth can learn.

    Parameters
    ----------
    module
        A layer; what is no convolution is left alone.
    """
    if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return
    if module.weight.is_meta:  # only shapes are wanted
        return
    # Each output of a doubling reads a single kernel position per map.
    doubling = isinstance(module, nn.ConvTranspose2d)
    fan = module.in_channels * (1 if doubling else math.prod(module.kernel_size))
    # A ReLU halves the mean square of what it gets; doublings and output have none.
    gain = 2 if module.kernel_size == (3, 3) else 1
    nn.init.normal_(module.weight, std=math.sqrt(gain / fan))
    if module.bias is not None:
        nn.init.zeros_(module.bias)
