"""Whether an image is like those that a network learned from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint, Contrast
from napari_topiary.checkpoint.colours import Colours
from napari_topiary.checkpoint.contrast import LARGEST_SIDE
from napari_topiary.inference.cluster import Cluster
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.network_input import LargeInput, NetworkInput
from napari_topiary.inference.tiles import infer
from napari_topiary.types import Job, Progress, run

TRIED_SIDE = 320
"""Side of what the network is tried on, in working pixels."""
UNLIKE = 0.25
"""Images that are more alike than this to those learned from are not tried."""
CLEARLY = 2.0
"""The negative must come so many times closer to what was learned."""
OPPOSITE, EVIDENCE = -0.35, 3.0
"""Images that are less alike, and by so much evidence, are the opposite already by
their histogram: a network finds as much in a negative, in other places."""
AT_LEAST = 1e-3
"""Smaller shares of foreground count as this."""


def contrast_problem(
    seen: NetworkInput | LargeInput,
    checkpoint: Checkpoint,
    engine: Engine | Cluster,
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
    certain = likeness < OPPOSITE and likeness * learned.strength < -EVIDENCE
    part = middle_of(seen)
    wanted = learned.foreground_share
    off = [
        abs(np.log(max(share, AT_LEAST) / max(wanted, AT_LEAST)))
        for share in (
            _foreground(part, engine),
            _foreground(-part, engine),
        )
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
    learned = Colours.from_record(checkpoint.annotations_summary.get("colours"))
    sentence = contrast_problem(seen, checkpoint, engine)
    if sentence is None and learned is not None and not seen.is_blank:
        sentence = learned.problem(_centre(seen))
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


def middle_of(seen: NetworkInput | LargeInput) -> NDArray[np.float32]:
    """Cut a part from the middle of what carries an image."""
    top, left = (
        int(np.clip(at - TRIED_SIDE / 2, 0, max(0, n - TRIED_SIDE)))
        for at, n in zip(seen.middle, seen.grid, strict=True)
    )
    height, width = (min(n, TRIED_SIDE) for n in seen.grid)
    return seen.at((top, top + height, left, left + width))
