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
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_topiary.errors import TopiaryError, is_out_of_memory
from napari_topiary.inference.cluster import Cluster
from napari_topiary.inference.engine import Engine, Tile
from napari_topiary.io.memory import free_memory
from napari_topiary.networks.base import Network
from napari_topiary.types import Job, Progress, Stop, grown, seconds_left

logger = logging.getLogger(__name__)

SMALLEST_TILE = 32
"""Tiles are not halved below this side, in pixels."""
USUAL_TILE, LEAST_TILE = 512, 128
"""Sides in pixels: what suits nearly every network, and the least that is planned."""
LARGEST_TILE = {"cpu": 640, "mps": 2048, "cuda": 2048}
"""The most, in pixels: on a CPU larger ones are slower, and take hundreds of MB."""
SHARE_OF_MEMORY = 0.25
"""Of what is free, for the maps of one tile."""
MULTIPLICATIONS = {"cpu": 6e10, "mps": 5e11, "cuda": 5e12}
"""Tiles above the usual side have no more: Stop is heard after about two seconds."""
PROBED = 32
"""Side of the image that a network's cost is counted on, in pixels."""
PIXEL_BY_PIXEL = "Predicting pixel by pixel: this network has no faster exact way"


@dataclass(frozen=True)
class InferResult:
    """What a network says about an image."""

    #: `(k, y, x)` float32, sums to 1 over k; 0 where the network has not run
    probability: NDArray[np.float32]
    done: NDArray[np.bool_]  #: `(y, x)` bool: where the network has run
    notes: tuple[str, ...] = ()  #: Sentences for the user (stopped early, tile halved)
    #: `(r, y, x)` float32: maps that are values; None where the network has none
    regression: NDArray[np.float32] | None = None


def infer(
    engine: Engine | Cluster,
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
        After every tile, in pixels, and now and then while workers are waited for.
        `Stop` may be sent in.

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
    boxes = deque((part or whole).split(tile, stride))
    total = sum(box.area for box in boxes)
    notes: tuple[str, ...] = ()
    begun, finished = time.perf_counter(), 0
    words = "Predicting" if network.dense else PIXEL_BY_PIXEL
    answers = _answers(engine, _Pieces(image, boxes, context, whole))
    while finished < total:
        found = next(answers)
        if found is not None and found[1] is None:
            # What is under way on other workers may be too large as well.
            halved = _halved([found[0], *boxes], stride, place)
            boxes.clear()
            boxes.extend(halved)
            notes = (_halving_note(halved[0].side),)
            continue
        if found is not None and found[1] is not None:
            canvas.put(found[1], found[0])
            finished += found[0].area
        message = yield Progress(
            finished,
            total,
            words if isinstance(engine, Engine) else f"{words}, {engine.workers.words}",
            eta_s=seconds_left(begun, finished, total),
        )
        if message is Stop and finished < total:
            notes += (stopped_early(float(canvas.done.mean())),)
            break
    answers.close()
    return canvas.result(engine, notes)


def stopped_early(share: float) -> str:
    """Say how much of an image was predicted before it was stopped."""
    return (
        f"Stopped early: {share:.0%} of the image was predicted, the rest of its "
        "results is 0."
    )


class _Canvas:
    """Where the tiles are put together."""

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

    def result(self, engine: Engine | Cluster, notes: tuple[str, ...]) -> InferResult:
        """Return what there is; nothing at all where it was stopped before."""
        if not isinstance(engine, Engine) and not len(self.maps):
            self.maps = np.zeros((engine.n_maps, *self.done.shape), np.float32)
        values = engine.network.regressions
        classes = len(self.maps) - values
        regression = self.maps[classes:] if values else None
        return InferResult(self.maps[:classes], self.done, notes, regression)


@dataclass
class _Pieces:
    """What is left to be computed of an image."""

    image: NDArray[np.float32]
    boxes: deque[TileBox]
    context: int
    whole: TileBox

    def next(self) -> tuple[TileBox, Tile] | None:
        """Cut the next tile out, with its context."""
        if not self.boxes:
            return None
        box = self.boxes.popleft()
        window = box.grown(self.context, self.whole.bottom, self.whole.right)
        return box, (_cut(self.image, window), *box.within(window))


def _answers(
    engine: Engine | Cluster, pieces: _Pieces
) -> Generator[tuple[TileBox, NDArray[np.float32] | None] | None]:
    """What the network says about one tile after the other.

    The maps are None where memory was not enough; None alone while workers are waited
    for.
    """
    if not isinstance(engine, Engine):
        while True:  # tiles that were halved come after the others have ended
            yield from engine.answers(pieces.next)
    while (piece := pieces.next()) is not None:
        yield piece[0], _unless_out_of_memory(engine, piece[1])


def _unless_out_of_memory(engine: Engine, tile: Tile) -> NDArray[np.float32] | None:
    try:
        return engine(*tile)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None  # only here has the error let go of its tensors


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
        """With context on every side, as far as there is any."""
        box = (self.top, self.bottom, self.left, self.right)
        return TileBox(*grown(box, by, (height, width)))

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


def tile_side(network: Network, device: torch.device) -> int:
    """Side of the tiles of large images, in pixels.

    Large tiles waste little on context, but they need memory, and Stop is heard only
    between them.
    """
    if network.patch is not None:
        return USUAL_TILE
    free = free_memory()
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    nbytes, multiplications = _cost(network, device)
    most = MULTIPLICATIONS[device.type] / multiplications
    by_time = min(max(USUAL_TILE, math.sqrt(most)), LARGEST_TILE[device.type])
    by_memory = math.sqrt(SHARE_OF_MEMORY * free / nbytes) - 2 * network.halo
    return int(max(LEAST_TILE, min(by_time, by_memory)))


def _cost(network: Network, device: torch.device) -> tuple[float, float]:
    """Bytes of all maps and multiplications, for one pixel of the image.

    Counted by running the network on a small image: without values it would take
    torch more than a second to get ready.
    """
    values = multiplications = 0

    def count(module: nn.Module, read: tuple[torch.Tensor], made: torch.Tensor) -> None:
        nonlocal values, multiplications
        applied = read[0] if isinstance(module, nn.ConvTranspose2d) else made
        weight = module.get_parameter("weight")
        values += made.numel()
        multiplications += weight.numel() * applied.shape[-2:].numel()

    convolutions = [
        module
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    hooks = [module.register_forward_hook(count) for module in convolutions]
    side = max(PROBED, network.stride)
    image = torch.zeros(1, convolutions[0].in_channels, side, side, device=device)
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            network(image)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    # Every convolution's maps once, and half of them again where they are joined.
    return 6 * values / side**2, multiplications / side**2
