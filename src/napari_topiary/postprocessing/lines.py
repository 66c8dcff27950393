"""Filaments as ordered paths: threshold, skeleton, graph, straightest continuations.

The skeleton is cut at its junctions into chains of pixels. Short chains that end
freely are spurs of a rough outline and go; where chains meet, the two that continue
each other most straightly are one filament, so that crossing filaments stay two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_topiary.annotations.label_images import EIGHT

Path = NDArray[np.float64]

SMOOTHING = 0.25
"""Sigma that smooths the outline before the threshold, in half-widths."""
SHORTEST = 2.0
"""A filament is longer than it is wide: this many half-widths."""
CROSSING = 4.0
"""Crossing filaments share at most this much of their skeleton, in half-widths."""
SHARPEST_TURN = np.deg2rad(60.0)
"""The sharpest turn a filament may take where others branch off."""


def trace_lines(
    probability: NDArray[np.floating], *, radius: float, threshold: float
) -> tuple[list[Path], list[float]]:
    """Trace the centerlines of one class.

    Parameters
    ----------
    probability
        `(y, x)` of one class.
    radius
        Half the filament's width, in pixels.
    threshold
        Lowest probability that counts, 0..1.

    Returns
    -------
    tuple
        Paths, each `(v, 2)` y, x, and the mean probability along each.
    """
    probability = np.asarray(probability, dtype=np.float32)
    skeleton = line_skeleton(probability, radius=radius, threshold=threshold)
    paths = _line_paths(skeleton, radius=radius)
    scores = []
    for path in paths:
        y, x = np.rint(path).astype(np.intp).T
        scores.append(float(probability[y, x].mean()))
    return [simplified(path, radius=radius) for path in paths], scores


def line_skeleton(
    probability: NDArray[np.float32], *, radius: float, threshold: float
) -> NDArray[np.bool_]:
    """Return the middle lines of one class, one pixel wide `(y, x)`.

    Parameters
    ----------
    probability, radius, threshold
        As for `trace_lines`.
    """
    smooth = ndi.gaussian_filter(probability, SMOOTHING * radius, mode="nearest")
    mask = smooth >= threshold
    if not mask.any():
        return np.asarray(mask)
    from skimage.morphology import skeletonize

    return np.asarray(skeletonize(mask))


def _line_paths(skeleton: NDArray[np.bool_], *, radius: float) -> list[Path]:
    """Return the filaments of a skeleton `(y, x)`, each `(v, 2)` y, x."""
    if not skeleton.any():
        return []
    chains = skeleton_chains(skeleton, merge=CROSSING * radius)
    chains = _without_spurs(chains, shortest=radius)
    paths = (
        _smoothed(path, sigma=0.5 * radius)
        for path in _joined(chains, reach=2.0 * radius)
    )
    return [path for path in paths if _length(path) >= SHORTEST * radius]


def line_paths_of(
    pixels: NDArray[np.int64], *, radius: float, largest: int
) -> list[Path]:
    """Return the filaments of a skeleton of any size, as `_line_paths` does.

    Parameters
    ----------
    pixels
        `(n, 2)` y, x of the skeleton.
    radius
        Half the filament's width, in pixels.
    largest
        Pixels of a rectangle that is looked at in one piece; what is connected over a
        larger one is cut.
    """
    paths: list[Path] = []
    for piece in _connected(pixels):
        low, high = piece.min(axis=0), piece.max(axis=0) + 1
        side = int(np.sqrt(largest))
        whole = int(np.prod(high - low)) <= largest
        step = high - low if whole else np.array([side, side])
        cell = (piece - low) // step
        for key in np.unique(cell, axis=0):
            own = piece[(cell == key).all(axis=1)] - low - key * step
            skeleton = np.zeros(own.max(axis=0) + 1, dtype=bool)
            skeleton[own[:, 0], own[:, 1]] = True
            paths += [
                path + low + key * step for path in _line_paths(skeleton, radius=radius)
            ]
    return paths


def _connected(pixels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Divide pixels `(n, 2)` into those that touch one another, corners included."""
    if not len(pixels):
        return []
    width = int(pixels[:, 1].max()) + 3
    keys = np.sort((pixels[:, 0] + 1) * width + pixels[:, 1] + 1)
    first, second = [], []
    for step in (1, width - 1, width, width + 1):
        at = np.searchsorted(keys, keys + step).clip(0, len(keys) - 1)
        near = keys[at] == keys + step
        first.append(np.flatnonzero(near))
        second.append(at[near])
    a, b = np.concatenate(first), np.concatenate(second)
    graph = scipy.sparse.coo_array(
        (np.ones(len(a)), (a, b)), shape=(len(keys), len(keys))
    )
    count, group = scipy.sparse.csgraph.connected_components(graph, directed=False)
    order = np.argsort(group, kind="stable")
    ends = np.bincount(group, minlength=count).cumsum()[:-1]
    places = np.stack([keys // width - 1, keys % width - 1], axis=1)
    return np.split(places[order], ends)


def simplified(path: Path, *, radius: float) -> Path:
    """Return a path with the fewest points that keep its course.

    Parameters
    ----------
    path
        `(v, 2)` y, x.
    radius
        Half the filament's width, in pixels.
    """
    # Takes a second to load: who finds no lines need not wait for it.
    from skimage.measure import approximate_polygon

    return np.asarray(approximate_polygon(path, tolerance=max(0.1, 0.03 * radius)))


def line_lengths(lines: Iterable[Path]) -> NDArray[np.float64]:
    """Length of every path `(v, 2)`, in its own pixels."""
    return np.array([_length(line) for line in lines], dtype=np.float64)


def _length(path: Path) -> float:
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def _without_spurs(chains: list[Chain], *, shortest: float) -> list[Chain]:
    """Drop short chains that hang on a junction by one end only."""
    return [
        chain
        for chain in chains
        if not ((chain.start is None) != (chain.end is None))
        or _length(chain.path) >= shortest
    ]


def _joined(chains: list[Chain], *, reach: float) -> list[Path]:
    """Chains that continue each other, put end to end."""
    partner = _partners(chains, reach=reach)
    paths: list[Path] = []
    used: set[int] = set()
    # Begin at open ends; what is left after that are closed rings.
    ends = [(i, side) for i in range(len(chains)) for side in (0, 1)]
    starts = [end for end in ends if end not in partner]
    for index, side in starts + ends:
        if index in used:
            continue
        pieces: list[Path] = []
        end: tuple[int, int] | None = (index, side)
        while end is not None and end[0] not in used:
            index, side = end
            used.add(index)
            path = chains[index].path
            pieces.append(path if side == 0 else path[::-1])
            end = partner.get((index, 1 - side))
        closed = end is not None
        joined = np.concatenate(pieces)
        paths.append(np.concatenate([joined, joined[:1]]) if closed else joined)
    return paths


def _partners(
    chains: list[Chain], *, reach: float
) -> dict[tuple[int, int], tuple[int, int]]:
    """Pair the ends that meet at each junction, straightest continuation first."""
    meeting: dict[int, list[tuple[int, int]]] = {}
    for index, chain in enumerate(chains):
        for side, node in enumerate((chain.start, chain.end)):
            if node is not None:
                meeting.setdefault(node, []).append((index, side))
    partner: dict[tuple[int, int], tuple[int, int]] = {}
    for ends in meeting.values():
        away = [_direction(chains[i].path, side, reach) for i, side in ends]
        turns = sorted(
            (float(np.arccos(np.clip(-away[a] @ away[b], -1.0, 1.0))), a, b)
            for a in range(len(ends))
            for b in range(a)
        )
        for turn, a, b in turns:
            # With only two ends there is no choice: it is one filament that bends.
            if turn > SHARPEST_TURN and len(ends) > 2:
                break
            if ends[a] not in partner and ends[b] not in partner:
                partner[ends[a]], partner[ends[b]] = ends[b], ends[a]
    return partner


def _direction(path: Path, side: int, reach: float) -> NDArray[np.float64]:
    """Unit vector from an end of a path into it, measured over `reach` pixels."""
    path = path if side == 0 else path[::-1]
    vector = path[min(len(path) - 1, max(1, round(reach)))] - path[0]
    length = np.linalg.norm(vector)
    unit: NDArray[np.float64] = vector / length if length > 0 else np.zeros(2)
    return unit


def _smoothed(path: Path, *, sigma: float) -> Path:
    """Take the pixel staircase out of a path; its two ends stay where they are."""
    # Mirrored through its end points a path goes straight on, so they do not shrink.
    pad = min(len(path) - 1, int(4 * sigma) + 1)
    if pad < 1:
        return path
    longer = np.pad(path, ((pad, pad), (0, 0)), mode="reflect", reflect_type="odd")
    smooth = ndi.gaussian_filter1d(longer, sigma, axis=0, mode="nearest")
    middle: Path = smooth[pad:-pad]
    return middle


@dataclass(frozen=True)
class Chain:
    """An unbranched run of skeleton pixels."""

    path: NDArray[np.float64]  #: `(v, 2)` float y, x, in order
    #: `start`, `end`: number of the junction that the first and the last pixel touch,
    #: None for a free end
    start: int | None
    end: int | None


def skeleton_chains(skeleton: NDArray[np.bool_], *, merge: float) -> list[Chain]:
    """Cut a skeleton at its junctions.

    Parameters
    ----------
    skeleton
        `(y, x)` bool, one pixel wide.
    merge
        Junctions linked by a chain shorter than this (in pixels) are one junction: two
        thick filaments that cross share a short piece of skeleton.

    Returns
    -------
    list of Chain
        In scan order of their first pixel.
    """
    skeleton = np.pad(np.asarray(skeleton, dtype=bool), 1)
    neighbours = ndi.convolve(skeleton.astype(np.uint8), EIGHT, mode="constant") - 1
    junction = skeleton & (neighbours >= 3)
    nodes, n_nodes = ndi.label(junction, structure=EIGHT)
    pieces, n_pieces = ndi.label(skeleton & ~junction, structure=EIGHT)
    boxes = ndi.find_objects(pieces)
    chains = [
        _chain(pieces, nodes, box, number) for number, box in enumerate(boxes, start=1)
    ]
    return _merged(chains, n_nodes, merge) if n_pieces else []


def _chain(
    pieces: NDArray[np.integer],
    nodes: NDArray[np.integer],
    box: tuple[slice, slice],
    number: int,
) -> Chain:
    y, x = np.nonzero(pieces[box] == number)
    pixels = _ordered(
        list(zip((y + box[0].start).tolist(), (x + box[1].start).tolist(), strict=True))
    )
    touching = [_touching(nodes, pixels[0]), _touching(nodes, pixels[-1])]
    if len(pixels) == 1:
        # A single pixel between two junctions touches both of them.
        around = touching[0]
        touching = [around[:1], around[1:2]]
    path = np.array(pixels, dtype=np.float64) - 1.0
    start, end = (found[0] if found else None for found in touching)
    return Chain(path, start, end)


def _ordered(pixels: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pixels of a chain from one end to the other; a ring starts anywhere."""
    left = set(pixels)

    def around(pixel: tuple[int, int]) -> list[tuple[int, int]]:
        y, x = pixel
        # Edge neighbours before corner neighbours, so that no pixel is cut off.
        steps = [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1)]
        return [(y + a, x + b) for a, b in steps if (y + a, x + b) in left]

    here = next((pixel for pixel in pixels if len(around(pixel)) <= 1), pixels[0])
    order = [here]
    left.discard(here)
    while following := around(here):
        here = following[0]
        left.discard(here)
        order.append(here)
    return order


def _touching(nodes: NDArray[np.integer], pixel: tuple[int, int]) -> list[int]:
    y, x = pixel
    near = np.unique(nodes[y - 1 : y + 2, x - 1 : x + 2])
    return [int(node) for node in near if node > 0]


def _merged(chains: list[Chain], n_nodes: int, merge: float) -> list[Chain]:
    """Take out the short chains between junctions and make those junctions one."""
    short = [
        chain.start is not None and chain.end is not None and len(chain.path) < merge
        for chain in chains
    ]
    links = [
        (chain.start, chain.end)
        for chain, is_short in zip(chains, short, strict=True)
        if is_short
    ]
    if not links:
        return chains
    a, b = np.array(links, dtype=np.intp).T
    graph = scipy.sparse.coo_array(
        (np.ones(len(a)), (a, b)), shape=(n_nodes + 1, n_nodes + 1)
    )
    _, group = scipy.sparse.csgraph.connected_components(graph, directed=False)

    def node(number: int | None) -> int | None:
        return None if number is None else int(group[number])

    return [
        Chain(chain.path, node(chain.start), node(chain.end))
        for chain, is_short in zip(chains, short, strict=True)
        if not is_short
    ]
