"""Bringing intensities to the range that a network was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import TargetConfig, build_target
from napari_topiary.io.dataset import Sample
from napari_topiary.io.excerpts import Excerpt
from napari_topiary.io.image_area import image_area, known_in, thinning
from napari_topiary.normalisation.fitted import Fitted, fitted_robust, known_or_mean
from napari_topiary.normalisation.intensities import (
    PERCENTILE_PIXELS,
    STEADY_DEVIATION,
    STEADY_MEAN,
    Intensities,
)
from napari_topiary.types import Task

Kind = Literal["robust", "zscore", "percentile", "none"]
PERCENTILES = (1.0, 99.0)
"""Become 0 and 1; a few hot or dead pixels then change nothing."""
PART = 0.6
"""An image of fewer pixels than this share of those learned from may be a part of one:
what is darkest and brightest in it is not what it is in a whole image."""
MARKED = 0.5
"""Areas are what is marked where the marked shares of them differ by more than this."""


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """How intensities are changed before the network sees them.

    All channels of an image are treated alike, so that colours keep their relation.
    """

    #: `robust`: mean 0 and standard deviation 1 over the pixels that carry an image,
    #: tails clipped, parts that are lit differently each for itself (networks that are
    #: trained now); `zscore`: the same over all pixels as they are (networks of earlier
    #: versions); `percentile`: 1st and 99th percentile become 0 and 1; `none`: as they
    #: are
    kind: Kind = "robust"
    #: Measure each image. False: use the numbers below for all of them; for `robust`,
    #: bring the ends of whole images to these, and take parts that were taken alike as
    #: they are.
    per_image: bool = True
    #: `mean`, `std`: intensities for `zscore` and `robust`
    mean: float = 0.0
    std: float = 1.0
    #: `low`, `high`: intensities for `percentile` that become 0 and 1; for `robust`
    #: those where the tails are cut off
    low: float = 0.0
    high: float = 1.0
    pixels: float = 0.0  #: `robust`: how many the images had whose numbers these are
    #: `robust`: whether areas of an image that differ very much in brightness are
    #: measured each by itself. Not where such areas are what is looked for.
    regions: bool = True

    @classmethod
    def shared_by(
        cls,
        images: Iterable[tuple[NDArray[Any], Excerpt | None]],
        *,
        regions: bool = True,
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
        regions
            As for the class.
        """
        alone = cls(regions=regions)
        found, pixels = list[Intensities](), list[float]()
        for image, excerpt in images:
            if len(image) > 1:
                return alone
            step = thinning((image.shape[1], image.shape[2]))
            thin = image[:, ::step, ::step] if excerpt is None else excerpt.thin
            area = image_area(thin) if excerpt is None else excerpt.thin_area
            fitted = alone.fitted(thin, area, shape=area.shape, step=1)
            if fitted.regions:
                continue  # each looks as a whole image does
            measured = fitted.usual
            if measured is None:
                return alone
            found.append(measured)
            step = step if excerpt is None else excerpt.step
            pixels.append(float(area.sum()) * step**2)
        if not found:
            return alone
        low, high, mean = (
            float(np.mean([getattr(one, name) for one in found]))
            for name in ("low", "high", "mean")
        )
        deviation = float(np.median([one.deviation for one in found]))
        shared = Intensities(low, high, mean, deviation)
        steady = STEADY_MEAN, STEADY_DEVIATION
        if not all(one.is_like(shared, *steady) for one in found):
            return alone
        size, same = float(np.median(pixels)), replace(alone, per_image=False)
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

    def areas(self, image: NDArray[Any]) -> list[NDArray[np.bool_]]:
        """Find areas of very different brightness in an image.

        Parameters
        ----------
        image
            `(c, y, x)`, as for `apply`.

        Returns
        -------
        list
            `(y, x)` bool, one for each; nothing where the image is one.
        """
        shape = (image.shape[1], image.shape[2])
        step = thinning(shape)
        thin = image[:, ::step, ::step]
        fitted = self.fitted(thin, image_area(thin), shape=shape, step=step)
        whole = slice(0, shape[0]), slice(0, shape[1])
        return [region.within(whole) for region in fitted.regions]

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
            return fitted_robust(
                thin, area, shape, step, shared, is_part=is_part, regions=self.regions
            )
        values, fill = known_or_mean(thin)
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


def _deviation(values: NDArray[np.float32], mean: float) -> float:
    """Standard deviation, row by row: a copy in float64 would be twice the image."""
    squares = sum(
        float(np.square(row - mean, dtype=np.float64).sum())
        for channel in values
        for row in channel
    )
    return float(np.sqrt(squares / values.size))


def normalisation_for(
    samples: Sequence[Sample], task: Task, zones: TargetConfig
) -> Normalisation:
    """Choose how intensities of annotated images are brought to one range.

    Areas of very different brightness are measured each by itself, except where they
    are what is marked: a network that is to find them must see the difference.
    """
    images = [(one.image, one.excerpt) for one in samples]
    usual = Normalisation.shared_by(images)
    if any(_areas_are_marked(one, usual, task, zones) for one in samples):
        return Normalisation.shared_by(images, regions=False)
    return usual


def _areas_are_marked(
    sample: Sample, normalisation: Normalisation, task: Task, zones: TargetConfig
) -> bool:
    """Whether areas of very different brightness differ as much in what is marked."""
    if sample.excerpt is not None:
        return False
    areas = normalisation.areas(sample.image)
    if not areas:
        return False
    classes = build_target(
        sample.annotations,
        sample.image.shape[1:],
        task=task,
        scale=sample.scale,
        config=zones,
    ).classes
    shares = [
        float((classes[area] > 0).sum() / (classes[area] >= 0).sum())
        for area in areas
        if (classes[area] >= 0).any()
    ]
    return len(shares) > 1 and max(shares) - min(shares) > MARKED
