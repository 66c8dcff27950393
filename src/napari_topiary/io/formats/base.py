"""What a reader of one family of image formats gives, and the register of readers.

A new family is one new file in this folder with `@image_formats.register("name")` on a
class; it is found by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_topiary.registry import Registry


@dataclass(frozen=True)
class RawImage:
    """An array as the file holds it.

    Parameters
    ----------
    array
        Any number of axes.
    axes
        One letter for each: `y`, `x`; `s` colour samples, `c` channels, any other
        letter is something to step through (z, time, pages).
    scale
        nm per pixel, None if the file does not say.
    notes
        Sentences for the user.
    """

    array: NDArray[Any]
    axes: str
    scale: float | None = None
    notes: tuple[str, ...] = ()


class ImageFormat(Protocol):
    """A family of file formats."""

    suffixes: ClassVar[tuple[str, ...]]
    """File name endings in lower case, with the dot."""

    @staticmethod
    def read(path: Path) -> RawImage:
        """Read a file; raise TopiaryError or any error of the library used."""
        ...


image_formats: Registry[type[ImageFormat]] = Registry("image format")
"""Every family of image formats by name."""


def square_pixels(
    y: float | None, x: float | None
) -> tuple[float | None, tuple[str, ...]]:
    """Return one pixel size for both directions, and a note if they differ.

    Parameters
    ----------
    y, x
        Pixel size in nm, None where unknown.
    """
    sizes = [s for s in (y, x) if s is not None and np.isfinite(s) and s > 0]
    if not sizes:
        return None, ()
    if max(sizes) > 1.01 * min(sizes):
        return _rounded(sizes[-1]), (
            f"The pixels are not square ({sizes[0]:g} nm high, {sizes[-1]:g} nm wide): "
            f"{sizes[-1]:g} nm is used for both.",
        )
    return _rounded(sizes[-1]), ()


def _rounded(size: float) -> float:
    """Drop the digits that came from storing a size as a fraction."""
    return float(f"{size:.7g}")
