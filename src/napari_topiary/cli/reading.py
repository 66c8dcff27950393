"""Options about how a network is run, and how objects are read from what it says."""

from __future__ import annotations

import argparse

from napari_topiary.config import DetectConfig, PredictConfig

DEFAULTS = DetectConfig()


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add what the verbs that predict have in common."""
    group = parser.add_argument_group(
        "touching objects, of networks with a distance branch"
    )
    group.add_argument(
        "--seed-smoothing",
        metavar="PIXELS",
        type=float,
        default=DEFAULTS.seed_smoothing_px,
        help="sigma that smooths the distance first (default: %(default)g)",
    )
    group.add_argument(
        "--seed-spacing",
        metavar="PIXELS",
        type=int,
        default=DEFAULTS.seed_spacing_px,
        help="smallest distance of two middles (default: %(default)d)",
    )
    group.add_argument(
        "--seed-height",
        metavar="H",
        type=float,
        default=DEFAULTS.seed_height,
        help="how far a middle stands out, 0 to 1 (default: %(default)g)",
    )
    group.add_argument(
        "--keep-holes", action="store_true", help="do not fill holes in objects"
    )
    parser.add_argument(
        "--min-size",
        metavar="PIXELS",
        type=int,
        default=DEFAULTS.min_size_px,
        help="drop smaller labelled areas",
    )


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add what runs the network."""
    parser.add_argument(
        "--backend",
        metavar="B",
        default=PredictConfig().backend,
        help="what does the arithmetic: torch, openvino or onnxruntime (default: auto, "
        "the fastest that is installed and gives the same labels)",
    )


def reading_config(
    options: argparse.Namespace,
    *,
    threshold: float | None = None,
    spacing: float = DEFAULTS.spacing,
) -> DetectConfig:
    """Return how answers are read.

    Parameters
    ----------
    options
        With what `add_reading` has added.
    threshold
        Lowest probability that counts; None = the checkpoint's own.
    spacing
        Smallest distance of two particles, in radii.
    """
    return DetectConfig(
        threshold=threshold,
        spacing=spacing,
        min_size_px=options.min_size,
        seed_smoothing_px=options.seed_smoothing,
        seed_spacing_px=options.seed_spacing,
        seed_height=options.seed_height,
        fill_holes=not options.keep_holes,
    )
