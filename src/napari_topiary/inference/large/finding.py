"""Objects, particles and filaments of a large image, window by window."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.data.working_grid import working_to_original_coords
from napari_topiary.postprocessing.detections import (
    LINE_RADIUS,
    best_apart,
    candidates,
    shrinking,
)
from napari_topiary.postprocessing.in_blocks import ConnectedAreas, Objects
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.postprocessing.labels import threshold_of
from napari_topiary.postprocessing.lines import line_paths_of, line_skeleton, simplified
from napari_topiary.types import Detections, Task, Window, grown

MARGIN = 256
"""Around a block so much is read with it, in working pixels."""
WIDEST_MARGIN = 2048
"""Objects that a margin does not hold are looked at with wider ones, up to this."""
SHOWN = 2048
"""What is kept to be looked at as a whole has no more pixels than this to a side."""
LARGEST_LINES = 64_000_000
"""Filaments that are connected over more pixels than this are cut."""


@dataclass(frozen=True, eq=False)
class StoredMaps:
    """What a network has said so far, on disk."""

    #: `(m, h, w)` float32: probabilities of all classes but the background, then the
    #: maps that are values; 0 where it has not looked
    maps: Any
    side: int  #: Of the blocks, in working pixels
    #: Blocks where it has looked, as row and column of blocks
    done: set[tuple[int, int]] = field(default_factory=set)

    @property
    def grid(self) -> tuple[int, int]:
        """`(h, w)` of the working grid."""
        return int(self.maps.shape[1]), int(self.maps.shape[2])

    @property
    def complete(self) -> bool:
        """Whether the network has looked at all of it."""
        return len(self.done) == math.prod(-(-n // self.side) for n in self.grid)

    def is_seen(self, window: Window) -> bool:
        """Whether the network has looked at something of a window."""
        return any(key in self.done for key in self._touched(window))

    def blocks(self) -> Iterator[tuple[int, int]]:
        """All blocks, row by row."""
        rows, columns = (range(-(-n // self.side)) for n in self.grid)
        return product(rows, columns)

    def box(self, key: tuple[int, int]) -> Window:
        """Where a block lies."""
        top, left = key[0] * self.side, key[1] * self.side
        bottom, right = top + self.side, left + self.side
        return top, min(bottom, self.grid[0]), left, min(right, self.grid[1])

    def read(
        self, window: Window, classes: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return probabilities `(k, h, w)` of a window, and maps that are values."""
        top, bottom, left, right = window
        maps = np.asarray(self.maps[:, top:bottom, left:right])
        probability = np.empty((classes, *maps.shape[1:]), np.float32)
        probability[1:] = maps[: classes - 1]
        probability[0] = 1 - probability[1:].sum(axis=0)
        if not self.complete:
            for key in self._touched(window):
                if key not in self.done:
                    a, b, c, d = self.box(key)
                    probability[
                        0, max(0, a - top) : b - top, max(0, c - left) : d - left
                    ] = 0
        return probability, maps[classes - 1 :] if len(maps) >= classes else None

    def _touched(self, window: Window) -> Iterator[tuple[int, int]]:
        top, bottom, left, right = window
        return product(
            range(top // self.side, -(-bottom // self.side)),
            range(left // self.side, -(-right // self.side)),
        )


class MapsSoFar:
    """What a network has said so far, to be looked at while it goes on."""

    def __init__(self, kept: StoredMaps) -> None:
        self.kept = kept
        self.step = max(1, -(-max(kept.grid) // SHOWN))
        sides = (-(-n // self.step) for n in kept.grid)
        self.thin = np.zeros((kept.maps.shape[0], *sides), np.float32)
        for key in kept.done:
            top, bottom, left, right = kept.box(key)
            maps = np.asarray(kept.maps[:, top:bottom, left:right])
            self.add(maps, (top, left))

    def add(self, maps: NDArray[np.float32], corner: tuple[int, int]) -> None:
        """Take every `step`-th row and column of a block."""
        first = [-at % self.step for at in corner]
        some = maps[:, first[0] :: self.step, first[1] :: self.step]
        y, x = (-(-at // self.step) for at in corner)
        self.thin[:, y : y + some.shape[1], x : x + some.shape[2]] = some


class Finder:
    """Finds what is on a large image, on the working grid.

    Parameters
    ----------
    kept
        What the network has said.
    how, task
        How that is read.
    shape
        `(y, x)` of the image in pixels.
    """

    def __init__(
        self,
        kept: StoredMaps,
        how: PostProcessing,
        task: Task,
        *,
        shape: tuple[int, int],
    ) -> None:
        self.kept, self.how, self.task, self.shape = kept, how, task, shape
        self.objects: Objects | None = None
        self.on_disk: Any = None
        self._found: list[Detections] = []
        names = task.classes[1:]
        self._lines = [n for n in names if n in how.line_classes]
        self._spots = [n for n in names if n in how.radius_px and n not in self._lines]
        self._skeletons: dict[str, list[NDArray[np.int64]]] = {n: [] for n in names}
        width = kept.grid[1]
        # Particles of unknown size are whole areas, which may be of any size.
        self._areas = {
            n: ConnectedAreas(width, diagonal=False)
            for n in names
            if n not in self._lines and n not in self._spots
        }

    def look_at_block(self, key: tuple[int, int]) -> None:
        """Find what is in a block."""
        box = self.kept.box(key)
        if self.objects is not None:
            self._find_objects(self.objects, box)
            return
        window = grown(box, self._margin(), self.kept.grid)
        probability = np.zeros((1, 0, 0), np.float32)
        if self.kept.is_seen(window):
            probability, _ = self.kept.read(window, len(self.task.classes))
        if not probability[1:].any():
            nothing = np.zeros((box[1] - box[0], box[3] - box[2]), np.float32)
            for areas in self._areas.values():
                measure = partial(_weighted, nothing, box)
                areas.add(nothing > 0, (box[0], box[2]), measure)
            return
        self._find_particles(probability, window, box)
        for name in self._lines:
            index = self.task.classes.index(name)
            radius = self.how.radius_px.get(name) or LINE_RADIUS
            skeleton = line_skeleton(
                probability[index],
                radius=radius,
                threshold=threshold_of(name, self.how.thresholds),
            )
            inside = skeleton[within(box, window)]
            self._skeletons[name].append(
                np.argwhere(inside) + np.array([box[0], box[2]])
            )
        for name, areas in self._areas.items():
            inside = probability[self.task.classes.index(name)][within(box, window)]
            mask = inside >= threshold_of(name, self.how.thresholds)
            areas.add(mask, (box[0], box[2]), partial(_weighted, inside, box))

    def detections(self) -> Detections:
        """Return particles and lines of all blocks, in pixels of the image."""
        if self.task.kind != "detect":
            return Detections.empty()
        found = self._found + list(self._whole_areas())
        merged = Detections.empty()
        if found:
            merged = Detections(
                np.concatenate([one.coordinates for one in found]),
                np.concatenate([one.class_index for one in found]),
                np.concatenate([one.score for one in found]),
            )
            order = np.lexsort((*merged.coordinates.T[::-1], merged.class_index))
            merged = Detections(
                merged.coordinates[order],
                merged.class_index[order],
                merged.score[order],
            )
        merged = best_apart(
            merged,
            task=self.task,
            radius_px=self.how.radius_px,
            spacing=self.how.spacing,
        )
        paths, classes, scores = self._traced()
        shape, grid = self.shape, self.kept.grid
        return Detections(
            working_to_original_coords(merged.coordinates, shape, grid),
            merged.class_index,
            merged.score,
            tuple(working_to_original_coords(path, shape, grid) for path in paths),
            np.array(classes, dtype=np.int64),
            np.array(scores, dtype=np.float64),
        )

    def _margin(self) -> int:
        """How much around a block decides what is found in it, in working pixels."""
        radii = [self.how.radius_px.get(name) or LINE_RADIUS for name in self._lines]
        radii += [self.how.radius_px[name] for name in self._spots]
        return max(64, int(8 * max(radii, default=1.0))) // 8 * 8

    def _find_particles(
        self, probability: NDArray[np.float32], window: Window, box: Window
    ) -> None:
        for name in self._spots:
            # Where a large particle is looked for on a coarser grid, that is the
            # grid of the whole image.
            step = shrinking(self.how.radius_px[name])
            first = [-window[0] % step, -window[2] % step]
            found = candidates(
                probability[:, first[0] :, first[1] :],
                classes=[name],
                task=self.task,
                radius_px=self.how.radius_px,
                threshold=self.how.thresholds,
            )
            corner = np.array([window[0] + first[0], window[2] + first[1]])
            places = found.coordinates + corner
            top, bottom, left, right = box
            # Half a pixel beyond the last one belongs to the image's last block.
            own = (places >= np.array([top, left]) - 0.5).all(axis=1)
            own &= (places < np.array([bottom, right]) - 0.5).all(axis=1)
            self._found.append(
                Detections(places[own], found.class_index[own], found.score[own])
            )

    def _whole_areas(self) -> Iterator[Detections]:
        for name, areas in self._areas.items():
            sums = areas.result()
            if not len(sums):
                continue
            size, mass, y, x = sums.T
            safe = np.where(mass > 0, mass, 1.0)
            index = np.full(len(size), self.task.classes.index(name), dtype=np.int64)
            yield Detections(np.stack([y / safe, x / safe], axis=1), index, mass / size)

    def _traced(self) -> tuple[list[NDArray[np.float64]], list[int], list[float]]:
        paths: list[NDArray[np.float64]] = []
        classes: list[int] = []
        scores: list[float] = []
        for name in self._lines:
            pieces = self._skeletons[name]
            if not pieces:
                continue
            radius = self.how.radius_px.get(name) or LINE_RADIUS
            index = self.task.classes.index(name)
            pixels = np.concatenate(pieces)
            for path in line_paths_of(pixels, radius=radius, largest=LARGEST_LINES):
                scores.append(self._mean_along(path, index))
                classes.append(index)
                paths.append(simplified(path, radius=radius))
        return paths, classes, scores

    def _mean_along(self, path: NDArray[np.float64], index: int) -> float:
        """Mean probability along a path."""
        y, x = np.rint(path).astype(np.int64).T
        cells = np.stack([y, x], axis=1) // self.kept.side
        total = 0.0
        for key in np.unique(cells, axis=0):
            own = (cells == key).all(axis=1)
            top, left = y[own].min(), x[own].min()
            values = self.kept.maps[
                index - 1, top : y[own].max() + 1, left : x[own].max() + 1
            ]
            total += float(np.asarray(values)[y[own] - top, x[own] - left].sum())
        return total / len(y)

    def _find_objects(self, objects: Objects, box: Window) -> None:
        margin = MARGIN
        while True:
            window = grown(box, margin, self.kept.grid)
            if not self.kept.is_seen(window):
                return
            probability, regression = self.kept.read(window, len(self.task.classes))
            if not probability[1:].any():
                return
            labels = self.how.objects(probability, self.task, regression, 0)
            block = within(box, window)
            if margin >= WIDEST_MARGIN or not _is_cut(
                labels, block, window, self.kept.grid
            ):
                break
            margin *= 2
        objects.add(labels, (window[0], window[2]), block)


def within(box: Window, window: Window) -> tuple[slice, slice]:
    """Rows and columns of a box in a window that contains it."""
    return (
        slice(box[0] - window[0], box[1] - window[0]),
        slice(box[2] - window[2], box[3] - window[2]),
    )


def _is_cut(
    labels: NDArray[np.integer],
    block: tuple[slice, slice],
    window: Window,
    grid: tuple[int, int],
) -> bool:
    """Whether an object of a block goes on beyond its window."""
    top, bottom, left, right = window
    edges = [
        labels[0] if top > 0 else labels[:0],
        labels[-1] if bottom < grid[0] else labels[:0],
        labels[:, 0] if left > 0 else labels[:0],
        labels[:, -1] if right < grid[1] else labels[:0],
    ]
    cut = np.unique(np.concatenate([edge.ravel() for edge in edges]))
    cut = cut[cut > 0]
    return bool(len(cut) and np.isin(labels[block], cut).any())


def _weighted(
    probability: NDArray[np.float32],
    box: Window,
    y: NDArray[np.intp],
    x: NDArray[np.intp],
) -> list[NDArray[np.float64]]:
    """Probability of pixels of a block, and their places weighted by it."""
    weight = probability[y, x].astype(np.float64)
    return [weight, weight * (y + box[0]), weight * (x + box[2])]
