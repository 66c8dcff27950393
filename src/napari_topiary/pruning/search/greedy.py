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

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_topiary.pruning.search.bench import AnyTrial, Bench
from napari_topiary.pruning.search.clock import Clock
from napari_topiary.pruning.search.record import LayerSearch
from napari_topiary.types import Progress, Stop

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
    """Smallest share at once whose cost is within the budget, or the largest share.

    Parameters
    ----------
    cost
        Share at once -> multiplications.
    """
    return next((share for share in AT_ONCE if cost(share) <= BUDGET), AT_ONCE[-1])


@dataclass
class Ranked:
    """A layer's order as it grows."""

    name: str
    channels: int
    order: list[int]
    tried: list[float]
    removed: list[int]
    curve: list[float]

    @classmethod
    def of(cls, trial: AnyTrial) -> Ranked:
        """Begin with nothing removed."""
        group = trial.group
        return cls(group.name, group.channels, [], [], [0], [trial.loss()])

    def add(self, channels: Sequence[int], tried: Sequence[float], loss: float) -> None:
        """Note what has gone, and the loss now."""
        self.order += channels
        self.tried += tried
        self.removed.append(len(self.order))
        self.curve.append(loss)

    def frozen(self) -> LayerSearch:
        """Return it as a value."""
        return LayerSearch(
            self.name,
            self.channels,
            tuple(self.order),
            tuple(self.tried),
            tuple(self.removed),
            tuple(self.curve),
        )


def rank_layer(
    trial: AnyTrial, clock: Clock, *, at_once: float, most: int | None = None
) -> Generator[Progress, object, tuple[LayerSearch, bool]]:
    """Order the filters of one layer.

    Parameters
    ----------
    trial
        Of the layer; what is ordered is gone there afterwards.
    clock
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
    ranked = Ranked.of(trial)
    left = list(range(trial.group.channels))
    end = len(left) - 1 if most is None else most
    while len(ranked.order) < end:
        place = f"{ranked.name}, {len(ranked.order)} of {ranked.channels}"
        losses = yield from tried(trial, left, clock, place)
        if losses is None:
            return ranked.frozen(), True
        count = min(going(len(left), at_once), end - len(ranked.order))
        best = np.argsort(losses, kind="stable")[:count]
        gone = [left[i] for i in best]
        trial.remove(gone)
        loss = float(losses[best[0]]) if count == 1 else trial.loss()
        ranked.add(gone, [float(losses[i]) for i in best], loss)
        left = [channel for channel in left if channel not in gone]
    return ranked.frozen(), False


def rank_layers(
    bench: Bench,
    clock: Clock,
    *,
    at_once: float,
    given: Mapping[str, int],
    no_more: bool = False,
) -> Generator[Progress, object, tuple[list[LayerSearch], bool]]:
    """Order the filters of one layer after the other, from the bottom.

    Parameters
    ----------
    bench
        With the network.
    clock
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
    for _, group in bench.groups:
        gone = given.get(group.name, 0)
        if no_more and not gone:
            continue
        trial = bench.trial(group)
        layer, stopped = yield from rank_layer(
            trial, clock, at_once=at_once, most=gone if no_more else None
        )
        found.append(layer)
        if stopped:
            return found, True
        trial.set_gone(layer.order[:gone])
    return found, False


def rank_all(
    bench: Bench, clock: Clock, *, at_once: float
) -> Generator[Progress, object, tuple[list[LayerSearch], list[tuple[int, int]], bool]]:
    """Order the filters of all layers together.

    Parameters
    ----------
    bench
        With the network.
    clock
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
    groups = [group for _, group in bench.groups]
    trials = bench.trials(groups)
    ranked = [Ranked.of(trial) for trial in trials]
    left = [list(range(group.channels)) for group in groups]
    steps: list[tuple[int, int]] = []
    whole = sum(len(channels) for channels in left)
    while any(len(channels) > 1 for channels in left):
        rows: list[tuple[float, int, int]] = []
        for number, trial in enumerate(trials):
            if len(left[number]) < 2:
                continue
            place = f"{trial.group.name}, {len(steps)} of {whole} gone"
            losses = yield from tried(trial, left[number], clock, place)
            if losses is None:
                return [r.frozen() for r in ranked], steps, True
            rows += [
                (float(loss), number, channel)
                for loss, channel in zip(losses, left[number], strict=True)
            ]
        gone = _weakest(rows, left, going(sum(map(len, left)), at_once))
        for number, trial in enumerate(trials):
            channels = [channel for _, n, channel in gone if n == number]
            trial.set_gone([*(_gone(left[number], groups[number].channels)), *channels])
            left[number] = [c for c in left[number] if c not in channels]
        trials = bench.trials(groups)
        loss = gone[0][0] if len(gone) == 1 else trials[0].loss()
        for number, one in enumerate(ranked):
            mine = [(tried_, channel) for tried_, n, channel in gone if n == number]
            if mine:
                one.add([c for _, c in mine], [value for value, _ in mine], loss)
        steps += [(bench.groups[n][0], channel) for _, n, channel in gone]
    return [r.frozen() for r in ranked], steps, False


def tried(
    trial: AnyTrial, channels: Sequence[int], clock: Clock, place: str
) -> Generator[Progress, object, NDArray[np.float64] | None]:
    """Losses without each channel; None if stopped.

    Parameters
    ----------
    trial
        Of their layer.
    channels
        Tried one by one.
    clock
        Counts the work.
    place
        Where the search is, in words.
    """
    job = trial.losses([(channel,) for channel in channels])
    stopped: bool | None = None
    while True:
        try:
            count = job.send(stopped)
        except StopIteration as end:
            losses: NDArray[np.float64] | None = end.value
            return losses
        message = yield clock.after(count * trial.price, f"Trying filters: {place}")
        stopped = message is Stop


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
