"""What a network costs that does not exist yet; no Qt in here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.inference.devices import pick_device
from napari_topiary.networks import (
    Network,
    build_network,
    count_macs_per_pixel,
    count_parameters,
)
from napari_topiary.pruning import measure_speed
from napari_topiary.types import Job, Progress, Stop

SIDE, SMALLEST_SIDE = 256, 16
"""Pixels to a side of the image that the speed is measured on."""
MOST_MACS = 2e10
"""Multiplications that one measurement may take: about a second."""
ROUNDS = 3
COUNTING_SIDE = 32
BYTES_A_WEIGHT = 4


@dataclass(frozen=True)
class Blueprint:
    """What a network is built from; equal ones have equal figures.

    Parameters
    ----------
    network
        Its registered name.
    sizes
        JSON of its sizes.
    in_channels, n_classes
        Of images and answer.
    checkpoint
        An existing one instead, whose figures are wanted.
    """

    network: str
    sizes: str
    in_channels: int
    n_classes: int
    checkpoint: Checkpoint | None = None

    @classmethod
    def new(
        cls, network: str, sizes: Mapping[str, Any], in_channels: int, n_classes: int
    ) -> Blueprint:
        """A network of these sizes with fresh weights."""
        return cls(network, json.dumps(sizes, sort_keys=True), in_channels, n_classes)

    @classmethod
    def existing(cls, checkpoint: Checkpoint) -> Blueprint:
        """The network of a checkpoint."""
        n_classes = len(checkpoint.task.classes)
        return cls(
            checkpoint.network, "", checkpoint.in_channels, n_classes, checkpoint
        )

    def build(self) -> Network:
        """Make the network."""
        if self.checkpoint is not None:
            return self.checkpoint.build()
        sizes = json.loads(self.sizes)
        return build_network(self.network, sizes, self.in_channels, self.n_classes)


@dataclass(frozen=True)
class Figures:
    """What a network costs.

    Parameters
    ----------
    weights
        How many (zeros not counted).
    file_bytes
        Of its checkpoint.
    macs_per_pixel
        Multiplications for each pixel that it reads.
    values
        Results of all layers, per pixel that it learns from; where it learns from the
        middles of patches, per patch.
    stride
        Sides of what it reads are multiples of it, in pixels.
    patch
        Side of the patch whose middle it names, in pixels; None = it names all pixels.
    ms_per_megapixel
        Measured here, for a million pixels that the network reads; None = not yet.
    """

    weights: int
    file_bytes: int
    macs_per_pixel: float
    values: float
    stride: int
    patch: int | None
    ms_per_megapixel: float | None = None


def figures(blueprint: Blueprint, *, measure: bool) -> Job[Figures]:
    """Count at once, then measure.

    Parameters
    ----------
    blueprint
        Of which network.
    measure
        Whether to measure the speed (not while something else computes).

    Yields
    ------
    Progress
        The first `report` is `Figures` without speed. `Stop` leaves the speed out.
    """
    counted = _counted(blueprint)
    message = yield Progress(0, 0, "Counting", report=counted)
    if message is Stop or not measure:
        return counted
    speed = yield from measure_speed(
        {"": blueprint.build()},
        in_channels=blueprint.in_channels,
        device=pick_device("auto"),
        side=_side(counted),
        rounds=ROUNDS,
    )
    return replace(counted, ms_per_megapixel=speed.get(""))


def _counted(blueprint: Blueprint) -> Figures:
    checkpoint = blueprint.checkpoint
    with torch.device("meta"):  # shapes only: the largest costs nothing, too
        network = (blueprint if checkpoint is None else _like(checkpoint)).build()
        values = _values(network, blueprint.in_channels)
    weights = count_parameters(network)
    if checkpoint is not None:
        network = checkpoint.build()
        weights = checkpoint.parameters_nonzero
    size = BYTES_A_WEIGHT * weights if checkpoint is None else checkpoint.file_bytes()
    return Figures(
        weights=weights,
        file_bytes=size,
        macs_per_pixel=count_macs_per_pixel(network),
        values=values,
        stride=network.stride,
        patch=network.patch,
    )


def _like(checkpoint: Checkpoint) -> Blueprint:
    """The network that a checkpoint was before anything was pruned."""
    n_classes = len(checkpoint.task.classes)
    channels, sizes = checkpoint.in_channels, dict(checkpoint.sizes)
    return Blueprint.new(checkpoint.network, sizes, channels, n_classes)


def _values(network: Network, in_channels: int) -> float:
    """Results of all convolutions for one pixel, or for one patch."""
    side = network.patch or -(-COUNTING_SIDE // network.stride) * network.stride
    counted: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: counted.append(out.numel()))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
    ]
    network.on_patches(torch.empty(1, in_channels, side, side))
    for hook in hooks:
        hook.remove()
    return sum(counted) / (1 if network.patch else side**2)


def _side(counted: Figures) -> int:
    """Side of the image to measure on: smaller where the network is slow."""
    affordable = math.sqrt(MOST_MACS / max(1.0, counted.macs_per_pixel))
    return max(SMALLEST_SIDE, min(SIDE, int(affordable)))
