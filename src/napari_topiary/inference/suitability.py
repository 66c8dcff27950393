"""Whether an image suits a network: its channels and its pixel size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.io.image_area import kind_problem
from napari_topiary.io.images import to_grey

SAME_PIXEL_SIZE = 0.02
"""Pixel sizes that differ by less than this share count as the same."""
COARSEST_IMAGE = 10.0
"""An image may be this many times coarser than what the network sees."""

LOOKED_AT = 512
"""About so many rows and columns of an answer say whether a network lives."""
FEWEST_ANSWERS = 256
"""Fewer pixels than this say nothing about that."""
BLANK = 0.05
"""Images with less contrast than this, in deviations, may well look the same."""
SAME_ANSWER = 0.02
"""Answers within this share of each other are the same."""
LEAST_ODDS = 1e-30
NO_NUMBERS = (
    "The network answers with what is no number: its training went wrong. Train it "
    "anew, with a learning rate ten times lower."
)


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


def dead_problem(
    probability: NDArray[np.floating], image: NDArray[np.floating], rim: int
) -> str | None:
    """Return a sentence if a network answers the same to whatever it is shown.

    Parameters
    ----------
    probability
        `(k, y, x)` that it has given.
    image
        `(c, y, x)` of the same size, normalised: what it was shown.
    rim
        So far from the edge even a dead network says something else, in pixels.
    """
    height, width = probability.shape[1:]
    rim = min(rim, (min(height, width) - 1) // 3)
    step = max(1, min(height, width) // LOOKED_AT)
    inner = np.s_[:, rim : height - rim : step, rim : width - rim : step]
    answers, shown = probability[inner], image[inner]
    if not np.isfinite(answers).all():
        return NO_NUMBERS
    if answers[0].size < FEWEST_ANSWERS or shown.std() < BLANK:
        return None
    odds = np.log(np.clip(answers, LEAST_ODDS, None))
    if float((odds.max(axis=(1, 2)) - odds.min(axis=(1, 2))).max()) > SAME_ANSWER:
        return None
    return (
        "The network gives the same answer everywhere, whatever is in the image: it is "
        "dead, because its training went wrong or too much of it was pruned. Go back "
        "to the network before, or train it anew."
    )


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
