"""Where to annotate next: the area from which a network would learn the most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, uniform_filter, zoom
from skimage.draw import polygon as polygon_pixels

Area = tuple[int, int, int, int]
"""`(top, bottom, left, right)` in pixels of the image, the ends excluded."""

_CELLS = 128
"""The search runs on a grid of at most so many cells a side, so that it is instant."""


def uncertainty(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """How undecided a network is at each pixel: 0 sure, 1 torn between two classes.

    Parameters
    ----------
    probability
        `(k, y, x)`.

    Returns
    -------
    NDArray[np.float32]
        `(y, x)`.
    """
    two = np.partition(probability, -2, axis=0)[-2:]
    doubt: NDArray[np.float32] = (1 - (two[1] - two[0])).astype(np.float32)
    return doubt


def suggest_area(
    shape: Sequence[int],
    annotations: Iterable[Any],
    *,
    side: float,
    doubt: NDArray[np.floating] | None = None,
    avoid: Iterable[Area] = (),
) -> Area:
    """Propose a square area to annotate next.

    Without a prediction it is the one farthest from everything that is annotated; with
    one, the most doubtful one that is not annotated yet.

    Parameters
    ----------
    shape
        `(y, x)` of the image in pixels.
    annotations
        What is drawn on the image.
    side
        Side of the area in pixels; smaller where the image is.
    doubt
        `(y, x)` on any grid that covers the image, for instance `uncertainty`.
    avoid
        Areas that were proposed before.
    """
    height, width = int(shape[0]), int(shape[1])
    tall, wide = (int(min(round(side), n)) for n in (height, width))
    cell = max(1.0, max(height, width) / _CELLS)
    grid = (max(1, round(height / cell)), max(1, round(width / cell)))
    known = _known(grid, cell, annotations)
    for top, bottom, left, right in avoid:
        known[
            int(top / cell) : max(int(top / cell) + 1, int(bottom / cell)),
            int(left / cell) : max(int(left / cell) + 1, int(right / cell)),
        ] = True
    window = (max(1, round(tall / cell)), max(1, round(wide / cell)))
    if doubt is not None:
        small = zoom(
            np.asarray(doubt, dtype=np.float32),
            [n / m for n, m in zip(grid, doubt.shape, strict=True)],
            order=1,
            grid_mode=True,
            mode="nearest",
        )
        score = uniform_filter(np.where(known, 0, small), window, mode="constant")
    elif known.any():
        score = distance_transform_edt(~known)
    else:
        score = np.zeros(grid)
    y, x = _best(score, window)
    top = int(np.clip((y + 0.5) * cell - tall / 2, 0, height - tall))
    left = int(np.clip((x + 0.5) * cell - wide / 2, 0, width - wide))
    return top, top + tall, left, left + wide


def _known(
    grid: tuple[int, int], cell: float, annotations: Iterable[Any]
) -> NDArray[np.bool_]:
    """Cells in which something is annotated."""
    known = np.zeros(grid, dtype=bool)
    for annotation in annotations:
        if annotation.kind == "points":
            _stamp(known, annotation.coordinates / cell)
        elif annotation.kind == "centerlines":
            for path in annotation.paths:
                _stamp(known, _along(path / cell))
        elif annotation.kind == "regions":
            for outline in annotation.polygons:
                corners = np.asarray(outline) / cell
                if len(corners) == 2:  # a box by two opposite corners
                    (y0, x0), (y1, x1) = corners
                    corners = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])
                known[polygon_pixels(corners[:, 0], corners[:, 1], grid)] = True
        elif annotation.kind == "labels":
            step = max(1, int(cell / 2))
            _stamp(known, np.argwhere(annotation.labels[::step, ::step]) * step / cell)
    return known


def _along(path: NDArray[np.floating]) -> NDArray[np.float64]:
    """Places along a path, less than one cell apart."""
    parts = [np.asarray(path[:1], dtype=np.float64)]
    for start, end in pairwise(path):
        steps = int(np.ceil(np.hypot(*(end - start)))) + 1
        parts.append(start + np.linspace(0, 1, steps)[:, None] * (end - start))
    return np.concatenate(parts)


def _stamp(known: NDArray[np.bool_], places: NDArray[np.floating]) -> None:
    cells = np.floor(places).astype(int)
    inside = ((cells >= 0) & (cells < known.shape)).all(axis=1)
    known[tuple(cells[inside].T)] = True


def _best(score: NDArray[np.floating], window: tuple[int, int]) -> tuple[int, int]:
    """Cell of the highest score whose window fits; the middle-most one of equals."""
    rows, columns = (
        slice(w // 2, max(w // 2 + 1, n - (w - w // 2) + 1))
        for w, n in zip(window, score.shape, strict=True)
    )
    inner = score[rows, columns]
    y, x = np.nonzero(inner >= inner.max() - 1e-9)
    middle = (np.array(score.shape) - 1) / 2
    far = np.hypot(y + rows.start - middle[0], x + columns.start - middle[1])
    best = int(np.argmin(far))
    return int(y[best] + rows.start), int(x[best] + columns.start)
