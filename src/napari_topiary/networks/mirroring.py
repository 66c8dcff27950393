"""Images beyond their borders: mirrored, however small they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mirrored(length: int, before: int, after: int) -> NDArray[np.int64]:
    """Index of the pixel that stands for each place of a longer axis.

    The border pixel itself is not repeated. An axis shorter than what is added is
    mirrored again and again; one of a single pixel repeats it.

    Parameters
    ----------
    length
        Of the axis, in pixels.
    before, after
        How much longer it gets at either end, in pixels.

    Returns
    -------
    ndarray
        `(before + length + after,)`, each 0..length-1.

    Examples
    --------
    >>> mirrored(4, 3, 2).tolist()
    [3, 2, 1, 0, 1, 2, 3, 2, 1]
    >>> mirrored(2, 3, 1).tolist()
    [1, 0, 1, 0, 1, 0]
    """
    if length == 1:
        return np.zeros(before + 1 + after, dtype=np.int64)
    period = 2 * (length - 1)
    place = np.abs(np.arange(-before, length + after)) % period
    return np.where(place < length, place, period - place).astype(np.int64)
