"""Numbers of objects through the slices of a stack, linked where they overlap."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from napari_topiary.types import LabelImage

SAME_OBJECT = 0.25
"""Areas of two slices are one object from this overlap (intersection over union) on."""


class Numbering:
    """Gives the objects of a stack their numbers, slice by slice.

    Without linking, every object of every slice has a number of its own. With it, an
    object takes the number of the one in the slice before that it overlaps most, and
    each of those goes on in one object only.

    Parameters
    ----------
    linked
        Whether objects are linked.

    Attributes
    ----------
    count
        Numbers that were given so far.
    """

    def __init__(self, *, linked: bool) -> None:
        self.linked = linked
        self.count = 0
        self._labels: NDArray[np.int64] | None = None
        self._particles: tuple[NDArray[np.float64], ...] | None = None

    def objects(self, labels: LabelImage) -> NDArray[np.int64]:
        """Return the objects of the next slice with their numbers in the stack.

        Parameters
        ----------
        labels
            `(y, x)`: 0 = background, each object with a number above it.
        """
        present = np.unique(labels[labels > 0]).astype(np.int64)
        numbers = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int64)
        if self.linked and self._labels is not None and len(present):
            for here, before in _overlapping(labels, self._labels):
                numbers[here] = before
        self._number(numbers, present)
        numbered: NDArray[np.int64] = numbers[labels]
        self._labels = numbered if self.linked else None
        return numbered

    def particles(
        self,
        places: NDArray[np.float64],
        classes: NDArray[np.int64],
        radii: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """Return the number in the stack of each particle of the next slice.

        Discs that overlap by half a diameter are linked: those of one class whose
        centres are no farther apart than a radius.

        Parameters
        ----------
        places
            `(n, 2)` y, x in pixels.
        classes
            `(n,)` class index.
        radii
            `(n,)` in pixels.
        """
        numbers = np.zeros(len(places), dtype=np.int64)
        if self.linked and self._particles is not None:
            for here, before in _near(places, classes, radii, self._particles):
                numbers[here] = before
        self._number(numbers, np.arange(len(places)))
        self._particles = places, classes.astype(np.float64), numbers.astype(np.float64)
        return numbers

    def _number(self, numbers: NDArray[np.int64], wanted: NDArray[np.int64]) -> None:
        """Give new numbers to those that have none, in place."""
        new = wanted[numbers[wanted] == 0]
        numbers[new] = self.count + 1 + np.arange(len(new))
        self.count += len(new)


def _overlapping(here: LabelImage, before: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Pairs of objects that overlap, the most alike first, each object once."""
    both = (here > 0) & (before > 0)
    pairs, counts = np.unique(
        np.stack([here[both], before[both]]), axis=1, return_counts=True
    )
    sizes = dict(zip(*np.unique(here, return_counts=True), strict=True))
    earlier = dict(zip(*np.unique(before, return_counts=True), strict=True))
    shares = [
        count / (sizes[a] + earlier[b] - count)
        for a, b, count in zip(*pairs, counts, strict=True)
    ]
    good = [i for i in np.argsort(shares)[::-1] if shares[i] >= SAME_OBJECT]
    return _once([(int(pairs[0, i]), int(pairs[1, i])) for i in good])


def _near(
    places: NDArray[np.float64],
    classes: NDArray[np.int64],
    radii: NDArray[np.float64],
    before: tuple[NDArray[np.float64], ...],
) -> list[tuple[int, int]]:
    """Pairs of particles near one another, the nearest first, each once."""
    earlier, kinds, numbers = before
    if not len(places) or not len(earlier):
        return []
    found = scipy.spatial.cKDTree(places).query_ball_tree(
        scipy.spatial.cKDTree(earlier), float(radii.max())
    )
    pairs = [
        (float(np.hypot(*(places[a] - earlier[b]))), a, b)
        for a, others in enumerate(found)
        for b in others
        if classes[a] == kinds[b]
    ]
    near = sorted(pair for pair in pairs if pair[0] <= radii[pair[1]])
    return _once([(a, int(numbers[b])) for _, a, b in near])


def _once(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pairs of which neither member is in an earlier one."""
    kept, here, before = [], set[int](), set[int]()
    for a, b in pairs:
        if a not in here and b not in before:
            kept.append((a, b))
            here.add(a)
            before.add(b)
    return kept
