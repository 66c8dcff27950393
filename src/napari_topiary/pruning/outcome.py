"""What came of a pruning: how fast, how alike, and whether it failed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.noise import answers_to_noise
from napari_topiary.networks.base import Network
from napari_topiary.types import Job, Progress, Stop

HARDLY = 0.25
"""Below this share of the quality before, a network finds hardly anything right."""
NEAR = 0.02
"""Shares of weights closer than this are what was asked for."""
LITTLE = 0.05
"""Below this share of what was marked or told apart before, that is over."""

NOTHING = 0.05
"""A network of no more than this quality finds hardly anything right."""


def pruning_problems(
    before: Checkpoint, after: Checkpoint, share: float
) -> tuple[str, ...]:
    """Return what was asked of a pruning and did not come; mostly nothing."""
    found = []
    if after.sparsity < share - NEAR:
        found.append(
            f"{after.sparsity:.1%} of the weights are gone instead of {share:.1%}."
        )
    quality, name = after.metrics.get("quality"), after.metrics.get("quality_name")
    if quality is None:
        return tuple(found)
    whole = float(before.metrics.get("quality") or 0.0)
    known = before.metrics.get("quality_name") == name
    never = known and whole <= NOTHING
    floor = HARDLY * whole if known and not never else NOTHING
    if float(quality) <= floor:
        held = after.metrics.get("held_out") or "what was held back"
        was = f" ({whole:.2f} before)" if known else ""
        more, advice = " any more", "Remove less, or fine-tune it more."
        if never:
            more, advice = "", "Nor did it before: mark more, and train it longer."
        found.append(
            f"The pruned network finds hardly anything right{more}: {name} "
            f"{float(quality):.2f}{was} on {held}. {advice}"
        )
    return tuple(found)


@dataclass(frozen=True)
class Doubt:
    """What noise says of a pruned network that nobody has validated."""

    sentence: str
    #: Whether it is no doubt but certain: all that gave one answer to all noise found
    #: nothing in images either, those that marked less of it mostly did
    is_certain: bool


def pruning_doubt(before: Checkpoint, after: Checkpoint) -> Doubt | None:
    """Say if a pruned network that was not validated is, or seems to be, dead.

    Both networks are shown noise. How good a network is that cannot tell, but whether
    it still tells anything apart.
    """
    if after.metrics.get("quality") is not None:
        return None
    try:
        was, now = answers_to_noise(before), answers_to_noise(after)
    except (RuntimeError, MemoryError):  # no room for a look is no reason to lose it
        return None
    if was.is_constant:
        return None  # the plan says so of the network itself
    marked, left = was.marked, now.marked
    is_certain = now.is_constant or now.spread < LITTLE * was.spread
    if is_certain:
        said = "gives the same answer to whatever it is shown"
    elif 0.01 <= marked < 0.99 and left < LITTLE * marked:
        said = f"finds nothing any more: in noise it marks {left:.1%}, the network"
        said += f" before {marked:.0%}"
    elif 0.01 <= marked < 0.99 and 1 - left < LITTLE * (1 - marked):
        said = f"finds something everywhere: in noise it marks {left:.1%}, the network"
        said += f" before {marked:.0%}"
    else:
        return None
    way_out = "Remove less, or fine-tune it on annotated images."
    return Doubt(f"The pruned network {said}. {way_out}", is_certain)


def measure_speed(
    networks: Mapping[str, Network | Engine],
    *,
    in_channels: int,
    device: torch.device,
    side: int = 512,
    rounds: int = 5,
) -> Job[dict[str, float]]:
    """Measure milliseconds per megapixel, by the engine that predicts.

    The networks take turns, so that a machine that is busy with something else slows
    all of them alike and their ratio holds.

    Parameters
    ----------
    networks
        Name -> network; moved to the device, otherwise left alone. An engine has its
        device.
    in_channels
        Channels of the images.
    device
        Where to measure.
    side
        Of the square image, in network pixels; rounded up to each stride, and no more
        than a network does at a time.
    rounds
        Measured runs each, after the engine has chosen what runs the network.

    Yields
    ------
    Progress
        After every run; a `Stop` sent in returns the medians so far.

    Returns
    -------
    dict
        By name; networks that were not measured are missing.
    """
    engines = {
        name: one if isinstance(one, Engine) else Engine(one, device)
        for name, one in networks.items()
    }
    tiles = {
        name: _tile(engine.network, in_channels, side)
        for name, engine in engines.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    total = (rounds + 1) * len(networks)
    for index in range(total):
        name = list(engines)[index % len(engines)]
        engine, tile = engines[name], tiles[name]
        if index < len(engines):
            engine.settle(tile)
        else:
            pixels = tile.shape[1] * tile.shape[2]
            seconds[name].append(_one_run(engine, tile) / pixels)
        message = yield Progress(index + 1, total, "Measuring the speed")
        if message is Stop:
            break
    return {name: 1e9 * median(times) for name, times in seconds.items() if times}


def _tile(network: Network, channels: int, side: int) -> NDArray[np.float32]:
    """An image `(c, y, x)` of a side that a network does at a time."""
    side = min(side, network.largest_side or side)
    side = -(-side // network.stride) * network.stride
    noise = np.random.default_rng(0).normal(size=(channels, side, side))
    return noise.astype(np.float32)


def _one_run(engine: Engine, tile: NDArray[np.float32]) -> float:
    """Seconds of one answer.

    Tile after tile a network finds its memory as the last one has left it: so one that
    is not timed comes first.
    """
    whole = slice(0, tile.shape[1]), slice(0, tile.shape[2])
    engine(tile, *whole)
    begun = time.perf_counter()
    engine(tile, *whole)
    return time.perf_counter() - begun
