"""Greedy backward elimination: what raises the training loss least goes first.

For every filter that is still there the loss without it is measured, all on the same
random mini-batches; the filter with the smallest loss goes, and so on (Roels et al.
2017). Equal losses go by position.

Scope `layer`
    Layer by layer from the bottom, the output layer excepted, each to its end: that is
    its curve. Before the next layer's turn it loses as many filters as it will have
    lost at the share that was asked for (`PruneConfig.remove`) when every layer loses
    the same share of its filters. So the upper orders are those of the network at this
    very position of the slider. Elsewhere on the slider the same orders are used: the
    plan interleaves them, so that every layer has lost the same share at every point.
Scope `global`
    All filters that are left are candidates at every step: one order over all layers.

What is exact and what is not: with `at_once` 0 one filter goes at a time and the order
is that of the procedure above, up to rounding of the losses in float32. A network with
hundreds of maps a layer would take hours that way; then a share of the filters that are
left goes at each step (the automatic choice is the smallest that keeps the search
within `BUDGET`). Losses are always measured, never estimated, but filters that go
together have been tried one by one, not together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import sentence_for
from napari_topiary.pruning.search.ablation import AblatedNetwork, AnyAblation
from napari_topiary.pruning.structure import LayerSearch
from napari_topiary.types import Job, Progress, relay

AT_ONCE = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Shares to choose from automatically."""
BUDGET = 1e13
"""Multiplications that an automatic choice may cost: some minutes on two cores."""


def going(left: int, at_once: float) -> int:
    """How many of `left` filters go at a step: one at least, and one stays."""
    return min(left - 1, max(1, int(at_once * left)))


def tries(left: int, at_once: float, until: int = 1) -> int:
    """How many candidates are tried until so many filters are left."""
    total = 0
    while left > max(1, until):
        total += left
        left -= going(left, at_once)
    return total


def affordable(cost: Callable[[float], float]) -> float:
    """Smallest share at once whose cost is within the budget, or the largest share."""
    return next((share for share in AT_ONCE if cost(share) <= BUDGET), AT_ONCE[-1])


@dataclass(frozen=True)
class EndedEarly:
    """Why a search was given up, in a sentence."""

    note: str


class WorkCounter:
    """Counts work that is done.

    Parameters
    ----------
    total
        Work in all, in the unit that is counted.
    """

    def __init__(self, total: float) -> None:
        self._total, self._done = total, 0.0
        self._begun = time.monotonic()

    @property
    def begun(self) -> bool:
        """Whether anything is done."""
        return self._done > 0

    def after(self, work: float, message: str) -> Progress:
        """Count some more work, and say how far it is."""
        self._done = min(self._total, self._done + work)
        spent = time.monotonic() - self._begun
        left = spent * (self._total - self._done) / self._done if self._done else None
        return Progress(self._done, self._total, message, left)


@dataclass(kw_only=True)
class _Ranked:
    """A layer's order as it grows."""

    name: str
    channels: int
    order: list[int]
    tried: list[float]
    removed: list[int]
    curve: list[float]

    @classmethod
    def of(cls, ablation: AnyAblation) -> _Ranked:
        """Begin with nothing removed."""
        group = ablation.group
        return cls(
            name=group.name,
            channels=group.channels,
            order=[],
            tried=[],
            removed=[0],
            curve=[ablation.loss()],
        )

    def add(self, channels: Sequence[int], tried: Sequence[float], loss: float) -> None:
        """Note what has gone, and the loss now."""
        self.order += channels
        self.tried += tried
        self.removed.append(len(self.order))
        self.curve.append(loss)

    def frozen(self) -> LayerSearch:
        """Return it as a value."""
        return LayerSearch(
            name=self.name,
            channels=self.channels,
            order=tuple(self.order),
            tried=tuple(self.tried),
            removed=tuple(self.removed),
            curve=tuple(self.curve),
        )


def rank_layer(
    ablation: AnyAblation,
    counter: WorkCounter,
    *,
    at_once: float,
    most: int | None = None,
) -> Job[tuple[LayerSearch, bool]]:
    """Order the filters of one layer.

    Parameters
    ----------
    ablation
        Of the layer; what is ordered is gone there afterwards.
    counter
        Counts the work.
    at_once
        Share of the filters left that goes at each step; 0 = one.
    most
        Stop when so many are ordered; None = all but one.

    Returns
    -------
    LayerSearch
        The order, as far as it came.
    bool
        Whether somebody stopped it.
    """
    ranked = _Ranked.of(ablation)
    left = list(range(ablation.group.channels))
    end = len(left) - 1 if most is None else most
    while len(ranked.order) < end:
        place = f"{ranked.name}, {len(ranked.order)} of {ranked.channels}"
        losses = yield from tried(ablation, left, counter, place)
        if losses is None:
            return ranked.frozen(), True
        count = min(going(len(left), at_once), end - len(ranked.order))
        best = np.argsort(losses, kind="stable")[:count]
        gone = [left[i] for i in best]
        ablation.remove(gone)
        loss = float(losses[best[0]]) if count == 1 else ablation.loss()
        ranked.add(gone, [float(losses[i]) for i in best], loss)
        left = [channel for channel in left if channel not in gone]
    return ranked.frozen(), False


