"""Areas and objects of images that come block by block, each counted once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_topiary.annotations.label_images import EIGHT
from napari_topiary.types import LabelImage

SAME = 0.5
"""An object of a block is one that is there already if it covers this share of it, or
is covered to this share by it."""


class ConnectedAreas:
    """Counts and measures connected areas of a mask that comes in blocks.

    Blocks come row by row, from the left; those of a row have the same height.

    Parameters
    ----------
    width
        Of the whole mask in pixels.
    diagonal
        Whether pixels that touch by a corner only are connected.
    """

    def __init__(self, width: int, *, diagonal: bool) -> None:
        self._structure = EIGHT if diagonal else None
        self._reach = (-1, 0, 1) if diagonal else (0,)
        self._above = np.zeros(width + 2, dtype=np.int64)
        self._below = np.zeros(width + 2, dtype=np.int64)
        self._left = np.zeros(0, dtype=np.int64)
        self._top = 0
        self._count = 0
        self._sums: list[NDArray[np.float64]] = []
        self._links: list[NDArray[np.int64]] = []

    def add(
        self,
        mask: NDArray[np.bool_],
        corner: tuple[int, int],
        measure: Callable[..., Sequence[NDArray[np.floating]]] | None = None,
    ) -> None:
        """Add the next block.

        Parameters
        ----------
        mask
            `(y, x)`.
        corner
            y, x of its first pixel.
        measure
            Gives, for rows and columns `(n,)` of pixels in the mask, values `(n,)` that
            are summed over each area, beside its pixels.
        """
        top, left = corner
        if top != self._top:
            self._above, self._below = self._below, np.zeros_like(self._above)
            self._top = top
        own, count = ndi.label(mask, structure=self._structure)
        y, x = np.nonzero(own)
        weights = [None, *(measure(y, x) if measure is not None else ())]
        inside = own[y, x] - 1
        self._sums.append(
            np.stack(
                [np.bincount(inside, one, minlength=count) for one in weights], axis=1
            ).astype(np.float64)
        )
        numbers = np.where(own > 0, own + np.int64(self._count), 0)
        height, width = mask.shape
        for shift in self._reach:
            start = left + 1 + shift
            self._link(numbers[0], self._above[start : start + width])
            if left:
                beside = np.pad(self._left, 1)[1 + shift : 1 + shift + height]
                self._link(numbers[:, 0], beside)
        self._below[left + 1 : left + 1 + width] = numbers[-1]
        self._left = numbers[:, -1]
        self._count += count

    def result(self) -> NDArray[np.float64]:
        """Return a row for each area: its pixels, then the sums of the values."""
        if self._count == 0:
            return np.zeros((0, self._sums[0].shape[1] if self._sums else 1))
        sums = np.concatenate(self._sums)
        count, group = _groups(self._links, self._count)
        total = np.zeros((count, sums.shape[1]))
        np.add.at(total, group, sums)
        return total

    def _link(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> None:
        both = (one > 0) & (other > 0)
        if both.any():
            pairs = np.stack([one[both], other[both]], axis=1) - 1
            self._links.append(np.unique(pairs, axis=0))


class Store(Protocol):
    """Numbers `(y, x)` on disk."""

    def __getitem__(self, place: Any) -> NDArray[np.integer]:
        """Read a part."""
        ...

    def __setitem__(self, place: Any, numbers: NDArray[np.integer]) -> None:
        """Write a part."""
        ...


class Objects:
    """Objects that are found window by window, each stored once with one number.

    Windows overlap, so that most objects are seen whole; those that are not are joined
    where they overlap.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sizes: list[int] = [0]
        self._links: list[NDArray[np.int64]] = []

    def add(
        self, labels: LabelImage, corner: tuple[int, int], block: tuple[slice, slice]
    ) -> None:
        """Add what is found in the next window.

        Parameters
        ----------
        labels
            `(y, x)` of the window.
        corner
            y, x of its first pixel.
        block
            Part of the window whose objects are wanted, as rows and columns of it.
        """
        wanted = np.unique(labels[block])
        wanted = wanted[wanted > 0]
        if not len(wanted):
            return
        chosen = np.isin(labels, wanted)
        rows, columns = _box(chosen)
        place = (
            slice(corner[0] + rows.start, corner[0] + rows.stop),
            slice(corner[1] + columns.start, corner[1] + columns.stop),
        )
        new = np.where(chosen, labels, 0)[rows, columns].astype(np.int64)
        there = np.asarray(self._store[place]).astype(np.int64)
        numbers = self._matched(new, there, wanted)
        free = (new > 0) & (there == 0)
        if free.any():
            placed = numbers[new[free]]
            there[free] = placed
            sizes = np.bincount(placed, minlength=len(self._sizes))
            for number in np.flatnonzero(sizes):
                self._sizes[number] += int(sizes[number])
            self._store[place] = there.astype(np.uint32)

    def numbers(self, smallest: int) -> NDArray[np.uint32]:
        """Return the final number, 1..n, of each stored one; 0 = too small.

        Parameters
        ----------
        smallest
            Smaller objects are dropped, in pixels.
        """
        _, group = _groups(self._links, len(self._sizes))
        sizes = np.bincount(group, weights=self._sizes)
        keep = sizes >= max(1, smallest)
        keep[group[0]] = False
        final: NDArray[np.uint32] = np.where(keep, keep.cumsum(), 0)[group].astype(
            np.uint32
        )
        return final

    def _matched(
        self,
        new: NDArray[np.int64],
        there: NDArray[np.int64],
        wanted: NDArray[np.integer],
    ) -> NDArray[np.int64]:
        """Return the stored number of each label, with new ones for new objects."""
        numbers = np.zeros(int(wanted.max()) + 1, dtype=np.int64)
        sizes = np.bincount(new.ravel(), minlength=len(numbers))
        both = (new > 0) & (there > 0)
        pairs, counts = np.unique(
            np.stack([new[both], there[both]]), axis=1, return_counts=True
        )
        stored, totals = np.unique(there[there > 0], return_counts=True)
        total_of = dict(zip(stored.tolist(), totals.tolist(), strict=True))
        for index in np.argsort(-counts, kind="stable"):
            label, number = pairs[:, index].tolist()
            smaller = min(int(sizes[label]), total_of[number])
            if counts[index] < SAME * smaller:
                continue
            if numbers[label]:
                self._links.append(np.array([[numbers[label], number]]))
            else:
                numbers[label] = number
        fresh = [label for label in wanted.tolist() if not numbers[label]]
        numbers[fresh] = len(self._sizes) + np.arange(len(fresh))
        self._sizes += [0] * len(fresh)
        return numbers


def _groups(
    links: list[NDArray[np.int64]], count: int
) -> tuple[int, NDArray[np.integer]]:
    """Return how many groups linked numbers make, and that of each."""
    pairs = np.concatenate([np.zeros((0, 2), dtype=np.int64), *links])
    graph = scipy.sparse.coo_array(
        (np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])),
        shape=(count, count),
    )
    found, group = scipy.sparse.csgraph.connected_components(graph, directed=False)
    return int(found), group


def _box(chosen: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows = np.flatnonzero(chosen.any(axis=1))
    columns = np.flatnonzero(chosen.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
