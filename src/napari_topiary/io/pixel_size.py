"""What a pixel size can be, wherever it is given: in a file, a form or an option."""

from __future__ import annotations

import math
import re
from typing import Any

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats.tiff_scale import nm_per_unit

LARGEST = 1e6
"""nm per pixel: no microscope has more."""
SHORTEST_BAR = 5
"""In pixels: a shorter line says too little about the length of a pixel."""
_LENGTH = re.compile(r"\s*(\d+(?:[.,]\d*)?|[.,]\d+)\s*(\D*?)\s*")
_PRINTED = (72, 96, 100, 150, 200, 300, 400, 600, 1200, 2400)
_INCH = 25.4e6


def pixel_size_problem(size: Any) -> str:
    """Return why something cannot be a pixel size, as a sentence; empty if it can.

    Parameters
    ----------
    size
        nm per pixel.
    """
    number = isinstance(size, int | float) and not isinstance(size, bool)
    if not number or not 0 < size <= LARGEST:
        shown = f"{size:g}" if number else repr(size)
        return (
            f"A pixel size of {shown} nm is not possible: give more than 0 and at most "
            f"{LARGEST:,.0f} (a millimetre), or leave it empty if it is unknown."
        )
    for dots in _PRINTED:
        if math.isclose(size, _INCH / dots, rel_tol=1e-4):
            return (
                f"{size:,.0f} nm per pixel are {dots} dots per inch: the resolution of "
                "a print, not the pixel size of a microscope. Give the real one, or "
                "leave it empty if it is unknown."
            )
    return ""


def pixel_size_of_bar(length_px: float, written: str) -> float:
    """Return nm per pixel by a scale bar, or raise with a sentence.

    Parameters
    ----------
    length_px
        Of the bar in the image, in pixels.
    written
        What is written beside it: a number and a unit, for instance ``"0.5 µm"``.
    """
    found = _LENGTH.fullmatch(written)
    nm = None if found is None else nm_per_unit(found[2])
    if found is None or nm is None:
        raise TopiaryError(
            f"{written.strip() or 'Nothing'} is not a length: give a number and a unit "
            "as they are written beside the bar, for example 500 nm or 0.2 µm."
        )
    if length_px < SHORTEST_BAR:
        raise TopiaryError(
            f"The line is {length_px:.1f} pixels long: draw it from one end of the "
            "scale bar to the other, and zoom in to hit them."
        )
    size = float(f"{float(found[1].replace(',', '.')) * nm / length_px:.5g}")
    problem = pixel_size_problem(size)
    if problem:
        raise TopiaryError(problem)
    return size
