"""Which pixels a network that classifies patches by their centre learns from.

Every annotated pixel is an example. They are drawn as they are (natural), or every
class equally often; all of them, or a fixed selection of which the larger ones contain
the smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from napari_topiary.config import Balance
from napari_topiary.data.sampling import NOTHING_KNOWN, Batch, Field
from napari_topiary.errors import TopiaryError

TURNS = 8
"""A square can be turned and flipped in so many ways."""


def centre_pixels(
    target: NDArray[np.integer],
    n: int | None = None,
    *,
    seed: int = 0,
    balance: Balance = "natural",
) -> NDArray[np.int64]:
    """Choose annotated pixels: the first `n` of one fixed random order.

    Parameters
    ----------
    target
        Class index, −1 = unknown; any shape.
    n
        How many; None = all. More than there are gives all.
    seed
        Of the order.
    balance
        `natural`: the order mixes all known pixels; `classes`: it takes one pixel of
        each class in turn, until a class is used up.

    Returns
    -------
    ndarray
        Flat indices into the target, in the order.
    """
    flat = target.ravel()
    random = np.random.default_rng(seed)
    if balance == "natural":
        order = random.permutation(np.flatnonzero(flat >= 0))
        return order[:n]
    pools = [np.flatnonzero(flat == c) for c in np.unique(flat[flat >= 0])]
    pools = [random.permutation(pool) for pool in pools]
    none = np.zeros(0, dtype=np.int64)
    turn = np.concatenate([none, *(np.arange(len(pool)) for pool in pools)])
    order = np.concatenate([none, *pools])
    return order[np.argsort(turn, kind="stable")][:n]


class Surroundings:
    """The patches around pixels of several images, mirrored beyond the borders.

    Parameters
    ----------
    fields
        Images on the working grid; may be of different sizes.
    patch
        Side of the patches, in pixels; the centre is at offset `patch // 2`.
    """

    def __init__(self, fields: Sequence[Field], patch: int) -> None:
        self.fields, self.patch = tuple(fields), patch
        sizes = [field.target.size for field in self.fields]
        self._first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        none: list[NDArray[Any]] = [np.zeros(0, dtype=np.int16)]
        targets = [field.target.ravel() for field in self.fields]
        self.target = np.concatenate(targets or none)
        self.weight = np.concatenate([f.weight.ravel() for f in self.fields] or none)
        self._windows = [
            sliding_window_view(_enlarged(field.image, patch), (patch, patch), (1, 2))
            for field in self.fields
        ]

    def around(self, pixels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Patches `(n, c, p, p)` around numbered pixels `(n,)`."""
        number, y, x = self._places(pixels)
        channels = self._windows[0].shape[0]
        patches = np.empty(
            (len(pixels), channels, self.patch, self.patch), dtype=np.float32
        )
        for index in np.unique(number):
            mine = number == index
            found = self._windows[index][:, y[mine], x[mine]]
            patches[mine] = found.transpose(1, 0, 2, 3)
        return patches

    def teacher(self, pixels: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Probability `(n, k)` that the imitated network gives to pixels."""
        if any(field.teacher is None for field in self.fields):
            return None
        answers = [
            field.teacher[:, row, column]
            for index, row, column in zip(*self._places(pixels), strict=True)
            if (field := self.fields[index]).teacher is not None
        ]
        return np.stack(answers).astype(np.float32)

    def as_part(self, pixels: NDArray[np.int64]) -> NDArray[np.float32]:
        """`Field.as_part` of the images that pixels lie in, `(n, 2)`."""
        number, *_ = self._places(pixels)
        return np.array([field.as_part for field in self.fields], np.float32)[number]

    def _places(self, pixels: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Field, row and column of numbered pixels."""
        number = np.searchsorted(self._first, pixels, side="right") - 1
        widths = np.array([field.target.shape[1] for field in self.fields])[number]
        y, x = np.divmod(pixels - self._first[number], widths)
        return number, y, x


def _enlarged(image: NDArray[np.float32], patch: int) -> NDArray[np.float32]:
    """Mirror an image `(c, y, x)` so that every pixel has a whole patch."""
    beyond = (patch // 2, patch - 1 - patch // 2)
    return np.pad(image, ((0, 0), beyond, beyond), mode="reflect")


class CentreSampler:
    """Draws random patches, each with the class of its centre pixel.

    Parameters
    ----------
    fields
        Training images on the working grid.
    patch
        Side of the patches, in working pixels.
    seed
        Same seed, same patches.
    balance
        How often each class is drawn.
    pixels
        Learn from so many pixels only (see `centre_pixels`); None = from all.
    turn
        Turn and flip patches about their centre pixel.

    Raises
    ------
    TopiaryError
        If no pixel is annotated at all.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        *,
        patch: int,
        seed: int,
        balance: Balance = "classes",
        pixels: int | None = None,
        turn: bool = False,
    ) -> None:
        self.patch, self._turn = patch, turn
        # Turned about a pixel, a patch of even side would lose that pixel's row.
        self._around = Surroundings(fields, patch | 1)
        target = self._around.target
        known = target >= 0
        if pixels is not None:
            chosen = centre_pixels(target, pixels, seed=seed, balance=balance)
            known = np.zeros_like(known)
            known[chosen] = True
        if not known.any():
            raise TopiaryError(NOTHING_KNOWN)
        self._pools = (
            [np.flatnonzero(known)]
            if balance == "natural"
            else [
                np.flatnonzero(known & (target == c)) for c in np.unique(target[known])
            ]
        )
        self._random = np.random.default_rng(seed)

    @property
    def known_pixels(self) -> int:
        """How many pixels are learned from."""
        return sum(map(len, self._pools))

    def class_weight(self, n_classes: int) -> torch.Tensor:
        """Ones `(k,)`: centre pixels are drawn as often as they shall count."""
        return torch.ones(n_classes)

    def draw(self, n: int) -> Batch:
        """Draw `n` patches; `target` and `weight` of the batch are `(n, 1, 1)`."""
        which = self._random.integers(len(self._pools), size=n)
        share = self._random.random(n)
        pixels = np.empty(n, dtype=np.int64)
        for index, pool in enumerate(self._pools):
            mine = which == index
            pixels[mine] = pool[(share[mine] * len(pool)).astype(np.int64)]
        patches = self._around.around(pixels)
        if self._turn:
            patches = _turned(patches)
        patches = patches[:, :, : self.patch, : self.patch]
        teacher = self._around.teacher(pixels)
        target = self._around.target[pixels].astype(np.int64)
        return Batch(
            torch.from_numpy(np.ascontiguousarray(patches)),
            torch.from_numpy(target)[:, None, None],
            torch.from_numpy(self._around.weight[pixels])[:, None, None],
            None if teacher is None else torch.from_numpy(teacher)[:, :, None, None],
            as_part=torch.from_numpy(self._around.as_part(pixels)),
        )


def _turned(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn every eighth patch in the same way: their order is random already."""
    turned = np.empty_like(patches)
    for way in range(TURNS):
        some = np.rot90(patches[way::TURNS], way % 4, axes=(2, 3))
        turned[way::TURNS] = some[..., ::-1] if way >= 4 else some
    return turned
