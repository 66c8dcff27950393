"""How good a network is: what every validation returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_topiary.types import Progress

VALIDATING = Progress(0, 0, "Validating")
"""Said between areas, so that whoever drives the job can breathe; it counts nothing."""
SURE = 1.96
"""Standard deviations to each side: the true figure lies in 19 of 20 such intervals."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How good a network is on areas it has not learned from."""

    value: float  #: The figure that decides which weights are best, 0..1
    #: "F1" (particles), "Dice" (pixels), "PQ" (objects) or "agreement" where nothing is
    #: held out
    name: str
    loss: float  #: Mean loss on the same areas
    #: Best probability threshold per class name, and for all under "common"
    thresholds: Mapping[str, float] = field(default_factory=dict)
    #: `value` for each class
    per_class: Mapping[str, float] = field(default_factory=dict)
    #: The same figure at a threshold of 0.5, which is the same for all networks: a
    #: shifted calibration shows here first
    at_common: float | None = None
    #: Other figures of the same weights, by name
    beside: Mapping[str, float] = field(default_factory=dict)
    #: Particles or objects that are found, that are there, and finds that are none;
    #: None where nothing is counted
    counts: tuple[int, int, int] | None = None

    def metrics(self, held_out: str) -> dict[str, Any]:
        """Return what is written into a checkpoint."""
        return {
            "quality": self.value,
            "quality_name": self.name,
            "per_class": dict(self.per_class),
            "validation_loss": self.loss,
            "beside": dict(self.beside),
            "held_out": held_out,
        }

    @property
    def known(self) -> bool:
        """Whether there was anything to validate on, and a finite answer."""
        return self.name not in ("none", "not a number")


def interval(share: float, n: int) -> tuple[float, float]:
    """Between what the true share lies, 19 times out of 20 (Wilson).

    Parameters
    ----------
    share
        That was found, 0..1.
    n
        Things that it was found on.
    """
    if n <= 0:
        return 0.0, 1.0
    square = SURE**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    spread = math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    spread *= SURE / (1 + square / n)
    return max(0.0, middle - spread), min(1.0, middle + spread)
