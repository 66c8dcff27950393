"""Pixels in a file that are read by slices, as they are asked for."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Mapped:
    """Pixels that lie one after the other in a file, not packed.

    The file is mapped anew for every part: what a lasting map has been asked for would
    count as this program's memory until somebody else needs it.

    Parameters
    ----------
    path
        The file.
    offset
        Byte at which they begin.
    shape
        Of the array.
    dtype
        Of its numbers, with their byte order.
    """

    def __init__(
        self, path: Path, offset: int, shape: Sequence[int], dtype: np.dtype[Any]
    ) -> None:
        self._path, self._offset = path, offset
        self.shape, self.dtype = tuple(shape), dtype

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        """Read a part."""
        pixels = np.memmap(self._path, self.dtype, "r", self._offset, self.shape)
        return np.array(pixels[index])


class TiffPieces:
    """Pixels that are packed piece by piece; read for as long as the file is open.

    Parameters
    ----------
    array
        Of zarr, over the file.
    page
        The only one that it is of; None = it is of several. Single pieces are unpacked
        from it without zarr, which takes longer over each than unpacking does.
    """

    def __init__(self, array: Any, page: Any = None) -> None:
        self._array = array
        self.shape, self.chunks = tuple(array.shape), tuple(array.chunks)
        self.dtype = np.dtype(array.dtype)
        alike = page is not None and tuple(page.shape) == self.shape
        alike = alike and tuple(page.chunks) == self.chunks
        self._page: Any = page if alike else None
        # A handle of its own: that of zarr is moved by its threads.
        self._file: Any = (
            Path(page.parent.filehandle.path).open("rb") if alike else None
        )
        self._lock = threading.Lock()
        if self._file is not None:
            weakref.finalize(self, self._file.close)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        piece = None if self._file is None else self._piece(index)
        return np.asarray(self._array[index]) if piece is None else piece

    def _piece(self, index: Any) -> NDArray[Any] | None:
        """Unpack a piece; None if it is not just one that is asked for."""
        page, number, size = self._page, 0, list[int]()
        for one, step, n in zip(index, self.chunks, self.shape, strict=False):
            if not isinstance(one, slice) or one.start is None or one.start % step:
                return None
            if one.step not in (None, 1) or one.stop != min(one.start + step, n):
                return None
            number = number * -(-n // step) + one.start // step
            size.append(one.stop - one.start)
        if len(size) < len(self.shape) or not page.dataoffsets[number]:
            return None
        with self._lock:
            self._file.seek(page.dataoffsets[number])
            packed = self._file.read(page.databytecounts[number])
        tables = {} if page.jpegtables is None else {"jpegtables": page.jpegtables}
        found, *_ = page.decode(packed, number, **tables)
        if found is None or found.size != math.prod(size):
            return None
        return np.asarray(found.reshape(size), self.dtype)
