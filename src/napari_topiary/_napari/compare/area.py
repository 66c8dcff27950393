"""Comparing only what is visible: nothing outside counts; no Qt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary._napari.canvas.visible import Window
from napari_topiary.data.working_grid import window_to_working
from napari_topiary.evaluation.ground_truth import Truth
from napari_topiary.types import Prediction


def truth_within(truth: Truth, window: Window) -> Truth:
    """The truth of a window; outside nothing is known.

    Parameters
    ----------
    truth
        Of the whole image.
    window
        In image pixels.
    """
    inside = _mask(window, truth.classes.shape)
    objects = truth.objects
    return replace(
        truth,
        classes=np.where(inside, truth.classes, -1).astype(truth.classes.dtype),
        objects=None if objects is None else np.where(inside, objects, -1),
        area=inside if truth.area is None else inside & truth.area,
    )


def said_within(prediction: Prediction, window: Window) -> Prediction:
    """What was said about a window, as if the network had looked at nothing else.

    Parameters
    ----------
    prediction
        Of the image, or more than the window of it.
    window
        In image pixels.
    """
    grid = prediction.probability.shape[1:]
    inside = _mask(window_to_working(window, prediction.shape, grid), grid)
    done = prediction.done
    return replace(prediction, done=inside if done is None else inside & done)


def _mask(window: Window, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    top, bottom, left, right = window
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask
