"""Networks by name. A new one is a new file here that registers a `NetworkKind`."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch

from napari_topiary.errors import TopiaryError
from napari_topiary.networks.base import (
    Network,
    NetworkKind,
    kind_of,
    networks,
    recipe_config,
    suited,
    tuning_config,
)
from napari_topiary.networks.layers import (
    activation_bytes,
    count_macs_per_pixel,
    count_parameters,
    resize_layers,
)
from napari_topiary.registry import find_members

find_members(__name__, __path__)

__all__ = [
    "Network",
    "NetworkKind",
    "activation_bytes",
    "build_network",
    "count_macs_per_pixel",
    "count_parameters",
    "networks",
    "recipe_config",
    "resize_layers",
    "resolve_sizes",
    "suited",
    "tuning_config",
]


def build_network(
    name: str,
    sizes: Mapping[str, Any],
    in_channels: int,
    n_classes: int,
    widths: Mapping[str, tuple[int, int]] | None = None,
) -> Network:
    """Build a network with fresh weights.

    Parameters
    ----------
    name
        Of a registered network.
    sizes
        As its presets have them.
    in_channels
        Channels of the images: 1 grey, 3 colour.
    n_classes
        Classes, background included.
    widths
        Layer name -> (outputs, inputs) of layers that pruning made narrower; these
        layers are left at zero, to be filled from a checkpoint.

    Raises
    ------
    TopiaryError
        With a sentence for an unknown network or impossible sizes.
    """
    kind = kind_of(name)
    for words, value, most in (
        ("image channels", in_channels, 64),
        ("classes", n_classes, 1024),
    ):
        if type(value) is not int or not 1 <= value <= most:
            raise TopiaryError(
                f"A network with {value!r} {words} is not possible: it has 1 to {most}."
            )
    network = kind.build(sizes, in_channels, n_classes)
    if widths:
        resize_layers(network, widths)
    return network


def resolve_sizes(
    name: str, preset: str | None = None, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Sizes of a preset, with some of them replaced.

    Parameters
    ----------
    name
        Of a registered network.
    preset
        Of that network; None or empty = its default.
    overrides
        Sizes that replace the preset's.

    Raises
    ------
    TopiaryError
        With a sentence for an unknown network or preset, or impossible sizes.
    """
    kind = kind_of(name)
    preset = preset or kind.default_preset
    if preset not in kind.presets:
        close = get_close_matches(preset, kind.presets, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise TopiaryError(
            f"The network {name} has no preset called {preset!r}.{hint} "
            f"It has {', '.join(kind.presets)}."
        )
    sizes = {**kind.presets[preset], **(overrides or {})}
    with torch.device("meta"):  # shapes only: says what is impossible, costs nothing
        kind.build(sizes, 1, 2)
    return sizes
