"""The form that says how a network's answer is read: no re-run needed.

Like `config`, which offers it, this module does not defer its annotations.
"""

from dataclasses import dataclass
from typing import Annotated

from napari_topiary.limits import form_problem


@dataclass(frozen=True)
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
            "tooltip": "Smaller objects are dropped (px). 0: with a distance branch, "
            "specks below 20 px are dropped all the same.",
        },
    ] = 0
    seed_smoothing_px: Annotated[
        float,
        {
            "min": 0.0,
            "max": 20.0,
            "tooltip": "Touching objects, networks with a distance branch: how much "
            "the distance is smoothed first (px). More gives fewer pieces.",
        },
    ] = 2.0
    seed_spacing_px: Annotated[
        int,
        {
            "min": 1,
            "max": 100,
            "tooltip": "Touching objects: smallest distance of two middles (px).",
        },
    ] = 3
    seed_height: Annotated[
        float,
        {
            "min": 0.0,
            "max": 1.0,
            "tooltip": "Touching objects: how far a middle stands out from the way to "
            "the next; 1 is the depth of a whole object.",
        },
    ] = 0.1
    fill_holes: Annotated[
        bool,
        {"tooltip": "Objects of networks with a distance branch have no holes."},
    ] = True

    def problem(self) -> str | None:
        """Return what stops this form from running, as a sentence."""
        return form_problem(self)
