"""Results of a large image, written block by block on its own grid."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.data.working_grid import resized_part
from napari_topiary.inference.large.finding import (
    Finder,
    MapsSoFar,
    StoredMaps,
    within,
)
from napari_topiary.inference.measures import Areas, Counted, pixel_figures
from napari_topiary.inference.network_input import Pixels
from napari_topiary.io.ome_zarr import OmeZarr
from napari_topiary.io.own_files import signed
from napari_topiary.postprocessing.in_blocks import ConnectedAreas, Objects
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import (
    Detections,
    Job,
    Progress,
    Task,
    Window,
    grown,
    seconds_left,
)

Stored = Literal["float16", "uint8"]
Figures = Callable[..., tuple[NDArray[np.float64], ...]]
BLOCK = 2048
"""Side of the blocks that results are written in, in pixels of the image."""
_BLUR = 8
"""A value on the grid of the image comes from values that are this near at most."""


@dataclass(frozen=True, kw_only=True)
class ResultFiles:
    """Where the results of a large image are written, and how."""

    #: `folder`, `stem`: where they go, and what their names begin with:
    #: `STEM_probability.zarr` and `STEM_labels.zarr` are OME-Zarr
    folder: Path
    stem: str
    measure: bool = False  #: Measure each area or object, for the table of figures
    stored: Stored = "float16"  #: Type of the probability on disk; `uint8` are 255ths
    #: Keep what the network has so_far: other thresholds then only read it anew
    keep: bool = False

    @property
    def work(self) -> Path:
        """Where what the network says is kept as it goes."""
        return self.folder / f".unfinished-{self.stem}"


@dataclass(frozen=True, kw_only=True)
class LargePrediction:
    """What was found on a large image; its maps are on disk."""

    found: Counted  #: Detections, counts and covered pixels
    files: Mapping[str, Path]
    notes: tuple[str, ...] = ()  #: Sentences for the user
    #: What the network has said; None where that was not kept
    so_far: MapsSoFar | None = None
    problems: tuple[str, ...] = ()  #: Why the answer is worth nothing

    @property
    def complete(self) -> bool:
        """Whether the network has looked at all of it."""
        return self.found.looked_at == 1


def read_large(
    kept: StoredMaps,
    checkpoint: Checkpoint,
    config: DetectConfig,
    *,
    pixels: Pixels,
    scale: float | None,
    into: ResultFiles,
    problems: tuple[str, ...] = (),
) -> Job[LargePrediction]:
    """Read labels and detections from what is kept, and write all results.

    Parameters
    ----------
    kept
        What the network has said about it.
    checkpoint, config
        As for `interpret`.
    pixels
        The image.
    scale, into
        As for `predict_large`.
    problems
        To be written beside the results.
    """
    how, task = PostProcessing.of(checkpoint, config), checkpoint.task
    shape = (pixels.shape[1], pixels.shape[2])
    finder = Finder(kept, how, task, shape=shape)
    blocks = [] if task.kind == "segment" else list(kept.blocks())
    pieces = list(_image_blocks(shape))
    begun, total = time.perf_counter(), len(pieces) + len(blocks)
    objects = into.work / "objects.zarr"
    shutil.rmtree(objects, ignore_errors=True)
    if task.kind == "instances":
        _keep_objects(finder, objects)
    for done, key in enumerate(blocks, start=1):
        finder.look_at_block(key)
        yield Progress(done, total, "Reading", seconds_left(begun, done, total))
    detections = finder.detections()
    looked_at = len(kept.done) / len(list(kept.blocks()))
    about = _about(task, scale, into.stored, problems)
    wanted = pixels if into.measure and task.kind != "detect" else None
    writer = _Writer(finder, into, about, scale, wanted)
    for done, corner in enumerate(pieces, start=len(blocks) + 1):
        writer.write(corner)
        yield Progress(done, total, "Reading", seconds_left(begun, done, total))
    writer.end(complete=looked_at == 1)
    found = Counted(
        shape=shape,
        task=task,
        scale=scale,
        detections=detections,
        counts=writer.counts(detections),
        covered=dict(enumerate(writer.covered.tolist())),
        looked_at=looked_at,
        checkpoint=checkpoint.name or checkpoint.hash[:12],
        areas=writer.measured(),
    )
    return LargePrediction(found=found, files=writer.files)


def _about(
    task: Task, scale: float | None, stored: Stored, problems: tuple[str, ...]
) -> dict[str, Any]:
    """What is written beside the maps."""
    about: dict[str, Any] = {"classes": list(task.classes), "complete": False}
    about["pixel_size_nm"] = scale
    if problems:
        about["problems"] = list(problems)
    if stored == "uint8":
        about["probability_is"] = "value / 255"
    return signed(about)


def _keep_objects(finder: Finder, path: Path) -> None:
    """Let numbers of objects be kept on disk, on the working grid."""
    kept = finder.kept
    objects = zarr.create_array(
        str(path),
        shape=kept.grid,
        dtype=np.uint32,
        chunks=tuple(min(kept.side, n) for n in kept.grid),
    )
    finder.objects, finder.on_disk = Objects(objects), objects


class _Writer:
    """Writes probability and labels on the grid of the image, block by block."""

    def __init__(
        self,
        finder: Finder,
        into: ResultFiles,
        about: Mapping[str, Any],
        scale: float | None,
        pixels: Pixels | None,
    ) -> None:
        self._finder, task = finder, finder.task
        shape, classes = finder.shape, len(task.classes)
        self.files = {
            what: into.folder / f"{into.stem}_{what}.zarr"
            for what in ("probability", "labels")
        }
        for path in self.files.values():
            shutil.rmtree(path, ignore_errors=True)
        self._final = np.zeros(1, np.uint32)
        if finder.objects is not None:
            kept, how = finder.kept, finder.how
            has_distance = kept.maps.shape[0] >= classes
            smaller = math.prod(kept.grid) / math.prod(shape)
            smallest = how.smallest_object(smaller, has_distance)
            self._final = finder.objects.numbers(smallest)
            self._number_those_left()
        highest = int(self._final.max()) if finder.objects is not None else classes - 1
        self._probability = OmeZarr(
            self.files["probability"],
            shape=(classes, *shape),
            dtype=into.stored,
            scale=scale,
            about=about,
        )
        self._labels = OmeZarr(
            self.files["labels"],
            shape=shape,
            dtype=np.min_scalar_type(highest),
            scale=scale,
            about=about,
            kind="nearest",
        )
        # Who opens the probability in another program sees the labels on it.
        self._label_group = self._probability.labels("found", self._labels.dtype)
        self._pixels, self._stored = pixels, into.stored
        self._sums = np.zeros((highest, 9)) if pixels else np.zeros((0, 9))
        self.n_objects = highest if finder.objects is not None else 0
        self.covered = np.zeros(classes, dtype=np.int64)
        self.areas = {
            index: ConnectedAreas(shape[1], diagonal=True)
            for index in range(1, classes)
            if task.kind == "segment"
        }

    def write(self, part: Window) -> None:
        """Write a block of the image."""
        task, how, kept = self._finder.task, self._finder.how, self._finder.kept
        shape, classes = self._finder.shape, len(task.classes)
        if not kept.is_seen(self._on_grid(part)):
            self._pass_over(part)
            return

        def read(window: Window) -> NDArray[np.float32]:
            return kept.read(window, classes)[0][first:]

        # Where all is known the background is what the others leave.
        first = int(kept.complete)
        corner = (part[0], part[2])
        specks = how.min_size_px if task.kind != "instances" else 0
        around = grown(part, max(specks, how.largest_hole_px), shape)
        maps = resized_part(read, kept.grid, shape, around)
        if first:
            maps = np.concatenate([1 - maps.sum(axis=0, keepdims=True), maps])
        inside = within(part, around)
        inner = maps[:, *inside]
        whole = np.rint(255 * inner) if self._stored == "uint8" else inner
        self._probability.write(whole.astype(self._stored), corner)
        figures = self._figures(part, inner)
        if task.kind == "instances":
            labels = how.filled(self._objects_in(around))[inside]
            self.covered[1] += np.count_nonzero(labels)
            if figures is not None:
                self._sum(labels, partial(figures, 1))
        else:
            labels = how.painted(maps, task)[inside]
            self.covered += np.bincount(labels.ravel(), minlength=classes)
        self._labels.write(labels, corner)
        self._label_group.write(labels.astype(self._labels.dtype), corner)
        for index, areas in self.areas.items():
            measure = None if figures is None else partial(figures, index)
            areas.add(labels == index, corner, measure)

    def _pass_over(self, part: Window) -> None:
        """Leave a block empty where the network has not looked."""
        nothing = np.zeros((part[1] - part[0], part[3] - part[2]), dtype=bool)
        if self._finder.task.kind != "instances":
            self.covered[0] += nothing.size
        measure = None if self._pixels is None else _figures_of_nothing
        for areas in self.areas.values():
            areas.add(nothing, (part[0], part[2]), measure)

    def _on_grid(self, part: Window) -> Window:
        """Where a part of the image lies on the working grid, with what decides it."""
        shape, grid = self._finder.shape, self._finder.kept.grid
        how = self._finder.how
        around = grown(part, max(how.min_size_px, how.largest_hole_px) + _BLUR, shape)
        (top, bottom), (left, right) = (
            (start * own // of, -(-end * own // of))
            for start, end, own, of in zip(
                around[::2], around[1::2], grid, shape, strict=True
            )
        )
        return grown((top, bottom, left, right), _BLUR, grid)

    def measured(self) -> Areas:
        """Return the sums over each object or area, where they were wanted."""
        if self._pixels is None:
            return Areas()
        if self._finder.task.kind == "instances":
            return Areas(self._sums, (1,) * len(self._sums))
        found = {index: areas.result() for index, areas in self.areas.items()}
        classes = [index for index, sums in found.items() for _ in sums]
        return Areas(np.concatenate(list(found.values())), tuple(classes))

    def _figures(self, part: Window, maps: NDArray[np.float32]) -> Figures | None:
        """Return what gives the figures of pixels of a block, of a class index."""
        if self._pixels is None:
            return None
        grey = self._pixels.read(part).astype(np.float64).mean(axis=0)

        def figures(
            index: int, y: NDArray[np.intp], x: NDArray[np.intp]
        ) -> tuple[NDArray[np.float64], ...]:
            return pixel_figures(
                y + part[0], x + part[2], maps[index, y, x], grey[y, x]
            )

        return figures

    def _sum(self, labels: NDArray[np.integer], figures: Figures) -> None:
        """Add the pixels of a block to the sums of their objects."""
        y, x = np.nonzero(labels)
        numbers, of_pixel = np.unique(labels[y, x], return_inverse=True)
        n = len(numbers)
        columns = [np.bincount(of_pixel, minlength=n)]
        columns += [np.bincount(of_pixel, one, minlength=n) for one in figures(y, x)]
        self._sums[numbers.astype(np.intp) - 1] += np.stack(columns, axis=1)

    def end(self, *, complete: bool) -> None:
        """Say that everything is written."""
        for image in (self._probability, self._labels):
            image.about(complete=complete)

    def _objects_in(self, part: Window) -> NDArray[np.integer]:
        """Numbers of the objects in a part of the image."""
        shape, grid = self._finder.shape, self._finder.kept.grid
        rows, columns = (
            ((np.arange(start, end) + 0.5) * own / n).astype(np.intp)
            for start, end, n, own in zip(
                part[::2], part[1::2], shape, grid, strict=True
            )
        )
        top, left = rows[0], columns[0]
        there = self._finder.on_disk[top : rows[-1] + 1, left : columns[-1] + 1]
        numbers = self._final[np.asarray(there)]
        return np.asarray(numbers[(rows - top)[:, None], columns - left])

    def _number_those_left(self) -> None:
        """Number 1..n what is left on the grid of the image, if that is coarser."""
        shape, grid = self._finder.shape, self._finder.kept.grid
        if shape[0] >= grid[0] and shape[1] >= grid[1]:
            return
        seen = np.zeros(int(self._final.max()) + 1, dtype=bool)
        for part in _image_blocks(shape):
            seen[self._objects_in(part)] = True
        seen[0] = False
        numbers = np.where(seen, seen.cumsum(), 0).astype(np.uint32)
        self._final = numbers[self._final]

    def counts(self, detections: Detections) -> dict[int, int]:
        """Count particles, objects or connected areas of each class."""
        task = self._finder.task
        if task.kind == "instances":
            return {1: self.n_objects}
        if task.kind == "segment":
            return {index: len(own.result()) for index, own in self.areas.items()}
        found = np.bincount(detections.class_index, minlength=len(task.classes))
        return dict(enumerate(found[1:].tolist(), start=1))


def _figures_of_nothing(
    y: NDArray[np.intp], x: NDArray[np.intp]
) -> tuple[NDArray[np.float64], ...]:
    return pixel_figures(y, x, y, y)


def _image_blocks(shape: tuple[int, int]) -> Iterator[Window]:
    """Blocks of an image, row by row."""
    for top in range(0, shape[0], BLOCK):
        for left in range(0, shape[1], BLOCK):
            bottom, right = min(top + BLOCK, shape[0]), min(left + BLOCK, shape[1])
            yield top, bottom, left, right
