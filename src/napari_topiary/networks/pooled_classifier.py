"""Convolutions with pooling between them, then fully connected layers: densely too.

The fully connected layers are convolutions that just cover what is left of the patch.
So an image needs no patches cut out of it: the same layers run over all of it, with the
poolings at every offset (see `fragments`). Each pixel gets exactly the answer that its
patch would get, at the price of a few patches an image.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from napari_topiary.networks.fragments import assembled, fragments
from napari_topiary.networks.patch_classifier import PatchClassifier

BLOCK = 128
"""Side of what is computed at a time, in pixels: its maps stay in the caches."""
VALUES = 4_000_000
"""Values of the fully connected layer that are made at a time."""
POOLINGS = 3


class PooledClassifier(PatchClassifier):
    """Three convolutions, each with ReLU and 2×2 max-pooling, and two full layers.

    Layers `conv1`, `conv2`, `conv3`, `fc1` and `output`; pruned copies differ only in
    their widths.

    Parameters
    ----------
    maps
        Of the three convolutions and of the fully connected layer.
    kernels
        Sides of the kernels of these four, in pixels of what they read.
    patch
        Side of the patch, in pixels.
    in_channels
        Channels of the image.
    n_classes
        Outputs.
    """

    dense = True
    grain = 2**POOLINGS
    largest_side = 256

    def __init__(
        self,
        maps: tuple[int, int, int, int],
        kernels: tuple[int, int, int, int],
        *,
        patch: int,
        in_channels: int,
        n_classes: int,
    ) -> None:
        super().__init__(patch)
        self.conv1 = nn.Conv2d(in_channels, maps[0], kernels[0])
        self.conv2 = nn.Conv2d(maps[0], maps[1], kernels[1])
        self.conv3 = nn.Conv2d(maps[1], maps[2], kernels[2])
        self.fc1 = nn.Conv2d(maps[2], maps[3], kernels[3])
        self.output = nn.Conv2d(maps[3], n_classes, 1)
        for layer in (self.conv1, self.conv2, self.conv3, self.fc1, self.output):
            _initialise(layer, gain=1 if layer is self.output else 2)

    def classify(self, patches: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k)` of the centre pixels of patches `(b, c, p, p)`."""
        maps = patches
        for convolution in (self.conv1, self.conv2, self.conv3):
            maps = F.max_pool2d(F.relu_(convolution(maps)), 2)
        logits: torch.Tensor = self.output(F.relu_(self.fc1(maps)))
        return logits.flatten(1)

    def sweep(self, seen: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k, y, x)` of every whole patch of an image, block by block.

        Parameters
        ----------
        seen
            `(b, c, y + p - 1, x + p - 1)`; y and x multiples of 8.
        """
        more = self.patch - 1
        height, width = (side - more for side in seen.shape[2:])
        rows = []
        for top in range(0, height, BLOCK):
            bottom = min(top + BLOCK, height) + more
            row = [
                self._block(seen[:, :, top:bottom, left : left + BLOCK + more])
                for left in range(0, width, BLOCK)
            ]
            rows.append(torch.cat(row, dim=3))
        return torch.cat(rows, dim=2)

    def _block(self, seen: torch.Tensor) -> torch.Tensor:
        maps = seen
        for convolution in (self.conv1, self.conv2, self.conv3):
            # The largest of rectified values is the largest value, rectified.
            maps = F.relu_(fragments(convolution(maps)))
        # Every fragment for itself: a thousand units of all pixels are too many values.
        most = max(1, VALUES // max(1, self.fc1.out_channels * maps[0, 0].numel()))
        logits = [
            self.output(F.relu_(self.fc1(some))) for some in torch.split(maps, most)
        ]
        return assembled(torch.cat(logits), POOLINGS)


def _initialise(layer: nn.Conv2d, gain: int) -> None:
    """He initialisation: keeps the variance through ReLUs."""
    if layer.weight.is_meta:  # only shapes are wanted
        return
    fan = layer.in_channels * math.prod(layer.kernel_size)
    nn.init.normal_(layer.weight, std=math.sqrt(gain / fan))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
