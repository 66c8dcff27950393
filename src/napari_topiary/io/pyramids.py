"""Large images to look at: more and more coarse, read as they are shown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.io.large_images import GLANCE, LargeImage
from napari_topiary.types import Job, Progress, Stop

BETWEEN = 4
"""Where a file has no resolutions, one between the full and the thinned image leaves
out all but every fourth row and column."""


class View:
    """An array `(y, x)` or `(y, x, 3)` whose parts are read when they are drawn.

    Parameters
    ----------
    image
        One of its resolutions.
    step
        Only every so many-th row and column.
    ends
        Intensities that become 0 and 255: colours are shown with 8 bit.
    """

    def __init__(
        self, image: LargeImage, step: int = 1, ends: tuple[float, float] | None = None
    ) -> None:
        self.image, self._step, self._ends = image, step, ends
        channels, *sides = image.shape
        is_colour = channels == 3
        self.shape = (*(-(-n // step) for n in sides), *((3,) if is_colour else ()))
        self.ndim = len(self.shape)
        self.dtype = np.dtype(np.uint8) if ends is not None else image.dtype

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a part."""
        index = index if isinstance(index, tuple) else (index,)
        index = tuple(one for one in index if one is not Ellipsis)
        rows, columns = (
            slice(*one.indices(n))
            for one, n in zip(
                (*index, slice(None), slice(None))[:2], self.shape, strict=False
            )
        )
        return self._shown(self._read(rows, columns))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all of it."""
        return np.asarray(self[:, :], dtype=dtype)

    def _read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Read a part `(c, y, x)`."""
        step, (_, height, width) = self._step, self.image.shape
        window = (
            rows.start * step,
            min(rows.stop * step, height),
            columns.start * step,
            min(columns.stop * step, width),
        )
        return self.image.read(window, step)[:, :: rows.step, :: columns.step]

    def _shown(self, part: NDArray[Any]) -> NDArray[Any]:
        part = np.moveaxis(part, 0, -1) if self.ndim == 3 else part[0]
        if self._ends is None:
            return part
        low, high = self._ends
        return np.clip((part - low) / (high - low) * 255, 0, 255).astype(np.uint8)


class _Thinned(View):
    """The thinned image, as far as it was read."""

    def _read(self, rows: slice, columns: slice) -> NDArray[Any]:
        return self.image.thin.picture[:, rows, columns]


def views(image: LargeImage, ends: tuple[float, float] | None = None) -> list[View]:
    """Return an image at more and more coarse resolutions.

    Where the file has none that is small, the last one is `image.thin`, which somebody
    has to read: until then it is 0.

    Parameters
    ----------
    image
        The image.
    ends
        As for `View`.
    """
    found = [View(level, 1, ends) for level in image.levels()]
    step = image.thin.step if needs_reading(image) else 1
    if step > 1:
        finer = [view for view in found if view.shape[0] * step > 2 * image.shape[1]]
        found = finer or found[:1]
        if len(found) == 1 and step > 2 * BETWEEN:
            found.append(View(image, BETWEEN, ends))
        found.append(_Thinned(image, step, ends))
    return found


def needs_reading(image: LargeImage) -> bool:
    """Whether there is no small resolution: all has to be gone through to see it."""
    return max(image.levels()[-1].shape[1:]) > GLANCE


def reading_on(image: LargeImage) -> Job[None]:
    """Go through an image, so that its thinned picture fills; `Stop` ends it."""
    while (share := image.thin.read_more()) < 1:
        if (yield Progress(share, 1, "Reading the image", report=share)) is Stop:
            return
    yield Progress(1, 1, "Reading the image", report=1.0)
