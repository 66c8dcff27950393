"""Whether an image suits a network: channels, pixel size, contrast, colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.cluster import Cluster
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.tiles import infer
from napari_topiary.io.dataset import Sample
from napari_topiary.io.description import listed
from napari_topiary.io.image_area import kind_problem
from napari_topiary.io.images import to_grey
from napari_topiary.normalisation import Contrast
from napari_topiary.normalisation.contrast import LARGEST_SIDE, Colours, Faintness
from napari_topiary.types import Job, Progress, run

if TYPE_CHECKING:
    from napari_topiary.inference.network_input import LargeInput, NetworkInput

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

TRIED_SIDE = 320
"""Side of what the network is tried on, in working pixels."""
UNLIKE = 0.25
"""Images that are more alike than this to those learned from are not tried."""
CLEARLY = 2.0
"""The negative must come so many times closer to what was learned."""
AT_LEAST = 1e-3
"""Smaller shares of foreground count as this."""


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


def contrast_problem(
    seen: NetworkInput | LargeInput, checkpoint: Checkpoint, engine: Engine | Cluster
) -> str | None:
    """Return a sentence if the contrast is the opposite of what was learned.

    The histogram raises the suspicion; the network has a say, on a small part of the
    image and of its negative: it is the opposite if only the negative shows as much
    foreground as was learned from, and where the histogram leaves little doubt, unless
    only the image as it is does.
    """
    learned = Contrast.from_record(checkpoint.annotations_summary.get("contrast"))
    if learned is None or seen.is_blank:
        return None
    likeness = learned.likeness(_centre(seen))
    if likeness > UNLIKE:
        return None
    certain = learned.is_certain(likeness)
    part = middle_part(seen)
    wanted = learned.foreground_share
    off = [
        abs(np.log(max(share, AT_LEAST) / max(wanted, AT_LEAST)))
        for share in (_foreground(part, engine), _foreground(-part, engine))
    ]
    if off[0] - off[1] < (-1 if certain else 1) * np.log(CLEARLY):
        return None
    opposite = learned.in_words(checkpoint.task.classes[1:])
    return (
        f"The contrast of this image {opposite}, so little or nothing of it will be "
        "found: tick Invert on the Predict page, or give --invert."
    )


def saying_likeness(
    seen: NetworkInput | LargeInput, checkpoint: Checkpoint, engine: Engine | Cluster
) -> Job[tuple[str, ...]]:
    """Say, before the network runs over all of an image, if it is of another kind.

    Parameters
    ----------
    seen, checkpoint, engine
        As for `contrast_problem`, whose sentence is returned, or one about colours.
    """
    if seen.is_blank:
        return ()
    about, centre = checkpoint.annotations_summary, _centre(seen)
    sentence = contrast_problem(seen, checkpoint, engine)
    for learned in (
        Colours.from_record(about.get("colours")),
        Faintness.from_record(about.get("faintest")),
    ):
        if sentence is None and learned is not None:
            sentence = learned.problem(centre)
    if sentence is None:
        return ()
    yield Progress(0, 0, "Predicting", report=sentence)
    return (sentence,)


def _foreground(part: NDArray[np.float32], engine: Engine | Cluster) -> float:
    """Share of a part that the network does not call background."""
    found = run(infer(engine, np.ascontiguousarray(part)))
    return float((found.probability.argmax(axis=0) > 0).mean())


def _centre(seen: NetworkInput | LargeInput) -> NDArray[np.float32]:
    """Cut what the contrast is told by."""
    top, left = (max(0, (n - LARGEST_SIDE) // 2) for n in seen.grid)
    height, width = (min(n, LARGEST_SIDE) for n in seen.grid)
    return seen.at((top, top + height, left, left + width))


def middle_part(seen: NetworkInput | LargeInput) -> NDArray[np.float32]:
    """Cut a part from the middle of what carries an image."""
    top, left = (
        int(np.clip(at - TRIED_SIDE / 2, 0, max(0, n - TRIED_SIDE)))
        for at, n in zip(seen.middle, seen.grid, strict=True)
    )
    height, width = (min(n, TRIED_SIDE) for n in seen.grid)
    return seen.at((top, top + height, left, left + width))
