"""Pixel size and intensities that a network works at, and images brought there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray

from napari_topiary.annotations import drawn_radii_nm
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.io.memory import check_fits
from napari_topiary.types import BACKGROUND, Task, Window
from napari_topiary.words import listed

LONGEST_SIDE = 10_000_000
"""In pixels: no image is longer on a working grid."""
Shape = tuple[int, int]
SMALLEST_RADIUS_PX = 6.0
"""Radius of the smallest class on the working grid, in pixels."""
SAME_PIXEL_SIZE = 0.02
"""Pixel sizes that differ by less than this share count as the same."""
COARSEST_IMAGE = 10.0
"""An image may be this many times coarser than what the network sees."""


def working_shape(shape: Shape, factor: float) -> Shape:
    """Size of the working grid of an image.

    Parameters
    ----------
    shape
        `(y, x)` of the image in pixels.
    factor
        Original pixels per working pixel; below 1 the working grid is finer.
    """
    if not (np.isfinite(factor) and factor > 0):
        raise TopiaryError(
            f"An image cannot be resized by a factor of {factor:g}: give a number "
            "above 0."
        )
    if max(shape) / factor > LONGEST_SIDE:
        raise TopiaryError(
            f"An image of {shape[0]:,} x {shape[1]:,} pixels cannot be enlarged "
            f"{1 / factor:,.0f} times: check the pixel size of the image, and the one "
            "that the network works at."
        )
    return max(1, round(shape[0] / factor)), max(1, round(shape[1] / factor))


def _check_working_memory(shape: Shape, factor: float, maps: int) -> None:
    """Refuse an image of which so many float32 maps on the working grid do not fit."""
    height, width = working_shape(shape, factor)
    check_fits(
        4 * maps * height * width,
        f"This image of {shape[0]:,} x {shape[1]:,} pixels, brought to the pixel size "
        f"of the network ({height:,} x {width:,} pixels),",
        "check the pixel size of the image, cut it into parts, or close other programs",
    )


def to_working(image: NDArray[Any], factor: float) -> NDArray[np.float32]:
    """Bring an image to the working grid, without aliasing.

    Parameters
    ----------
    image
        `(c, y, x)`, any numeric dtype.
    factor
        Original pixels per working pixel.

    Returns
    -------
    ndarray
        `(c, h, w)` float32.
    """
    channels, height, width = image.shape
    _check_working_memory((height, width), factor, 2 * channels)
    return _resized(image, working_shape((height, width), factor))


def area_to_working(area: NDArray[np.bool_], shape: Shape) -> NDArray[np.bool_]:
    """Bring an area to the working grid: a pixel is in it if all that it covers is.

    Parameters
    ----------
    area
        `(y, x)` bool.
    shape
        `(h, w)` of the working grid.
    """
    if area.all() or area.shape == shape:
        return np.ones(shape, dtype=bool) if area.all() else area
    return np.asarray(_resized(area[None], shape)[0] > 1 - 1e-4)


def to_original(probability: NDArray[Any], shape: Shape) -> NDArray[np.float32]:
    """Bring maps on the working grid back to the image's own pixels.

    Parameters
    ----------
    probability
        `(k, h, w)`.
    shape
        `(y, x)` of the image in pixels.

    Returns
    -------
    ndarray
        `(k, y, x)` float32; sums over k are kept.
    """
    return _resized(probability, shape)


def working_to_original_coords(
    coordinates: ArrayLike, shape: Shape, working: Shape
) -> NDArray[np.float64]:
    """Positions on the working grid -> positions in the image.

    Parameters
    ----------
    coordinates
        `(n, 2)` y, x in working pixels.
    shape
        `(y, x)` of the image in pixels.
    working
        `(h, w)` of the working grid.

    Returns
    -------
    ndarray
        `(n, 2)` y, x in pixels of the image.
    """
    positions = np.asarray(coordinates, dtype=np.float64).reshape(-1, 2)
    ratio = np.asarray(shape, dtype=np.float64) / np.asarray(working)
    moved: NDArray[np.float64] = (positions + 0.5) * ratio - 0.5
    return moved


def window_to_working(window: Window, shape: Shape, working: Shape) -> Window:
    """Bring a window of an image to the working grid: all pixels that it touches.

    Parameters
    ----------
    window
        In pixels of the image.
    shape
        `(y, x)` of the image in pixels.
    working
        `(h, w)` of the working grid.
    """
    top, bottom, left, right = window
    rows, columns = working[0] / shape[0], working[1] / shape[1]
    return (
        int(np.floor(top * rows)),
        min(working[0], int(np.ceil(bottom * rows))),
        int(np.floor(left * columns)),
        min(working[1], int(np.ceil(right * columns))),
    )


def _resized(maps: NDArray[Any], size: Shape) -> NDArray[np.float32]:
    """`(c, y, x)` -> `(c, *size)`: triangle filter as wide as the shrinking needs."""
    values = np.ascontiguousarray(maps, dtype=np.float32)
    if values.shape[1:] == tuple(size):
        return values
    with torch.inference_mode():
        resized = F.interpolate(
            torch.from_numpy(values)[None],
            size=tuple(size),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        result: NDArray[np.float32] = resized[0].numpy()
    return result


def resized_part(
    read: Callable[[Window], NDArray[np.float32]],
    shape: Shape,
    size: Shape,
    part: Window,
) -> NDArray[np.float32]:
    """Part of what resizing the whole image gives, from the pixels that it needs only.

    Parameters
    ----------
    read
        Gives a window `(c, y, x)` of the image.
    shape
        `(y, x)` of the image.
    size
        `(y, x)` that it is resized to.
    part
        Which part of the resized image.

    Returns
    -------
    ndarray
        `(c, y, x)` float32.
    """
    top, bottom, left, right = part
    if shape == size:
        return read(part)
    rows = _Taps.of(shape[0], size[0], top, bottom)
    columns = _Taps.of(shape[1], size[1], left, right)
    maps = read((rows.first, rows.last, columns.first, columns.last))
    return columns.apply(rows.apply(maps, axis=1), axis=2)


@dataclass(frozen=True, eq=False)
class _Taps:
    """Which pixels of an axis make each of some pixels of the resized one.

    `index` and `weight` are `(taps, n)`; `index` counts from `first`.
    """

    first: int
    last: int
    index: NDArray[np.int64]
    weight: NDArray[np.float32]

    @classmethod
    def of(cls, n: int, size: int, start: int, end: int) -> _Taps:
        """Triangle filter as `_resized` has it, for pixels `[start, end)` of `size`."""
        ratio = n / size
        reach = max(ratio, 1.0)
        centre = (np.arange(start, end) + 0.5) * ratio
        low = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
        high = np.minimum((centre + reach + 0.5).astype(np.int64), n)
        index = low + np.arange(int((high - low).max()))[:, None]
        weight = np.clip(1 - np.abs(index + 0.5 - centre) / reach, 0, None)
        weight[index >= high] = 0
        weight /= weight.sum(axis=0)
        first, last = int(low[0]), int(high[-1])
        index = np.minimum(index, last - 1) - first
        return cls(first, last, index, weight.astype(np.float32))

    def apply(self, maps: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Resize an axis of `(c, y, x)`: 1 = rows, 2 = columns."""
        weights = self.weight[..., None] if axis == 1 else self.weight
        # `take` is twice as fast as an index.
        result: NDArray[np.float32] = np.take(maps, self.index[0], axis=axis)
        result *= weights[0]
        for index, weight in zip(self.index[1:], weights[1:], strict=True):
            tap = np.take(maps, index, axis=axis)
            tap *= weight
            result += tap
        return result


