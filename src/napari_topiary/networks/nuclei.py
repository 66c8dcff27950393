"""Nuclei segmenter: one branch says what is a nucleus, one how deep inside.

After Mahbod et al. 2022. Each branch is a U-Net with one output: the logit of the
foreground, and the distance of a pixel from the edge of its nucleus. Touching nuclei
have one foreground but each its own summit of distance, from which the objects are
grown. Both branches together, or two decoders on one encoder, have exactly the
published numbers of weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from napari_topiary.networks.base import Network, NetworkKind, networks
from napari_topiary.networks.nuclei_sizes import NucleiSizes
from napari_topiary.networks.unet import receptive_radius
from napari_topiary.networks.unet_parts import Pair, Up, decoded, encoded, initialise

BRANCHES = ("segmentation", "distance")
DROPOUT = {
    "segmentation": ((0.1,), (0.1,)),
    "distance": ((0.1, 0.1, 0.2, 0.2, 0.3), (0.1, 0.1, 0.2, 0.2)),
}
"""Published shares on the way down and up, the finest level first."""


class NucleiNet(Network):
    """Foreground and distance, by two U-Nets or by two decoders on one encoder.

    Submodules are `segmentation` and `distance`, each with the parts of a U-Net; with
    one encoder for both its parts are in `encoder`.

    Parameters
    ----------
    sizes
        Of one branch, and whether the encoder is shared.
    in_channels
        Channels of the image.
    n_classes
        Classes, background included: the branch answers for all but the background,
        whose logit is 0.
    """

    output_layers = ("segmentation.output", "distance.output")
    regressions = 1
    branches = BRANCHES

    def __init__(self, sizes: NucleiSizes, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.levels = sizes.levels
        self.stride = 2**sizes.levels
        self.halo = receptive_radius(sizes.levels)
        self.shared = sizes.shared_encoder
        maps = list(sizes.branch.maps)
        if self.shared:
            self.encoder = nn.Module()
            # Which dropout the shared encoder had is not known: that of segmentation.
            down, _ = _rates("segmentation", sizes)
            _add_encoder(self.encoder, in_channels, [*maps, 2 * maps[-1]], down)
        for name, outputs in zip(BRANCHES, (n_classes - 1, 1), strict=True):
            branch = nn.Module()
            down, up = _rates(name, sizes)
            if not self.shared:
                _add_encoder(branch, in_channels, [*maps, maps[-1]], down)
            bottom = 2 * maps[-1] if self.shared else maps[-1]
            _add_decoder(branch, [*maps[:-1], bottom], outputs, up)
            self.add_module(name, branch)
        self.apply(initialise)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k, y, x)` and distance `(b, 1, y, x)`, one after the other.

        The image is `(b, c, y, x)`; the first logit is that of the background, 0.
        """
        both = encoded(self.encoder, self.levels, image) if self.shared else None
        answers = []
        for name in BRANCHES:
            branch = self.get_submodule(name)
            own = encoded(branch, self.levels, image) if both is None else both
            answers.append(decoded(branch, own))
        background = torch.zeros_like(answers[0][:, :1])
        return torch.cat([background, *answers], dim=1)


def _add_encoder(
    owner: nn.Module, into: int, maps: Sequence[int], dropout: Sequence[float]
) -> None:
    """Add `down0` .. and `bottom`; the last of `maps` is that of its second layer."""
    *levels, middle, out = maps
    for i, own in enumerate(levels):
        owner.add_module(f"down{i}", Pair(into, own, dropout=dropout[i]))
        into = own
    rate = dropout[len(levels)]
    owner.add_module("bottom", Pair(into, out, middle=middle, dropout=rate))


def _add_decoder(
    owner: nn.Module, maps: Sequence[int], outputs: int, dropout: Sequence[float]
) -> None:
    """Add .. `up0` and `output`; the last of `maps` is what the bottom gives."""
    for i in reversed(range(len(maps) - 1)):
        up = Up(maps[i + 1], maps[i], maps[i], dropout=dropout[i])
        owner.add_module(f"up{i}", up)
    owner.add_module("output", nn.Conv2d(maps[0], outputs, 1))


def _rates(branch: str, sizes: NucleiSizes) -> tuple[list[float], list[float]]:
    """Dropout of each level on the way down and on the way up."""
    down, up = DROPOUT[branch] if sizes.dropout else ((0.0,), (0.0,))
    levels = range(sizes.levels + 1)
    return (
        [down[min(i, len(down) - 1)] for i in levels],
        [up[min(i, len(up) - 1)] for i in levels],
    )


def build_nuclei(sizes: Mapping[str, Any], in_channels: int, n_classes: int) -> Network:
    """Build a nuclei segmenter.

    Parameters
    ----------
    sizes
        Fields of `NucleiSizes`.
    in_channels
        Channels of the image.
    n_classes
        Classes, background included.
    """
    return NucleiNet(NucleiSizes.from_mapping(sizes), in_channels, n_classes)


networks.register("nuclei")(
    NetworkKind(
        build=build_nuclei,
        presets={
            "tiny": {"base": 8, "levels": 3},
            "published": {"base": 16, "levels": 4},
            "shared": {"base": 16, "levels": 4, "shared_encoder": True},
        },
        default_preset="published",
        sizes=NucleiSizes,
        recipe={"optimizer": "adamw", "learning_rate": 3e-3},
        tasks=("instances",),
    )
)
