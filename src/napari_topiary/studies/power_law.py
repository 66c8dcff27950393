"""Quality against the amount of annotations: a power law that levels off.

`q(x) = a - b x^-c`: with ever more annotations quality nears `a`. Four or so noisy
points do not say three numbers, so every law on a grid is weighed by how well it agrees
with them, and what is told are means and spreads over all laws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_NOISE = 0.01
"""Two trainings on the same annotations differ by about this much."""
STEPS = 60
LIKELY = (0.16, 0.84)
"""Two thirds of what is likely lies between these quantiles."""


@dataclass(frozen=True)
class PowerLaw:
    """Laws `q(x) = a - b x^-c` and how likely each is.

    Parameters
    ----------
    ceiling, drop, power
        `(n,)` a, b and c of each law.
    weight
        `(n,)`, sums to 1.
    """

    ceiling: NDArray[np.float64]
    drop: NDArray[np.float64]
    power: NDArray[np.float64]
    weight: NDArray[np.float64]

    def at(self, x: float) -> tuple[float, float, float]:
        """Expected quality at an amount, and what it likely lies between."""
        return self._told(self.ceiling - self.drop * x**-self.power)

    def gain(self, factor: float) -> tuple[float, float, float]:
        """What that many times all annotations would add, and likely limits."""
        return self._told(self.drop * (1.0 - factor**-self.power))

    def _told(self, values: NDArray[np.float64]) -> tuple[float, float, float]:
        order = np.argsort(values)
        total = np.cumsum(self.weight[order])
        low, high = (
            float(values[order[min(int(np.searchsorted(total, q)), len(order) - 1)]])
            for q in LIKELY
        )
        return float(values @ self.weight), low, high


def fit_power_law(amounts: Sequence[float], qualities: Sequence[float]) -> PowerLaw:
    """Weigh all laws by their agreement with what was measured.

    Parameters
    ----------
    amounts
        Share of all annotations, 0..1 each; at least two.
    qualities
        What was reached with each, 0..1.
    """
    x, q = np.asarray(amounts, dtype=float), np.asarray(qualities, dtype=float)
    # By the quality with all annotations and the ceiling above it, so that no law is
    # asked about that falls with more annotations.
    known = np.linspace(max(0.0, q.min() - 0.05), min(1.0, q.max() + 0.1), STEPS)
    above = np.linspace(0.0, 1.0, STEPS) ** 2
    powers = np.linspace(0.1, 2.0, STEPS // 2)
    reached, share, power = (
        grid.ravel() for grid in np.meshgrid(known, above, powers, indexing="ij")
    )
    drop = share * (1.0 - reached)
    ceiling = reached + drop
    expected = ceiling[:, None] - drop[:, None] * x[None] ** -power[:, None]
    squares = ((expected - q) ** 2).sum(axis=1)
    noise = max(LEAST_NOISE, float(np.sqrt(squares.min() / max(1, len(x) - 2))))
    weight = np.exp(-0.5 * (squares - squares.min()) / noise**2)
    return PowerLaw(ceiling, drop, power, weight / weight.sum())
