"""A skeleton image as chains of pixels between junctions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

EIGHT = np.ones((3, 3), dtype=int)


@dataclass(frozen=True)
class Chain:
    """An unbranched run of skeleton pixels.

    Parameters
    ----------
    path
        `(v, 2)` float y, x, in order.
    start, end
        Number of the junction that the first and the last pixel touch, None for a free
        end.
    """

    path: NDArray[np.float64]
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
    graph = coo_array((np.ones(len(a)), (a, b)), shape=(n_nodes + 1, n_nodes + 1))
    _, group = connected_components(graph, directed=False)

    def node(number: int | None) -> int | None:
        return None if number is None else int(group[number])

    return [
        Chain(chain.path, node(chain.start), node(chain.end))
        for chain, is_short in zip(chains, short, strict=True)
        if not is_short
    ]
