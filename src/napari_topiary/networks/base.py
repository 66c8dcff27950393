"""What every network promises, and the registry they are found in.

Contract: `(b, c, y, x)` float in, logits `(b, k, y, x)` out, for `y` and `x` that are
multiples of `stride`. `halo` is how many pixels around an output pixel can influence
it: with that much context on every side a tile gives the same logits as the whole
image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from napari_topiary.registry import Registry
from napari_topiary.types import TaskKind


class Network(nn.Module):
    """Base of every network.

    Attributes
    ----------
    stride
        Input sides must be multiples of it, in pixels.
    halo
        Context that an output pixel can see on each side, in pixels.
    output_layers
        Names of the modules whose maps are the answer (never cut by filter pruning).
    patch
        Side of the patch whose centre pixel is classified, in pixels; None for
        networks that learn from every pixel of what they see.
    dense
        Whether an image is answered in one sweep. Some classifiers of centre pixels
        have no such form and run once for every pixel, each time on its patch.
    largest_side
        Longest side that `within` should be asked for at a time, in pixels, where more
        would take so long that Stop could not be heard; None = as much as wanted.
    regressions
        How many maps, after those of the classes, are values and not logits (the
        distance map of the nuclei segmenter).
    branches
        Names of modules that are pruned apart from one another: ranked network-wide,
        each loses the same share. Empty = the network is one.
    """

    stride: int
    halo: int
    output_layers: tuple[str, ...]
    patch: int | None = None
    dense: bool = True
    largest_side: int | None = None
    regressions: int = 0
    branches: tuple[str, ...] = ()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k, y, x)` of an image `(b, c, y, x)`."""
        raise NotImplementedError

    def on_patches(self, patches: torch.Tensor) -> torch.Tensor:
        """Logits of training patches `(b, c, y, x)`: `(b, k, y, x)`.

        A classifier of centre pixels answers `(b, k, 1, 1)` instead.
        """
        logits: torch.Tensor = self(patches)
        return logits

    def within(self, image: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
        """Logits of a rectangle of an image `(b, c, y, x)`: `(b, k, rows, columns)`.

        The rest of the image is context; a network that can do without answering there
        saves the time.
        """
        logits: torch.Tensor = self(image)
        return logits[:, :, rows, columns]


def in_shares(network: Network, answer: torch.Tensor) -> torch.Tensor:
    """Turn what a network answers into probabilities; maps of values stay.

    Parameters
    ----------
    network
        Knows how many maps are values.
    answer
        `(..., k + r, y, x)` logits and values.

    Returns
    -------
    Tensor
        Same shape, float32.
    """
    answer = answer.float()
    if network.regressions == 0:
        return answer.softmax(dim=-3)
    classes = answer.shape[-3] - network.regressions
    logits, values = answer.tensor_split([classes], dim=-3)
    return torch.cat([logits.softmax(dim=-3), values], dim=-3)


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
    recipe
        Fields of `TrainConfig` that this network is usually trained with, where they
        differ from the form's defaults.
    tuning
        Kind of pruning -> fields that differ from the recipe while a pruned network is
        fine-tuned.
    tasks
        Kinds of task it can answer.
    """

    build: Builder
    presets: Mapping[str, Mapping[str, Any]]
    default_preset: str
    sizes: type[Any] | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    tuning: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tasks: tuple[TaskKind, ...] = ("detect", "segment", "instances")


networks: Registry[NetworkKind] = Registry("network")
