"""What a network costs before it exists, and whether it is within reach here."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from napari_topiary import words
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.inference.devices import pick_device
from napari_topiary.networks import (
    Network,
    build_network,
    count_macs_per_pixel,
    count_parameters,
    networks,
    resolve_sizes,
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

PATCH_SIDE, USUAL_BATCH = 128, 8
"""Of the patches that networks learn from unless something else is asked for."""
COPIES = 3
"""Of every layer's result: the result, what ReLU makes of it, and its gradient."""
BYTES_A_VALUE = 4
BYTES_A_TRAINED_WEIGHT = 16
"""Weight, gradient, and the two averages that Adam keeps."""
MOST_OF_MEMORY = 0.7
LONG_MS = 60_000.0
"""For a megapixel of the image: more is worth a warning."""


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """What a network is built from; equal ones have equal figures."""

    network: str
    sizes: str  #: JSON of its sizes
    #: `in_channels`, `n_classes`: of images and answer
    in_channels: int
    n_classes: int
    #: An existing one instead, whose figures are wanted
    checkpoint: Checkpoint | None = None

    @classmethod
    def new(
        cls, network: str, sizes: Mapping[str, Any], in_channels: int, n_classes: int
    ) -> Blueprint:
        """A network of these sizes with fresh weights."""
        return cls(
            network=network,
            sizes=json.dumps(sizes, sort_keys=True),
            in_channels=in_channels,
            n_classes=n_classes,
        )

    @classmethod
    def existing(cls, checkpoint: Checkpoint) -> Blueprint:
        """The network of a checkpoint."""
        n_classes = len(checkpoint.task.classes)
        return cls(
            network=checkpoint.network,
            sizes="",
            in_channels=checkpoint.in_channels,
            n_classes=n_classes,
            checkpoint=checkpoint,
        )

    def build(self) -> Network:
        """Make the network."""
        if self.checkpoint is not None:
            return self.checkpoint.build()
        sizes = json.loads(self.sizes)
        return build_network(self.network, sizes, self.in_channels, self.n_classes)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a network costs."""

    weights: int  #: How many (zeros not counted)
    file_bytes: int
    macs_per_pixel: float  #: Multiplications for each pixel that it reads
    #: Results of all layers, per pixel that it learns from; where it learns from the
    #: middles of patches, per patch
    values: float
    stride: int  #: Sides of what it reads are multiples of it, in pixels
    #: Side of the patch whose middle it names, in pixels; None = it names all pixels
    patch: int | None
    #: Measured here, for a million pixels that the network reads; None = not yet
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


@dataclass(frozen=True)
class Circumstances:
    """What a network is to be used on."""

    smallest_side: int  #: Shortest side of any image, in image pixels; 0 = not known
    factor: float  #: Image pixels per pixel that the network reads, to one side
    batch: int  #: Patches a step


def warning(known: Figures, around: Circumstances) -> str:
    """Why a network is out of reach, in one sentence; empty if it is not."""
    return (
        _too_large_for(known, around)
        or _too_much_memory(known, around)
        or _too_slow(known, around)
    )


def training_bytes(known: Figures, batch: int) -> float:
    """About how much memory a training needs."""
    pixels = 1 if known.patch else PATCH_SIDE**2
    results = known.values * pixels * batch * COPIES * BYTES_A_VALUE
    return results + BYTES_A_TRAINED_WEIGHT * known.weights


def _memory_bytes() -> float | None:
    """Memory of where training computes; None where nobody knows."""
    device = pick_device("auto")
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[1])
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # not on every system
        return None


def _too_large_for(known: Figures, around: Circumstances) -> str:
    side = int(around.smallest_side / around.factor)
    if not around.smallest_side or side >= (known.patch or known.stride):
        return ""
    have = f"the smallest image has only {side} to a side at this pixel size"
    if known.patch:
        return (
            f"This network looks at {known.patch} × {known.patch} pixels around each "
            f"pixel, and {have}: choose a finer pixel size or another network."
        )
    return (
        f"This network joins {known.stride} × {known.stride} pixels into one at its "
        f"coarsest level, and {have}: take fewer levels or a finer pixel size."
    )


def _too_much_memory(known: Figures, around: Circumstances) -> str:
    needed, there = training_bytes(known, around.batch), _memory_bytes()
    if there is None or needed < MOST_OF_MEMORY * there:
        return ""
    return (
        f"Learning would need about {words.file_size(needed)} of memory, and there are "
        f"{words.file_size(there)}: take fewer maps, or fewer patches a step."
    )


def _too_slow(known: Figures, around: Circumstances) -> str:
    if known.ms_per_megapixel is None:
        return ""
    needed = known.ms_per_megapixel / around.factor**2
    if needed < LONG_MS:
        return ""
    return (
        f"One megapixel of your image would take about {words.milliseconds(needed)} "
        "here: take a smaller network, or look at small areas only."
    )


@dataclass(frozen=True)
class Traits:
    """What the forms have to know about a network."""

    names_centres: bool = False  #: Whether it learns from the middles of patches
    #: Whether it says how far each pixel is from the edge of its object
    has_distance: bool = False


@lru_cache(maxsize=32)
def preset_weights(network: str) -> dict[str, int]:
    """Weights of every preset of a network, for grey images and one class."""
    with torch.device("meta"):
        return {
            name: count_parameters(build_network(network, dict(sizes), 1, 2))
            for name, sizes in networks[network].presets.items()
        }


@lru_cache(maxsize=32)
def traits_of(network: str) -> Traits:
    """Traits of a network.

    Parameters
    ----------
    network
        Its registered name; one that is not known here has none.
    """
    if network not in networks:
        return Traits()
    preset = list(networks[network].presets)[-1]  # all of a kind are alike in this
    with torch.device("meta"):
        made = build_network(network, resolve_sizes(network, preset), 1, 2)
    return Traits(made.patch is not None, made.regressions > 0)
