"""The U-Net as one generator with four hyper-parameters.

Base maps, the factor between levels, the number of levels, and the maps of the last
two convolutions span everything from the 2015 original (31.0 M weights) to networks
that learn within a minute on a laptop. Convolutions keep the size ("same" padding), so
that logits and image have the same shape.

Networks that share its parts also share their names: `down0` .. , `bottom`, .. `up0`
and `output`; the number is the level, 0 at full resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from napari_topiary.networks.base import (
    Network,
    NetworkKind,
    Sizes,
    built_from,
    networks,
)
from napari_topiary.networks.layers import initialise

Growth = Annotated[
    float,
    {
        "label": "Growth by level",
        "min": 1.0,
        "max": 4.0,
        "step": 0.1,
        "tooltip": "Factor in maps from one level to the next coarser one.",
    },
]
Levels = Annotated[
    int,
    {
        "label": "Levels",
        "min": 0,
        "max": 8,
        "tooltip": "How often the image is halved: each level sees twice as far.",
    },
]


@dataclass(frozen=True, kw_only=True)
class UNetSizes(Sizes):
    """What a U-Net is made of."""

    network: ClassVar[str] = "unet"
    #: Maps at full resolution
    base: Annotated[
        int,
        {
            "label": "Maps at full size",
            "min": 1,
            "max": 512,
            "tooltip": "How many different patterns the finest level looks for.",
        },
    ] = 64
    #: Factor in maps from one level to the next; may be fractional
    multiplier: Growth = 2.0
    levels: Levels = 4  #: How often the image is halved
    #: Maps of the last two convolutions; None = as many as `base`
    last: Annotated[
        int | None,
        {
            "label": "Maps at the end",
            "min": 1,
            "max": 1024,
            "tooltip": "Maps of the last two convolutions; automatic: as at full size.",
        },
    ] = None
    #: Normalise between convolution and ReLU
    batch_norm: Annotated[
        bool,
        {
            "label": "Batch normalisation",
            "tooltip": "Keep normalisation layers in the finished network. Training "
            "lends them in any case.",
        },
    ] = False

    @property
    def maps(self) -> tuple[int, ...]:
        """Maps of each level, the finest first."""
        return tuple(
            round(self.base * self.multiplier**i) for i in range(self.levels + 1)
        )

    @property
    def decoder_maps(self) -> tuple[int, ...]:
        """Maps that leave each level on the way up, the finest first."""
        if self.last is None or self.levels == 0:
            return self.maps
        return (self.last, *self.maps[1:])

    def parameters(self, in_channels: int, n_classes: int) -> int:
        """Count the weights without building anything."""
        c, o = self.maps, self.decoder_maps
        norm = 2 if self.batch_norm else 0

        def pair(into: int, out: int) -> int:
            return (9 * into + 1 + norm) * out + (9 * out + 1 + norm) * out

        total = sum(pair(i, n) for i, n in zip((in_channels, *c), c, strict=False))
        for i in range(self.levels):
            total += (4 * o[i + 1] + 1) * c[i] + pair(2 * c[i], o[i])
        return total + (o[0] + 1) * n_classes


class ConvPair(nn.Module):
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


class Up(ConvPair):
    """Double the size, join the skip connection, convolve twice.

    Parameters
    ----------
    below, skip, out
        Maps of the coarser level, of the skip connection, and after.
    batch_norm, dropout
        As for `ConvPair`.
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


def decoded(
    owner: nn.Module,
    maps: Sequence[torch.Tensor],
    rows: slice | None = None,
    columns: slice | None = None,
) -> torch.Tensor:
    """Run .. `up0` and `output` of a module.

    Parameters
    ----------
    owner
        Has these parts.
    maps
        From `encoded`.
    rows, columns
        What is wanted, with start and stop, in pixels of the image; None = all. On the
        way up a tile needs only a few pixels of its context, so most of it is left
        out: two thirds of the arithmetic are there.

    Returns
    -------
    Tensor
        `(b, k, rows, columns)`, the same as if all were computed.
    """
    high = _needed(rows, maps, axis=2)
    wide = _needed(columns, maps, axis=3)
    joined = _cut(maps[-1], high[-1], wide[-1])
    for i in reversed(range(len(maps) - 1)):
        up = owner.get_submodule(f"up{i}")
        if not isinstance(up, Up):
            raise TypeError(f"The part up{i} is a {type(up).__name__}.")
        doubled = _doubled(high[i + 1]), _doubled(wide[i + 1])
        joined = up.join(joined, _cut(maps[i], *doubled))
        if i == 0:  # there are fewer maps to be cut after the last layer
            joined = owner.get_submodule("output")(joined)
        joined = _cut(joined, _from(high[i], doubled[0]), _from(wide[i], doubled[1]))
    return joined if len(maps) > 1 else owner.get_submodule("output")(joined)


