"""What a training shows while it runs, and what may be asked of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from napari_topiary.checkpoint import Normalisation, factor_at
from napari_topiary.data.prepared import PreparedData
from napari_topiary.evaluation.quality import Quality
from napari_topiary.inference.engine import Engine
from napari_topiary.io.excerpts import cut_window
from napari_topiary.io.image_area import image_area, known_in, thinning
from napari_topiary.io.large_images import AnyImage, LargeImage
from napari_topiary.networks.base import Network
from napari_topiary.types import Window, middle_of

LARGEST_SIDE = 768
"""Larger windows are cut around their centre: a preview must not hold training up."""


@dataclass(frozen=True)
class PreviewRequest:
    """Sent into a running training: "show me the present network here".

    Parameters
    ----------
    image
        `(c, y, x)`: the whole image, so that its brightness is validated as in a
        prediction.
    window
        Rows and columns `(top, bottom, left, right)` to show, in image pixels; None =
        all of it.
    scale
        nm per pixel of the image, None if unknown.
    key
        Handed back unchanged, so that the asker knows what was answered.
    """

    image: AnyImage
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
class BeforeTraining:
    """Something to know before the clock starts; `note` is a sentence."""

    note: str


@dataclass(frozen=True, kw_only=True)
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
        Present only when the hold-out was just validated.
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


def preview(
    network: Network,
    request: PreviewRequest,
    *,
    prepared: PreparedData,
    device: torch.device,
) -> Preview | None:
    """Run the present network on the window of a request.

    Parameters
    ----------
    network
        As it would be kept.
    request
        Image and window.
    prepared
        Knows working pixel size, channels and normalisation of the run.
    device
        Where to compute.

    Returns
    -------
    Preview or None
        None where the image does not fit the network (other channels, empty window).
    """
    if request.image.shape[0] != prepared.in_channels:
        return None
    factor = factor_at(request.scale, prepared.factor, prepared.pixel_size_nm)
    side = min(LARGEST_SIDE, network.largest_side or LARGEST_SIDE)
    top, bottom, left, right = _window(request, round(side * factor))
    if bottom <= top or right <= left:
        return None
    window = top, bottom, left, right
    image, known = _seen(request.image, window, prepared.normalisation)
    tensor = torch.from_numpy(np.ascontiguousarray(image))[None]
    size = tuple(max(1, round(n / factor)) for n in tensor.shape[2:])
    small = F.interpolate(tensor, size=size, mode="bilinear", antialias=True)
    stride = network.stride
    grow = (0, -size[1] % stride, 0, -size[0] % stride)
    padded = F.pad(small, grow, mode="replicate")[0].numpy()
    engine = Engine(network, device, backend="torch", precision="reduced")
    answer = engine(padded, slice(0, size[0]), slice(0, size[1]))
    classes = len(answer) - network.regressions
    probability = torch.from_numpy(answer[:classes])[None]
    full = F.interpolate(probability, size=tensor.shape[2:], mode="bilinear")
    shown = full[0].numpy()
    # As in a prediction: nothing is found where there is no image.
    shown *= known
    shown[0] += ~known
    return Preview(shown, (top, bottom, left, right), request.key)


def _seen(
    image: AnyImage, window: Window, normalisation: Normalisation
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return a part as it looks in the whole image, and which pixels are an image."""
    top, bottom, left, right = window
    if isinstance(image, LargeImage):
        part, excerpt = cut_window(image, window)
        return normalisation.apply(part, excerpt), excerpt.area(part)
    step = thinning((image.shape[1], image.shape[2]))
    area = image_area(image[:, ::step, ::step])
    part = image[:, top:bottom, left:right]
    known = known_in(area, part, step=step, corner=(top, left))
    return normalisation.apply(image)[:, top:bottom, left:right], known


def _window(request: PreviewRequest, largest: int) -> Window:
    """Clip the window to the image, and to `largest` pixels around its centre."""
    height, width = request.image.shape[1:]
    top, bottom, left, right = request.window or (0, height, 0, width)
    inside = max(0, top), min(height, bottom), max(0, left), min(width, right)
    return middle_of(inside, largest)
