"""What a training shows while it runs, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PreviewRequest:
    """Sent into a running training: "show me the present network here".

    Parameters
    ----------
    image
        `(c, y, x)`: the whole image, so that its brightness is judged as in a
        prediction.
    window
        Rows and columns `(top, bottom, left, right)` to show, in image pixels; None =
        all of it.
    scale
        nm per pixel of the image, None if unknown.
    key
        Handed back unchanged, so that the asker knows what was answered.
    """

    image: NDArray[np.generic]
    window: tuple[int, int, int, int] | None = None
    scale: float | None = None
    key: object = None


@dataclass(frozen=True)
class Preview:
    """The answer to a `PreviewRequest`.

    Parameters
    ----------
    probability
        `(k, y, x)` float32, one value per *image pixel* of the window.
    window
        `(top, bottom, left, right)` in image pixels.
    key
        The request's key.
    """

    probability: NDArray[np.float32]
    window: tuple[int, int, int, int]
    key: object = None


@dataclass(frozen=True)
class Quality:
    """How good a network is on areas it has not learned from.

    Parameters
    ----------
    value
        The figure that decides which weights are best, 0..1.
    name
        "F1" (particles), "Dice" (pixels), "PQ" (objects) or "agreement" where nothing
        is held out.
    loss
        Mean loss on the same areas.
    thresholds
        Best probability threshold per class name, and for all under "common".
    per_class
        `value` for each class.
    at_common
        The same figure at a threshold of 0.5, which is the same for all networks: a
        shifted calibration shows here first.
    beside
        Other figures of the same weights, by name.
    """

    value: float
    name: str
    loss: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    per_class: Mapping[str, float] = field(default_factory=dict)
    at_common: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether there was anything to judge, and an answer that can be judged."""
        return self.name not in ("none", "not a number")


@dataclass(frozen=True)
class TrainReport:
    """State of a running training.

    Parameters
    ----------
    step
        Optimizer steps so far.
    seconds
        Time used so far.
    loss
        Running mean of the training loss.
    quality
        Present only when the hold-out was just judged.
    best
        Best `Quality.value` so far.
    preview
        Present only in answer to a `PreviewRequest`.
    note
        A sentence for the user (out of memory, what was held out); empty mostly.
    """

    step: int
    seconds: float
    loss: float
    quality: Quality | None = None
    best: float | None = None
    preview: Preview | None = None
    note: str = ""
