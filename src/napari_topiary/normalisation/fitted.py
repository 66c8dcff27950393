"""How one image is normalised, whatever part of it there is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.image_area import are_numbers
from napari_topiary.normalisation.illumination import Part, parts_of
from napari_topiary.normalisation.intensities import Intensities, foreign_body, some_of
from napari_topiary.normalisation.regions import Region, regions_of

NO_NUMBERS = "The image has no pixel that is a number: check how it was saved."
FEWEST_PIXELS = 1024
"""A part of an image with fewer is measured by the whole image."""
STRAIGHT = 0.97
"""Seams divide an image where every part lies by this share in one area."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """How one image is normalised, whatever part of it there is."""

    fill: float = 0.0  #: Takes the place of pixels that are not numbers
    #: `offset`, `spread`: intensity that becomes 0, and how much more becomes 1 (0 = as
    #: they are)
    offset: float = 0.0
    spread: float = 0.0
    #: `robust`: taken off large numbers before they are brought to float32
    middle: float | None = None
    #: `robust`: what is lit alike, with its measures; None for the other kinds
    parts: tuple[tuple[Part, Intensities], ...] | None = None

    @property
    def usual(self) -> Intensities | None:
        """What the whole image is normalised by; None where light differs in it."""
        if self.parts is None or len(self.parts) != 1:
            return None
        part, measured = self.parts[0]
        return measured.moved(self.middle or 0) if part.is_even else None

    @property
    def regions(self) -> list[Region]:
        """Areas of very different brightness; nothing where the image is one."""
        found = {id(part.region): part.region for part, _ in self.parts or ()}
        return [region for region in found.values() if region is not None]

    def apply(
        self,
        image: NDArray[Any],
        area: NDArray[np.bool_],
        *,
        corner: tuple[int, int] = (0, 0),
    ) -> NDArray[np.float32]:
        """Normalise a part of the image.

        Parameters
        ----------
        image
            `(c, y, x)`.
        area
            `(y, x)` bool: which of its pixels carry an image.
        corner
            y, x of its first pixel in the whole image.
        """
        if self.parts is None:
            values, _ = known_or_mean(image, self.fill)
            values -= np.float32(self.offset)
            if self.spread > 0:
                values /= np.float32(self.spread)
            return values
        values = _around_zero(image, area, self.middle)
        for part, measured in self.parts:
            place, inside = _overlap(part, corner, area.shape)
            here = values[:, *place]
            if here.size == 0:
                continue
            mine = part.mine(inside)
            own = here if mine is None else here.copy()
            part.level(own, inside)
            measured.bring(own)
            if mine is not None:
                np.copyto(here, own, where=mine)
        values[:, ~area] = 0
        return values


def _overlap(
    part: Part, corner: tuple[int, int], shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a part lies in a rectangle, and that rectangle in the part."""
    top, bottom, left, right = part.box
    place, inside = [], []
    for start, end, first, n in zip(
        (top, left), (bottom, right), corner, shape, strict=True
    ):
        low, high = max(start, first), max(min(end, first + n), max(start, first))
        place.append(slice(low - first, high - first))
        inside.append(slice(low - start, high - start))
    return (place[0], place[1]), (inside[0], inside[1])


def known_or_mean(
    image: NDArray[Any], fill: float | None = None
) -> tuple[NDArray[np.float32], float]:
    """Intensities as float32; what is no number becomes the mean of the others."""
    with np.errstate(over="ignore"):  # beyond float32: not a number, as below
        values = np.array(image, dtype=np.float32)
    known = np.isfinite(values)
    if known.all():
        if fill is None:
            fill = float(values.mean(dtype=np.float64))
        return values, fill
    if fill is None:
        if not known.any():
            raise TopiaryError(NO_NUMBERS)
        fill = float(values[known].mean(dtype=np.float64))
    values[~known] = fill
    return values, fill


