"""The growing checkpoint of a running training, and what it shows meanwhile."""

from __future__ import annotations

import datetime
import math
import platform
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint, factor_at
from napari_topiary.config import TrainConfig
from napari_topiary.data.prepared import PreparedData
from napari_topiary.evaluation.quality import Quality
from napari_topiary.inference.engine import Engine
from napari_topiary.io.excerpts import cut_window
from napari_topiary.io.image_area import image_area, known_in, thinning
from napari_topiary.io.large_images import AnyImage, LargeImage
from napari_topiary.networks import count_parameters
from napari_topiary.networks.base import Network
from napari_topiary.networks.pruning_schedule import PrunedShape
from napari_topiary.normalisation import Normalisation
from napari_topiary.registry import program_version
from napari_topiary.types import Window, middle_of

LARGEST_SIDE = 768
"""Larger windows are cut around their centre: a preview must not hold training up."""


@dataclass(frozen=True)
class PreviewRequest:
    """Sent into a running training: "show me the present network here"."""

    #: `(c, y, x)`: the whole image, so that its brightness is validated as in a
    #: prediction
    image: AnyImage
    #: Rows and columns `(top, bottom, left, right)` to show, in image pixels; None =
    #: all of it
    window: tuple[int, int, int, int] | None = None
    scale: float | None = None  #: nm per pixel of the image, None if unknown
    #: Handed back unchanged, so that the asker knows what was answered
    key: object = None


@dataclass(frozen=True)
class Preview:
    """The answer to a `PreviewRequest`."""

    #: `(k, y, x)` float32, one value per *image pixel* of the window
    probability: NDArray[np.float32]
    window: tuple[int, int, int, int]  #: `(top, bottom, left, right)` in image pixels
    key: object = None


@dataclass(frozen=True)
class BeforeTraining:
    """Something to know before the clock starts; `note` is a sentence."""

    note: str


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """State of a running training."""

    step: int  #: Optimizer steps so far
    seconds: float  #: Time used so far
    loss: float  #: Running mean of the training loss
    quality: Quality | None = None  #: Present only when the hold-out was just validated
    best: float | None = None  #: Best `Quality.value` so far
    preview: Preview | None = None  #: Present only in answer to a `PreviewRequest`
    #: A sentence for the user (out of memory, what was held out); empty mostly
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


CURVE_POINTS = 400
NOISE = 0.003


@dataclass(frozen=True)
class KeptWeights:
    """Weights of one moment of a run, on the CPU, and the form they have."""

    state: dict[str, torch.Tensor]
    shape: PrunedShape

    @classmethod
    def of(cls, network: Network, shape: PrunedShape) -> KeptWeights:
        """Copy the weights of a network."""
        state = {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in network.state_dict().items()
        }
        return cls(state, shape)


