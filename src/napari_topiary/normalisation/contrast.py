"""Brightness, contrast and colours learned from, to notice other images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

FINEST = 0.7
"""Smoothing of the finest of the scales that are looked at, in working pixels."""
SCALES = 5
"""Each is twice as coarse as the one before."""
LARGEST_SIDE = 1024
"""Of larger images the middle is looked at."""
CLEARLY_MARKED = 0.3
"""In deviations: what differs less from the rest is neither bright nor dark."""
SAME = 0.05
"""Asymmetries that differ by less say nothing."""
OPPOSITE, EVIDENCE = -0.35, 3.0
"""Images that are less alike, and by so much evidence, are the opposite already by
their histogram: a network finds as much in a negative, in other places."""
ENOUGH = 4
"""Fewer other images do not tell which is the odd one: of 64 images of five real sets
held against four or more of their set none was called the opposite, of their negatives
62; against one or two, four."""

TELLING_SIDE = 176
"""Smaller images say less about their contrast, by the third power of their side: of
945 real ones of 16 to 128 working pixels 119 were taken for their negatives, now 3."""
COLOUR_SIDE = 96
"""Smaller images say nothing about their colours: of crops of those learned from, of 12
to 64 working pixels, one in four was called another stain, of larger ones none."""

SQUARE = 16
"""Side of what the contrast of a place is measured in, in working pixels."""
KNOWN = 0.9
"""So much of such a square must carry an image."""
FAINTEST, MUCH_LESS = 0.05, 0.6
"""Share of each image learned from whose contrast is lower than what counts as its
lowest; and how many times lower than the lowest of all of them is much less."""
FAINT_SHARE = 0.1
"""Faint places of the darker half are told of where they are so much of an image. In
556 real images held against up to three others of their kind it was 0.08 at most, with
areas a quarter as bright in round holes 0.13 to 0.17."""

LEAST_SPREAD = 0.2
"""Colours that differ by less are of one stain, in deviations of the intensities."""
DARKEST = 0.25
"""Share of an image that is mostly what was stained."""
UNLIKE = 5.0
"""Colours are others that are farther from the mean of what was learned, in spreads."""


@dataclass(frozen=True)
class Contrast:
    """How bright and dark are spread in the images of a training."""

    #: `asymmetry`, `spread`: mean and deviation over the images of how much further the
    #: bright end of the histogram is from its middle than the dark end (−1 to 1), by
    #: scale
    asymmetry: tuple[float, ...]
    spread: tuple[float, ...]
    foreground_share: float  #: How much of the annotated area is not background, 0..1
    #: How much brighter the foreground is than the background, in deviations
    foreground: float

    @classmethod
    def of(
        cls,
        material: Iterable[tuple[NDArray[np.float32], NDArray[np.integer]]],
        asymmetries: Sequence[NDArray[np.float64]] = (),
    ) -> Contrast | None:
        """Measure what is learned from; None where nothing is annotated.

        Parameters
        ----------
        material
            Normalised images `(c, y, x)`, each with its classes `(y, x)`, −1 = unknown.
        asymmetries
            Of each image, as from `asymmetry_of`, where they are known.
        """
        known, sums = list(asymmetries), np.zeros((2, 2))
        for index, (image, classes) in enumerate(material):
            if index >= len(known):
                known.append(asymmetry_of(image))
            grey = image.mean(axis=0)
            for row, place in enumerate((classes == 0, classes > 0)):
                sums[row] += place.sum(), grey[place].sum(dtype=np.float64)
        if not sums[:, 0].all():
            return None
        means = sums[:, 1] / sums[:, 0]
        return cls(
            tuple(np.mean(known, axis=0).round(4).tolist()),
            tuple(np.std(known, axis=0).round(4).tolist()),
            round(float(sums[1, 0] / sums[:, 0].sum()), 6),
            round(float(means[1] - means[0]), 4),
        )

    @classmethod
    def from_record(cls, record: object) -> Contrast | None:
        """Read what `to_record` wrote; None where it is not there or damaged."""
        if not isinstance(record, Mapping):
            return None
        try:
            found = cls(
                tuple(float(value) for value in record["asymmetry"]),
                tuple(float(value) for value in record["spread"]),
                float(record["foreground_share"]),
                float(record["foreground"]),
            )
        except (KeyError, TypeError, ValueError):
            return None
        lengths = {len(found.asymmetry), len(found.spread)}
        numbers = (*found.asymmetry, *found.spread, found.foreground_share)
        usable = np.isfinite(numbers).all() and found.foreground_share > 0
        return found if lengths == {2 * SCALES} and usable else None

    def opposite_of(self, learned: Contrast) -> bool:
        """Whether what is marked is as clearly dark as it was bright, or vice versa."""
        return self.look * learned.look < 0

    @property
    def look(self) -> int:
        """1 where what is marked is clearly bright, −1 where dark, 0 where neither."""
        if abs(self.foreground) <= CLEARLY_MARKED:
            return 0
        return 1 if self.foreground > 0 else -1

    def in_words(self, names: Sequence[str]) -> str:
        """What was learned, to be told where it is the opposite."""
        look = "brighter" if self.foreground > 0 else "darker"
        return (
            "is the opposite of what the network learned (there, "
            f"{', '.join(names)} is {look} than the background)"
        )

    def to_record(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @property
    def strength(self) -> float:
        """How much a usual image says about the contrast: 0 where it is symmetric."""
        own = np.array(self.asymmetry)
        return _likeness(self.asymmetry, self.spread, own)[1]

    def likeness(self, image: NDArray[np.float32]) -> float:
        """Compare an image: about 1 where it is like what was learned, −1 if opposite.

        Parameters
        ----------
        image
            `(c, y, x)`, normalised, on the working grid; a small one is like nothing.
        """
        found = _likeness(self.asymmetry, self.spread, asymmetry_of(image))[0]
        return found * says_enough(image)

    def is_certain(self, likeness: float) -> bool:
        """Whether images that are so like this are the opposite for all one can see."""
        return _is_opposite(likeness, self.strength)

    def is_negative(self, asymmetry: NDArray[np.float64]) -> bool:
        """Whether an image of this asymmetry is certainly the opposite."""
        return _is_opposite(*_likeness(self.asymmetry, self.spread, asymmetry))


def says_enough(image: NDArray[np.float32]) -> float:
    """How much an image `(c, y, x)` says about its contrast: 1 unless it is small."""
    return min(1.0, (_side(image) / TELLING_SIDE) ** 3)


def _side(image: NDArray[np.float32]) -> float:
    """Of a square that is as large."""
    return float(np.sqrt(image.shape[1] * image.shape[2]))


def odd_ones(asymmetries: Sequence[NDArray[np.float64]]) -> list[int]:
    """Return which images have the opposite contrast of the others.

    Parameters
    ----------
    asymmetries
        Of each image, as from `asymmetry_of`; of fewer than `ENOUGH` others none is
        told.
    """
    each = np.array(asymmetries)
    if len(each) <= ENOUGH:
        return []
    odd = []
    for index, own in enumerate(each):
        others = np.delete(each, index, axis=0)
        if _is_opposite(*_likeness(others.mean(axis=0), others.std(axis=0), own)):
            odd.append(index)
    return odd


def usual_look(looks: Sequence[int]) -> int:
    """Return how most of some images look that have a `Contrast.look`; 0 = mixed.

    In 134 images of three real sets none was called the opposite of its set by it.
    """
    rarer, usual = sorted((looks.count(sign), sign) for sign in (-1, 1))
    return usual[1] if usual[0] >= max(2, 2 * rarer[0]) else 0


def _is_opposite(likeness: float, strength: float) -> bool:
    return likeness < OPPOSITE and likeness * strength < -EVIDENCE


def _likeness(
    learned: ArrayLike, spread: ArrayLike, own: NDArray[np.float64]
) -> tuple[float, float]:
    """How like what was learned an image is, and how much what was learned says."""
    mean, deviation = np.asarray(learned), np.asarray(spread)
    weight = mean / (deviation**2 + SAME**2)
    strength = float(weight @ mean)
    return float(weight @ own) / max(1e-6, strength), strength


def asymmetry_of(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Asymmetry of an image at some scales, and of what lies between them.

    Parameters
    ----------
    image
        `(c, y, x)`, normalised, on the working grid.
    """
    grey = image.mean(axis=0)
    cut = [max(0, (n - LARGEST_SIDE) // 2) for n in grey.shape]
    grey = grey[cut[0] : cut[0] + LARGEST_SIDE, cut[1] : cut[1] + LARGEST_SIDE]
    smooth = [ndimage.gaussian_filter(grey, FINEST * 2**n) for n in range(SCALES)]
    between = [a - b for a, b in zip([grey, *smooth], smooth, strict=False)]
    return np.array(
        [_skew(maps, 5) for maps in smooth] + [_skew(maps, 2) for maps in between]
    )


def _skew(values: NDArray[np.float32], tail: float) -> float:
    low, middle, high = np.percentile(values, (tail, 50, 100 - tail))
    return float((high + low - 2 * middle) / max(high - low, 1e-9))


@dataclass(frozen=True)
class Faintness:
    """How little contrast the places of the images have that were learned from."""

    lowest: float  #: Deviation of the intensities in the faintest squares of them

    @classmethod
    def of(cls, images: Iterable[NDArray[np.float32]]) -> Faintness | None:
        """Measure normalised images `(c, y, x)`; None where they are too small."""
        each = [_squares(image)[1] for image in images]
        found = [float(np.quantile(one, FAINTEST)) for one in each if len(one)]
        return cls(round(min(found), 5)) if found else None

    @classmethod
    def from_record(cls, record: Any) -> Faintness | None:
        """Read what is in a checkpoint; None where it is not there or damaged."""
        try:
            found = cls(float(record))
        except (TypeError, ValueError):
            return None
        return found if np.isfinite(found.lowest) else None

    def problem(self, image: NDArray[np.float32]) -> str | None:
        """Return a sentence if much of an image is dark and fainter than all that.

        `image` `(c, y, x)`, normalised, on the working grid.
        """
        means, deviations = _squares(image)
        if not len(means):
            return None
        middle = np.quantile(means, (0.05, 0.95)).mean()
        faint = (deviations < MUCH_LESS * self.lowest) & (means < middle)
        if faint.mean() < FAINT_SHARE:
            return None
        return (
            f"At least {faint.mean():.0%} of this image is darker than the rest and "
            "shows less than anything that the network learned from, so little or "
            "nothing may be found there: predict the dark areas as images of their "
            "own, or train on images that have such areas."
        )


def _squares(
    image: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of the intensities in squares that carry an image."""
    grey = image.mean(axis=0)
    height, width = (n // SQUARE for n in grey.shape)
    cut = grey[: height * SQUARE, : width * SQUARE]
    cut = cut.reshape(height, SQUARE, width, SQUARE).swapaxes(1, 2)
    cut = cut.reshape(height * width, SQUARE**2)
    cut = cut[(cut != 0).mean(axis=1) > KNOWN]
    return cut.mean(axis=1), cut.std(axis=1)


@dataclass(frozen=True)
class Colours:
    """Red and blue against green, in what is darkest of images and in the rest."""

    #: `mean`, `spread`: mean and deviation over the images that were learned from,
    #: `(4,)`: red and blue of the darkest quarter, then of the rest, in deviations of
    #: the intensities
    mean: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def of(cls, images: Iterable[NDArray[np.float32]]) -> Colours | None:
        """Measure normalised images `(c, y, x)`; None where they are grey."""
        found = [_balance(image) for image in images if len(image) == 3]
        if not found:
            return None
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
        return cls(tuple(mean.round(4).tolist()), tuple(spread.round(4).tolist()))

    @classmethod
    def from_record(cls, record: object) -> Colours | None:
        """Read what `to_record` wrote; None where it is not there or damaged."""
        if not isinstance(record, Mapping):
            return None
        try:
            mean, spread = (
                tuple(float(value) for value in record[name])
                for name in ("mean", "spread")
            )
        except (KeyError, TypeError, ValueError):
            return None
        usable = len(mean) == len(spread) == 4 and np.isfinite((*mean, *spread)).all()
        return cls(mean, spread) if usable else None

    def to_record(self) -> dict[str, list[float]]:
        """As JSON holds it."""
        return {name: list(value) for name, value in asdict(self).items()}

    def problem(self, image: NDArray[np.float32]) -> str | None:
        """Return a sentence if an image has other colours.

        Parameters
        ----------
        image
            `(c, y, x)`, normalised, on the working grid.
        """
        if len(image) != 3 or _side(image) < COLOUR_SIDE or not self._unlike(image):
            return None
        way_out = (
            "convert its colours to those, or train a network on images like this one."
        )
        if not self._unlike(image[::-1]):
            way_out = "red and blue seem to be exchanged: save it with them in order."
        return (
            "The colours of this image are not those that the network learned from "
            f"(another stain or camera), so its answer may well be wrong: {way_out}"
        )

    def _unlike(self, image: NDArray[np.float32]) -> bool:
        spread = np.maximum(self.spread, LEAST_SPREAD)
        apart: NDArray[np.float64] = np.abs(_balance(image) - self.mean) / spread
        return bool(apart.max() > UNLIKE)


def _balance(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Red and blue against green, dark and bright, of an image `(3, y, x)`."""
    grey = image.mean(axis=0)
    dark = grey < np.quantile(grey, DARKEST)
    if not dark.any():
        return np.zeros(4)
    red, green, blue = image
    return np.array(
        [
            (colour - green)[part].mean(dtype=np.float64)
            for part in (dark, ~dark)
            for colour in (red, blue)
        ]
    )
