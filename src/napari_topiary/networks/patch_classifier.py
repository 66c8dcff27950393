"""Networks that look at a patch and say of which class its centre pixel is.

An image is answered at every pixel: its border is mirrored, so that pixels near it have
a whole patch too. The centre of a patch of `p` pixels is at offset `p // 2`.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from napari_topiary.networks.base import Network
from napari_topiary.networks.mirroring import mirrored

PATCHES = 256
"""Patches that are classified at a time where there is no dense form."""


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
        index = mirrored(image.shape[axis], self.patch // 2, self.patch + extra)
        wanted = index[inside.start : inside.stop + extra + self.patch - 1]
        return image.index_select(axis, torch.from_numpy(wanted).to(image.device))
