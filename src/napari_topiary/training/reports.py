"""What a training shows while it runs, and what may be asked of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_topiary.evaluation.quality import Quality


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
