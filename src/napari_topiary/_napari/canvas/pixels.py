"""What napari shows of an image, and between which grey values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SAMPLED_PIXELS = 400_000


def displayed(image: NDArray[np.generic]) -> tuple[NDArray[np.generic], bool]:
    """Return what napari shows of a `(c, y, x)` image, and whether it is RGB.

    Parameters
    ----------
    image
        `(c, y, x)`; one channel is shown grey, three as RGB, otherwise the first.
    """
    if image.shape[0] != 3:
        return image[0], False
    data = np.moveaxis(image, 0, -1)
    if data.dtype != np.uint8:
        low, high = contrast(data)
        data = np.clip((data - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    return data, True


def contrast(data: NDArray[np.generic]) -> tuple[float, float]:
    """Grey values to show as black and white: percentiles, from a sample of pixels.

    Parameters
    ----------
    data
        Any shape; values that are not finite are left out.
    """
    step = max(1, int(np.ceil((data.size / _SAMPLED_PIXELS) ** 0.5)))
    some = np.asarray(data[::step, ::step], dtype=float)
    some = some[np.isfinite(some)]
    if some.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(some, (0.3, 99.7))
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1)
