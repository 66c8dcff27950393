"""Foreground probability -> separate objects, each with a number.

Without a distance map objects are cut at their necks. With one they are grown from
seeds (Mahbod et al. 2022): every summit of the smoothed distance map is a seed, and a
watershed gives the rest of the foreground to the seeds. A summit that hardly stands out
from the pass to a higher one is noise: its part is joined to that of the higher one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

SMOOTHING = 1.0
"""Sigma that smooths the depth map, in pixels."""
NECK = 0.7
"""Two cores are two objects when the neck between them is narrower (times its
probability) than this share of the narrower core."""
SMALLEST_TO_CUT = 16
"""Smaller areas are one object, in pixels."""
EIGHT = np.ones((3, 3), dtype=int)
ONE_AREA = np.array([0, 1, 0])[:, None, None]
"""Neighbours in a stack of areas `(n, y, x)` are in the same area."""
AT_ONCE = 1 << 20
"""So many pixels of small areas are looked at together."""


def label_objects(
    probability: NDArray[np.floating], *, threshold: float, min_size: int = 0
) -> NDArray[np.int32]:
    """Separate the objects of one class.

    Parameters
    ----------
    probability
        `(y, x)` of the foreground.
    threshold
        Lowest probability that counts, 0..1.
    min_size
        Smaller objects are dropped, in pixels.

    Returns
    -------
    ndarray
        `(y, x)`: 0 = background, 1..n, holes filled.
    """
    probability = np.asarray(probability, dtype=np.float32)
    mask = _filled(probability >= threshold)
    labels, count = ndi.label(mask)
    sizes = areas_of(labels, count)
    alike: dict[tuple[int, int], list[tuple[int, tuple[slice, slice]]]] = {}
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        if sizes[number] >= SMALLEST_TO_CUT:
            shape = (box[0].stop - box[0].start, box[1].stop - box[1].start)
            alike.setdefault(shape, []).append((number, box))
    for (height, width), areas in alike.items():
        at_once = max(1, AT_ONCE // (height * width))
        for first in range(0, len(areas), at_once):
            some = areas[first : first + at_once]
            own = np.stack([labels[box] == number for number, box in some])
            sure = np.stack([probability[box] for _, box in some])
            for place, parts in _cut(own, np.maximum(sure, threshold)):
                box = some[place][1]
                for part in range(2, int(parts.max()) + 1):
                    count += 1
                    labels[box][parts == part] = count
    return _numbered(labels, max(1, min_size))


def cut_apart(mask: NDArray[np.bool_], neck: float = NECK) -> NDArray[np.int32]:
    """Cut what is painted as one object at its necks.

    Parameters
    ----------
    mask
        `(y, x)`.
    neck
        The narrowest share of a core that a neck still has in one object, 0..1.

    Returns
    -------
    ndarray
        `(y, x)`: 0 outside, 1..n.
    """
    parts: NDArray[np.int32] = mask.astype(np.int32)
    if np.count_nonzero(mask) < SMALLEST_TO_CUT:
        return parts
    whole = _filled(mask)[None]  # a hole is no neck
    for _, cut in _cut(whole, np.ones(whole.shape, np.float32), neck):
        parts = np.where(mask, cut, 0).astype(np.int32)
    return parts


def _cut(
    masks: NDArray[np.bool_], probability: NDArray[np.float32], neck: float = NECK
) -> Iterator[tuple[int, NDArray[np.integer]]]:
    """Cut connected areas `(n, y, x)` at their necks: yields those that fall apart.

    A neck is where the area is narrow, or the network doubtful: it has learned to see
    a thin line of background between objects that touch. Most areas are one object:
    areas of one size are looked at together, for the calls would take longer than the
    work.
    """
    around = ((0, 0), (1, 1), (1, 1))
    padded = np.pad(masks, around)
    # Areas are so far from one another that none is the nearest edge of another.
    apart = (float(sum(padded.shape[1:])), 1.0, 1.0)
    depth = ndi.distance_transform_edt(padded, sampling=apart)
    depth *= np.pad(probability, around)
    smooth = ndi.gaussian_filter(depth, (0, SMOOTHING, SMOOTHING))
    # In the logarithm a neck's share of the depth is a height, so the usual filling of
    # hollows by a fixed height compares shares: the rule is the same at every size.
    hills = np.log(np.maximum(smooth, 1e-3))
    tops = (hills == ndi.maximum_filter(hills, size=(1, 3, 3))) & padded
    numbered, n_tops = ndi.label(tops, structure=EIGHT[None] * ONE_AREA)
    place_of = np.zeros(n_tops + 1, dtype=np.intp)
    for place, top in enumerate(numbered):
        place_of[top[top > 0]] = place
    several = np.bincount(place_of[1:], minlength=len(masks)) > 1
    if not several.any():
        return
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    for place in np.flatnonzero(several).tolist():
        hill, area = hills[place], padded[place]
        flooded = reconstruction(hill + np.log(neck), hill)
        markers, count = ndi.label(local_maxima(flooded) & area, structure=EIGHT)
        if count > 1:
            yield place, watershed(-hill, markers, mask=area)[1:-1, 1:-1]


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """What makes a summit of the distance map the seed of an object.

    Parameters
    ----------
    smoothing_px
        Sigma that smooths the map, in pixels.
    spacing_px
        Two summits are further apart than this along an axis, in pixels.
    height
        How far a summit stands out from the highest pass to a higher one; 1 is from
        the edge of an object to its middle.
    fill_holes
        Count holes in the foreground as foreground.
    """

    smoothing_px: float = 2.0
    spacing_px: int = 3
    height: float = 0.1
    fill_holes: bool = True


def grow_objects(
    foreground: NDArray[np.floating],
    distance: NDArray[np.floating],
    *,
    threshold: float,
    seeds: Seeds,
    min_size: int = 0,
) -> NDArray[np.int32]:
    """Separate the objects of one class by their distance map.

    Parameters
    ----------
    foreground
        `(y, x)` probability.
    distance
        `(y, x)`, as the network gives it.
    threshold
        Lowest probability that counts, 0..1.
    seeds
        How seeds are found. Every connected area has at least one.
    min_size
        Smaller objects are dropped, in pixels.

    Returns
    -------
    ndarray
        `(y, x)`: 0 = background, 1..n.
    """
    mask = np.asarray(foreground >= threshold)
    if seeds.fill_holes:
        mask = _filled(mask)
    areas, count = ndi.label(mask)
    if count == 0:
        return np.zeros(mask.shape, dtype=np.int32)
    smooth = ndi.gaussian_filter(
        np.asarray(distance, dtype=np.float32), seeds.smoothing_px, mode="nearest"
    )
    y, x, markers = _summits(smooth, mask, seeds.spacing_px)
    labels = areas.astype(np.int32)
    # Only areas with several summits need a watershed.
    crowded = np.bincount(areas[y, x], minlength=count + 1) > 1
    shared = crowded[areas]
    if shared.any():
        from skimage.segmentation import watershed

        parts = watershed(-smooth, np.where(shared, markers, 0), mask=shared)
        summits = np.concatenate([[0.0], smooth[y, x]])
        joined = _joined(_passes(parts, smooth), summits, seeds.height)
        labels[shared] = count + joined[parts[shared]]
    return _numbered(labels, max(1, min_size))


def _summits(
    smooth: NDArray[np.float32], mask: NDArray[np.bool_], spacing: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.integer]]:
    """Find the summits: one pixel `y`, `x` of each, and all of them numbered `(y, x)`.

    A plateau is one summit.
    """
    inside = np.where(mask, smooth, np.float32(-np.inf))
    highest = ndi.maximum_filter(inside, size=2 * spacing + 1)
    markers, count = ndi.label((inside == highest) & mask, structure=EIGHT)
    first = np.zeros(count + 1, dtype=np.intp)
    places = np.flatnonzero(markers)
    first[markers.ravel()[places]] = places
    y, x = np.divmod(first[1:], mask.shape[1])
    return y, x, markers


def _joined(
    passes: list[tuple[int, int, float]], summits: NDArray[np.float64], height: float
) -> NDArray[np.int32]:
    """Number of the object `(n + 1,)` that each part of a watershed belongs to.

    `summits` `(n + 1,)` is the height of each; the first stands for no part.
    """
    parent = list(range(len(summits)))

    def root(part: int) -> int:
        while parent[part] != part:
            parent[part] = parent[parent[part]]
            part = parent[part]
        return part

    # The highest pass first, as when water falls: what two parts have in common then
    # is decided before they meet others.
    for a, b, level in passes:
        low, high = sorted((root(a), root(b)), key=summits.__getitem__)
        if low != high and summits[low] - level < height:
            parent[low] = high
    return np.array([root(part) for part in range(len(parent))], dtype=np.int32)


def _passes(
    parts: NDArray[np.integer], smooth: NDArray[np.float32]
) -> list[tuple[int, int, float]]:
    """Neighbouring parts and the highest pass between them, the highest first."""
    a, b, level = [], [], []
    for one, other in (
        (np.s_[1:, :], np.s_[:-1, :]),
        (np.s_[:, 1:], np.s_[:, :-1]),
    ):
        first, second = parts[one], parts[other]
        meet = (first != second) & (first > 0) & (second > 0)
        a.append(first[meet])
        b.append(second[meet])
        level.append(np.minimum(smooth[one][meet], smooth[other][meet]))
    ones, others = np.concatenate(a).astype(np.int64), np.concatenate(b)
    low, high, levels = (
        np.minimum(ones, others),
        np.maximum(ones, others),
        np.concatenate(level),
    )
    # Of every pair only the highest place where it meets.
    order = np.lexsort((-levels, high, low))
    low, high, levels = low[order], high[order], levels[order]
    new = (np.diff(low, prepend=-1) != 0) | (np.diff(high, prepend=-1) != 0)
    low, high, levels = low[new], high[new], levels[new]
    order = np.argsort(-levels, kind="stable")
    return list(zip(*(v[order].tolist() for v in (low, high, levels)), strict=True))


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what the border cannot reach; many times faster than by dilation."""
    around, count = ndi.label(~mask)
    outside = np.zeros(count + 1, dtype=bool)
    for edge in (around[0], around[-1], around[:, 0], around[:, -1]):
        outside[edge] = True
    outside[0] = False
    filled: NDArray[np.bool_] = ~outside[around]
    return filled


def _numbered(labels: NDArray[np.int32], smallest: int) -> NDArray[np.int32]:
    """Number the objects that are large enough 1..n; the others become background."""
    keep = areas_of(labels, int(labels.max(initial=0))) >= smallest
    keep[0] = False
    numbers = np.where(keep, keep.cumsum(), 0).astype(np.int32)
    for row in labels:
        row[:] = numbers[row]
    return labels


def areas_of(labels: NDArray[np.integer], highest: int) -> NDArray[np.int64]:
    """Count the pixels of every number from 0 to the highest: `(highest + 1,)`.

    Part by part, for numpy counts in 64 bits: twice the memory of a large image.
    """
    flat, areas = labels.ravel(), np.zeros(highest + 1, dtype=np.int64)
    step = max(AT_ONCE, highest + 1)
    for first in range(0, flat.size, step):
        areas += np.bincount(flat[first : first + step], minlength=highest + 1)
    return areas
