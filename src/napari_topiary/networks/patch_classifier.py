"""Networks that look at a patch and say of which class its centre pixel is.

An image is answered at every pixel: its border is mirrored, so that pixels near it have
a whole patch too. The centre of a patch of `p` pixels is at offset `p // 2`.

Where the layers after the poolings just cover what is left of the patch, an image needs
no patches cut out of it: the same layers run over all of it, with the poolings at every
offset. Each pixel gets exactly the answer that its patch would get, at the price of a
few patches an image. A max-pooling keeps one of four grids. Taken at all four offsets,
the pooled maps can be put one behind the other along the batch and be convolved as they
are; the next pooling makes sixteen of them, and so on. At the end each holds the
answers of a sparse grid of pixels, and together they are an answer for every pixel
(Giusti et al. 2013). That is the same arithmetic as pooling with stride 1 and spreading
later kernels, but only with ordinary convolutions on small contiguous maps, which suit
processors better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from napari_topiary.networks.base import Network, Sizes
from napari_topiary.networks.layers import initialise

PATCHES = 256
"""Patches that are classified at a time where there is no dense form."""
BLOCK = 128
"""Side of what is computed at a time, in pixels: its maps stay in the caches."""
VALUES = 4_000_000
"""Values of the fully connected layer that are made at a time."""
POOLINGS = 3


class PatchClassifier(Network):
    """Base of the classifiers of centre pixels.

    A subclass says how patches are classified; one that knows a faster way to classify
    every pixel of an image overrides `sweep`.

    Parameters
    ----------
    patch
        Side of the patch, in pixels.
    """

    stride = 1
    dense = False
    output_layers = ("output",)
    grain: ClassVar[int] = 1
    """`sweep` answers sides that are multiples of it, in pixels."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.patch: int = patch
        self.halo = patch // 2

    def classify(self, patches: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k)` of the centre pixels of patches `(b, c, p, p)`."""
        raise NotImplementedError

    def on_patches(self, patches: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k, 1, 1)` of the centre pixels of patches `(b, c, p, p)`."""
        return self.classify(patches)[:, :, None, None]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k, y, x)` of an image `(b, c, y, x)` mirrored at its border."""
        return self.within(image, slice(0, image.shape[2]), slice(0, image.shape[3]))

    def within(self, image: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
        """Logits of a rectangle of an image, computed nowhere else.

        Parameters
        ----------
        image
            `(b, c, y, x)`.
        rows, columns
            The rectangle, with start and stop, in pixels.

        Returns
        -------
        Tensor
            `(b, k, rows, columns)`.
        """
        seen = self._seen(image, 2, rows)
        seen = self._seen(seen, 3, columns)
        seen = seen.contiguous(memory_format=torch.channels_last)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        return self.sweep(seen)[:, :, :height, :width]

    def sweep(self, seen: torch.Tensor) -> torch.Tensor:
        """Logits of every whole patch of an image.

        Parameters
        ----------
        seen
            `(b, c, y + p - 1, x + p - 1)`.

        Returns
        -------
        Tensor
            `(b, k, y, x)`.
        """
        side = self.patch
        windows = seen.unfold(2, side, 1).unfold(3, side, 1).movedim(1, 3)
        number, height, width = windows.shape[:3]
        logits = []
        for some in torch.split(torch.arange(number * height * width), PATCHES):
            image, place = some // (height * width), some % (height * width)
            patches = windows[image, place // width, place % width]
            patches = patches.contiguous(memory_format=torch.channels_last)
            logits.append(self.classify(patches))
        answers = torch.cat(logits).reshape(number, height, width, -1)
        return answers.movedim(3, 1)

    def _seen(self, image: torch.Tensor, axis: int, inside: slice) -> torch.Tensor:
        """Cut what the patches of some pixels see out of a mirrored image."""
        extra = -(inside.stop - inside.start) % self.grain
        beyond = (self.patch // 2, self.patch + extra)
        index = np.pad(np.arange(image.shape[axis]), beyond, mode="reflect")
        wanted = index[inside.start : inside.stop + extra + self.patch - 1]
        return image.index_select(axis, torch.from_numpy(wanted).to(image.device))


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
            initialise(layer, gain=1 if layer is self.output else 2)

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

    def in_one_piece(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k, y, x)` of an image; y and x multiples of 8."""
        before = self.patch // 2
        ends = (before, self.patch - 1 - before)
        maps = self._fragments(F.pad(image, ends + ends, mode="reflect"))
        return assembled(self.output(F.relu_(self.fc1(maps))), POOLINGS)

    def _fragments(self, maps: torch.Tensor) -> torch.Tensor:
        for convolution in (self.conv1, self.conv2, self.conv3):
            # The largest of rectified values is the largest value, rectified.
            maps = F.relu_(fragments(convolution(maps)))
        return maps

    def _block(self, seen: torch.Tensor) -> torch.Tensor:
        maps = self._fragments(seen)
        # Every fragment for itself: a thousand units of all pixels are too many values.
        most = max(1, VALUES // max(1, self.fc1.out_channels * maps[0, 0].numel()))
        logits = [
            self.output(F.relu_(self.fc1(some))) for some in torch.split(maps, most)
        ]
        return assembled(torch.cat(logits), POOLINGS)


@dataclass(frozen=True)
class PooledSizes(Sizes):
    """How many maps each layer of a `PooledClassifier` has."""

    patch: ClassVar[int]
    kernels: ClassVar[tuple[int, int, int, int]]
    #: `conv1`, `conv2`, `conv3`: maps of the convolutions
    conv1: int = 1
    conv2: int = 1
    conv3: int = 1
    fc: int = 1  #: Units of the fully connected layer

    def parameters(self, in_channels: int, n_classes: int) -> int:
        """Count the weights without building anything."""
        maps = (in_channels, self.conv1, self.conv2, self.conv3, self.fc, n_classes)
        layers = zip(maps, maps[1:], (*self.kernels, 1), strict=False)
        return sum((into * side**2 + 1) * out for into, out, side in layers)

    @classmethod
    def build(
        cls, sizes: Mapping[str, Any], in_channels: int, n_classes: int
    ) -> PooledClassifier:
        """Build the network of such sizes."""
        made = cls.from_mapping(sizes)
        return PooledClassifier(
            (made.conv1, made.conv2, made.conv3, made.fc),
            cls.kernels,
            patch=cls.patch,
            in_channels=in_channels,
            n_classes=n_classes,
        )


def maps_row(layer: int, tip: str) -> dict[str, Any]:
    """Form row of the number of maps of a convolution."""
    return {"label": f"Maps of layer {layer}", "min": 1, "max": 512, "tooltip": tip}


def units_row(tip: str) -> dict[str, Any]:
    """Form row of the number of units of the fully connected layer."""
    return {"label": "Fully connected units", "min": 1, "max": 8192, "tooltip": tip}


def fragments(maps: torch.Tensor) -> torch.Tensor:
    """Max-pool 2×2 at all four offsets.

    Parameters
    ----------
    maps
        `(b, c, y, x)`.

    Returns
    -------
    Tensor
        `(4·b, c, (y − 1) // 2, (x − 1) // 2)`: offsets (0, 0), (0, 1), (1, 0), (1, 1),
        each of the whole batch.
    """
    height, width = ((side - 1) // 2 for side in maps.shape[2:])
    last = maps.permute(0, 2, 3, 1)  # whole pixels are copied, not single values
    found = []
    for i in (0, 1):
        upper = last[:, i : i + 2 * height : 2]
        lower = last[:, i + 1 : i + 1 + 2 * height : 2]
        rows = torch.maximum(upper, lower)
        for j in (0, 1):
            left = rows[:, :, j : j + 2 * width : 2]
            right = rows[:, :, j + 1 : j + 1 + 2 * width : 2]
            found.append(torch.maximum(left, right))
    return torch.cat(found).permute(0, 3, 1, 2)


def assembled(maps: torch.Tensor, poolings: int) -> torch.Tensor:
    """Put the fragments of several poolings back in their places.

    Parameters
    ----------
    maps
        `(4**n · b, k, y, x)` after n poolings.
    poolings
        The n.

    Returns
    -------
    Tensor
        `(b, k, 2**n · y, 2**n · x)`.
    """
    for _ in range(poolings):
        offsets = maps.reshape(2, 2, -1, *maps.shape[1:])  # of the last pooling
        spread = offsets.permute(2, 3, 4, 0, 5, 1)
        maps = spread.flatten(4, 5).flatten(2, 3)
    return maps
