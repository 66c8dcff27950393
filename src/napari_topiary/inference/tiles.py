"""Running a network over an image of any size, tile by tile.

The answer does not depend on the tiles: it is what the network says about the whole
image (repeated at its lower and right edge up to a multiple of the network's stride).
To that end tiles start on the stride grid, are cut with as much context as an output
pixel can see, and keep the image's own border where they touch it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.inference.devices import is_out_of_memory
from napari_topiary.inference.engine import USUAL_TILE, Engine, tile_side
from napari_topiary.types import Job, Progress, Stop

logger = logging.getLogger(__name__)

SMALLEST_TILE = 32
"""Tiles are not halved below this side, in pixels."""
PIXEL_BY_PIXEL = "Predicting pixel by pixel: this network has no faster exact way"


@dataclass(frozen=True)
class InferResult:
    """What a network says about an image.

    Parameters
    ----------
    probability
        `(k, y, x)` float32, sums to 1 over k; 0 where the network has not run.
    done
        `(y, x)` bool: where the network has run.
    notes
        Sentences for the user (stopped early, tile halved).
    regression
        `(r, y, x)` float32: maps that are values; None where the network has none.
    """

    probability: NDArray[np.float32]
    done: NDArray[np.bool_]
    notes: tuple[str, ...] = ()
    regression: NDArray[np.float32] | None = None


def infer(
    engine: Engine,
    image: NDArray[np.float32],
    *,
    tile: int | None = None,
    part: TileBox | None = None,
) -> Job[InferResult]:
    """Run a network over an image.

    Parameters
    ----------
    engine
        Runs the network.
    image
        `(c, y, x)` float32, normalised, on the working grid.
    tile
        Longest side of what is computed at a time, context not counted, in pixels;
        None = as suits the network and the free memory.
    part
        Only this part of the image, on the stride grid; the rest is context.

    Yields
    ------
    Progress
        After every tile, in pixels. `Stop` may be sent in.

    Returns
    -------
    InferResult
        On the same grid as `image`.

    Raises
    ------
    TopiaryError
        If even the smallest tile does not fit into the device's memory.
    """
    if image.size == 0:
        raise TopiaryError("The image is empty: it has no pixels.")
    network, place = engine.network, engine.device
    if tile is None:
        small = max(image.shape[1:]) <= USUAL_TILE
        tile = USUAL_TILE if small else tile_side(network, place)
    stride, context = network.stride, round_up(network.halo, network.stride)
    canvas = _Canvas(image.shape[1], image.shape[2])
    whole = TileBox(
        0, round_up(canvas.height, stride), 0, round_up(canvas.width, stride)
    )
    tile = max(min(tile, network.largest_side or tile), stride)
    boxes = list((part or whole).split(tile, stride))
    total = sum(box.area for box in boxes)
    notes: tuple[str, ...] = ()
    begun, finished = time.perf_counter(), 0
    while boxes:
        window = boxes[0].grown(context, whole.bottom, whole.right)
        maps = None
        try:
            inside = boxes[0].within(window)
            maps = engine(_cut(image, window), *inside)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if maps is None:  # only here has the error let go of its tensors
            boxes = _halved(boxes, stride, place)
            notes = (_halving_note(boxes[0].side),)
            continue
        canvas.put(maps, boxes[0])
        finished += boxes.pop(0).area
        spent = time.perf_counter() - begun
        message = yield Progress(
            finished,
            total,
            "Predicting" if network.dense else PIXEL_BY_PIXEL,
            eta_s=spent * (total - finished) / finished,
        )
        if message is Stop and boxes:
            share = canvas.done.mean()
            notes += (
                f"Stopped early: {share:.0%} of the image was predicted, the rest "
                "of its results is 0.",
            )
            break
    classes = len(canvas.maps) - network.regressions
    return InferResult(
        canvas.maps[:classes],
        canvas.done,
        notes,
        canvas.maps[classes:] if network.regressions else None,
    )


class _Canvas:
    """Where the tiles are put together.

    Parameters
    ----------
    height, width
        Of the image in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.done = np.zeros((height, width), dtype=bool)
        # How many maps there are is known when the first tile is.
        self.maps = np.zeros((0, height, width), dtype=np.float32)

    def put(self, maps: NDArray[np.float32], box: TileBox) -> None:
        """Keep the part of a box's maps `(k, y, x)` that lies in the image."""
        if len(self.maps) == 0:
            shape = (len(maps), self.height, self.width)
            self.maps = np.zeros(shape, dtype=np.float32)
        bottom, right = min(box.bottom, self.height), min(box.right, self.width)
        kept = np.s_[box.top : bottom, box.left : right]
        self.maps[:, *kept] = maps[:, : bottom - box.top, : right - box.left]
        self.done[kept] = True


def _cut(image: NDArray[np.float32], box: TileBox) -> NDArray[np.float32]:
    """`(c, y, x)` of a box, which may reach beyond the image's lower right corner."""
    height, width = image.shape[1:]
    inside = image[:, box.top : box.bottom, box.left : box.right]
    beyond = ((0, 0), (0, max(0, box.bottom - height)), (0, max(0, box.right - width)))
    if any(after for _, after in beyond):
        inside = np.pad(inside, beyond, mode="edge")
    return np.ascontiguousarray(inside, dtype=np.float32)


def _halved(boxes: list[TileBox], stride: int, device: torch.device) -> list[TileBox]:
    """Cut what is left to do into smaller tiles."""
    half = round_up(boxes[0].side // 2, stride)
    if half < SMALLEST_TILE or half >= boxes[0].side:
        raise TopiaryError(
            f"The memory of {device} is not enough even for a tile of "
            f"{boxes[0].side} pixels: close other programs, choose another device, or "
            "use a smaller network."
        )
    if device.type == "cuda":
        torch.cuda.empty_cache()
    logger.warning("out of memory: tiles of %d px from here on", half)
    return [piece for box in boxes for piece in box.split(half, stride)]


def _halving_note(side: int) -> str:
    return f"The device ran out of memory: smaller tiles of {side} pixels were used."


@dataclass(frozen=True)
class TileBox:
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

    def split(self, tile: int, stride: int) -> Iterator[TileBox]:
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
                yield TileBox(top, bottom, left, right)

    def grown(self, by: int, height: int, width: int) -> TileBox:
        """With context on every side, as far as there is any.

        Parameters
        ----------
        by
            Pixels of context.
        height, width
            Where everything ends.
        """
        return TileBox(
            max(0, self.top - by),
            min(height, self.bottom + by),
            max(0, self.left - by),
            min(width, self.right + by),
        )

    def within(self, window: TileBox) -> tuple[slice, slice]:
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
