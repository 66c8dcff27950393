"""Nuclei segmenter: one branch says what is a nucleus, one how deep inside.

After Mahbod et al. 2022. Each branch is a U-Net with one output: the logit of the
foreground, and the distance of a pixel from the edge of its nucleus. Touching nuclei
have one foreground but each its own summit of distance, from which the objects are
grown. Both branches together, or two decoders on one encoder, have exactly the
published numbers of weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from napari_topiary.networks.base import (
    Network,
    NetworkKind,
    Sizes,
    built_from,
    networks,
)
from napari_topiary.networks.layers import initialise
from napari_topiary.networks.unet import (
    ConvPair,
    Growth,
    Levels,
    UNetSizes,
    Up,
    decoded,
    encoded,
    receptive_radius,
)

BRANCHES = ("segmentation", "distance")
DROPOUT = {
    "segmentation": ((0.1,), (0.1,)),
    "distance": ((0.1, 0.1, 0.2, 0.2, 0.3), (0.1, 0.1, 0.2, 0.2)),
}
"""Published shares on the way down and up, the finest level first."""


@dataclass(frozen=True, kw_only=True)
class NucleiSizes(Sizes):
    """What a nuclei segmenter is made of."""

    network: ClassVar[str] = "nuclei network"
    #: Maps at full resolution, of each branch
    base: Annotated[
        int,
        {
            "label": "Maps at full size",
            "min": 1,
            "max": 512,
            "tooltip": "How many different patterns the finest level of each branch "
            "looks for.",
        },
    ] = 16
    #: Factor in maps from one level to the next; may be fractional
    multiplier: Growth = 2.0
    levels: Levels = 4  #: How often the image is halved
    #: One encoder for both branches, with twice as many maps at its end
    shared_encoder: Annotated[
        bool,
        {
            "label": "One encoder for both",
            "tooltip": "Both branches read the same maps: one network with two ends.",
        },
    ] = False
    #: Leave some values out while training, as published
    dropout: Annotated[
        bool,
        {
            "label": "Dropout",
            "tooltip": "Leave a tenth to a third of the values out while training, as "
            "published. Short trainings are better without.",
        },
    ] = False

    @property
    def branch(self) -> UNetSizes:
        """Sizes of one branch as a U-Net of its own."""
        return UNetSizes(base=self.base, multiplier=self.multiplier, levels=self.levels)

    def parameters(self, in_channels: int, n_classes: int) -> int:
        """Count the weights without building anything."""
        branch = self.branch
        whole = branch.parameters(in_channels, n_classes - 1)
        both = whole + branch.parameters(in_channels, 1)
        if not self.shared_encoder:
            return both
        maps, c = (in_channels, *branch.maps), branch.maps
        encoder = sum(
            (9 * into + 1) * out + (9 * out + 1) * out
            for into, out in zip(maps, c, strict=False)
        )
        # The last convolution has twice as many maps, which both decoders read.
        wider = (9 * c[-1] + 1) * c[-1]
        wider += 2 * (4 * c[-1] * c[-2] if self.levels else n_classes * c[-1] // 2)
        return both - encoder + wider


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
        return self._answer(image, None, None)

    def within(self, image: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
        """Logits and distance of a rectangle of an image `(b, c, y, x)`."""
        return self._answer(image, rows, columns)

    def _answer(
        self, image: torch.Tensor, rows: slice | None, columns: slice | None
    ) -> torch.Tensor:
        both = encoded(self.encoder, self.levels, image) if self.shared else None
        answers = []
        for name in BRANCHES:
            branch = self.get_submodule(name)
            own = encoded(branch, self.levels, image) if both is None else both
            answers.append(decoded(branch, own, rows, columns))
        background = torch.zeros_like(answers[0][:, :1])
        return torch.cat([background, *answers], dim=1)


def _add_encoder(
    owner: nn.Module, into: int, maps: Sequence[int], dropout: Sequence[float]
) -> None:
    """Add `down0` .. and `bottom`; the last of `maps` is that of its second layer."""
    *levels, middle, out = maps
    for i, own in enumerate(levels):
        owner.add_module(f"down{i}", ConvPair(into, own, dropout=dropout[i]))
        into = own
    rate = dropout[len(levels)]
    owner.add_module("bottom", ConvPair(into, out, middle=middle, dropout=rate))


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


networks.register("nuclei")(
    NetworkKind(
        build=built_from(NucleiNet, NucleiSizes),
        presets={
            "tiny": {"base": 8, "levels": 3},
            "published": {"base": 16, "levels": 4},
            "shared": {"base": 16, "levels": 4, "shared_encoder": True},
        },
        default_preset="published",
        preset_titles={
            "tiny": "small",
            "published": "as published",
            "shared": "one encoder for both branches",
        },
        sizes=NucleiSizes,
        title="Two-branch: touching objects",
        tip="One branch says where objects are, the other how far each pixel is from "
        "the edge of\nits object; together they separate nuclei and cells that touch.",
        place=-1,  # before the U-Net: made for the one task that it is offered for
        recipe={"optimizer": "adamw", "learning_rate": 3e-3},
        tasks=("instances",),
    )
)
