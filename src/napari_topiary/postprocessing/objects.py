"""Foreground probability -> separate objects, each with a number.

Without a distance map objects are cut at their necks. With one they are grown from
seeds (Mahbod et al. 2022): every summit of the smoothed distance map is a seed, and a
watershed gives the rest of the foreground to the seeds. A summit that hardly stands out
from the pass to a higher one is noise: its part is joined to that of the higher one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_topiary.annotations.label_images import EIGHT, sides_of

SMOOTHING = 1.0
"""Sigma that smooths the depth map, in pixels."""
NECK = 0.7
"""Two cores are two objects when the neck between them is narrower (times its
probability) than this share of the narrower core."""
SMALLEST_TO_CUT = 16
"""Smaller areas are one object, in pixels."""
AT_ONCE = 1 << 20
"""So many pixels of small areas are looked at together."""
BAND = 1 << 17
"""So many pixels of a large one, or passes, are gone through together."""
TILE = 1024
"""Longest side of what goes through a watershed at once, in pixels."""


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
    labels, count = ndi.label(_filled(probability >= threshold))
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
            own = np.zeros((len(some), height + 2, width + 2), dtype=bool)
            for place, (number, box) in enumerate(some):
                np.equal(labels[box], number, out=own[place, 1:-1, 1:-1])
            sure = [probability[box] for _, box in some]
            for place, parts in _cut(own, sure, threshold):
                there = labels[some[place][1]]
                for rows in _bands(parts.shape):
                    new = parts[rows] > 1
                    there[rows][new] = parts[rows][new] + (count - 1)
                count += int(parts.max()) - 1
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
    whole = np.pad(_filled(mask), 1)[None]  # a hole is no neck
    for _, cut in _cut(whole, [np.ones(mask.shape, np.float32)], 0, neck):
        parts = np.where(mask, cut, 0).astype(np.int32)
    return parts


def _cut(
    areas: NDArray[np.bool_],
    sure: list[NDArray[np.float32]],
    threshold: float,
    neck: float = NECK,
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Cut connected areas at their necks: yields those that fall apart, `(y, x)`.

    They come with a border of one pixel, `(n, y + 2, x + 2)`. A neck is where the area
    is narrow, or the network doubtful (probabilities `(y, x)` of each): it has learned
    to see a thin line of background between objects that touch. Most areas are one
    object: areas of one size are looked at together, for the calls would take longer
    than the work.
    """
    hills = _depth(areas)
    for hill, one in zip(hills[:, 1:-1, 1:-1], sure, strict=True):
        for rows in _bands(hill.shape):
            hill[rows] *= np.maximum(one[rows], threshold)
    # In the logarithm a neck's share of the depth is a height: the rule is the same at
    # every size.
    ndi.gaussian_filter(hills, (0, SMOOTHING, SMOOTHING), output=hills)
    np.log(np.maximum(hills, 1e-3, out=hills), out=hills)
    tops = (hills == ndi.maximum_filter(hills, size=(1, 3, 3))) & areas
    several = np.flatnonzero(np.count_nonzero(tops, axis=(1, 2)) > 1).tolist()
    crowded = [n for n in several if ndi.label(tops[n], structure=EIGHT)[1] > 1]
    del tops  # as large as the areas
    for place in crowded:
        hill, area = hills[place], areas[place]
        parts, summits = _parts(hill, area, area, spacing=1)
        passes = _passes(parts, hill, diagonal=True)
        joined = _joined(passes, summits, -float(np.log(max(neck, 1e-9))))
        kept, numbers = np.unique(joined, return_inverse=True)
        if len(kept) > 2:  # the first is the background
            for rows in _bands(parts.shape):
                parts[rows] = numbers[parts[rows]]
            yield place, parts[1:-1, 1:-1]


