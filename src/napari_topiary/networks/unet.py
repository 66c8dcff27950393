"""The U-Net as one generator with four hyper-parameters.

Base maps, the factor between levels, the number of levels, and the maps of the last
two convolutions span everything from the 2015 original (31.0 M weights) to networks
that learn within a minute on a laptop. Convolutions keep the size ("same" padding), so
that logits and image have the same shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from napari_topiary.networks.base import Network, NetworkKind, networks
from napari_topiary.networks.unet_sizes import UNetSizes


class _Pair(nn.Module):
    """Two 3×3 convolutions, each with ReLU."""

    def __init__(self, into: int, out: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(out) if batch_norm else nn.Identity()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(out) if batch_norm else nn.Identity()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """`(b, into, y, x)` -> `(b, out, y, x)`."""
        maps = F.relu_(self.norm1(self.conv1(maps)))
        return F.relu_(self.norm2(self.conv2(maps)))


class _Up(_Pair):
    """Double the size, join the skip connection, convolve twice."""

    def __init__(self, below: int, skip: int, out: int, *, batch_norm: bool) -> None:
        super().__init__(2 * skip, out, batch_norm=batch_norm)
        self.transpose = nn.ConvTranspose2d(below, skip, 2, stride=2)

    def join(self, below: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """`(b, below, y/2, x/2)` and `(b, skip, y, x)` -> `(b, out, y, x)`."""
        return self.forward(torch.cat([skip, self.transpose(below)], dim=1))


class UNet(Network):
    """U-Net of any size; pruned copies differ only in the widths of their layers.

    Submodules are `down0` .. , `bottom`, .. `up0` and `output`; the number is the
    level, 0 at full resolution.

    Parameters
    ----------
    sizes
        The four hyper-parameters and batch normalisation.
    in_channels
        Channels of the image.
    n_classes
        Maps of the output.
    """

    output_layers = ("output",)

    def __init__(self, sizes: UNetSizes, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.levels = sizes.levels
        self.stride = 2**sizes.levels
        self.halo = receptive_radius(sizes.levels)
        norm = sizes.batch_norm
        maps, decoder = sizes.maps, sizes.decoder_maps
        for i in range(sizes.levels):
            into = maps[i - 1] if i else in_channels
            self.add_module(f"down{i}", _Pair(into, maps[i], batch_norm=norm))
        into = maps[-2] if sizes.levels else in_channels
        self.bottom = _Pair(into, maps[-1], batch_norm=norm)
        for i in reversed(range(sizes.levels)):
            up = _Up(decoder[i + 1], maps[i], decoder[i], batch_norm=norm)
            self.add_module(f"up{i}", up)
        self.output = nn.Conv2d(decoder[0], n_classes, 1)
        self.apply(_initialise)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k, y, x)` of an image `(b, c, y, x)`."""
        skips = []
        maps = image
        for i in range(self.levels):
            maps = getattr(self, f"down{i}")(maps)
            skips.append(maps)
            maps = F.max_pool2d(maps, 2)
        maps = self.bottom(maps)
        for i in reversed(range(self.levels)):
            maps = getattr(self, f"up{i}").join(maps, skips[i])
        logits: torch.Tensor = self.output(maps)
        return logits


def receptive_radius(levels: int) -> int:
    """How far from an output pixel the image can still change it, in pixels.

    Poolings sit on a fixed grid, so that a pixel sees further to one side than to the
    other, depending on where it is on the grid; this is the furthest of all.

    Parameters
    ----------
    levels
        How often the image is halved.
    """
    furthest = 0
    for place in range(2**levels):
        low, high = place, place
        for _ in range(levels):  # up the decoder: two convolutions, one doubling
            low, high = (low - 2) // 2, (high + 2) // 2
        low, high = low - 2, high + 2
        for _ in range(levels):  # and down the encoder: one halving, two convolutions
            low, high = 2 * low - 2, 2 * high + 3
        furthest = max(furthest, place - low, high - place)
    return furthest


def _initialise(module: nn.Module) -> None:
    """He initialisation: keeps the variance through ReLUs, so that depth can learn."""
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


def build_unet(sizes: Mapping[str, Any], in_channels: int, n_classes: int) -> Network:
    """Build a U-Net.

    Parameters
    ----------
    sizes
        Fields of `UNetSizes`.
    in_channels
        Channels of the image.
    n_classes
        Maps of the output.
    """
    return UNet(UNetSizes.from_mapping(sizes), in_channels, n_classes)


networks.register("unet")(
    NetworkKind(
        build=build_unet,
        presets={
            "tiny": {"base": 8, "multiplier": 2.0, "levels": 3},
            "2m": {"base": 16, "multiplier": 2.0, "levels": 4},
            "7.8m-deep": {"base": 16, "multiplier": 2.0, "levels": 5},
            "7.8m-wide": {"base": 32, "multiplier": 2.0, "levels": 4},
            "original": {"base": 64, "multiplier": 2.0, "levels": 4},
        },
        default_preset="tiny",
        sizes=UNetSizes,
    )
)
