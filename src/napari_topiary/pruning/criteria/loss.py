"""Filters by the training loss without them: a greedy search (Roels et al. 2017).

What is exact and what is not is said in `pruning.search.greedy`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from napari_topiary.config import PruneConfig
from napari_topiary.inference.devices import pick_device
from napari_topiary.pruning.criteria.base import Criterion, CriterionInput, criteria
from napari_topiary.pruning.filter_plan import interleaved
from napari_topiary.pruning.search.ablation import AblatedNetwork
from napari_topiary.pruning.search.calibration import draw_calibration
from napari_topiary.pruning.search.greedy import (
    WorkCounter,
    affordable,
    rank_all,
    rank_layers,
    tries,
)
from napari_topiary.pruning.structure import CostCounter, LayerSearch, Search, Step
from napari_topiary.types import Job, Progress


def search(subject: CriterionInput, config: PruneConfig) -> Job[Search]:
    """Find an order by trying filters out; a `Stop` sent in keeps what is ordered.

    Parameters
    ----------
    subject
        The network, and annotated images.
    config
        Scope, share, mini-batches, how many filters go at a step, and seed.

    Yields
    ------
    Progress
        In multiplications, with the time left.
    """
    yield Progress(0, 0, "Drawing patches to try filters on")
    ablated = _ablated(subject, config)
    prices = ablated.prices()
    sizes = {group.name: group.channels for _, group in ablated.groups}

    def cost(at_once: float) -> float:
        if config.scope == "layer":
            return sum(prices[n] * tries(sizes[n], at_once) for n in sizes)
        share = tries(sum(sizes.values()), at_once) / max(1, sum(sizes.values()))
        return sum(prices[n] * sizes[n] * share for n in sizes)

    at_once = affordable(cost) if config.at_once is None else config.at_once
    counter = WorkCounter(cost(at_once))
    given: dict[str, int] = {}
    steps: Sequence[Step]
    if config.scope == "layer":
        given = layer_counts(subject, config.remove)
        layers, stopped = yield from rank_layers(
            ablated, counter, at_once=at_once, given=given
        )
        steps = _interleaved(subject, layers)
    else:
        layers, steps, stopped = yield from rank_all(ablated, counter, at_once=at_once)
    return Search(
        steps=tuple(steps),
        layers=tuple(layers),
        given=given,
        at_once=at_once,
        batches=config.batches,
        seed=config.seed,
        stopped=stopped,
        images_note=" ".join(ablated.calibration.notes),
    )


def orders_by_loss(
    subject: CriterionInput, config: PruneConfig, counts: Mapping[str, int]
) -> Job[dict[str, list[int]] | None]:
    """Find the filters that go when every layer is to lose so many.

    Yields
    ------
    Progress
        In multiplications, with the time left; a `Stop` sent in gives up.

    Returns
    -------
    dict
        Group name -> the filters that go, in order; None if given up.
    """
    ablated = _ablated(subject, config)
    prices, at_once = ablated.prices(), config.at_once or 0.0
    sizes = {group.name: group.channels for _, group in ablated.groups}
    total = sum(
        prices[n] * tries(sizes[n], at_once, sizes[n] - counts.get(n, 0)) for n in sizes
    )
    layers, stopped = yield from rank_layers(
        ablated, WorkCounter(total), at_once=at_once, given=counts, no_more=True
    )
    if stopped:
        return None
    return {layer.name: list(layer.order) for layer in layers}


def layer_counts(subject: CriterionInput, share: float) -> dict[str, int]:
    """How many filters every layer loses when all lose alike, by group name."""
    groups, checkpoint = subject.coupling.groups, subject.checkpoint
    costs = CostCounter(subject.coupling, checkpoint.masks)
    counts = dict.fromkeys([group.name for group in groups], 0)
    for number, channel in interleaved([range(g.channels) for g in groups]):
        if 1.0 - costs.nonzero / checkpoint.unpruned_parameters >= share:
            break
        costs.remove(number, channel)
        counts[groups[number].name] += 1
    return counts


def _ablated(subject: CriterionInput, config: PruneConfig) -> AblatedNetwork:
    calibration = draw_calibration(
        subject.checkpoint,
        subject.samples,
        batches=config.batches,
        seed=config.seed,
        device=pick_device(subject.device),
    )
    return AblatedNetwork(subject.checkpoint.build(), subject.coupling, calibration)


def _interleaved(subject: CriterionInput, layers: Sequence[LayerSearch]) -> list[Step]:
    """Let every layer lose the same share of its filters, as far as it is ordered."""
    groups = subject.coupling.groups
    orders: dict[str, list[int]] = {}
    for layer in layers:
        rest = set(range(layer.channels)) - set(layer.order)
        orders[layer.name] = [*layer.order, *sorted(rest)]
    whole = interleaved([orders.get(g.name, range(g.channels)) for g in groups])
    known = {layer.name: set(layer.order) for layer in layers}
    return [
        (number, channel)
        for number, channel in whole
        if channel in known.get(groups[number].name, ())
    ]


criteria.register("loss")(
    Criterion(
        removes="filters",
        title="loss",
        tip="Rise of the training loss: each filter is tried out on your annotated "
        "images, and those\ngo first without which the network is hardly more wrong "
        "there. Slower, and often better.",
        by="the loss they save from",
        needs_samples=True,
        search=search,
        place=1,
    )
)