def fitted_robust(
    thin: NDArray[Any],
    area: NDArray[np.bool_],
    shape: tuple[int, int],
    step: int,
    shared: Intensities | None,
    *,
    is_part: bool,
    regions: bool,
) -> Fitted:
    """Measure the pixels that carry an image, part by part where light differs."""
    if thin.dtype.kind == "f" and not are_numbers(thin).any():
        raise TopiaryError(NO_NUMBERS)
    middle = None
    if thin.dtype.itemsize >= 4 and area.any():
        middle = float(np.median(some_of(thin, area).astype(np.float64)))
    if not area.any():
        return Fitted(middle=middle, parts=())
    values = _around_zero(thin, area, middle)
    parts = _measured(values, area, regions=regions, step=step)
    if step > 1:
        parts = [(_stretched(part, shape, step), own) for part, own in parts]
    fitted = Fitted(middle=middle, parts=tuple(parts))
    if shared is None:
        return fitted
    own = fitted.usual
    same = shared.written_like(own) if own is not None and is_part else None
    if same is not None:
        return replace(fitted, parts=((parts[0][0], same.moved(-(middle or 0))),))
    aligned = ((part, measured.aligned_with(shared)) for part, measured in parts)
    return replace(fitted, parts=tuple(aligned))


def _measured(
    values: NDArray[np.float32], area: NDArray[np.bool_], *, regions: bool, step: int
) -> list[tuple[Part, Intensities]]:
    """Measure what is lit alike, each for itself."""
    grey = values.mean(axis=0) if len(values) > 1 else values[0]
    divided = _divided(grey, values, area) if regions and len(values) == 1 else []
    if not divided:
        return _evened(values, grey, area & ~foreign_body(grey, area))
    found = [
        (one, _evened(values, grey, area & one.mask, replace(one, step=step)))
        for one in divided
        if (area & one.mask).any()
    ]
    largest = max(
        (one for one in found if not one[0].is_plain),
        key=lambda one: int((area & one[0].mask).sum()),
    )
    usual = largest[1][0][1]
    return [
        # Noise in an area without content is not made to look like content.
        (part, usual.moved(own.mean - usual.mean) if one.is_plain else own)
        for one, parts in found
        for part, own in parts
    ]


def _divided(
    grey: NDArray[np.float32], values: NDArray[np.float32], area: NDArray[np.bool_]
) -> list[Region]:
    """Areas of very different brightness, unless seams divide them more exactly."""
    whole = Intensities.of(values, area)
    clipped = np.clip(grey, whole.low, whole.high)
    regions = regions_of(clipped, area)
    if not regions:
        return []
    parts = parts_of(clipped, area)
    straight = all(
        max(float(one.mask[part.place].mean()) for one in regions) > STRAIGHT
        for part in parts
    )
    return [] if straight else regions


def _evened(
    values: NDArray[np.float32],
    grey: NDArray[np.float32],
    area: NDArray[np.bool_],
    region: Region | None = None,
) -> list[tuple[Part, Intensities]]:
    """Cut an area at its seams, take slopes off, measure what is left."""
    whole = Intensities.of(values, area)
    found = []
    for part in parts_of(np.clip(grey, whole.low, whole.high), area, region):
        here, known = values[:, *part.place], area[part.place]
        if region is None:
            part.level(here)
        elif not part.is_even:
            here = here.copy()
            part.level(here)
        few = known.sum() < FEWEST_PIXELS
        found.append((part, whole if few else Intensities.of(here, known)))
    return found


def _stretched(part: Part, shape: tuple[int, int], step: int) -> Part:
    """Return a part of the thinned image as one of the whole image."""
    top, bottom, left, right = (edge * step for edge in part.box)
    box = (top, min(bottom, shape[0]), left, min(right, shape[1]))
    return replace(part, box=box)


def _around_zero(
    image: NDArray[Any], area: NDArray[np.bool_], middle: float | None
) -> NDArray[np.float32]:
    """Intensities as float32 `(c, y, x)`; pixels outside the area are 0.

    Large numbers that differ little would all be the same in float32: an intensity of
    the image is taken off them before.
    """
    if middle is None:
        values = np.array(image, dtype=np.float32)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            values = (image.astype(np.float64) - middle).astype(np.float32)
        np.nan_to_num(values, copy=False)
    values[:, ~area] = 0
    return values
