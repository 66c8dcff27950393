"""How fast networks are on this machine, and how much two of them agree."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.inference.engine import Engine
from napari_topiary.networks.base import Network
from napari_topiary.types import Job, Probability, Progress, Stop


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


def agreement(a: Probability, b: Probability) -> float:
    """Share of pixels to which two predictions give the same class, 0..1.

    Parameters
    ----------
    a, b
        `(k, y, x)` on the same grid.
    """
    if a.shape != b.shape:
        raise ValueError(f"Predictions of shape {a.shape} and {b.shape} do not match.")
    return float(np.mean(a.argmax(axis=0) == b.argmax(axis=0)))


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
