"""Forms as values: one field = one form row = one CLI flag = one line of provenance.

`Annotated[...]` carries what magicgui needs (limits, tooltip) and what every caller is
held to; `problem()` returns a sentence for the user, or None when the form can be run.
Annotations must stay importable at run time, so this module does not defer them.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from napari_topiary.config_reading import DetectConfig as DetectConfig
from napari_topiary.limits import form_problem

Device = Literal["auto", "cuda", "mps", "cpu"]
PruneKind = Literal["weights", "filters"]
Scope = Literal["layer", "global"]
Optimizer = Literal["muon", "adamw", "adam", "sgd"]
LearningRateSchedule = Literal["cosine", "linear"]
DistanceScale = Literal["object", "image"]
Balance = Literal["classes", "natural"]

COMPRESSION_MARKS = (2, 4, 5, 8, 16, 20)
"""Compression ratios marked beside the slider."""


def share_to_ratio(share: float) -> float:
    """Compression ratio CR for a share of weights removed (0.8 -> 5)."""
    return 1.0 / (1.0 - share)


@dataclass(frozen=True)
class TrainConfig:
    """How to train; fine-tuning is the same form with a start checkpoint."""

    network: Annotated[str, {"tooltip": "The kind of network to grow."}] = "unet"
    preset: Annotated[str, {"tooltip": "Size of the network: tiny learns fastest."}] = (
        "tiny"
    )
    sizes: Annotated[
        dict[str, Any], {"tooltip": "Sizes that replace the preset's."}
    ] = field(default_factory=dict)
    minutes: Annotated[
        float | None,
        {"min": 0.01, "max": 10000.0, "tooltip": "How long to train, in minutes."},
    ] = 1.0
    epochs: Annotated[
        int | None,
        {
            "min": 1,
            "max": 1_000_000,
            "tooltip": "Passes over the data, instead of time.",
        },
    ] = None
    working_pixel_size_nm: Annotated[
        float | None,
        {
            "min": 1e-3,
            "max": 1e6,
            "tooltip": "Pixel size the network sees, in nm. Empty: the coarsest that "
            "keeps the smallest particle radius at about 6 pixels.",
        },
    ] = None
    working_factor: Annotated[
        float | None,
        {
            "min": 0.1,
            "max": 100.0,
            "tooltip": "Image pixels to one that the network sees, as a length.",
        },
    ] = None
    learning_rate: Annotated[
        float, {"min": 1e-6, "max": 1.0, "tooltip": "Step size at the start."}
    ] = 1e-2
    batch: Annotated[
        int | None,
        {
            "min": 1,
            "max": 4096,
            "tooltip": "Patches a step. Empty: 4 for particles, else 8.",
        },
    ] = None
    patch: Annotated[
        int | None, {"min": 16, "max": 2048, "tooltip": "Patch side in pixels."}
    ] = None
    optimizer: Annotated[
        Optimizer,
        {
            "tooltip": "muon learns most in a minute; adamw is more usual; sgd has a "
            "momentum of 0.9."
        },
    ] = "muon"
    schedule: Annotated[
        LearningRateSchedule,
        {"tooltip": "How the step size falls to zero."},
    ] = "cosine"
    weight_decay: Annotated[
        float, {"min": 0.0, "max": 1.0, "tooltip": "Pull of all weights towards zero."}
    ] = 1e-2
    balance: Annotated[
        Balance,
        {"tooltip": "classes: every class is shown equally often; natural: as is."},
    ] = "classes"
    training_pixels: Annotated[
        int | None,
        {
            "min": 1,
            "max": 1_000_000_000,
            "tooltip": "Learn from so many annotated pixels only (networks that "
            "classify centre pixels); larger numbers contain the smaller. Empty: all.",
        },
    ] = None
    dice_weight: Annotated[
        float, {"min": 0.0, "max": 1.0, "tooltip": "Share of Dice loss in the loss."}
    ] = 0.5
    distance: Annotated[
        DistanceScale,
        {
            "tooltip": "Networks with a distance branch: the middle of every object is "
            "1, or (as published) that of the deepest in the image."
        },
    ] = "object"
    distance_weight: Annotated[
        float,
        {
            "min": 0.0,
            "max": 100.0,
            "tooltip": "How much the distance counts beside the classes.",
        },
    ] = 1.0
    validation_share: Annotated[
        float,
        {"min": 0.05, "max": 0.5, "tooltip": "Share held out to judge quality."},
    ] = 0.2
    augment: Annotated[
        bool, {"tooltip": "Flip, rotate and change the contrast of patches."}
    ] = True
    self_teaching: Annotated[
        bool,
        {
            "tooltip": "Where few particles are marked, also learn from what looks "
            "like them in areas and images that nobody has annotated."
        },
    ] = True
    seed: Annotated[int, {"min": 0, "max": 2**31 - 1, "tooltip": "For repeats."}] = 0
    device: Annotated[Device, {"tooltip": "Where to compute."}] = "auto"

    def problem(self) -> str | None:
        """Return what stops this form from running, as a sentence."""
        if self.minutes is None and self.epochs is None:
            return "Say how long to train: minutes or epochs."
        return form_problem(self, open_fields=("device",))


@dataclass(frozen=True)
class PruneConfig:
    """What to remove and how it is chosen.

    Which criteria there are, and of which kind, the registry in `pruning` knows.
    """

    kind: Annotated[
        PruneKind,
        {"tooltip": "Filters: smaller and faster. Weights: smaller file only."},
    ] = "filters"
    criterion: Annotated[str, {"tooltip": "How the least important are chosen."}] = "l1"
    scope: Annotated[
        Scope, {"tooltip": "Rank within each layer, or over the whole network."}
    ] = "global"
    remove: Annotated[
        float,
        {"min": 0.0, "max": 0.99, "tooltip": "Share of all weights to remove."},
    ] = 0.75
    include_output: Annotated[
        bool, {"tooltip": "Prune the output layer's weights too (rarely wise)."}
    ] = False
    batches: Annotated[
        int,
        {
            "min": 1,
            "max": 1000,
            "tooltip": "Mini-batches that the loss is measured on.",
        },
    ] = 10
    at_once: Annotated[
        float | None,
        {
            "min": 0.0,
            "max": 0.5,
            "tooltip": "Criterion loss: share of the filters left that goes at each "
            "step. 0: one by one, the exact order. Empty: what some minutes allow.",
        },
    ] = None
    seed: Annotated[int, {"min": 0, "max": 2**31 - 1, "tooltip": "For repeats."}] = 0

    def problem(self) -> str | None:
        """Return what stops this form from running, as a sentence."""
        return form_problem(self, open_fields=("criterion",))


@dataclass(frozen=True)
class PredictConfig:
    """How to run a network over images."""

    tile: Annotated[
        int, {"min": 32, "max": 8192, "tooltip": "Tile side in network pixels."}
    ] = 512
    device: Annotated[Device, {"tooltip": "Where to compute."}] = "auto"
    invert: Annotated[
        bool,
        {"tooltip": "Look at the negative: bright for dark and dark for bright."},
    ] = False
    detect: DetectConfig = field(default_factory=DetectConfig)

    def problem(self) -> str | None:
        """Return what stops this form from running, as a sentence."""
        return form_problem(self, open_fields=("device",))