def rank_layers(
    ablated: AblatedNetwork,
    counter: WorkCounter,
    *,
    at_once: float,
    given: Mapping[str, int],
    no_more: bool = False,
) -> Job[tuple[list[LayerSearch], bool]]:
    """Order the filters of one layer after the other, from the bottom.

    Parameters
    ----------
    ablated
        With the network.
    counter
        Counts the work.
    at_once
        Share of the filters left that goes at each step; 0 = one.
    given
        Layer -> how many of its filters are gone when those above are ordered.
    no_more
        Whether to order only these.

    Returns
    -------
    list of LayerSearch
        From the bottom; fewer if stopped.
    bool
        Whether somebody stopped it.
    """
    found: list[LayerSearch] = []
    for _, group in ablated.groups:
        gone = given.get(group.name, 0)
        if no_more and not gone:
            continue
        ablation = ablated.ablation(group)
        layer, stopped = yield from rank_layer(
            ablation, counter, at_once=at_once, most=gone if no_more else None
        )
        found.append(layer)
        if stopped:
            return found, True
        ablation.set_gone(layer.order[:gone])
    return found, False


def rank_all(
    ablated: AblatedNetwork, counter: WorkCounter, *, at_once: float
) -> Job[tuple[list[LayerSearch], list[tuple[int, int]], bool]]:
    """Order the filters of all layers together.

    Parameters
    ----------
    ablated
        With the network.
    counter
        Counts the work.
    at_once
        Share of the filters left that goes at each step; 0 = one.

    Returns
    -------
    list of LayerSearch
        Each layer's part of the order; its curve is the loss of the whole network as
        the layer lost filters.
    list of (int, int)
        Group and channel: the order.
    bool
        Whether somebody stopped it.
    """
    groups = [group for _, group in ablated.groups]
    ablations = ablated.ablations(groups)
    ranked = [_Ranked.of(ablation) for ablation in ablations]
    left = [list(range(group.channels)) for group in groups]
    steps: list[tuple[int, int]] = []
    whole = sum(len(channels) for channels in left)
    while any(len(channels) > 1 for channels in left):
        rows: list[tuple[float, int, int]] = []
        for number, ablation in enumerate(ablations):
            if len(left[number]) < 2:
                continue
            place = f"{ablation.group.name}, {len(steps)} of {whole} gone"
            losses = yield from tried(ablation, left[number], counter, place)
            if losses is None:
                return [r.frozen() for r in ranked], steps, True
            rows += [
                (float(loss), number, channel)
                for loss, channel in zip(losses, left[number], strict=True)
            ]
        gone = _weakest(rows, left, going(sum(map(len, left)), at_once))
        for number, ablation in enumerate(ablations):
            channels = [channel for _, n, channel in gone if n == number]
            ablation.set_gone(
                [*(_gone(left[number], groups[number].channels)), *channels]
            )
            left[number] = [c for c in left[number] if c not in channels]
        ablations = ablated.ablations(groups)
        loss = gone[0][0] if len(gone) == 1 else ablations[0].loss()
        for number, one in enumerate(ranked):
            mine = [(tried_, channel) for tried_, n, channel in gone if n == number]
            if mine:
                one.add([c for _, c in mine], [value for value, _ in mine], loss)
        steps += [(ablated.groups[n][0], channel) for _, n, channel in gone]
    return [r.frozen() for r in ranked], steps, False


def tried(
    ablation: AnyAblation, channels: Sequence[int], counter: WorkCounter, place: str
) -> Job[NDArray[np.float64] | None]:
    """Losses without each channel; None if stopped, or if an error has ended it."""
    try:
        return (
            yield from relay(
                ablation.losses([(channel,) for channel in channels]),
                told=lambda tried: counter.after(
                    tried.done * ablation.price, f"Trying filters: {place}"
                ),
            )
        )
    except Exception as error:
        if not counter.begun:
            raise
        said = sentence_for(error, "Trying filters")
        note = f"{said} What has been ordered until then is kept."
        yield Progress(0, 0, "Trying filters", report=EndedEarly(note))
        return None


def _gone(left: Sequence[int], channels: int) -> list[int]:
    return sorted(set(range(channels)) - set(left))


def _weakest(
    rows: Sequence[tuple[float, int, int]], left: Sequence[Sequence[int]], count: int
) -> list[tuple[float, int, int]]:
    """Return the rows of smallest loss; one filter of every layer stays."""
    room = [len(channels) - 1 for channels in left]
    chosen: list[tuple[float, int, int]] = []
    for row in sorted(rows):
        if room[row[1]] > 0 and len(chosen) < count:
            room[row[1]] -= 1
            chosen.append(row)
    return chosen