def _depth(areas: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How far it is from each pixel of areas `(n, y, x)` to their nearest edge."""
    # One below the other: the nearest edge is always one of an area's own.
    flat = areas.reshape(-1, areas.shape[2])
    # Where the edge is, and not how far: that takes a third of the memory.
    rows, columns = ndi.distance_transform_edt(
        flat, return_distances=False, return_indices=True
    )
    depth = np.empty(flat.shape, dtype=np.float32)
    for some in _bands(flat.shape):
        y, x = np.ogrid[some, : flat.shape[1]]
        depth[some] = np.sqrt((rows[some] - y) ** 2 + (columns[some] - x) ** 2)
    return depth.reshape(areas.shape)


def _bands(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of an image `(y, x)` that are gone through together."""
    step = max(1, BAND // max(1, shape[1]))
    for first in range(0, shape[0], step):
        yield slice(first, min(first + step, shape[0]))


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """What makes a summit of the distance map the seed of an object."""

    smoothing_px: float = 2.0  #: Sigma that smooths the map, in pixels
    #: Two summits are further apart than this along an axis, in pixels
    spacing_px: int = 3
    #: How far a summit stands out from the highest pass to a higher one; 1 is from the
    #: edge of an object to its middle
    height: float = 0.1
    fill_holes: bool = True  #: Count holes in the foreground as foreground


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
    y, x, _ = _summits(smooth, mask, seeds.spacing_px)
    labels = areas.astype(np.int32)
    # Only areas with several summits need a watershed.
    crowded = np.bincount(areas[y, x], minlength=count + 1) > 1
    shared = crowded[areas]
    if shared.any():
        parts, summits = _parts(smooth, mask, shared, spacing=seeds.spacing_px)
        passes = _passes(parts, smooth, diagonal=False)
        joined = _joined(passes, summits, seeds.height)
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


def _parts(
    height: NDArray[np.float32],
    mask: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    *,
    spacing: int,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Give each wanted pixel to a summit: numbers `(y, x)`, and heights `(n + 1,)`.

    Summits are found in all of the mask. A watershed takes fifty bytes a pixel, so it
    runs tile by tile. Where a tile ends is a wall: what goes uphill beyond it has a
    summit there, which does not stand out at all from the pass to what is uphill, so
    both are joined as everything else is.
    """
    from skimage.segmentation import watershed

    parts = np.zeros(height.shape, dtype=np.int32)
    summits, count = [np.zeros(1)], 0
    for place in product(*(_spans(n) for n in height.shape)):
        own, area = height[place], wanted[place]
        y, x, markers = _summits(own, mask[place], spacing)
        found = watershed(-own, np.where(area, markers, 0), mask=area)
        # Where the summit next to it lies in another area.
        seedless, more = ndi.label(area & (found == 0))
        found[seedless > 0] = seedless[seedless > 0] + len(y)
        parts[place] = np.where(area, found + count, 0)
        highest = ndi.maximum(own, seedless, np.arange(1, more + 1)) if more else []
        summits += [own[y, x].astype(np.float64), np.asarray(highest, np.float64)]
        count += len(y) + more
    return parts, np.concatenate(summits)


def _spans(length: int) -> list[slice]:
    """Cut an axis in parts that are not longer than a tile, and about as long."""
    count = -(-length // TILE)
    ends = [length * i // count for i in range(count + 1)]
    return [slice(*ends[i : i + 2]) for i in range(count)]


def _joined(
    passes: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.float32]],
    summits: NDArray[np.float64],
    height: float,
) -> NDArray[np.int32]:
    """Number of the object `(n + 1,)` that each part of a watershed belongs to.

    `summits` `(n + 1,)` is the height of each; the first stands for no part.
    """
    # Lists of a million numbers would take ten times the memory.
    parent, tops = array("l", range(len(summits))), array("d", summits)

    def root(part: int) -> int:
        while parent[part] != part:
            parent[part] = parent[parent[part]]
            part = parent[part]
        return part

    # The highest pass first, as when water falls: what two parts have in common then
    # is decided before they meet others.
    for first in range(0, len(passes[0]), BAND):
        some = (column[first : first + (BAND)].tolist() for column in passes)
        for a, b, level in zip(*some, strict=True):
            low, high = sorted((root(a), root(b)), key=tops.__getitem__)
            if low != high and tops[low] - level < height:
                parent[low] = high
    return np.fromiter(map(root, range(len(parent))), np.int32, count=len(parent))


def _passes(
    parts: NDArray[np.integer], height: NDArray[np.float32], *, diagonal: bool
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.float32]]:
    """Neighbouring parts and passes between them, among these the highest.

    The highest come first.
    """
    found = [
        _highest(*_meetings(parts[some], height[some], diagonal=diagonal))
        for band in _bands(parts.shape)
        for some in [slice(band.start, band.stop + 1)]
    ]
    a, b, level = (np.concatenate(column) for column in zip(*found, strict=True))
    del found  # there can be a million
    order = np.argsort(-level, kind="stable").astype(np.int32)
    a, b = a[order], b[order]
    return a, b, level[order]


def _meetings(
    parts: NDArray[np.integer], height: NDArray[np.float32], *, diagonal: bool
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.float32]]:
    """Where two parts meet: the lower number, the higher one, and the lower height."""
    below, beside = (np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])
    across = (np.s_[1:, 1:], np.s_[:-1, :-1]), (np.s_[1:, :-1], np.s_[:-1, 1:])
    lows, highs, levels = [], [], []
    for one, other in (below, beside, *(across if diagonal else ())):
        first, second = parts[one], parts[other]
        meet = (first != second) & (first > 0) & (second > 0)
        first, second = first[meet], second[meet]
        lows.append(np.minimum(first, second))
        highs.append(np.maximum(first, second))
        levels.append(np.minimum(height[one][meet], height[other][meet]))
    return np.concatenate(lows), np.concatenate(highs), np.concatenate(levels)


def _highest(
    low: NDArray[np.integer], high: NDArray[np.integer], level: NDArray[np.float32]
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.float32]]:
    """Of every pair only the highest place where it meets."""
    order = np.lexsort((-level, high, low))
    low, high, level = low[order], high[order], level[order]
    new = (np.diff(low, prepend=-1) != 0) | (np.diff(high, prepend=-1) != 0)
    return low[new], high[new], level[new]


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what the border cannot reach; many times faster than by dilation."""
    around, count = ndi.label(~mask)
    outside = np.zeros(count + 1, dtype=bool)
    for edge in sides_of(around):
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
