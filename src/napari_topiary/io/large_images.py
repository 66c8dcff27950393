"""Images that are too large to be read whole: opened at once, read part by part."""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, product
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats import LazyFormat, RawImage
from napari_topiary.io.image_area import LARGE, thinning
from napari_topiary.io.images import check_raw, reader_of
from napari_topiary.types import Image, Window

CACHE_BYTES = 256 << 20
"""Unpacked pieces of a file are kept up to this size, for their neighbours."""
WHOLE_PIXELS = 64_000_000
"""Of images with more only what is needed is read, where their file allows it."""
GLANCE = 4096
"""A resolution that is not longer than this is read at once to look at all of it."""
BAND_PIXELS = 16_000_000
"""The whole image is gone through in bands of about so many pixels."""
AT_A_TIME = 16
"""So many pieces are held beside the kept ones."""
SPOTS, SPOT = 5, 128
"""So many spots by so many, of this side in pixels, tell what an image is like."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LargeImage:
    """One image of a file, whose pixels are read when they are asked for."""

    raw: RawImage  #: Its array is read by slices, and has all of `axes`
    #: Index along each axis that is stepped through (z, time), by its letter
    at: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()  #: Sentences for the user
    #: First row and one after the last; the others are cut off (a banner)
    rows: tuple[int, int] | None = None
    #: The only channel that counts, since the others are the same; None = all
    channel: int | None = None
    path: Path | None = None

    @property
    def scale(self) -> float | None:
        """Pixel size in nm, None if unknown."""
        return self.raw.scale

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type of what is read."""
        own = self.raw.array.dtype
        return np.dtype(np.uint8) if own.kind == "b" else own.newbyteorder("=")

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(c, y, x)`."""
        sizes = dict(zip(self.raw.axes, self.raw.array.shape, strict=True))
        top, bottom = self.rows or (0, sizes["y"])
        channels = 1 if self.channel is not None else self._channels(sizes)
        return channels, bottom - top, sizes["x"]

    def read(self, window: Window | None = None, step: int = 1) -> Image:
        """Read a part.

        Parameters
        ----------
        window
            In pixels, inside the image; None = all of it.
        step
            Only every so many-th row and column.

        Returns
        -------
        ndarray
            `(c, y, x)`.
        """
        top, bottom, left, right = window or (0, self.shape[1], 0, self.shape[2])
        first = self.rows[0] if self.rows else 0
        places: dict[str, Any] = {
            "y": slice(top + first, bottom + first, step),
            "x": slice(left, right, step),
            **dict(self.at),
        }
        index = tuple(places.get(name, slice(None)) for name in self.raw.axes)
        array = np.asarray(self.raw.array[index])
        axes = "".join(name for name in self.raw.axes if name not in dict(self.at))
        order = [name for name in axes if name in "sc"] + ["y", "x"]
        array = array.transpose([axes.index(name) for name in order])
        if array.ndim == 2:
            array = array[None]
        sizes = dict(zip(self.raw.axes, self.raw.array.shape, strict=True))
        array = array[: self._channels(sizes)]
        if self.channel is not None:
            array = array[self.channel : self.channel + 1]
        if array.dtype == bool:
            array = array.astype(np.uint8)
        elif not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        if self.raw.is_negative:
            array = ~array
        return np.ascontiguousarray(array)

    @cached_property
    def thin(self) -> Thinned:
        """What is read of it to measure all of it: once, by whoever needs it."""
        return Thinned(self)

    def thinned(self) -> tuple[Image, int]:
        """Read every so many-th row and column `(c, y, x)`; return that step too."""
        while self.thin.read_more() < 1:
            pass
        return self.thin.picture, self.thin.step

    def glance(self) -> Image:
        """Return all of it, small `(c, y, x)`, without going through the whole file.

        That is its lowest resolution; where it has no low one, what is read of `thin`
        so far, which is 0 elsewhere.
        """
        smallest = self.levels()[-1]
        if max(smallest.shape[1:]) <= GLANCE:
            return smallest.read()
        return self.thin.picture

    def spots(self) -> Image:
        """Return some small squares of it side by side `(c, y, x)`; read only once."""
        return self._spots

    @cached_property
    def _spots(self) -> Image:
        _, height, width = self.shape
        side = min(SPOT, height, width)
        corners = [np.linspace(0, n - side, SPOTS).astype(int) for n in (height, width)]
        return np.concatenate(
            [
                self.read((top, top + side, left, left + side))
                for top, left in product(*(one.tolist() for one in corners))
            ],
            axis=2,
        )

    def levels(self) -> list[LargeImage]:
        """Return the image and its lower resolutions, as far as the file has them."""
        found = [self]
        if self.rows is None:
            for array in self.raw.smaller:
                found.append(replace(self, raw=replace(self.raw, array=array)))
        return found

    def _channels(self, sizes: dict[str, int]) -> int:
        count = sizes.get("s", sizes.get("c", 1))
        # The last of two or four colour samples is transparency.
        return count - 1 if "s" in sizes and count in (2, 4) else count


class Thinned:
    """Every `step`-th row and column of a large image, read band by band."""

    def __init__(self, image: LargeImage) -> None:
        channels, height, width = image.shape
        self.step = thinning((height, width))
        size = (-(-n // self.step) for n in (height, width))
        self.picture: Image = np.zeros((channels, *size), image.dtype)
        self._image, self._lock = image, threading.Lock()
        self._rows = 0

    @property
    def complete(self) -> bool:
        """Whether all of the image was gone through."""
        return self._rows >= self._image.shape[1]

    def read_more(self) -> float:
        """Read the next band; return the share of the image that was gone through."""
        with self._lock:
            _, height, width = self._image.shape
            if not self.complete:
                top, step = self._rows, self.step
                band = max(1, BAND_PIXELS // width // step) * step
                bottom = min(top + band, height)
                part = self._image.read((top, bottom, 0, width), step)
                first = top // step
                self.picture[:, first : first + part.shape[1]] = part
                self._rows = bottom
            return self._rows / height


AnyImage = Image | LargeImage
"""An image at hand, `(c, y, x)`, or one that is read when it is asked for."""


def is_large(path: Path) -> bool:
    """Whether the images of a file are too large to be read whole, and need not be."""
    if not (path.is_file() or path.is_dir()):
        return False  # a pipe: who opens it waits without end
    try:
        reader = reader_of(path)
        shape, axes = reader.layout(path)
        sizes = dict(zip(axes, shape, strict=True))
        return issubclass(reader, LazyFormat) and sizes["y"] * sizes["x"] > LARGE
    except Exception:  # a damaged file, whatever the library calls it: reading says so
        return False


def open_large(path: str | os.PathLike[str]) -> list[LargeImage] | None:
    """Open the images of a file, the slices of a stack each alone.

    Returns
    -------
    list or None
        None where it has to be read whole: it is small, or packed in one piece.
    """
    path = Path(path)
    reader = reader_of(path)
    if not is_large(path) or not issubclass(reader, LazyFormat):
        return None
    try:
        found = reader.open(path)
    except Exception:  # whatever is wrong with it, reading it whole says so
        return None
    if found is None:
        return None
    pieces = cast("NDArray[Any]", _Pieces(found.array))
    smaller = tuple(_Pieces(array) for array in found.smaller)
    raw = check_raw(path, lambda: replace(found, array=pieces, smaller=smaller))
    steps = [name for name in raw.axes if name not in "yxsc"]
    if "s" in raw.axes and "c" in raw.axes:
        steps.append("c")
    counts = [raw.array.shape[raw.axes.index(name)] for name in steps]
    return [
        LargeImage(
            raw=raw, at=tuple(zip(steps, at, strict=True)), notes=raw.notes, path=path
        )
        for at in product(*(range(n) for n in counts))
    ]


def open_lazily(path: str | os.PathLike[str]) -> LargeImage | None:
    """Open an image of which only what is needed will be read.

    Returns
    -------
    LargeImage or None
        None where it is small enough to be read whole, or has to be.

    Raises
    ------
    TopiaryError
        Where it is a stack of such images.
    """
    opened = open_large(path)
    if opened is None or math.prod(opened[0].shape[1:]) <= WHOLE_PIXELS:
        return None
    if len(opened) > 1:
        raise TopiaryError(
            f"{Path(path).name} is a stack of {len(opened)} images of "
            f"{opened[0].shape[1]:,} x {opened[0].shape[2]:,} pixels: open it with "
            "File > Open, go to the slice and the place where you want to mark "
            "something, and use the layer, which adds what is on the screen. All of it "
            "is predicted by the command line (napari-topiary predict)."
        )
    (image,) = opened
    spots = image.spots()
    # Grey that was saved as colour; what is blank says nothing about it.
    if len(spots) == 3 and (spots == spots[:1]).all() and spots.min() < spots.max():
        image = replace(image, channel=0)
        image.spots()  # read here, off the main thread, and shown from later
    return image


class _Pieces:
    """An array on disk whose unpacked pieces are kept for a while.

    `array`: with `shape`, `dtype`, and `chunks` where it is packed in pieces.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        self._chunks: tuple[int, ...] = getattr(array, "chunks", None) or ()
        self._kept: OrderedDict[tuple[int, ...], NDArray[Any]] = OrderedDict()
        self._bytes = 0
        # The window draws while a training reads.
        self._lock = threading.Lock()

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        if not self._chunks:
            return self._read(index)
        drop = tuple(0 if isinstance(one, int) else slice(None) for one in index)
        ranges = [
            range(one, one + 1) if isinstance(one, int) else range(*one.indices(n))
            for one, n in zip(index, self.shape, strict=True)
        ]
        result = np.empty([len(one) for one in ranges], self.dtype)
        spans = [
            _spans(one, size) for one, size in zip(ranges, self._chunks, strict=True)
        ]
        for some in _some(product(*spans), AT_A_TIME):
            numbers = [tuple(number for number, _, _ in pieces) for pieces in some]
            # Unpacking leaves the interpreter to others: two are done at a time.
            is_one = len(some) == 1
            found = (map if is_one else _readers.map)(self._piece, numbers)
            for pieces, piece in zip(some, found, strict=True):
                target = tuple(target for _, target, _ in pieces)
                result[target] = piece[tuple(source for _, _, source in pieces)]
        return result[drop]

    def _piece(self, number: tuple[int, ...]) -> NDArray[Any]:
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        place = tuple(
            slice(i * size, min((i + 1) * size, n))
            for i, size, n in zip(number, self._chunks, self.shape, strict=True)
        )
        piece = self._read(place)
        with self._lock:
            if number not in self._kept:
                self._kept[number] = piece
                self._bytes += piece.nbytes
            while self._bytes > CACHE_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return piece

    def _read(self, index: tuple[Any, ...]) -> NDArray[Any]:
        try:
            return np.asarray(self._array[index])
        except TopiaryError:
            raise
        except MemoryError:
            raise TopiaryError(
                "a part of the image is too large for this computer's memory, or says "
                "that it is: get the file again, or save it in smaller tiles."
            ) from None
        except Exception as error:
            # Libraries raise whatever they like over a damaged file.
            raise TopiaryError(
                f"a part of the image cannot be read ({error}): the file is damaged or "
                "incomplete, get it again."
            ) from error


_readers = ThreadPoolExecutor(2, thread_name_prefix="topiary-pieces")


def _some(every: Iterable[Any], count: int) -> Iterator[list[Any]]:
    """Lists of `count`; the last may be shorter."""
    left = iter(every)
    while some := list(islice(left, count)):
        yield some


def _spans(wanted: range, size: int) -> Iterator[tuple[int, slice, slice]]:
    """Pieces of `size` that a range touches: number, place in the range and in it."""
    at = 0
    while at < len(wanted):
        number = wanted[at] // size
        count = math.ceil(((number + 1) * size - wanted[at]) / wanted.step)
        count = min(count, len(wanted) - at)
        first = wanted[at] - number * size
        last = first + (count - 1) * wanted.step + 1
        yield number, slice(at, at + count), slice(first, last, wanted.step)
        at += count