@dataclass(kw_only=True)
class TrainingRecord:
    """Remembers the best weights of a run and writes them up as a checkpoint."""

    #: `config`, `prepared`: what the run was given
    config: TrainConfig
    prepared: PreparedData
    sizes: dict[str, Any]  #: Sizes of the unpruned network
    start: Checkpoint | None  #: The checkpoint that fine-tuning started from, if any
    best: Quality | None = None
    step: int = 0
    seconds: float = 0.0
    validation_s: float = 0.0
    device: str = "cpu"
    complete: bool = False
    validated_at: float = -math.inf
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    losses: list[tuple[float, float]] = field(default_factory=list)
    qualities: list[tuple[float, float]] = field(default_factory=list)
    _best: KeptWeights | None = None
    _running: KeptWeights | None = None
    _highest: float = 0.0

    def consider(self, quality: Quality, network: Network, shape: PrunedShape) -> bool:
        """Keep the weights if they are the best so far; say whether they are.

        A small hold-out cannot tell qualities closer than `NOISE` apart, and of two
        equally good networks the later one, at the lower learning rate, is the better
        on other images. With nothing held out, or only a handful of things, the newest
        weights count as the best, and so they do for particles where no more is held
        out than the figure needs. (One painted corner is soon learned by heart: there
        the hold-out says when.)
        """
        if quality.name == "not a number":
            return False
        self._running = None
        self.qualities.append((self.seconds, quality.value))
        self._highest = max(self._highest, quality.value)
        particles = self.prepared.task.kind == "detect" and self.prepared.figure_only
        if self.prepared.few or particles or quality.value >= self._highest - NOISE:
            self.best = quality
            self.keep(network, shape)
            return True
        return False

    def keep(self, network: Network, shape: PrunedShape) -> None:
        """Remember the present weights as the best."""
        self._best = KeptWeights.of(network, shape)

    def keep_running(self, network: Network, shape: PrunedShape) -> None:
        """Remember the present weights beside the best: not validated yet."""
        self._running = KeptWeights.of(network, shape)

    def forget(self) -> None:
        """Drop the best: the network has changed its form since."""
        self.best, self._best, self._highest = None, None, 0.0

    @property
    def has_weights(self) -> bool:
        """Whether anything worth returning exists."""
        return self._best is not None or self._running is not None

    def checkpoint(self, *, newest: bool = False) -> Checkpoint:
        """Write the best weights up as a checkpoint.

        Parameters
        ----------
        newest
            Rather those that nobody has validated yet, if there are any: after minutes
            without validating they know more than the best of long ago.
        """
        kept = self._best or self._running
        if newest:
            kept = self._running or kept
        if kept is None:
            raise RuntimeError("No weights were kept before asking for a checkpoint.")
        best, prepared, shape = self.best, self.prepared, kept.shape
        validated = kept is self._best
        metrics: dict[str, Any] = {
            "loss_curve": _thinned(self.losses),
            "quality_curve": _thinned(self.qualities),
        }
        if validated and best is not None and best.name != "none":
            metrics |= best.metrics(prepared.held_names)
        made = Checkpoint(
            network=self.config.network if self.start is None else self.start.network,
            sizes=self.sizes,
            in_channels=prepared.in_channels,
            task=prepared.task,
            state=kept.state,
            widths=dict(shape.widths),
            masks=dict(shape.masks),
            normalisation=prepared.normalisation,
            pixel_size_nm=prepared.pixel_size_nm,
            working_factor=prepared.factor,
            unpruned_parameters=0,
            pruning=shape.pruning,
            thresholds=self._thresholds(),
            metrics=metrics,
            annotations_summary=dict(prepared.summary),
            provenance=self._provenance(),
        )
        whole = (
            self.start.unpruned_parameters
            if self.start is not None
            else count_parameters(made.build())
        )
        return replace(made, unpruned_parameters=whole)

    def _thresholds(self) -> dict[str, float]:
        """The best ones; the usual ones where a handful of things would choose them.

        Those of particles look at what is learned from as well.
        """
        if self.best is None or self.prepared.usual_thresholds:
            return {}
        return dict(self.best.thresholds)

    def _provenance(self) -> dict[str, Any]:
        start = self.start
        return {
            "created": datetime.datetime.now(datetime.UTC).isoformat(),
            "seed": self.config.seed,
            "steps": self.step,
            "seconds": round(self.seconds, 2),
            "minutes_asked": self.config.minutes,
            "epochs_asked": self.config.epochs,
            "learning_rate": self.config.learning_rate,
            "settings": asdict(self.config),
            "device": self.device,
            "config": asdict(self.config),
            "preset": self.config.preset if start is None else None,
            "parent": None if start is None else start.hash,
            "notes": list(self.notes),
            "problems": list(self.problems),
            "complete": self.complete,
            "versions": {
                "napari-topiary": program_version(),
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }


def _thinned(curve: list[tuple[float, float]]) -> list[list[float]]:
    """At most `CURVE_POINTS` points of a curve, evenly picked, last one included."""
    stride = max(1, -(-len(curve) // CURVE_POINTS))
    picked = curve[::-1][::stride][::-1]
    return [[round(t, 2), round(v, 5)] for t, v in picked]
