"""What a pixel size can be, wherever it is given: in a file, a form or an option."""

from __future__ import annotations

import math
from typing import Any

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
    if not number or not 0 < size < math.inf:
        shown = f"{size:g}" if number else repr(size)
        return (
            f"A pixel size of {shown} nm is not possible: give more than 0, or leave "
            "it empty if it is unknown."
        )
    for dots in _PRINTED:
        if math.isclose(size, _INCH / dots, rel_tol=1e-4):
            return (
                f"{size:,.0f} nm per pixel are {dots} dots per inch: the resolution of "
                "a print, not the pixel size of a microscope. Give the real one, or "
                "leave it empty if it is unknown."
            )
    return ""
