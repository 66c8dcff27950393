"""What a search found: an order for each layer, and the losses on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Step = tuple[int, int]
"""(group index, channel): one filter."""


@dataclass(frozen=True, kw_only=True)
class LayerSearch:
    """One layer's filters in the order in which they go.

    Parameters
    ----------
    name
        The layer (the first, where several go together).
    channels
        How many filters it has.
    order
        Filters, first to go first; the last one stays and is not among them.
    tried
        For each of them: the loss without it, when it was chosen.
    removed, curve
        Loss after so many have gone, from 0 on: the curve of Roels et al. 2017.
    """

    name: str
    channels: int
    order: tuple[int, ...]
    tried: tuple[float, ...]
    removed: tuple[int, ...]
    curve: tuple[float, ...]

    @property
    def complete(self) -> bool:
        """Whether all that can go have been ordered."""
        return len(self.order) >= self.channels - 1


@dataclass(frozen=True, kw_only=True)
class Search:
    """The result of a search by loss.

    Parameters
    ----------
    steps
        The plan's order.
    layers
        Each layer's own order, from the bottom.
    given
        Layer -> how many of its filters were gone while those above were ordered.
    at_once
        Share of the filters left that went at each step; 0 = one by one.
    batches, seed
        Of the mini-batches.
    stopped
        Whether somebody ended it early.
    """

    steps: tuple[Step, ...]
    layers: tuple[LayerSearch, ...]
    given: Mapping[str, int]
    at_once: float
    batches: int
    seed: int
    stopped: bool = False

    @property
    def note(self) -> str:
        """Return what a person should know about the order; mostly empty."""
        if not self.stopped:
            return ""
        done = sum(layer.complete for layer in self.layers)
        return (
            f"The search was stopped when {done} of {len(self.layers)} layers were "
            "ordered: filters without a place in the order stay."
        )

    def to_record(self) -> dict[str, Any]:
        """Write down everything but the steps, which the plan has."""
        record = asdict(self)
        del record["steps"]
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any], steps: tuple[Step, ...]) -> Search:
        """Read what `to_record` wrote.

        Parameters
        ----------
        record
            Of any origin; `TypeError` or `KeyError` if it is something else.
        steps
            The plan's order.
        """
        layers = tuple(
            LayerSearch(
                name=str(layer["name"]),
                channels=int(layer["channels"]),
                order=tuple(int(channel) for channel in layer["order"]),
                tried=tuple(float(loss) for loss in layer["tried"]),
                removed=tuple(int(count) for count in layer["removed"]),
                curve=tuple(float(loss) for loss in layer["curve"]),
            )
            for layer in record["layers"]
        )
        rest = {k: v for k, v in record.items() if k != "layers"}
        return cls(steps=steps, layers=layers, **rest)
