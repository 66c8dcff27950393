"""Bringing intensities to the range that a network was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint.illumination import Part, parts_of
from napari_topiary.checkpoint.intensities import (
    PERCENTILE_PIXELS,
    STEADY_DEVIATION,
    STEADY_MEAN,
    Intensities,
    foreign_body,
    some_of,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.io.excerpts import Excerpt
from napari_topiary.io.image_area import are_numbers, image_area, known_in, thinning

Kind = Literal["robust", "zscore", "percentile", "none"]
PERCENTILES = (1.0, 99.0)
"""Become 0 and 1; a few hot or dead pixels then change nothing."""
NO_NUMBERS = "The image has no pixel that is a number: check how it was saved."
PART = 0.6
"""An image of fewer pixels than this share of those learned from may be a part of one:
what is darkest and brightest in it is not what it is in a whole image."""
FEWEST_PIXELS = 1024
"""A part of an image with fewer is measured by the whole image."""


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """How intensities are changed before the network sees them.

    All channels of an image are treated alike, so that colours keep their relation.

    Parameters
    ----------
    kind
        `robust`: mean 0 and standard deviation 1 over the pixels that carry an image,
        tails clipped, parts that are lit differently each for itself (networks that are
        trained now); `zscore`: the same over all pixels as they are (networks of
        earlier versions); `percentile`: 1st and 99th percentile become 0 and 1; `none`:
        as they are.
    per_image
        Measure each image. False: use the numbers below for all of them; for `robust`,
        bring the ends of whole images to these, and take parts that were taken alike
        as they are.
    mean, std
        Intensities for `zscore` and `robust`.
    low, high
        Intensities for `percentile` that become 0 and 1; for `robust` those where the
        tails are cut off.
    pixels
        `robust`: how many the images had whose numbers these are.
    """

    kind: Kind = "robust"
    per_image: bool = True
    mean: float = 0.0
    std: float = 1.0
    low: float = 0.0
    high: float = 1.0
    pixels: float = 0.0

    @classmethod
    def shared_by(
        cls, images: Iterable[tuple[NDArray[Any], Excerpt | None]]
    ) -> Normalisation:
        """One for grey images that were taken alike; else each is measured for itself.

        Brightness then tells the same on all of them, whatever they show, and on parts
        of them that were saved as images of their own. Whole images are aligned by what
        is darkest and brightest, so that another number type or light changes nothing.
        Colours of stained sections differ from slide to slide.

        Parameters
        ----------
        images
            `(c, y, x)`, and where the parts of a cut-out come from.
        """
        found, pixels = list[Intensities](), list[float]()
        for image, excerpt in images:
            if len(image) > 1:
                return cls()
            step = thinning((image.shape[1], image.shape[2]))
            thin = image[:, ::step, ::step] if excerpt is None else excerpt.thin
            area = image_area(thin) if excerpt is None else excerpt.thin_area
            measured = cls().fitted(thin, area, shape=area.shape, step=1).usual
            if measured is None:
                return cls()
            found.append(measured)
            step = step if excerpt is None else excerpt.step
            pixels.append(float(area.sum()) * step**2)
        if not found:
            return cls()
        low, high, mean = (
            float(np.mean([getattr(one, name) for one in found]))
            for name in ("low", "high", "mean")
        )
        deviation = float(np.median([one.deviation for one in found]))
        shared = Intensities(low, high, mean, deviation)
        steady = STEADY_MEAN, STEADY_DEVIATION
        if not all(one.is_like(shared, *steady) for one in found):
            return cls()
        size, same = float(np.median(pixels)), cls(per_image=False)
        return replace(same, mean=mean, std=deviation, low=low, high=high, pixels=size)

    def apply(
        self, image: NDArray[Any], excerpt: Excerpt | None = None
    ) -> NDArray[np.float32]:
        """Normalise an image.

        Always the whole one: a part is cut from the result, so that it looks the same
        whatever is cut. Of images that are too large for that, `fitted` normalises
        parts.

        Parameters
        ----------
        image
            `(c, y, x)`, any numeric dtype. Pixels that are not numbers count as the
            mean of the others, and so do, for `robust`, all that carry no image; an
            image of one intensity becomes all zeros.
        excerpt
            Where the parts of a cut-out come from: they look as the whole image does.

        Returns
        -------
        ndarray
            `(c, y, x)` float32, never the input itself.
        """
        return self.applied(image, excerpt)[0]

    def applied(
        self, image: NDArray[Any], excerpt: Excerpt | None = None
    ) -> tuple[NDArray[np.float32], tuple[float, float]]:
        """Normalise an image as `apply`, and tell how parts of it look by themselves.

        Returns
        -------
        tuple
            What `apply` returns, and the offset and divisor that make such parts of it.
        """
        if excerpt is not None:
            fitted = self.fitted(
                excerpt.thin, excerpt.thin_area, shape=excerpt.whole, step=excerpt.step
            )
            area = excerpt.area(image)
            values = np.zeros(image.shape, np.float32)
            for place, corner in excerpt.pieces():
                part = image[:, *place]
                values[:, *place] = fitted.apply(part, area[place], corner=corner)
            return values, self._as_part(fitted)
        shape = (image.shape[1], image.shape[2])
        step = thinning(shape)
        thin = image[:, ::step, ::step]
        area = np.ones(thin.shape[1:], dtype=bool)
        if self.kind == "robust":
            area = image_area(thin)
        fitted = self.fitted(thin, area, shape=shape, step=step)
        values = fitted.apply(image, known_in(area, image, step=step))
        return values, self._as_part(fitted)

    @property
    def shared(self) -> Intensities | None:
        """What `robust` brings images to; None = each to a range of its own."""
        if self.per_image or not (self.std > 0 and self.high > self.low):
            return None  # nothing to divide by: a damaged file
        return Intensities(self.low, self.high, self.mean, self.std)

    def _as_part(self, fitted: Fitted) -> tuple[float, float]:
        shared, usual = self.shared, fitted.usual
        if shared is None or usual is None or not usual.deviation > 0:
            return 0.0, 1.0
        unit = usual.deviation
        return (shared.mean - usual.mean) / unit, shared.deviation / unit

    def fitted(
        self,
        thin: NDArray[Any],
        area: NDArray[np.bool_],
        *,
        shape: tuple[int, int],
        step: int,
    ) -> Fitted:
        """Measure an image by every `step`-th of its pixels.

        Parameters
        ----------
        thin
            `(c, y, x)`: every `step`-th row and column of the image.
        area
            `(y, x)` bool: which of them carry an image.
        shape
            `(y, x)` of the image in pixels.
        step
            1 = `thin` is the image itself.
        """
        if self.kind == "robust":
            is_part = float(area.sum()) * step**2 < PART * self.pixels
            shared = self.shared
            return _fitted_robust(thin, area, shape, step, shared, is_part=is_part)
        values, fill = _known_or_mean(thin)
        offset, spread = (0.0, 0.0) if self.kind == "none" else self._range(values)
        return Fitted(fill=fill, offset=offset, spread=spread)

    def _range(self, values: NDArray[np.float32]) -> tuple[float, float]:
        """Intensity that becomes 0, and how much more becomes 1."""
        if self.kind == "zscore":
            if not self.per_image:
                return self.mean, self.std
            mean = float(values.mean(dtype=np.float64))
            return mean, _deviation(values, mean)
        if not self.per_image:
            return self.low, self.high - self.low
        step = max(1, values.size // PERCENTILE_PIXELS)
        low, high = np.percentile(values.ravel()[::step], PERCENTILES)
        return float(low), float(high - low)


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """How one image is normalised, whatever part of it there is.

    Parameters
    ----------
    fill
        Takes the place of pixels that are not numbers.
    offset, spread
        Intensity that becomes 0, and how much more becomes 1 (0 = as they are).
    middle
        `robust`: taken off large numbers before they are brought to float32.
    parts
        `robust`: what is lit alike, with its measures; None for the other kinds.
    """

    fill: float = 0.0
    offset: float = 0.0
    spread: float = 0.0
    middle: float | None = None
    parts: tuple[tuple[Part, Intensities], ...] | None = None

    @property
    def usual(self) -> Intensities | None:
        """What the whole image is normalised by; None where light differs in it."""
        if self.parts is None or len(self.parts) != 1:
            return None
        part, measured = self.parts[0]
        return measured.moved(self.middle or 0) if part.is_even else None

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
            values, _ = _known_or_mean(image, self.fill)
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
            part.level(here, inside)
            measured.bring(here)
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


def _known_or_mean(
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


def _deviation(values: NDArray[np.float32], mean: float) -> float:
    """Standard deviation, row by row: a copy in float64 would be twice the image."""
    squares = sum(
        float(np.square(row - mean, dtype=np.float64).sum())
        for channel in values
        for row in channel
    )
    return float(np.sqrt(squares / values.size))


def _fitted_robust(
    thin: NDArray[Any],
    area: NDArray[np.bool_],
    shape: tuple[int, int],
    step: int,
    shared: Intensities | None,
    *,
    is_part: bool,
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
    grey = values.mean(axis=0) if len(values) > 1 else values[0]
    area = area & ~foreign_body(grey, area)
    whole = Intensities.of(values, area)
    parts = []
    for part in parts_of(np.clip(grey, whole.low, whole.high), area):
        here = values[:, *part.place]
        part.level(here)
        known = area[part.place]
        few = known.sum() < FEWEST_PIXELS
        measured = whole if few else Intensities.of(here, known)
        parts.append((_stretched(part, shape, step), measured))
    fitted = Fitted(middle=middle, parts=tuple(parts))
    if shared is None:
        return fitted
    own = fitted.usual
    same = shared.written_like(own) if own is not None and is_part else None
    if same is not None:
        return replace(fitted, parts=((parts[0][0], same.moved(-(middle or 0))),))
    aligned = ((part, measured.aligned_with(shared)) for part, measured in parts)
    return replace(fitted, parts=tuple(aligned))


def _stretched(part: Part, shape: tuple[int, int], step: int) -> Part:
    """Return a part of the thinned image as one of the whole image."""
    if step == 1:
        return part
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
