"""Seams: straight lines across which all of an image becomes brighter or richer.

Stitched fields have them, and a field half in shadow. An edge of content is not seen by
nearly all lines that cross it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_topiary.types import Window

SEAM = 0.8
"""A seam is a step of at least so many deviations of the image between its blocks."""
AGREEMENT = 0.77
"""Along a seam at least this share of the lines show the step."""
SMALLEST_SIDE = 48
"""Parts are not cut smaller, in pixels."""
LINES = 256
"""Seams are looked for in so many lines of an image."""
NEAR, FAR = 4, 24
"""A seam is sharp: the step is there within NEAR pixels, and still FAR away."""
SHARPNESS = 0.6
BANDS = 8
"""Tiles of a mosaic become brighter or darker across one line: bands of lines are
looked at each for itself."""
TILE_SEAM, TILE_AGREEMENT, TILE_SHARE = 1.0, 0.85, 0.6
"""They are cut where so large a step is seen by so many lines in so many bands."""
AS_MUCH = (0.55, 1.6)
"""Where noise grows, content grows by so much of it, both as logarithms."""
RICHER, SURE = math.log(1.7), 0.95
"""Across a seam of contrast noise is so many times (as a logarithm) larger, in so many
of the lines: in images without one 0.88 at most."""
ALONG = 15
"""It is averaged over so many pixels along the seam."""


def cut_at_seams(
    grey: NDArray[np.float32], known: NDArray[np.bool_], box: Window, deviation: float
) -> Iterator[Window]:
    """Cut a part at its strongest seam, and what comes of it again."""
    top, bottom, left, right = box
    place = np.s_[top:bottom, left:right]
    down = _seam(grey[place].T, known[place].T, deviation)
    across = _seam(grey[place], known[place], deviation)
    if max(down[1], across[1]) == 0 and deviation > 0:
        down = _richer(grey[place].T, known[place].T)
        across = _richer(grey[place], known[place])
    if max(down[1], across[1]) == 0 or deviation <= 0:
        yield box
        return
    if down[1] > across[1]:
        middle = top + down[0]
        first, second = (top, middle, left, right), (middle, bottom, left, right)
    else:
        middle = left + across[0]
        first, second = (top, bottom, left, middle), (top, bottom, middle, right)
    yield from cut_at_seams(grey, known, first, deviation)
    yield from cut_at_seams(grey, known, second, deviation)


def _seam(
    grey: NDArray[np.float32],
    known: NDArray[np.bool_],
    deviation: float,
    *,
    sure: bool = False,
) -> tuple[int, float]:
    """Column of the strongest vertical seam, and its step; 0 where there is none.

    `grey`, `known` as for `parts_of` · `sure`: whether nearly all lines must agree, and
    bands of them are not looked at.
    """
    height, width = grey.shape
    if width < 2 * SMALLEST_SIDE or height < SMALLEST_SIDE:
        return 0, 0.0
    lines = np.linspace(0, height - 1, min(height, LINES)).round().astype(int)
    values = np.where(known[lines], grey[lines], 0).astype(np.float64)
    sums = np.pad(values.cumsum(axis=1), ((0, 0), (1, 0)))
    counts = np.pad(known[lines].cumsum(axis=1), ((0, 0), (1, 0)))
    columns = np.arange(SMALLEST_SIDE, width - SMALLEST_SIDE + 1)

    def step(reach: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """How much brighter a line is right of each column than left of it."""
        here, before, after = columns, columns - reach, columns + reach
        n = counts[:, here] - counts[:, before], counts[:, after] - counts[:, here]
        seen = (n[0] > 0) & (n[1] > 0)
        dark = (sums[:, here] - sums[:, before]) / np.maximum(n[0], 1)
        bright = (sums[:, after] - sums[:, here]) / np.maximum(n[1], 1)
        return bright - dark, seen

    near, seen = step(NEAR)
    far, _ = step(FAR)
    enough = seen.mean(axis=0) > 0.5
    agreement = SURE if sure else AGREEMENT
    strength = np.where(enough, _steps(near, far, SEAM * deviation, agreement), 0.0)
    if not sure and not strength.any() and height >= 2 * SMALLEST_SIDE:
        least = TILE_SEAM * deviation
        steps = np.array(
            [
                _steps(one, other, least, TILE_AGREEMENT)
                for one, other in zip(
                    np.array_split(near, BANDS), np.array_split(far, BANDS), strict=True
                )
            ]
        )
        is_seam = enough & ((steps > 0).mean(axis=0) >= TILE_SHARE)
        strength = np.where(is_seam, steps.mean(axis=0), 0.0)
    if not strength.any():
        return 0, 0.0
    best = int(strength.argmax())
    return int(columns[best]), float(strength[best])


def _richer(grey: NDArray[np.float32], known: NDArray[np.bool_]) -> tuple[int, float]:
    """Column of the strongest vertical seam of contrast, and its step; 0 for none."""
    height, width = grey.shape
    if width < 2 * SMALLEST_SIDE or height < 2 * SMALLEST_SIDE:
        return 0, 0.0
    # Differences along the seam say nothing of what lies on its other side.
    noise, content = (_rough(grey, known, apart) for apart in (1, FAR // 2))
    seen = np.isfinite(noise) & np.isfinite(content)
    if not seen.any() or (least := 1e-3 * float(noise[seen].mean())) <= 0:
        return 0, 0.0
    logs = np.log(np.where(seen, noise, 0) + least)
    column, step = _seam(logs, seen, RICHER / SEAM, sure=True)
    if step == 0:
        return 0, 0.0
    grows = []
    for values in (noise, content):
        sides = np.s_[:, max(0, column - 4 * FAR) : column], np.s_[:, column:]
        left, right = (float(values[at][seen[at]].mean()) for at in sides)
        grows.append(math.log(max(right, least) / max(left, least)))
    alike = AS_MUCH[0] <= grows[1] / (grows[0] or math.inf) <= AS_MUCH[1]
    return (column, step) if alike else (0, 0.0)


def _rough(
    grey: NDArray[np.float32], known: NDArray[np.bool_], apart: int
) -> NDArray[np.float32]:
    """How much rows differ `(line, x)` that lie so far apart; NaN where not known."""
    last = len(grey) - ALONG - FAR // 2
    starts = np.linspace(0, last, min(last + 1, LINES // 4)).round().astype(int)
    rows = starts[:, None] + np.arange(ALONG)
    differ = np.abs(grey[rows + apart] - grey[rows]).mean(axis=1)
    both = (known[rows + apart] & known[rows]).all(axis=1)
    return np.where(both, differ, np.float32(np.nan))


def _steps(
    near: NDArray[np.float64], far: NDArray[np.float64], least: float, agreement: float
) -> NDArray[np.float64]:
    """How large a sharp step is that lines agree on, by column; 0 where there is none.

    `near`, `far` `(line, column)` how much brighter it becomes close by, and farther
    away · `least`: a smaller step is none · `agreement`: share of the lines that must
    show it.
    """
    near_step, far_step = np.median(near, axis=0), np.median(far, axis=0)
    size, way = np.abs(near_step), np.sign(near_step)
    agreeing = (np.sign(near) == way).mean(axis=0)
    is_step = (
        (size >= least) & (agreeing >= agreement) & (far_step * way >= SHARPNESS * size)
    )
    return np.where(is_step, size, 0.0)
