"""What is marked on a large image, cut out: side by side as one small image.

Nothing else of it is read, except some of its rows and columns, by which intensities
are normalised: a part then looks as it does when the whole is predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import (
    Labels,
    annotation_kinds,
    around_marks,
    finished_regions,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_files import read_annotations
from napari_topiary.io.image_area import image_area, is_grey, known_in
from napari_topiary.io.images import read_labels
from napari_topiary.io.large_images import LargeImage, open_large
from napari_topiary.types import Image, LabelImage, Task, Window, grown

MARGIN = 256
"""Around what is marked so much is read with it, in pixels of the image."""
MOST_PIXELS = 64_000_000
"""Where more is marked, the image is read whole, if that is possible."""
UNMARKED = 2048
"""Side of the middle of an image without marks that is read, in pixels."""
BAND = 512
"""Label images are gone through in squares of this side, in pixels."""
Place = tuple[slice, slice]


@dataclass(frozen=True, eq=False, kw_only=True)
class Excerpt:
    """Where the parts of a cut-out come from, and what has to be known of the rest."""

    #: `thin`, `step`: every `step`-th row and column of the whole image `(c, y, x)`
    thin: Image
    step: int
    whole: tuple[int, int]  #: `(y, x)` of the whole image in pixels
    windows: tuple[Window, ...]
    corners: tuple[tuple[int, int], ...]  #: y, x of each in the cut-out

    @cached_property
    def thin_area(self) -> NDArray[np.bool_]:
        """Which pixels of `thin` carry an image."""
        return image_area(self.thin)

    @property
    def shape(self) -> tuple[int, int]:
        """`(y, x)` of the cut-out."""
        ends = [(place[0].stop, place[1].stop) for place, _ in self.pieces()]
        return max(y for y, _ in ends), max(x for _, x in ends)

    def pieces(self) -> Iterator[tuple[Place, tuple[int, int]]]:
        """Return each part's place in the cut-out, and its corner in the whole."""
        for (top, bottom, left, right), (y, x) in zip(
            self.windows, self.corners, strict=True
        ):
            yield (slice(y, y + bottom - top), slice(x, x + right - left)), (top, left)

    def area(self, image: Image) -> NDArray[np.bool_]:
        """Pixels of the cut-out `(c, y, x)` that carry an image."""
        found = np.zeros(image.shape[1:], dtype=bool)
        for place, corner in self.pieces():
            found[place] = known_in(
                self.thin_area, image[:, *place], step=self.step, corner=corner
            )
        return found

    def origins(
        self, shape: tuple[int, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return where in the whole image the pixels of a grid over the cut-out lie.

        y and x of each pixel's middle, `(h, w)` as the grid, counted from the corner of
        the first pixel; not a number where no part is.
        """
        own = self.shape
        middles = [
            (np.arange(n) + 0.5) * side / n for n, side in zip(shape, own, strict=True)
        ]
        found = np.full((2, *shape), np.nan, np.float32)
        for place, corner in self.pieces():
            inside = [
                np.flatnonzero((at >= one.start) & (at < one.stop))
                for at, one in zip(middles, place, strict=True)
            ]
            for axis in (0, 1):
                shift = corner[axis] - place[axis].start
                along = middles[axis][inside[axis]] + shift
                part = along[:, None] if axis == 0 else along[None]
                found[axis][np.ix_(*inside)] = part
        return found[0], found[1]

    def original(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions `(n, 2)` in the cut-out as those in the whole image."""
        found = np.array(places, dtype=np.float64)
        for (rows, columns), corner in self.pieces():
            first = np.array([rows.start, columns.start])
            last = np.array([rows.stop, columns.stop])
            inside = ((places >= first - 0.5) & (places < last - 0.5)).all(axis=1)
            found[inside] += np.array(corner) - first
        return found

    def moved(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions `(n, 2)` in the whole image as those in the cut-out.

        What lies in no part keeps its distance from the nearest.
        """
        first = [(rows.start, columns.start) for (rows, columns), _ in self.pieces()]
        shifts = np.array(first, dtype=np.float64)
        shifts -= [corner for _, corner in self.pieces()]
        boxes = np.array(self.windows, dtype=np.float64)
        low, high = boxes[:, None, [0, 2]], boxes[:, None, [1, 3]]
        away = np.maximum(low - places, 0) + np.maximum(places - high, 0)
        nearest = away.sum(axis=2).argmin(axis=0)
        return np.asarray(places + shifts[nearest])


@dataclass(frozen=True, eq=False, kw_only=True)
class CutOut:
    """The marked parts of a large image `(c, y, x)`, with annotations in its pixels."""

    image: Image
    annotations: tuple[Any, ...]
    excerpt: Excerpt
    scale: float | None
    notes: tuple[str, ...] = ()


def cut_out(path: Path, files: Mapping[str, Path], task: Task) -> CutOut | None:
    """Read the marked parts of a large image, drawn in `files`, one for each kind.

    Returns
    -------
    CutOut or None
        None where the image is not large, or too much of it is marked.
    """
    opened = open_large(path)
    if opened is None or len(opened) != 1:
        return None
    images = {k: f for k, f in files.items() if annotation_kinds[k].storage == "image"}
    tables = {kind: file for kind, file in files.items() if kind not in images}
    drawn = read_annotations(tables, task=task)
    painted = next(map(_Painted, images.values()), None)
    return _marked_parts(opened[0], drawn, painted, task, opened[0].scale)


def cut_marked(
    image: LargeImage,
    drawn: Sequence[Any],
    *,
    task: Task,
    scale: float | None,
    window: Window | None = None,
) -> CutOut:
    """Read the marked parts of a large image, as `cut_out` does with files.

    With a `window`, that part in its pixels, whatever is marked there.

    Raises
    ------
    TopiaryError
        Where too much of it is marked.
    """
    labels = next((one for one in drawn if isinstance(one, Labels)), None)
    painted = None if labels is None else _Painted(labels.labels)
    rest = [one for one in drawn if one is not labels]
    cut = _marked_parts(image, rest, painted, task, scale, window)
    if cut is None:
        raise TopiaryError(
            "What is marked spreads over more of this large image than can be learned "
            f"from at once ({MOST_PIXELS // 1_000_000} megapixels): draw finished "
            "areas around some of it."
        )
    return cut


def cut_window(image: LargeImage, window: Window) -> tuple[Image, Excerpt]:
    """Read one part of a large image, with what has to be known of the rest."""
    thin, step = image.thinned()
    excerpt = Excerpt(
        thin=thin,
        step=step,
        whole=(image.shape[1], image.shape[2]),
        windows=(window,),
        corners=((0, 0),),
    )
    return image.read(window), excerpt


def _marked_parts(
    image: LargeImage,
    drawn: Sequence[Any],
    painted: _Painted | None,
    task: Task,
    scale: float | None,
    only: Window | None = None,
) -> CutOut | None:
    shape, notes = image.shape[1:], image.notes
    if painted is None and not finished_regions(drawn):
        # Nobody marks all of a large image.
        part = around_marks(drawn, shape, task=task, scale=scale)
        if part is not None:
            drawn = [*drawn, part]
            notes = (*notes, _NOTHING_FINISHED)
    if only is not None:
        drawn = [_touching(item, only) for item in drawn]
    windows = _windows(drawn, painted, shape) if only is None else (only,)
    known = sum((b - a) * (d - c) for a, b, c, d in windows)
    if known > MOST_PIXELS:
        return None
    thin, step = image.thinned()
    if is_grey(thin):
        image, thin = replace(image, channel=0), thin[:1]
    excerpt = Excerpt(
        thin=thin, step=step, whole=shape, windows=windows, corners=_shelves(windows)
    )
    pixels = np.zeros((image.shape[0], *excerpt.shape), image.dtype)
    for (place, _), window in zip(excerpt.pieces(), windows, strict=True):
        pixels[:, *place] = image.read(window)
    found = [_moved(item, excerpt) for item in drawn]
    if painted is not None:
        labels = np.zeros(excerpt.shape, painted.dtype)
        for (place, _), window in zip(excerpt.pieces(), windows, strict=True):
            labels[place] = painted.read(window)
        found.append(Labels(labels, instances=task.kind == "instances"))
    if only is None:
        share = f"{known / (shape[0] * shape[1]):.1%} of it"
        notes = (*notes, f"Only what is marked was read of this image ({share}).")
    return CutOut(
        image=pixels,
        annotations=tuple(found),
        excerpt=excerpt,
        scale=image.scale,
        notes=notes,
    )


_NOTHING_FINISHED = (
    "No finished area is drawn on this large image: only what lies between its marks "
    "counts as looked at."
)


class _Painted:
    """A label image, at hand or read part by part where that is possible."""

    def __init__(self, source: Path | LabelImage) -> None:
        self._source: LargeImage | LabelImage
        if isinstance(source, Path):
            opened = open_large(source)
            self._source = opened[0] if opened else read_labels(source)
        else:
            self._source = source
        self.dtype: np.dtype[Any] = self._source.dtype
        self.shape = (int(self._source.shape[-2]), int(self._source.shape[-1]))

    def read(self, window: Window) -> NDArray[Any]:
        """Read a part; what lies outside is 0."""
        top, bottom, left, right = window
        inside = top, min(bottom, self.shape[0]), left, min(right, self.shape[1])
        part = np.zeros((bottom - top, right - left), self.dtype)
        if inside[0] < inside[1] and inside[2] < inside[3]:
            found = (
                self._source.read(inside)[0]
                if isinstance(self._source, LargeImage)
                else self._source[inside[0] : inside[1], inside[2] : inside[3]]
            )
            part[: found.shape[0], : found.shape[1]] = found
        return part

    def box(self) -> Window | None:
        """Return the rectangle around all that is not 0."""
        boxes = []
        height, width = self.shape
        for top in range(0, height, BAND):
            rows = self.read((top, min(top + BAND, height), 0, width)) != 0
            y, x = np.flatnonzero(rows.any(axis=1)), np.flatnonzero(rows.any(axis=0))
            if len(y):
                boxes.append((top + y[0], top + y[-1] + 1, x[0], x[-1] + 1))
        return _around(boxes) if boxes else None


def _windows(
    drawn: Sequence[Any], painted: _Painted | None, shape: tuple[int, int]
) -> tuple[Window, ...]:
    """Return the parts of an image that something is known about."""
    boxes: list[Window] = []
    finished = bool(finished_regions(drawn))
    for item in drawn:
        boxes += [_box(places) for places in item.places()]
    if painted is not None and not finished:
        box = painted.box()
        boxes += [] if box is None else [box]
    height, width = shape
    wider = [
        grown((top, bottom, left, right), MARGIN, shape)
        for top, bottom, left, right in boxes
        # What lies beyond the image is told to the person later.
        if top < height and left < width and bottom > 0 and right > 0
    ]
    if not wider:
        top, left = max(0, (height - UNMARKED) // 2), max(0, (width - UNMARKED) // 2)
        return ((top, min(height, top + UNMARKED), left, min(width, left + UNMARKED)),)
    # Without finished areas all is finished: what lies between marks counts too.
    return tuple(_joined(wider)) if finished else (_around(wider),)


def _joined(boxes: list[Window]) -> list[Window]:
    """Join rectangles that overlap, until none do."""
    found: list[Window] = []
    for box in boxes:
        while True:
            touching = [other for other in found if _overlap(box, other)]
            if not touching:
                break
            found = [other for other in found if other not in touching]
            box = _around([box, *touching])
        found.append(box)
    return found


def _overlap(one: Window, other: Window) -> bool:
    return all(one[i] < other[i + 1] and other[i] < one[i + 1] for i in (0, 2))


def _around(boxes: Sequence[Window]) -> Window:
    top, bottom, left, right = zip(*boxes, strict=True)
    return int(min(top)), int(max(bottom)), int(min(left)), int(max(right))


def _box(places: NDArray[np.float64]) -> Window:
    """Pixels around positions `(n, 2)`."""
    (top, left), (bottom, right) = places.min(axis=0), places.max(axis=0)
    return int(top), int(np.ceil(bottom)) + 1, int(left), int(np.ceil(right)) + 1


def _shelves(windows: Sequence[Window]) -> tuple[tuple[int, int], ...]:
    """Place parts one below the other in about as many columns as rows."""
    columns = int(np.ceil(np.sqrt(len(windows))))
    corners, y = list[tuple[int, int]](), 0
    for first in range(0, len(windows), columns):
        x, row = 0, windows[first : first + columns]
        for _, _, left, right in row:
            corners.append((y, x))
            x += right - left
        y += max(bottom - top for top, bottom, _, _ in row)
    return tuple(corners)


def _touching(item: Any, window: Window) -> Any:
    """Return what of something drawn lies in a part, or reaches into it."""
    top, bottom, left, right = window
    low, high = np.array([top, left]) - 0.5, np.array([bottom, right]) - 0.5
    kept = [
        index
        for index, one in enumerate(item.places())
        if (one.max(axis=0) >= low).all() and (one.min(axis=0) <= high).all()
    ]
    return item.only(kept) if item.places() else item


def _moved(item: Any, excerpt: Excerpt) -> Any:
    """Return what is drawn, in pixels of the cut-out: each thing lies in one part."""
    places = item.places()
    if not places:
        return item
    middles = np.array([(one.min(axis=0) + one.max(axis=0)) / 2 for one in places])
    shifts = excerpt.moved(middles) - middles
    return item.placed([one + shift for one, shift in zip(places, shifts, strict=True)])
