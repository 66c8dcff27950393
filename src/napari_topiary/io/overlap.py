"""Whether two images show the same: one is cut from the other, or both from a third.

Of every image a few short rows of pixels are kept, as numbers: those whose hash is
smallest. They are the same rows wherever else the image, or a part of it, comes up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RUN = 32
"""Pixels of a short row; a power of two."""
KEPT = 96
"""So many rows of each image are kept: of one eight times as large as a part of it,
twelve lie in the part."""
FEWEST = 4
"""Fewer of them in common, or to compare, say nothing."""
SHARE = 0.5
"""An image of which so much is known is not a new one; tiles that overlap a little
are."""
_CHANGES = 12
"""Rows with fewer changes from pixel to pixel are background, as many images have."""
_BAND = 64
"""Rows of the image that are looked at together: memory."""
_ODD = 0x9E3779B97F4A7C15
_MIX = 0xBF58476D1CE4E5B9


def sketch_of(image: NDArray[Any]) -> tuple[int, ...]:
    """Return the rows of pixels that are kept of an image.

    Parameters
    ----------
    image
        `(c, y, x)`, any numeric dtype.

    Returns
    -------
    tuple of int
        At most `KEPT` hashes, ascending; nothing of an image without content.
    """
    return tuple(_smallest(image, None).tolist())


def shown_by(
    image: NDArray[Any], sketches: Sequence[Sequence[int]], *, own: Sequence[int]
) -> list[bool]:
    """Say of each of some other images whether it shows half of an image, or more.

    Parameters
    ----------
    image
        `(c, y, x)`, any numeric dtype.
    sketches
        Of the other images, by `sketch_of`.
    own
        Of this image.
    """
    most = max((one[-1] for one in sketches if len(one) >= FEWEST), default=0)
    if len(own) < FEWEST:
        return [False] * len(sketches)
    # Of a smaller image rows are kept that have too large a hash to be kept of this.
    mine = np.array(own, np.uint64) if own[-1] >= most else _smallest(image, most)
    shows = []
    for other in sketches:
        here = mine[mine <= np.uint64(other[-1])] if other else mine[:0]
        common = int(np.isin(here, np.array(other, np.uint64)).sum())
        shows.append(common >= max(FEWEST, SHARE * len(here)))
    return shows


def _smallest(image: NDArray[Any], limit: int | None) -> NDArray[np.uint64]:
    """Hashes of short rows up to a limit, ascending; None = the `KEPT` smallest."""
    found = np.zeros(0, np.uint64)
    if image.shape[-1] < RUN:
        return found
    for top in range(0, image.shape[1], _BAND):
        rows = image[:, top : top + _BAND]
        most = limit
        if limit is None and len(found) == KEPT:
            most = int(found[-1])
        found = np.unique(np.concatenate([found, _hashes(rows, most)]))
        if limit is None:
            found = found[:KEPT]
    return found


def _hashes(rows: NDArray[Any], most: int | None) -> NDArray[np.uint64]:
    """Hashes, up to a limit, of all short rows with content in some `(c, y, x)`."""
    values = np.zeros(rows.shape[1:], np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2 to the 64th is meant
        for channel in rows:
            values = (values + _bits(channel)) * np.uint64(_ODD)
            values ^= values >> np.uint64(29)
        hashes, length = values, 1
        while length < RUN:
            factor = np.uint64(pow(_ODD, length, 1 << 64))
            hashes = hashes[:, :-length] * factor + hashes[:, length:]
            length *= 2
        hashes ^= hashes >> np.uint64(32)
        hashes *= np.uint64(_MIX)
    y, x = np.nonzero(hashes <= np.uint64(most)) if most else np.indices(hashes.shape)
    changes = np.pad(values[:, 1:] != values[:, :-1], ((0, 0), (1, 0)))
    counted = changes.cumsum(axis=1, dtype=np.int32)
    rich = counted[y, x + RUN - 1] - counted[y, x] >= _CHANGES
    found: NDArray[np.uint64] = hashes[y, x][rich]
    return found


def _bits(channel: NDArray[Any]) -> NDArray[np.uint64]:
    """Numbers that tell intensities apart; whole ones are the same in every type."""
    if channel.dtype.kind != "f":
        return channel.astype(np.uint64)
    exact = np.ascontiguousarray(channel, dtype=np.float64)
    return exact.view(np.uint64)
