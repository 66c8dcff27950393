"""How fast networks are on this machine, and how much two of them agree."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

import numpy as np
import torch

from napari_topiary.inference.backends.pytorch import precision
from napari_topiary.networks.base import Network
from napari_topiary.types import Job, Probability, Progress, Stop


def measure_speed(
    networks: Mapping[str, Network],
    *,
    in_channels: int,
    device: torch.device,
    side: int = 512,
    rounds: int = 5,
) -> Job[dict[str, float]]:
    """Measure milliseconds per megapixel, as prediction computes.

    The networks take turns, so that a machine that is busy with something else slows
    all of them alike and their ratio holds.

    Parameters
    ----------
    networks
        Name -> network; moved to the device, otherwise left alone.
    in_channels
        Channels of the images.
    device
        Where to measure.
    side
        Of the square image, in network pixels; rounded up to each stride, and no more
        than a network does at a time.
    rounds
        Measured runs each, after one to warm up.

    Yields
    ------
    Progress
        After every run; a `Stop` sent in returns the medians so far.
    """
    for network in networks.values():
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.eval()
    ready = dict(networks)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    total = (rounds + 1) * len(networks)
    for index in range(total):
        name = list(ready)[index % len(ready)]
        took, pixels = _one_run(ready[name], in_channels, device, side)
        if index >= len(ready):  # the first round warms up
            seconds[name].append(took / pixels)
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


def _one_run(
    network: Network, channels: int, device: torch.device, side: int
) -> tuple[float, int]:
    """Seconds of one forward pass, and its pixels."""
    side = min(side, network.largest_side or side)
    side = -(-side // network.stride) * network.stride
    image = torch.zeros(1, channels, side, side, device=device)
    image = image.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), precision(device, None):
        # Tile after tile a network finds its memory as the last run has left it.
        network(image)
        _synchronise(device)
        begun = time.perf_counter()
        network(image)
        _synchronise(device)
        return time.perf_counter() - begun, side * side


def _synchronise(device: torch.device) -> None:
    """Wait for a device that computes in the background."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
