"""Probability -> class labels, made tidy and numbered through stacks.

Small pieces are dropped, holes filled, objects cut at their necks: what is painted and
what a network has found are tidied by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.measure import label

from napari_topiary.annotations.label_images import sides_of
from napari_topiary.postprocessing.objects import NECK, areas_of, cut_apart
from napari_topiary.types import LabelImage, Task

COMMON_THRESHOLD = 0.5
"""Where a checkpoint knows nothing better, and where all are compared alike."""


def threshold_of(name: str, threshold: float | Mapping[str, float]) -> float:
    """Threshold of class `name`: one for all, or per class with 0.5 where missing."""
    if isinstance(threshold, Mapping):
        return float(threshold.get(name, COMMON_THRESHOLD))
    return float(threshold)


def class_labels(
    probability: NDArray[np.floating],
    *,
    task: Task,
    threshold: float | Mapping[str, float],
) -> NDArray[np.uint8]:
    """Class index of every pixel, 0 where no class reaches its threshold.

    Where several do, the one that exceeds its own threshold by the largest factor
    wins; with equal thresholds that is the most probable one.

    Parameters
    ----------
    probability
        `(k, y, x)`, class order of the task.
    task
        Names the classes.
    threshold
        One for all classes, or class name -> threshold.
    """
    limits = [threshold_of(name, threshold) for name in task.classes]
    labels: NDArray[np.uint8] = (probability[1] >= limits[1]).astype(np.uint8)
    if len(limits) == 2:
        return labels
    best = probability[1] / max(limits[1], 1e-6)
    for index in range(2, len(limits)):
        ratio = probability[index] / max(limits[index], 1e-6)
        better = (probability[index] >= limits[index]) & (ratio > best)
        labels[better] = index
        np.copyto(best, ratio, where=better)
    return labels


NECKS = (NECK, 0.8, 0.9, 0.97)
"""Tried one after the other where somebody says that it is more than one object."""


@dataclass(frozen=True, kw_only=True)
class Tidied:
    """Labels, and what was done to them."""

    labels: LabelImage  #: `(y, x)`, of the same type
    #: `dropped`, `filled`, `cut`: pieces that are gone, holes that are filled, objects
    #: that are new
    dropped: int = 0
    filled: int = 0
    cut: int = 0


def tidied(
    labels: LabelImage, *, smallest_px: int = 0, largest_hole_px: int = 0
) -> Tidied:
    """Drop small pieces, then fill small holes.

    Parameters
    ----------
    labels
        `(y, x)` class index or object numbers, 0 = background.
    smallest_px
        Smaller connected pieces of one number become background, in pixels.
    largest_hole_px
        Holes of up to so many pixels are filled, where they lie in one number alone:
        a gap between two objects is none.
    """
    made, dropped, filled = labels, 0, 0
    if smallest_px > 1:
        made, dropped = _without_small(made, smallest_px)
    if largest_hole_px > 0:
        made, filled = _filled(made, largest_hole_px)
    return Tidied(labels=made, dropped=dropped, filled=filled)


def _without_small(labels: LabelImage, smallest: int) -> tuple[LabelImage, int]:
    pieces: NDArray[np.int32] = label(labels, connectivity=2, background=0)
    small = areas_of(pieces, int(pieces.max(initial=0))) < smallest
    small[0] = False
    return np.where(small[pieces], 0, labels).astype(labels.dtype), int(small.sum())


def _filled(labels: LabelImage, largest: int) -> tuple[LabelImage, int]:
    gaps, count = ndi.label(labels == 0)
    areas = areas_of(gaps, count)
    kind = labels.dtype.type
    low = np.full(count + 1, np.iinfo(kind).max, dtype=kind)
    high = np.zeros(count + 1, dtype=kind)
    # A hole has one number all around it.
    for one, other in (
        (np.s_[1:, :], np.s_[:-1, :]),
        (np.s_[:-1, :], np.s_[1:, :]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        rim = (gaps[one] > 0) & (labels[other] > 0)
        np.minimum.at(low, gaps[one][rim], labels[other][rim])
        np.maximum.at(high, gaps[one][rim], labels[other][rim])
    holes = (areas <= largest) & (low == high)
    for edge in sides_of(gaps):
        holes[edge] = False
    holes[0] = False
    inside = holes[gaps]
    return np.where(inside, high[gaps], labels).astype(kind), int(holes.sum())


def cut_object(mask: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Cut what is said to be several objects at its narrowest necks.

    Parameters
    ----------
    mask
        `(y, x)` of one object.

    Returns
    -------
    ndarray
        `(y, x)`: 0 outside, 1..n; all 1 where there is no neck at all.
    """
    parts: NDArray[np.integer] = mask.astype(np.int32)
    for neck in NECKS:
        parts = cut_apart(mask, neck)
        if parts.max(initial=0) > 1:
            break
    return parts


def all_cut(labels: LabelImage) -> Tidied:
    """Cut every object that has a narrow neck; the largest part keeps the number.

    Parameters
    ----------
    labels
        `(y, x)` object numbers, 0 = background.
    """
    highest = last = int(labels.max(initial=0))
    made = np.array(labels)
    if highest >= np.iinfo(made.dtype).max // 2:
        made = made.astype(np.int64)
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        if box is None:
            continue
        parts = cut_apart(labels[box] == number, NECK)
        sizes = np.bincount(parts.ravel())[1:]
        for part in np.argsort(-sizes, kind="stable")[1:].tolist():
            last += 1
            made[box][parts == part + 1] = last
    return Tidied(labels=made, cut=last - highest)


SAME_OBJECT = 0.25
"""Areas of two slices are one object from this overlap (intersection over union) on."""


class Numbering:
    """Gives the objects of a stack their numbers, slice by slice.

    Without linking, every object of every slice has a number of its own. With it, an
    object takes the number of the one in the slice before that it overlaps most, and
    each of those goes on in one object only.
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
