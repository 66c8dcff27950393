"""Whether an image looks like those learned from, and a network still answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.inference.cluster import Cluster
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.network_input import LargeInput, NetworkInput
from napari_topiary.inference.tiles import infer
from napari_topiary.normalisation import Contrast
from napari_topiary.normalisation.contrast import (
    LARGEST_SIDE,
    Colours,
    Faintness,
    says_enough,
)
from napari_topiary.normalisation.sharpness import Sharpness
from napari_topiary.types import Job, Progress, run

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
DEAD = (
    "it is dead, because its training went wrong or too much of it was pruned. Go back "
    "to the network before, or train it anew."
)

TRIED_SIDE = 320
"""Side of what the network is tried on, in working pixels."""
UNLIKE = 0.25
"""Images that are more alike than this to those learned from are not tried."""
CLEARLY = 2.0
"""The negative must come so many times closer to what was learned."""
AT_LEAST = 1e-3
"""Smaller shares of foreground count as this."""


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
    if not answers_alike(answers):
        return None
    same = "The network gives the same answer everywhere, whatever is in the image"
    return f"{same}: {DEAD}"


def answers_alike(answers: NDArray[np.floating]) -> bool:
    """Whether a network's answers `(k, y, x)` are the same everywhere."""
    odds = np.log(np.clip(answers, LEAST_ODDS, None))
    apart = odds.max(axis=(1, 2)) - odds.min(axis=(1, 2))
    return float(apart.max()) <= SAME_ANSWER


def contrast_problem(
    seen: NetworkInput | LargeInput, checkpoint: Checkpoint, engine: Engine | Cluster
) -> str | None:
    """Return a sentence if the contrast is the opposite of what was learned.

    The histogram raises the suspicion; the network has a say, on a small part of the
    image and of its negative: it is the opposite if only the negative shows as much
    foreground as was learned from, and where the histogram leaves little doubt, unless
    only the image as it is does; of a small one both must say so.
    """
    learned = Contrast.from_record(checkpoint.annotations_summary.get("contrast"))
    if learned is None or seen.is_blank:
        return None
    centre = _centre(seen)
    likeness, is_small = learned.likeness(centre), says_enough(centre) < 1
    certain = learned.is_certain(likeness)
    if likeness > UNLIKE or (is_small and not certain):
        return None
    part = middle_part(seen)
    wanted = learned.foreground_share
    off = [
        abs(np.log(max(share, AT_LEAST) / max(wanted, AT_LEAST)))
        for share in (_foreground(part, engine), _foreground(-part, engine))
    ]
    clearly = 0 if is_small else -1 if certain else 1
    if off[0] - off[1] < clearly * np.log(CLEARLY):
        return None
    opposite = learned.in_words(checkpoint.task.classes[1:])
    # At another size than it was learned, much looks like its negative.
    return (
        f"The contrast of this image {opposite}, or it shows things at another size, "
        "so little or nothing of it will be found: tick Invert on the Predict page, or "
        "give --invert, or check its pixel size."
    )


def saying_likeness(
    seen: NetworkInput | LargeInput, checkpoint: Checkpoint, engine: Engine | Cluster
) -> Job[tuple[str, ...]]:
    """Say, before the network runs over all of an image, if it is of another kind.

    Parameters
    ----------
    seen, checkpoint, engine
        As for `contrast_problem`, whose sentence is returned, or another.
    """
    if seen.is_blank:
        return ()
    about, centre = checkpoint.annotations_summary, _centre(seen)
    # What is enlarged has another contrast too.
    sharpness = Sharpness.from_record(about.get("sharpness"))
    sentence = None if sharpness is None else sharpness.problem(centre)
    sentence = sentence or contrast_problem(seen, checkpoint, engine)
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
