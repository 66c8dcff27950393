"""What every back end promises, and the registry they are found in."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.networks.base import Network
from napari_topiary.registry import Registry

MOST_CHANGED = 1e-3
"""Share of the pixels that may get another label from a faster way of computing."""
CHANGED = 0.05
"""A probability that differs by so much counts as another label."""


class Backend(Protocol):
    """Runs one network."""

    precision: str  #: What it computes in: "float32", "bfloat16"

    def __call__(
        self, image: NDArray[np.float32], rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """Probabilities, then values, `(k + r, rows, columns)` of a tile `(c, y, x)`.

        Rows and columns have start and stop; the rest of the tile is context.
        """
        ...


class Maker(Protocol):
    """Makes a back end for a network that does not change any more."""

    def __call__(
        self, network: Network, device: torch.device, *, exact: bool
    ) -> Backend:
        """Convert the network; in float32, or as is fastest on the device."""
        ...


@dataclass(frozen=True, kw_only=True)
class BackendKind:
    """A back end as it is chosen."""

    #: Converts a network; it alone imports the package, and only when called
    make: Maker
    title: str  #: For sentences
    #: What has to be installed, by the names they are imported under
    packages: tuple[str, ...] = ()
    #: Whether it computes on the processor and nowhere else
    processor_only: bool = True

    @property
    def installed(self) -> bool:
        """Whether it can be used here."""
        return all(find_spec(package) is not None for package in self.packages)

    def suits(self, network: Network) -> bool:
        """Whether it can run a network; those that look at patches stay in torch."""
        return not self.processor_only or network.patch is None


backends: Registry[BackendKind] = Registry("backend")


def backend_kind(name: str, network: Network, device: torch.device) -> BackendKind:
    """Return a back end that was asked for, or refuse it with a sentence."""
    if name not in backends:
        raise TopiaryError(
            f"There is no backend called {name!r}: choose auto, {', '.join(backends)}."
        )
    kind = backends[name]
    if not kind.installed:
        raise TopiaryError(
            f"{kind.title} is not installed here: pip install 'napari-topiary[fast]', "
            "or leave the choice of the backend to Topiary (auto)."
        )
    if kind.processor_only and device.type != "cpu":
        raise TopiaryError(
            f"{kind.title} computes on the processor, not on {device.type}: choose the "
            "device cpu, or the backend torch."
        )
    if not kind.suits(network):
        raise TopiaryError(
            f"{kind.title} cannot run networks that classify the middle of a patch: "
            "choose the backend torch or auto."
        )
    return kind


def same_labels(
    exact: NDArray[np.float32], faster: NDArray[np.float32], network: Network
) -> bool:
    """Whether a faster way of computing says the same as the exact one.

    Parameters
    ----------
    exact, faster
        `(k + r, y, x)` of the same tile.
    network
        Knows how many of the maps are values.
    """
    classes = len(exact) - network.regressions
    changed = exact[:classes].argmax(axis=0) != faster[:classes].argmax(axis=0)
    # What is not a number is not the same either.
    changed |= ~(np.abs(exact - faster).max(axis=0) < CHANGED)
    return float(changed.mean()) <= MOST_CHANGED
