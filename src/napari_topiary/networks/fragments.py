"""Pooling that forgets nothing: every offset of the grid becomes an image of its own.

A max-pooling keeps one of four grids. Taken at all four offsets, the pooled maps can be
put one behind the other along the batch and be convolved as they are; the next pooling
makes sixteen of them, and so on. At the end each holds the answers of a sparse grid of
pixels, and together they are an answer for every pixel (Giusti et al. 2013). That is
the same arithmetic as pooling with stride 1 and spreading later kernels, but only with
ordinary convolutions on small contiguous maps, which suit processors better.
"""

from __future__ import annotations

import torch


def fragments(maps: torch.Tensor) -> torch.Tensor:
    """Max-pool 2×2 at all four offsets.

    Parameters
    ----------
    maps
        `(b, c, y, x)`.

    Returns
    -------
    Tensor
        `(4·b, c, (y − 1) // 2, (x − 1) // 2)`: offsets (0, 0), (0, 1), (1, 0), (1, 1),
        each of the whole batch.
    """
    height, width = ((side - 1) // 2 for side in maps.shape[2:])
    last = maps.permute(0, 2, 3, 1)  # whole pixels are copied, not single values
    found = []
    for i in (0, 1):
        upper = last[:, i : i + 2 * height : 2]
        lower = last[:, i + 1 : i + 1 + 2 * height : 2]
        rows = torch.maximum(upper, lower)
        for j in (0, 1):
            left = rows[:, :, j : j + 2 * width : 2]
            right = rows[:, :, j + 1 : j + 1 + 2 * width : 2]
            found.append(torch.maximum(left, right))
    return torch.cat(found).permute(0, 3, 1, 2)


def assembled(maps: torch.Tensor, poolings: int) -> torch.Tensor:
    """Put the fragments of several poolings back in their places.

    Parameters
    ----------
    maps
        `(4**n · b, k, y, x)` after n poolings.
    poolings
        The n.

    Returns
    -------
    Tensor
        `(b, k, 2**n · y, 2**n · x)`.
    """
    for _ in range(poolings):
        offsets = maps.reshape(2, 2, -1, *maps.shape[1:])  # of the last pooling
        spread = offsets.permute(2, 3, 4, 0, 5, 1)
        maps = spread.flatten(4, 5).flatten(2, 3)
    return maps
