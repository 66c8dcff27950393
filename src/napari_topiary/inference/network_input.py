"""An image as a network sees it: in its range of intensities, at its pixel size.

`as_network_input` does so with an image in memory, `as_large_input` with one of any
size, of which parts are read when they are asked for. Both give the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.data.working_grid import (
    area_to_working,
    resized_part,
    to_working,
    working_factor_for,
    working_shape,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.io.excerpts import Excerpt
from napari_topiary.io.image_area import image_area, kind_problem, known_in, thinning
from napari_topiary.io.images import to_grey
from napari_topiary.io.pixel_size import pixel_size_problem
from napari_topiary.normalisation.fitted import Fitted
from napari_topiary.types import Image, Window

BLANK = (
    "There is nothing to see on this image (every pixel is the same, or is not a "
    "number): the result is empty."
)

REGIONS = (
    "Areas of this image differ so much in brightness that each was measured by itself "
    "(a bar beside the sample, holes in a film, shadow): along their edges look twice."
)


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkInput:
    """An image as a network sees it."""

    image: NDArray[np.float32]  #: `(c, h, w)` float32 on the working grid, normalised
    #: `(h, w)` bool: what carries an image; elsewhere results are empty
    area: NDArray[np.bool_]
    shape: tuple[int, int]  #: `(y, x)` of the image in its own pixels
    factor: float  #: Pixels of the image per working pixel
    notes: tuple[str, ...] = ()  #: Sentences for the user

    @property
    def is_blank(self) -> bool:
        """Whether nothing is to be seen."""
        return not self.area.any()

    @property
    def grid(self) -> tuple[int, int]:
        """`(h, w)` of the working grid."""
        return self.image.shape[1], self.image.shape[2]

    @property
    def middle(self) -> NDArray[np.float64]:
        """Centre y, x of what carries an image, in working pixels."""
        return np.asarray(np.argwhere(self.area).mean(axis=0))

    def at(self, part: Window) -> NDArray[np.float32]:
        """Return a part of the working grid `(c, h, w)`."""
        top, bottom, left, right = part
        return self.image[:, top:bottom, left:right]


class Pixels(Protocol):
    """An image whose pixels are read when they are asked for."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(c, y, x)`."""
        ...

    def read(self, window: Window) -> Image:
        """Read a part `(c, y, x)`."""
        ...


