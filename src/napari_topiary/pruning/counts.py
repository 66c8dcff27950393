"""Removing an exact number of filters of each layer, as published tables ask for.

A slider counts weights; a table says "floor(δ·n) of every convolution" (Götz et
al. 2022) or "10, 0, 10 and 50" (Roels et al. 2017). What each layer loses is given
here, which of its filters go is the criterion's to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.pruning.criteria import CriterionInput
from napari_topiary.pruning.criteria.l1 import score as l1_norms
from napari_topiary.pruning.criteria.loss import orders_by_loss
from napari_topiary.pruning.filter_plan import FilterPlan
from napari_topiary.pruning.making import structure
from napari_topiary.pruning.structure import ChannelGroup, Step
from napari_topiary.types import Job, Progress

CountCriterion = Literal["l1", "loss", "magnitude"]
Orders = Mapping[str, Sequence[int]]
"""Layer -> its filters, first to go first."""


def filter_counts(checkpoint: Checkpoint) -> dict[str, int]:
    """How many filters each layer has that can lose some, in the order they run."""
    _, coupling = structure(checkpoint)
    return {group.name: group.channels for group in coupling.groups}


def counts_job(
    checkpoint: Checkpoint,
    counts: Mapping[str, int],
    *,
    criterion: CountCriterion = "l1",
    samples: Sequence[Sample] = (),
    order: Orders | None = None,
) -> Job[Checkpoint]:
    """Remove exactly so many filters of each named layer, physically.

    Parameters
    ----------
    checkpoint
        What to prune; it is not changed.
    counts
        Layer -> how many of its filters go; one must stay. Others stay whole.
    criterion
        `l1`: smallest sum of absolute weights. `magnitude`: smallest mean of absolute
        weights and bias, the baseline of Roels et al. 2017. `loss`: found greedily,
        layer by layer from the bottom, each with what has gone below it.
    samples
        Annotated images, for the loss.
    order
        Orders that are known already, instead of the criterion.

    Yields
    ------
    Progress
        While the loss is measured; a `Stop` sent in returns the checkpoint as it was.
    """
    yield Progress(0, 0, "Choosing what to remove")
    network, coupling = structure(checkpoint)
    wanted = _checked(counts, coupling.groups)
    subject = CriterionInput(
        checkpoint=checkpoint, coupling=coupling, prunable=(), samples=samples
    )
    config = PruneConfig(criterion=criterion, scope="layer", at_once=0.0)
    found = order
    if found is None and criterion == "loss":
        if not samples:
            raise TopiaryError(
                "The criterion loss measures the loss on annotated images and there "
                "are none: give some, or choose l1 or magnitude."
            )
        found = yield from orders_by_loss(subject, config, wanted)
        if found is None:
            return checkpoint
    if found is None:
        scores = (l1_norms if criterion == "l1" else _mean_magnitudes)(subject)
        found = {n: torch.argsort(s, stable=True).tolist() for n, s in scores.items()}
    steps: list[Step] = []
    for number, group in enumerate(coupling.groups):
        if (count := wanted.get(group.name, 0)) > 0:
            steps += [(number, int(c)) for c in _first(found, group, count)]
    if not steps:
        return checkpoint
    plan = FilterPlan(
        checkpoint, config, network=network, coupling=coupling, steps=steps
    )
    return plan.checkpoint_at(plan.end)


def _checked(
    counts: Mapping[str, int], groups: Sequence[ChannelGroup]
) -> dict[str, int]:
    """Counts by the groups' names; a sentence for what is impossible."""
    by_layer = {name: group for group in groups for name in group.producers}
    wanted: dict[str, int] = {}
    for name, count in counts.items():
        group = by_layer.get(name)
        if group is None:
            known = ", ".join(group.name for group in groups)
            raise TopiaryError(
                f"No filters can be removed from {name!r}: give one of {known}."
            )
        if not 0 <= count < group.channels:
            raise TopiaryError(
                f"{count} filters of {name} cannot be removed, it has "
                f"{group.channels}: give 0 to {group.channels - 1}."
            )
        if wanted.setdefault(group.name, count) != count:
            raise TopiaryError(
                f"{name} and {group.name} lose their filters together: give one "
                "number for both."
            )
    return wanted


def _first(orders: Orders, group: ChannelGroup, count: int) -> Sequence[int]:
    """Return the first filters of a layer's order."""
    order = orders.get(group.name, ())
    if len(order) < count or not set(order) <= set(range(group.channels)):
        raise TopiaryError(
            f"The order given for {group.name} does not name {count} of its "
            f"{group.channels} filters: make it anew."
        )
    return order[:count]


def _mean_magnitudes(subject: CriterionInput) -> dict[str, torch.Tensor]:
    """Mean absolute value `(channels,)` of the weights and biases of every channel."""
    state = subject.checkpoint.state
    found = {}
    for group in subject.coupling.groups:
        total, numbers = torch.zeros(group.channels), torch.zeros(group.channels)
        for cut in group.cuts:
            facts = subject.coupling.layers[cut.layer]
            if cut.side == "in" or facts.kind == "norm":
                continue
            weight = state[f"{cut.layer}.weight"].float()
            if facts.kind == "transposed":
                weight = weight.transpose(0, 1)
            rows = weight.abs().flatten(1)
            bias = state.get(f"{cut.layer}.bias")
            if bias is not None:
                rows = torch.cat([rows, bias.float().abs().unsqueeze(1)], dim=1)
            roots = torch.from_numpy(cut.roots)
            total.index_add_(0, roots, rows.sum(1)[cut.places])
            numbers.index_add_(0, roots, torch.full(roots.shape, float(rows.shape[1])))
        found[group.name] = total / numbers.clamp(min=1)
    return found
