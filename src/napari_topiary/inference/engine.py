"""Everything that runs a finished network runs here: what is fastest is chosen once.

The choice depends on the network, the device and the first tiles of the image, and
never shows in the result: a faster way is taken only where it says the same.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_topiary.inference.backends.pytorch import TorchBackend, folded
from napari_topiary.inference.devices import autocast_dtype, pick_device
from napari_topiary.io.memory import free_memory
from napari_topiary.networks.base import Network

MOST_CHANGED = 1e-3
"""Share of the pixels that may get another label from a faster way of computing."""
CHANGED = 0.05
"""A probability that differs by so much counts as another label."""
USUAL_TILE, LARGEST_TILE, SMALLEST_TILE = 512, 2048, 128
"""Sides in pixels: what suits nearly every network, and the most and least."""
SHARE_OF_MEMORY = 0.25
"""Of what is free, for the maps of one tile."""
MULTIPLICATIONS = {"cpu": 6e10, "mps": 5e11, "cuda": 5e12}
"""Tiles above the usual side have no more: Stop is heard after about two seconds."""
PROBED = 32
"""Side of the image that a network's cost is counted on, in pixels."""


class Engine:
    """Runs a network that does not change any more, on one device.

    Parameters
    ----------
    network
        In evaluation mode; moved to the device.
    device
        Where to compute.
    """

    def __init__(self, network: Network, device: torch.device | str = "auto") -> None:
        self.network, self.device = network, pick_device(device)
        ready, dtype = folded(network), autocast_dtype(self.device)
        self._chosen = TorchBackend(ready, self.device)
        self._reduced: TorchBackend | None = None
        if dtype is not None:
            self._reduced = TorchBackend(ready, self.device, dtype)

    @property
    def label(self) -> str:
        """What was chosen, in a few words: "torch, bfloat16"."""
        dtype = self._chosen.dtype or torch.float32
        return f"torch, {str(dtype).removeprefix('torch.')}"

    def __call__(
        self, image: NDArray[np.float32], rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """Probabilities, then values, `(k + r, rows, columns)` of a tile `(c, y, x)`.

        Parameters
        ----------
        image
            With context.
        rows, columns
            What of it is wanted, with start and stop.
        """
        maps = self._chosen(image, rows, columns)
        if self._reduced is not None:
            reduced, self._reduced = self._reduced, None
            again = reduced(image, rows, columns)
            if same_labels(maps, again, self.network):
                self._chosen = reduced
        return maps


def same_labels(
    exact: NDArray[np.float32], faster: NDArray[np.float32], network: Network
) -> bool:
    """Whether a faster way of computing says the same as the exact one.

    Parameters
    ----------
    exact, faster
        `(k + r, y, x)` of the same tile.
    network
        Knows how many of the maps are values.
    """
    classes = len(exact) - network.regressions
    changed = exact[:classes].argmax(axis=0) != faster[:classes].argmax(axis=0)
    # What is not a number is not the same either.
    changed |= ~(np.abs(exact - faster).max(axis=0) < CHANGED)
    return float(changed.mean()) <= MOST_CHANGED


def tile_side(network: Network, device: torch.device) -> int:
    """Side of the tiles of large images, in pixels.

    Large tiles waste little on context, but they need memory, and Stop is heard only
    between them.

    Parameters
    ----------
    network
        Of which maps and multiplications are counted.
    device
        Where it runs.
    """
    if network.patch is not None:
        return USUAL_TILE
    free = free_memory()
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    nbytes, multiplications = _cost(network, device)
    most = MULTIPLICATIONS[device.type] / multiplications
    by_time = min(max(USUAL_TILE, math.sqrt(most)), LARGEST_TILE)
    by_memory = math.sqrt(SHARE_OF_MEMORY * free / nbytes) - 2 * network.halo
    return int(max(SMALLEST_TILE, min(by_time, by_memory)))


def _cost(network: Network, device: torch.device) -> tuple[float, float]:
    """Bytes of all maps and multiplications, for one pixel of the image.

    Counted by running the network on a small image: without values it would take
    torch more than a second to get ready.
    """
    values = multiplications = 0

    def count(module: nn.Module, read: tuple[torch.Tensor], made: torch.Tensor) -> None:
        nonlocal values, multiplications
        applied = read[0] if isinstance(module, nn.ConvTranspose2d) else made
        weight = module.get_parameter("weight")
        values += made.numel()
        multiplications += weight.numel() * applied.shape[-2:].numel()

    convolutions = [
        module
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    hooks = [module.register_forward_hook(count) for module in convolutions]
    side = max(PROBED, network.stride)
    image = torch.zeros(1, convolutions[0].in_channels, side, side, device=device)
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            network(image)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    # Every convolution's maps once, and half of them again where they are joined.
    return 6 * values / side**2, multiplications / side**2
