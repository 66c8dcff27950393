"""Whether an image suits a network, and what has to be done to make it suit.

Its channels, pixel size and contrast are compared with what was learned from, and it is
brought to the range and grid of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint, Contrast
from napari_topiary.data.working_grid import area_to_working, to_working, working_shape
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.tiles import infer
from napari_topiary.io.image_area import image_area
from napari_topiary.io.images import to_grey
from napari_topiary.io.pixel_size import pixel_size_problem
from napari_topiary.io.quality import kind_problem
from napari_topiary.networks.base import Network
from napari_topiary.types import run

SAME_PIXEL_SIZE = 0.02
"""Pixel sizes that differ by less than this share count as the same."""
COARSEST_IMAGE = 10.0
"""An image may be this many times coarser than what the network sees."""
BLANK = (
    "There is nothing to see on this image (every pixel is the same, or is not a "
    "number): the result is empty."
)


@dataclass(frozen=True, eq=False)
class Seen:
    """An image as a network sees it.

    Parameters
    ----------
    image
        `(c, h, w)` float32 on the working grid, normalised.
    area
        `(h, w)` bool: what carries an image; elsewhere results are empty.
    shape
        `(y, x)` of the image in its own pixels.
    factor
        Pixels of the image per working pixel.
    notes
        Sentences for the user.
    """

    image: NDArray[np.float32]
    area: NDArray[np.bool_]
    shape: tuple[int, int]
    factor: float
    notes: tuple[str, ...] = ()

    @property
    def is_blank(self) -> bool:
        """Whether nothing is to be seen."""
        return not self.area.any()


def as_seen(
    image: NDArray[Any],
    checkpoint: Checkpoint,
    *,
    scale: float | None,
    invert: bool = False,
) -> Seen:
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
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[None]
    problem = "" if scale is None else pixel_size_problem(scale)
    if problem:
        raise TopiaryError(problem)
    factor, notes = working_factor_for(checkpoint, scale)
    is_image = kind_problem(image) is None
    area = image_area(image) if is_image else np.ones((1, 1), dtype=bool)
    if not area.any():
        # A white colour picture is read as grey: that it is blank is what matters.
        size = working_shape((image.shape[1], image.shape[2]), factor)
        empty = np.zeros((checkpoint.in_channels, *size), np.float32)
        nothing = np.zeros(size, dtype=bool)
        return Seen(empty, nothing, image.shape[1:], factor, (BLANK,))
    image = checked_image(image, checkpoint)
    normalised = checkpoint.normalisation.apply(inverted(image) if invert else image)
    if not area.all():
        notes = [
            *notes,
            f"{1 - area.mean():.0%} of this image carry no image (a margin, a bar or "
            "pixels that are not numbers): there the result is empty.",
        ]
    working = to_working(normalised, factor)
    return Seen(
        working,
        area_to_working(area, (working.shape[1], working.shape[2])),
        (image.shape[1], image.shape[2]),
        factor,
        tuple(notes),
    )


def inverted(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return the negative of an image: bright for dark, over the same range.

    Parameters
    ----------
    image
        `(c, y, x)`; pixels that are not numbers stay so.
    """
    values = image.astype(np.float32)
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    ends = (known.min(), known.max()) if known.size else (0.0, 0.0)
    return np.asarray(np.float32(ends[0] + ends[1]) - values)


def checked_image(image: NDArray[Any], checkpoint: Checkpoint) -> NDArray[Any]:
    """Return the image as `(c, y, x)`, or raise with a sentence.

    Parameters
    ----------
    image
        `(c, y, x)` or, if grey, `(y, x)`.
    checkpoint
        Knows how many channels the network takes.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[None]
    sentence = channels_problem(image, checkpoint.in_channels) or kind_problem(image)
    if sentence is not None:
        raise TopiaryError(sentence)
    return image


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


def as_channels(image: NDArray[Any], n: int) -> NDArray[Any]:
    """Make a colour image grey, or a grey one colour.

    Parameters
    ----------
    image
        `(c, y, x)`: 1 channel, or 3 (a fourth, transparency, is dropped).
    n
        Channels wanted: 1 or 3.

    Returns
    -------
    ndarray
        `(n, y, x)`, same dtype.
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


def channels_problem(image: NDArray[Any], wanted: int) -> str | None:
    """Return why an image has not the channels that a network takes, as a sentence.

    Parameters
    ----------
    image
        `(c, y, x)`.
    wanted
        Channels: 1 grey, 3 colour.
    """
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


LOOK = 320
"""Side of what the network is tried on, in working pixels."""
UNLIKE = 0.25
"""Images that are more alike than this to those learned from are not tried."""
CLEARLY = 2.0
"""The negative must come so many times closer to what was learned."""
AT_LEAST = 1e-3
"""Smaller shares of foreground count as this."""


def contrast_problem(
    seen: Seen,
    checkpoint: Checkpoint,
    network: Network | Engine,
    *,
    device: str = "auto",
) -> str | None:
    """Return a sentence if the contrast is the opposite of what was learned.

    The histogram raises the suspicion; the network decides, on a small part of the
    image and of its negative: it is the opposite if only the negative shows as much
    foreground as was learned from.

    Parameters
    ----------
    seen
        The image as the network sees it.
    checkpoint, network
        What learned.
    device
        Where to compute.
    """
    learned = Contrast.from_record(checkpoint.annotations_summary.get("contrast"))
    if learned is None or seen.is_blank or learned.likeness(seen.image) > UNLIKE:
        return None
    part = _middle(seen)
    wanted = learned.foreground_share
    off = [
        abs(np.log(max(share, AT_LEAST) / max(wanted, AT_LEAST)))
        for share in (
            _foreground(part, network, device),
            _foreground(-part, network, device),
        )
    ]
    if off[0] < off[1] + np.log(CLEARLY):
        return None
    look = "brighter" if learned.foreground > 0 else "darker"
    found = ", ".join(checkpoint.task.classes[1:])
    return (
        "The contrast of this image is the opposite of what the network learned "
        f"(there, {found} is {look} than the background), so little or nothing of it "
        "will be found: tick Invert on the Predict page, or give --invert."
    )


def _foreground(
    part: NDArray[np.float32], network: Network | Engine, device: str
) -> float:
    """Share of a part that the network does not call background."""
    found = run(infer(network, np.ascontiguousarray(part), device=device))
    return float((found.probability.argmax(axis=0) > 0).mean())


def _middle(seen: Seen) -> NDArray[np.float32]:
    """Cut a part from the middle of what carries an image."""
    centre = np.argwhere(seen.area).mean(axis=0)
    first = [
        int(np.clip(at - LOOK / 2, 0, max(0, n - LOOK)))
        for at, n in zip(centre, seen.area.shape, strict=True)
    ]
    return seen.image[:, first[0] : first[0] + LOOK, first[1] : first[1] + LOOK]