_ALL = slice(None)


def _needed(
    wanted: slice | None, maps: Sequence[torch.Tensor], axis: int
) -> list[slice]:
    """What the decoder has to give on each level, the finest first, and the bottom."""
    if wanted is None:
        return [_ALL] * len(maps)
    needed = [wanted]
    for level in maps[:-1]:
        # Two convolutions of reach 1, then whole pixels of the coarser level.
        start = _larger(needed[-1].start - 2, 0) // 2
        stop = (-_larger(-needed[-1].stop - 2, -level.shape[axis]) + 1) // 2
        needed.append(slice(start, stop))
    return needed


def _larger(one: Any, other: Any) -> Any:
    """The larger of two numbers; of tensors where a network is being converted."""
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        return torch.maximum(torch.as_tensor(one), torch.as_tensor(other))
    return max(one, other)


def _doubled(span: slice) -> slice:
    """The same pixels on the next finer level."""
    return _ALL if span is _ALL else slice(2 * span.start, 2 * span.stop)


def _from(span: slice, whole: slice) -> slice:
    """A span counted from where another one begins."""
    if whole is _ALL:
        return _ALL
    return slice(span.start - whole.start, span.stop - whole.start)


def _cut(maps: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
    """A part of maps; all of them as they are."""
    return maps if rows is columns is _ALL else maps[:, :, rows, columns]


class UNet(Network):
    """U-Net of any size; pruned copies differ only in the widths of their layers."""

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
            self.add_module(f"down{i}", ConvPair(into, maps[i], batch_norm=norm))
        into = maps[-2] if sizes.levels else in_channels
        self.bottom = ConvPair(into, maps[-1], batch_norm=norm)
        for i in reversed(range(sizes.levels)):
            up = Up(decoder[i + 1], maps[i], decoder[i], batch_norm=norm)
            self.add_module(f"up{i}", up)
        self.output = nn.Conv2d(decoder[0], n_classes, 1)
        self.apply(initialise)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k, y, x)` of an image `(b, c, y, x)`."""
        return decoded(self, encoded(self, self.levels, image))

    def within(self, image: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
        """Logits of a rectangle of an image `(b, c, y, x)`: `(b, k, rows, columns)`."""
        return decoded(self, encoded(self, self.levels, image), rows, columns)


def receptive_radius(levels: int) -> int:
    """How far from an output pixel the image can still change it, in pixels.

    Poolings sit on a fixed grid, so that a pixel sees further to one side than to the
    other, depending on where it is on the grid; this is the furthest of all.
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


networks.register("unet")(
    NetworkKind(
        build=built_from(UNet, UNetSizes),
        presets={
            "tiny": {"base": 8, "multiplier": 2.0, "levels": 3},
            "2m": {"base": 16, "multiplier": 2.0, "levels": 4},
            "7.8m-deep": {"base": 16, "multiplier": 2.0, "levels": 5},
            "7.8m-wide": {"base": 32, "multiplier": 2.0, "levels": 4},
            "original": {"base": 64, "multiplier": 2.0, "levels": 4},
        },
        preset_titles={
            "tiny": "small",
            "2m": "medium",
            "7.8m-deep": "large, sees farther",
            "7.8m-wide": "large, finer differences",
            "original": "as published",
        },
        default_preset="tiny",
        sizes=UNetSizes,
        title="U-Net: nearly everything",
        tip="Answers for every pixel at once, and sees far around each of them. Fast, "
        "also on\nlarge images: start with this one.",
        place=0,
        tuning={"weights": {"learning_rate": 4e-3, "batch": 4, "patch": 96}},
    )
)