def propose_working_factor(
    task: Task, scale: float | None, samples: Sequence[Sample] = ()
) -> float:
    """Shrink factor that keeps the smallest class radius at about 6 px.

    Parameters
    ----------
    task
        Detection shrinks; segmentation and instances keep the original pixels.
    scale
        nm per pixel of the images, None if unknown.
    samples
        Only looked at for radii drawn with the annotations themselves.

    Returns
    -------
    float
        Original pixels per working pixel, >= 1.
    """
    radius = _smallest_radius(task, scale, samples)
    return 1.0 if radius is None else max(1.0, radius / SMALLEST_RADIUS_PX)


def _smallest_radius(
    task: Task, scale: float | None, samples: Sequence[Sample]
) -> float | None:
    """Pixels of the image; None where no particles are looked for, or none is known."""
    if task.kind != "detect":
        return None
    sought = [each for each in task.classes if each != BACKGROUND]
    radii = [r for each in sought if (r := task.radius(each, scale)) is not None]
    if scale is not None:
        marks = (item for sample in samples for item in sample.annotations)
        radii += [r / scale for drawn in drawn_radii_nm(marks).values() for r in drawn]
    return min(radii, default=None)


def working_task(task: Task, factor: float) -> Task:
    """Return the task with its pixel radii in working pixels."""
    return replace(
        task, radius_px={name: r / factor for name, r in task.radius_px.items()}
    )


