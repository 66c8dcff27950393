"""The U-Net as one generator with four hyper-parameters.

Base maps, the factor between levels, the number of levels, and the maps of the last
two convolutions span everything from the 2015 original (31.0 M weights) to networks
that learn within a minute on a laptop. Convolutions keep the size ("same" padding), so
that logits and image have the same shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from napari_topiary.networks.base import Network, NetworkKind, networks
from napari_topiary.networks.unet_parts import Pair, Up, decoded, encoded, initialise
from napari_topiary.networks.unet_sizes import UNetSizes


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
            self.add_module(f"down{i}", Pair(into, maps[i], batch_norm=norm))
        into = maps[-2] if sizes.levels else in_channels
        self.bottom = Pair(into, maps[-1], batch_norm=norm)
        for i in reversed(range(sizes.levels)):
            up = Up(decoder[i + 1], maps[i], decoder[i], batch_norm=norm)
            self.add_module(f"up{i}", up)
        self.output = nn.Conv2d(decoder[0], n_classes, 1)
        self.apply(initialise)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k, y, x)` of an image `(b, c, y, x)`."""
        return decoded(self, encoded(self, self.levels, image))


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
        tuning={
            "weights": {"learning_rate": 4e-3, "batch": 4, "patch": 96},
        },
    )
)
