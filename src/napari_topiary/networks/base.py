"""What every network promises, and the registry they are found in.

Contract: `(b, c, y, x)` float in, logits `(b, k, y, x)` out, for `y` and `x` that are
multiples of `stride`. `halo` is how many pixels around an output pixel can influence
it: with that much context on every side a tile gives the same logits as the whole
image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from napari_topiary.registry import Registry


class Network(nn.Module):
    """Base of every network.

    Attributes
    ----------
    stride
        Input sides must be multiples of it, in pixels.
    halo
        Context that an output pixel can see on each side, in pixels.
    output_layer
        Name of the module whose maps are the classes (never cut by filter pruning).
    """

    stride: int
    halo: int
    output_layer: str

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k, y, x)` of an image `(b, c, y, x)`."""
        raise NotImplementedError


class Builder(Protocol):
    """Builds a network from its sizes."""

    def __call__(
        self, sizes: Mapping[str, Any], in_channels: int, n_classes: int
    ) -> Network:
        """Build it with fresh weights."""
        ...


@dataclass(frozen=True)
class NetworkKind:
    """An entry of the registry.

    Parameters
    ----------
    build
        Makes the module; raises `ValueError` with a sentence for impossible sizes.
    presets
        Preset name -> sizes.
    default_preset
        The one a newcomer gets.
    sizes
        Frozen dataclass with all sizes, their defaults, limits and tooltips, and
        `problem()`: rendered as a form. None: only the presets can be chosen.
    """

    build: Builder
    presets: Mapping[str, Mapping[str, Any]]
    default_preset: str
    sizes: type[Any] | None = None


networks: Registry[NetworkKind] = Registry("network")