def working_factor(
    config: TrainConfig, task: Task, scale: float | None, samples: Sequence[Sample]
) -> float:
    """Shrink factor that the form asks for, else the proposed one."""
    factor = _factor_asked_for(config, scale)
    if factor is None:
        return propose_working_factor(task, scale, samples)
    radius = _smallest_radius(task, scale, samples)
    if radius is not None and factor > max(1.0, radius):
        unit, per = ("pixels", 1.0) if scale is None else ("nm", scale)
        raise TopiaryError(
            f"With {factor * per:,.4g} {unit} to a pixel that the network sees, "
            f"particles of a radius of {radius * per:,.4g} {unit} are smaller than "
            f"one: give {radius * per / SMALLEST_RADIUS_PX:,.4g} {unit}, at most "
            f"{radius * per:,.4g}."
        )
    return factor


def _factor_asked_for(config: TrainConfig, scale: float | None) -> float | None:
    if config.working_pixel_size_nm is not None:
        if scale is None:
            raise TopiaryError(
                f"A working pixel size of {config.working_pixel_size_nm:g} nm needs "
                "images of known pixel size: enter nm per pixel on the Data page."
            )
        return max(1.0, config.working_pixel_size_nm / scale)
    if config.working_factor is not None:
        return max(1.0, config.working_factor)
    return None


def working_factor_for(
    checkpoint: Checkpoint, scale: float | None
) -> tuple[float, list[str]]:
    """How much an image is shrunk for a network, and what to tell the user about it.

    Parameters
    ----------
    checkpoint
        Knows the pixel size that the network sees.
    scale
        nm per pixel of the image, None if unknown.

    Returns
    -------
    tuple
        Pixels of the image per working pixel, and sentences.
    """
    trained, factor = checkpoint.pixel_size_nm, checkpoint.working_factor
    if trained is None:
        return factor, []
    if scale is None:
        return factor, [
            "The pixel size of this image is not known: it was taken to be that of "
            f"the training images, {trained:.4g} nm."
        ]
    own = checkpoint.factor_for(scale)
    if own * COARSEST_IMAGE < 1:
        raise TopiaryError(
            f"This image has {scale:.4g} nm per pixel, but the network looks at "
            f"{trained * factor:.4g} nm per pixel: it is too coarse to show what was "
            "learned. Check the pixel size, or train on images like this one."
        )
    if abs(scale / trained - 1) <= SAME_PIXEL_SIZE:
        return own, []
    return own, [
        f"The image was rescaled: it has {scale:.4g} nm per pixel, the network was "
        f"trained on images with {trained:.4g} nm per pixel."
    ]


def size_notes(checkpoint: Checkpoint, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Say which annotated images have another pixel size than the network knows.

    Parameters
    ----------
    checkpoint, samples
        What is judged or learned on from, and the images for that.

    Raises
    ------
    TopiaryError
        With the image's name, if it is too coarse to show what was learned.
    """
    said: dict[str, list[str]] = {}
    for sample in samples:
        if not sample.annotations:
            continue
        try:
            notes = working_factor_for(checkpoint, sample.scale)[1]
        except TopiaryError as error:
            raise TopiaryError(f"{sample.name}: {error}") from error
        for note in notes:
            said.setdefault(note, []).append(sample.name)
    return tuple(f"{listed(names)}: {note}" for note, names in said.items())
