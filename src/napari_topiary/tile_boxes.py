"""Rectangles on the stride grid: where tiles begin and end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Box:
    """A rectangle on the stride grid: `[top, bottom)` × `[left, right)`."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        """Pixels in it."""
        return (self.bottom - self.top) * (self.right - self.left)

    @property
    def side(self) -> int:
        """Longer side in pixels."""
        return max(self.bottom - self.top, self.right - self.left)

    def split(self, tile: int, stride: int) -> Iterator[Box]:
        """Cut into boxes of about equal sides, none longer than a tile.

        Equal ones, because a sliver at the edge would need as much context as a
        whole tile.

        Parameters
        ----------
        tile
            Longest side in pixels.
        stride
            Of the grid, in pixels.
        """
        for top, bottom in _pieces(self.top, self.bottom, tile, stride):
            for left, right in _pieces(self.left, self.right, tile, stride):
                yield Box(top, bottom, left, right)

    def grown(self, by: int, height: int, width: int) -> Box:
        """With context on every side, as far as there is any.

        Parameters
        ----------
        by
            Pixels of context.
        height, width
            Where everything ends.
        """
        return Box(
            max(0, self.top - by),
            min(height, self.bottom + by),
            max(0, self.left - by),
            min(width, self.right + by),
        )

    def within(self, window: Box) -> tuple[slice, slice]:
        """Rows and columns of this box in a window that contains it."""
        return (
            slice(self.top - window.top, self.bottom - window.top),
            slice(self.left - window.left, self.right - window.left),
        )


def _pieces(start: int, end: int, tile: int, stride: int) -> Iterator[tuple[int, int]]:
    """Cut `[start, end)` on the stride grid into the fewest pieces <= tile."""
    cells = (end - start) // stride
    most = max(1, tile // stride)
    count = math.ceil(cells / most)
    edges = [start + stride * (cells * i // count) for i in range(count + 1)]
    yield from pairwise(edges)


def round_up(size: int, stride: int) -> int:
    """Round up to the stride grid.

    Parameters
    ----------
    size, stride
        In pixels.
    """
    return -(-size // stride) * stride
