"""Forms as values: one field = one form row = one CLI flag = one line of provenance.

`Annotated[...]` carries what magicgui needs (limits, tooltip) and what every caller is
held to; `problem()` returns a sentence for the user, or None when the form can be run.
Annotations must stay importable at run time, so this module does not defer them.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from napari_topiary.forms import Option, form_problem

Device = Literal["auto", "cuda", "mps", "cpu"]
PruneKind = Literal["weights", "filters"]
Scope = Literal["layer", "global"]
Optimizer = Literal["muon", "adamw", "adam", "sgd"]
LearningRateSchedule = Literal["cosine", "linear"]
DistanceScale = Literal["object", "image"]
Balance = Literal["classes", "natural"]

HOLES = "Holes of up to so many pixels inside one object or area are filled."
"""What the largest hole means, wherever it is chosen."""
LAST_SEED = 2**31 - 1
"""Seeds of all libraries go so far."""
COMPRESSION_MARKS = (2, 4, 5, 8, 16, 20)
"""Compression ratios marked beside the slider."""


def share_to_ratio(share: float) -> float:
    """Compression ratio CR for a share of weights removed (0.8 -> 5)."""
    return 1.0 / (1.0 - share)


SELF_TAUGHT = ("detect", "segment")
"""Kinds of tasks in which a network also learns from what looks like few marks."""


@dataclass(frozen=True, kw_only=True)
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
        Option(metavar="M"),
    ] = 1.0
    epochs: Annotated[
        int | None,
        {
            "min": 1,
            "max": 1_000_000,
            "tooltip": "Passes over the data, instead of time.",
        },
        Option(metavar="N"),
    ] = None
    working_pixel_size_nm: Annotated[
        float | None,
        {
            "min": 1e-3,
            "max": 1e6,
            "tooltip": "Pixel size the network sees, in nm. Empty: the coarsest that "
            "keeps the smallest particle radius at about 6 pixels.",
        },
        Option("--working-pixel-size", "NM"),
    ] = None
    working_factor: Annotated[
        float | None,
        {
            "min": 0.1,
            "max": 100.0,
            "tooltip": "Image pixels to one that the network sees, as a length.",
        },
        Option(metavar="F"),
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
        LearningRateSchedule, {"tooltip": "How the step size falls to zero."}
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
        float, {"min": 0.05, "max": 0.5, "tooltip": "Share held out to judge quality."}
    ] = 0.2
    augment: Annotated[
        bool,
        {"tooltip": "Flip, rotate and change the contrast of patches."},
        Option(words="do not flip, rotate or change the contrast of patches"),
    ] = True
    self_teaching: Annotated[
        bool,
        {
            "tooltip": "Where few particles are marked, or little is painted, also "
            "learn from what looks like it in areas and images that nobody has "
            "annotated."
        },
        Option(
            "--marks-only",
            words="where few particles are marked, or little is painted, do not also "
            "learn from look-alikes in areas and images that are not annotated",
        ),
    ] = True
    around_marks: Annotated[
        bool,
        {
            "tooltip": "Where all marks of an image lie in one part of it and no area "
            "is finished, only what is around them is known."
        },
    ] = False
    seed: Annotated[int, {"min": 0, "max": LAST_SEED, "tooltip": "For repeats."}] = 0
    device: Annotated[Device, {"tooltip": "Where to compute."}] = "auto"

    def problem(self) -> str | None:
        """Return what stops this form from running, as a sentence."""
        if self.minutes is None and self.epochs is None:
            return "Say how long to train: minutes or epochs."
        return form_problem(self, open_fields=("device",))


@dataclass(frozen=True, kw_only=True)
class PruneConfig:
    """What to remove and how it is chosen.

    Which criteria there are, and of which kind, the registry in `pruning` knows.
    """

    kind: Annotated[
        PruneKind,
        {"tooltip": "Filters: smaller and faster. Weights: smaller file only."},
    ] = "filters"
    criterion: Annotated[
        str,
        {"tooltip": "How the least important are chosen."},
        Option(
            words="magnitude (weights), l1 or loss (filters; loss tries them out one "
            "by one on --data), or one that was added; the default by kind"
        ),
    ] = "l1"
    scope: Annotated[
        Scope, {"tooltip": "Rank within each layer, or over the whole network."}
    ] = "global"
    remove: Annotated[
        float,
        {"min": 0.0, "max": 0.99, "tooltip": "Share of all weights to remove."},
        Option(
            metavar="SHARE",
            words="share of all weights to remove: 0.8 leaves a fifth (CR 5)",
        ),
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
        Option(metavar="N", words="mini-batches that criterion loss is measured on"),
    ] = 10
    at_once: Annotated[
        float | None,
        {
            "min": 0.0,
            "max": 0.5,
            "tooltip": "Criterion loss: share of the filters left that goes at each "
            "step. 0: one by one, the exact order. Empty: what some minutes allow.",
        },
        Option(metavar="SHARE"),
    ] = None
    seed: Annotated[int, {"min": 0, "max": LAST_SEED, "tooltip": "For repeats."}] = 0

    def problem(self) -> str | None:
        """Return what stops this form from running, as a sentence."""
        return form_problem(self, open_fields=("criterion",))


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """How probability becomes particles, lines and objects (no re-run needed)."""

    threshold: Annotated[
        float | None,
        {
            "min": 0.0,
            "max": 1.0,
            "tooltip": "Lowest probability that counts. Empty: the best on hold-out.",
        },
    ] = None
    spacing: Annotated[
        float,
        {
            "min": 0.1,
            "max": 4.0,
            "tooltip": "Smallest distance of two particles, in particle radii.",
        },
    ] = 1.0
    min_size_px: Annotated[
        int,
        {
            "min": 0,
            "max": 100000,
            "tooltip": "What is smaller is dropped (px). 0: of objects, what is "
            "smaller than nearly all that were learned from; 1: nothing.",
        },
        Option("--min-size", "PIXELS"),
    ] = 0
    largest_hole_px: Annotated[
        int,
        {
            "min": 0,
            "max": 100000,
            "tooltip": HOLES,
        },
        Option("--fill-holes", "PIXELS"),
    ] = 0
    seed_smoothing_px: Annotated[
        float,
        {
            "min": 0.0,
            "max": 20.0,
            "tooltip": "Touching objects, networks with a distance branch: how much "
            "the distance is smoothed first (px). More gives fewer pieces.",
        },
        Option("--seed-smoothing", "PIXELS"),
    ] = 2.0
    seed_spacing_px: Annotated[
        int,
        {
            "min": 1,
            "max": 100,
            "tooltip": "Touching objects: smallest distance of two middles (px).",
        },
        Option("--seed-spacing", "PIXELS"),
    ] = 3
    seed_height: Annotated[
        float,
        {
            "min": 0.0,
            "max": 1.0,
            "tooltip": "Touching objects: how far a middle stands out from the way to "
            "the next; 1 is the depth of a whole object.",
        },
        Option(metavar="H"),
    ] = 0.1
    fill_holes: Annotated[
        bool,
        {"tooltip": "Objects of networks with a distance branch have no holes."},
        Option("--keep-holes", words="do not fill holes in objects"),
    ] = True

    def problem(self) -> str | None:
        """Return what stops this form from running, as a sentence."""
        return form_problem(self)


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """How to run a network over images."""

    tile: Annotated[
        int | None,
        {
            "min": 32,
            "max": 8192,
            "tooltip": "Tile side in network pixels. Empty: as suits the network and "
            "the free memory.",
        },
        Option(metavar="N"),
    ] = None
    device: Annotated[Device, {"tooltip": "Where to compute."}] = "auto"
    backend: Annotated[
        str,
        {
            "tooltip": "What does the arithmetic: torch, openvino or onnxruntime. "
            "auto: the fastest that is installed and gives the same labels."
        },
        Option(metavar="B"),
    ] = "auto"
    scheduler: Annotated[
        str,
        {
            "label": "Workers of",
            "tooltip": "Address of a dask scheduler whose workers compute, such as "
            "tcp://node1:8786. Empty: this computer.",
        },
        Option(
            metavar="ADDRESS",
            words="let the workers of a dask scheduler compute, such as "
            "tcp://node1:8786; they need neither the images nor a disk in common",
        ),
    ] = ""
    workers: Annotated[
        int,
        {
            "min": 1,
            "max": 1000,
            "tooltip": "Processes of this computer that compute. One uses all cores; "
            "several pay from about eight cores on.",
        },
        Option(metavar="N"),
    ] = 1
    invert: Annotated[
        bool,
        {"tooltip": "Look at the negative: bright for dark and dark for bright."},
        Option(
            words="look at the negative, where images have the opposite contrast of "
            "those that were learned from"
        ),
    ] = False
    detect: DetectConfig = field(default_factory=DetectConfig)

    def problem(self) -> str | None:
        """Return what stops this form from running, as a sentence."""
        return form_problem(self, open_fields=("device", "backend", "scheduler"))