@dataclass(frozen=True, eq=False)
class LargeInput:
    """How a network sees an image of any size; parts are made when asked for."""

    pixels: Pixels  #: The image, with the channels that the network takes
    measured: Measured  #: How it is normalised, and what in it is an image

    @property
    def is_blank(self) -> bool:
        """Whether nothing is to be seen."""
        return self.measured.fitted is None

    @property
    def shape(self) -> tuple[int, int]:
        """`(y, x)` of the image in its own pixels."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def grid(self) -> tuple[int, int]:
        """`(h, w)` of the working grid."""
        return working_shape(self.shape, self.measured.factor)

    @property
    def middle(self) -> NDArray[np.float64]:
        """Centre y, x of what carries an image, in working pixels."""
        thin = np.argwhere(self.measured.area).mean(axis=0)
        ratio = np.array(self.grid) / np.array(self.measured.area.shape)
        return np.asarray((thin + 0.5) * ratio - 0.5)

    def at(self, part: Window) -> NDArray[np.float32]:
        """Return a part of the working grid `(c, h, w)`."""
        return self.cut(part)[0]

    def cut(self, part: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return a part of the working grid, and which of its pixels are an image."""
        seen = resized_part(self._read, self.shape, self.grid, part)
        return np.ascontiguousarray(seen[:-1]), seen[-1] > 1 - 1e-4

    def nothing(self, part: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return, as `cut` does, a part of an image on which nothing is to be seen."""
        size = part[1] - part[0], part[3] - part[2]
        return np.zeros((self.pixels.shape[0], *size), np.float32), np.zeros(size, bool)

    def _read(self, window: Window) -> NDArray[np.float32]:
        """Normalised pixels of a window of the image, and where they are known."""
        image, corner = self.pixels.read(window), (window[0], window[2])
        about = self.measured
        area = known_in(about.area, image, step=about.step, corner=corner)
        values = about.normalised(image, area, corner=corner)
        return np.concatenate([values, area[None].astype(np.float32)])


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """What has to be known of a whole image before a part of it can be looked at."""

    #: `(y, x)` bool, of every `step`-th row and column: what carries an image
    area: NDArray[np.bool_]
    step: int  #: 1 = of all of them
    factor: float  #: Pixels of the image per working pixel
    fitted: Fitted | None  #: How it is normalised; None = there is nothing to see
    #: Sum of the darkest and the brightest intensity, where the network looks at the
    #: negative
    ends: np.float32 | None = None
    notes: tuple[str, ...] = ()  #: Sentences for the user

    @classmethod
    def of(
        cls,
        thin: NDArray[Any],
        checkpoint: Checkpoint,
        *,
        shape: tuple[int, int],
        step: int,
        scale: float | None,
        invert: bool,
    ) -> Measured:
        """Measure an image by every `step`-th of its rows and columns, or refuse it."""
        problem = "" if scale is None else pixel_size_problem(scale)
        if problem:
            raise TopiaryError(problem)
        factor, notes = working_factor_for(checkpoint, scale)
        is_image = kind_problem(thin) is None
        area = image_area(thin) if is_image else np.ones((1, 1), dtype=bool)
        if not area.any():
            # A white colour picture is read as grey: that it is blank is what matters.
            return cls(area=area, step=step, factor=factor, fitted=None, notes=(BLANK,))
        thin = _checked_image(thin, checkpoint)
        ends = _ends(thin) if invert else None
        thin = thin if ends is None else _negative(thin, ends)
        if not area.all():
            share = 1 - area.mean()
            much = f"{share:.0%}" if share >= 0.01 else "Less than 1%"
            notes = [
                *notes,
                f"{much} of this image carries no image (a margin, a "
                "bar or pixels that are not numbers): there the result is empty.",
            ]
        fitted = checkpoint.normalisation.fitted(thin, area, shape=shape, step=step)
        if fitted.regions:
            notes = [*notes, REGIONS]
        return cls(
            area=area,
            step=step,
            factor=factor,
            fitted=fitted,
            ends=ends,
            notes=tuple(notes),
        )

    def normalised(
        self,
        image: NDArray[Any],
        area: NDArray[np.bool_],
        *,
        corner: tuple[int, int] = (0, 0),
    ) -> NDArray[np.float32]:
        """Bring a part `(c, y, x)` of the image to the range of the network.

        Parameters
        ----------
        image, area, corner
            As for `Fitted.apply`.
        """
        if self.fitted is None:
            return np.zeros(image.shape, np.float32)
        if self.ends is not None:
            image = _negative(image, self.ends)
        return self.fitted.apply(image, area, corner=corner)


def measured_input(
    image: NDArray[Any],
    checkpoint: Checkpoint,
    *,
    scale: float | None,
    invert: bool = False,
    excerpt: Excerpt | None = None,
) -> Measured:
    """Measure an image in memory for a network, as for `as_network_input`."""
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[None]
    shape = image.shape[1:3]
    step = thinning(shape) if len(shape) == 2 else 1
    thin, whole = image[:, ::step, ::step] if step > 1 else image, shape
    if excerpt is not None:
        thin, whole, step = excerpt.thin, excerpt.whole, excerpt.step
    return Measured.of(
        thin, checkpoint, shape=whole, step=step, scale=scale, invert=invert
    )


def as_network_input(
    image: NDArray[Any],
    checkpoint: Checkpoint,
    *,
    scale: float | None,
    invert: bool = False,
    excerpt: Excerpt | None = None,
    measured: Measured | None = None,
) -> NetworkInput:
    """Bring an image to the range and grid of a network, or raise with a sentence.

    Parameters
    ----------
    image
        `(c, y, x)` or, if grey, `(y, x)`: the whole image, even where only a part is
        wanted, for its statistics decide what a part looks like.
    checkpoint
        Whose network looks.
    scale
        nm per pixel of the image, None if unknown.
    invert
        Whether it looks at the negative.
    excerpt
        Where the parts of a cut-out come from.
    measured
        What `measured_input` has found for a network that sees alike.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[None]
    shape = image.shape[1:3]
    about = measured or measured_input(
        image, checkpoint, scale=scale, invert=invert, excerpt=excerpt
    )
    same: dict[str, Any] = {
        "shape": shape,
        "factor": about.factor,
        "notes": about.notes,
    }
    if about.fitted is None:
        size = working_shape(shape, about.factor)
        empty = np.zeros((checkpoint.in_channels, *size), np.float32)
        return NetworkInput(image=empty, area=np.zeros(size, dtype=bool), **same)
    if excerpt is None:
        area = known_in(about.area, image, step=about.step)
        values = about.normalised(image, area)
    else:
        area, values = excerpt.area(image), np.zeros(image.shape, np.float32)
        for place, corner in excerpt.pieces():
            part = image[:, *place], area[place]
            values[:, *place] = about.normalised(*part, corner=corner)
    working = to_working(values, about.factor)
    known = area_to_working(area, working.shape[1:])
    return NetworkInput(image=working, area=known, **same)


def as_large_input(
    pixels: Pixels,
    thin: Image,
    step: int,
    checkpoint: Checkpoint,
    *,
    scale: float | None,
    invert: bool = False,
) -> LargeInput:
    """Make an image of any size ready for a network, or raise with a sentence.

    Parameters
    ----------
    pixels
        The image.
    thin, step
        Every `step`-th of its rows and columns `(c, y, x)`.
    checkpoint, scale, invert
        As for `as_network_input`.
    """
    about = Measured.of(
        thin,
        checkpoint,
        shape=(pixels.shape[1], pixels.shape[2]),
        step=step,
        scale=scale,
        invert=invert,
    )
    return LargeInput(pixels, about)


def _ends(image: NDArray[Any]) -> np.float32:
    """Return the sum of the darkest and the brightest intensity of an image."""
    values = image.astype(np.float32)
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    ends = (known.min(), known.max()) if known.size else (0.0, 0.0)
    return np.float32(ends[0] + ends[1])


def _negative(image: NDArray[Any], ends: np.float32) -> NDArray[np.float32]:
    """Return an image bright for dark, over the same range; NaN stay NaN."""
    return np.asarray(ends - image.astype(np.float32))


def _checked_image(image: NDArray[Any], checkpoint: Checkpoint) -> NDArray[Any]:
    """Return an image as `(c, y, x)`, or raise with a sentence."""
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[None]
    sentence = channels_problem(image, checkpoint.in_channels) or kind_problem(image)
    if sentence is not None:
        raise TopiaryError(sentence)
    return image


def channels_problem(image: NDArray[Any], wanted: int) -> str | None:
    """Say why an image `(c, y, x)` has not the channels that a network takes."""
    if image.ndim != 3:
        return (
            f"The image has {image.ndim} dimensions: choose one 2-D image, or go "
            "through a stack slice by slice."
        )
    channels, kinds = image.shape[0], {1: "grey", 3: "colour"}
    if channels == wanted:
        return None
    if channels in (1, 3, 4) and wanted in kinds:
        return (
            f"The image is {'grey' if channels == 1 else 'colour'} and the network "
            f"was trained on {kinds[wanted]} images: convert the image to "
            f"{kinds[wanted]}, or train on images like this one."
        )
    if image.shape[2] in (3, 4):
        return (
            "The image has its colours in the last axis: give it as channels, height, "
            "width."
        )
    return (
        f"The image is a stack of {channels} slices, or has as many channels, and the "
        f"network takes {wanted}: predict it slice by slice."
    )


def as_channels(image: NDArray[Any], n: int) -> NDArray[Any]:
    """Make a colour image grey, or a grey one colour.

    Parameters
    ----------
    image
        `(c, y, x)`: 1 channel, or 3 (a fourth, transparency, is dropped).
    n
        Channels wanted: 1 or 3.
    """
    channels = image.shape[0]
    if channels == n:
        return image
    if n == 3 and channels == 1:
        return np.repeat(image, 3, axis=0)
    if n == 3 and channels == 4:
        return image[:3]
    if n == 1 and channels in (3, 4):
        return to_grey(image[:3])
    raise TopiaryError(
        f"An image with {channels} channels cannot be made into one with {n}: choose "
        "one channel, or combine them first."
    )
