"""Weights, file size and speed of a network that does not exist yet; no Qt in here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.devices import pick_device
from napari_topiary.networks import Network, build_network, count_parameters
from napari_topiary.pruning import measure_speed
from napari_topiary.types import Job, Progress, Stop

SIDE = 256
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
    ms_per_megapixel
        Measured here, for a million pixels that the network reads; None = not yet.
    """

    weights: int
    file_bytes: int
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
    checkpoint = blueprint.checkpoint
    if checkpoint is not None:
        counted = Figures(checkpoint.parameters_nonzero, checkpoint.file_bytes())
    else:
        with torch.device("meta"):  # shapes only: the largest costs nothing, too
            weights = count_parameters(blueprint.build())
        counted = Figures(weights, BYTES_A_WEIGHT * weights)
    message = yield Progress(0, 0, "Counting", report=counted)
    if message is Stop or not measure:
        return counted
    device = pick_device("auto")
    speed = yield from measure_speed(
        {"": blueprint.build()},
        in_channels=blueprint.in_channels,
        device=device,
        side=SIDE,
        rounds=3,
    )
    return replace(counted, ms_per_megapixel=speed.get(""))
