"""Gradual pruning: remove along a plan while the network is being fine-tuned.

Cutting nine tenths at once leaves a network that can be beyond repair; cutting a
little, learning, and cutting on does not. The share removed follows a cubic curve
(fast while there is plenty, slow towards the end; Zhu & Gupta 2017) over the first part
of the run and ends exactly at the slider's position; the rest of the run is for the
final form alone. Filters go physically, so training gets faster on the way.

Of single weights the plan says how many of each layer are left; which ones is decided
anew at every stage, by their magnitude then: a weight that was small in the dense
network may be the one that the thinned network leans on.

The other schedule is iterative halving: each round removes half of the weights that
remain, and all rounds are given the same time to learn (Mahbod et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

from napari_topiary.networks.base import Network
from napari_topiary.networks.pruning_schedule import NetworkInTraining, PrunedShape
from napari_topiary.pruning.filter_plan import FilterPlan
from napari_topiary.pruning.plan import PruningPlan
from napari_topiary.pruning.surgery import cut_in_training
from napari_topiary.pruning.weight_plan import WeightPlan

Schedule = Literal["cubic", "halving"]
Masks = Mapping[str, torch.Tensor]
"""Parameter name -> bool tensor, True = kept. Nothing is hooked into modules."""

ABOVE_RATIO = 4.0
"""Compression ratio above which removal is gradual by default."""
FILTER_STAGES = 16
WEIGHT_STAGES = 40
FILTERS_UNTIL = 0.25
"""A cut network learns faster, in both senses: better not to wait long."""
WEIGHTS_UNTIL = 0.4
"""Which weights stay is decided on the way: not too fast, with time left to learn."""


def pruning_schedule(plan: PruningPlan, share: float) -> GradualPruning:
    """Return what fine-tuning should use for a position: gradual above `ABOVE_RATIO`.

    Parameters
    ----------
    plan
        Made for the checkpoint that fine-tuning starts from.
    share
        Where to end: share of the unpruned network's weights removed.
    """
    gentle = plan.statistics(share).ratio <= ABOVE_RATIO * (1 + 1e-6)
    return GradualPruning(plan, share, stages=1 if gentle else None)


class GradualPruning:
    """A `PruningSchedule` that walks a plan to a position.

    Parameters
    ----------
    plan
        Made for the checkpoint that fine-tuning starts from.
    share
        Where to end: share of the unpruned network's weights removed.
    until
        Part of the run (0..1) after which the final form is reached; None = as suits
        the kind.
    stages
        How many times something is removed, 1 = all before the first step; None = as
        suits the kind.
    schedule
        `cubic`: fast at first; `halving`: rounds of equal length that each remove half
        of what remains. How many there are, and until when, follows from the share.
    """

    def __init__(
        self,
        plan: PruningPlan,
        share: float,
        *,
        until: float | None = None,
        stages: int | None = None,
        schedule: Schedule = "cubic",
    ) -> None:
        self._plan = plan
        self._share = share
        self._schedule = schedule
        whole = isinstance(plan, FilterPlan)
        usual = FILTER_STAGES if whole else WEIGHT_STAGES
        if until is None:
            until = FILTERS_UNTIL if whole else WEIGHTS_UNTIL
        self._until = until
        self._stages = max(1, usual if stages is None else stages)
        self._end = plan.cursor(share)
        if schedule == "halving":
            fold = plan.nonzero(0) / plan.nonzero(self._end)
            self._stages = max(1, math.ceil(math.log2(fold) - 1e-6))
            self._until = (self._stages - 1) / self._stages
        self._cursor = 0
        self._removed: dict[str, torch.Tensor] | None = None
        self._masks = plan.checkpoint.masks
        self._anew = isinstance(plan, WeightPlan) and self._stages > 1

    @property
    def settled(self) -> bool:
        """Whether the final form is reached."""
        return self._cursor >= self._end

    def cursor_at(self, fraction: float) -> int:
        """Position in the plan that is due at a fraction of the run.

        Parameters
        ----------
        fraction
            0..1 of the run.
        """
        if fraction >= self._until:
            return self._end
        if self._schedule == "halving":
            left = (1 - self._plan.share(0)) / 2 ** (1 + int(fraction * self._stages))
            return min(self._end, self._plan.cursor(1 - left))
        stage = 1 + int(fraction / self._until * self._stages)
        if stage >= self._stages:
            return self._end
        way = 1.0 - (1.0 - stage / self._stages) ** 3
        start, end = self._plan.share(0), self._plan.share(self._end)
        return min(self._end, self._plan.cursor(start + way * (end - start)))

    def due(self, fraction: float) -> bool:
        """Whether filters must be cut at this fraction of the run.

        Masks need no other network: they grow here, and are applied after the step.
        """
        cursor = self.cursor_at(fraction)
        if cursor <= self._cursor:
            return False
        if isinstance(self._plan, FilterPlan):
            return True
        self._move(cursor)
        return False

    def update(self, fraction: float, trained: NetworkInTraining) -> None:
        """Cut the filters that are due, in place."""
        cursor = max(self._cursor, self.cursor_at(fraction))
        if isinstance(self._plan, FilterPlan):
            before, after = self._plan.kept(self._cursor), self._plan.kept(cursor)
            cut_in_training(trained, self._plan.coupling, before=before, after=after)
        self._move(cursor)
        self.after_step(trained.network)

    def before_step(self, network: Network) -> None:
        """Take removed weights out of the gradient."""
        if self._removed is not None:
            _ignore_removed(network, self._removed)

    def after_step(self, network: Network) -> None:
        """Set removed weights back to exactly zero."""
        if self._removed is None:
            masks = self._plan.shape(self._cursor).masks
            if self._anew:
                masks = _largest_weights(masks, network, among=self._masks)
            self._masks = masks
            self._removed = _removed_weights(masks, network)
        _zero_removed(network, self._removed)

    def _move(self, cursor: int) -> None:
        self._cursor, self._removed = cursor, None

    def shape(self) -> PrunedShape:
        """Return the present form, with its entry in the pruning history."""
        stand = self._plan.shape(self._cursor)
        share = self._share if self.settled else self._plan.share(self._cursor)
        entry = self._plan.entry(share) | {"stages": self._stages}
        if self._schedule != "cubic":
            entry["schedule"] = self._schedule
        history = (*self._plan.checkpoint.pruning, entry)
        masks = self._masks if self._anew and self._removed is not None else stand.masks
        return PrunedShape(stand.widths, masks, history)


def _removed_weights(masks: Masks, network: nn.Module) -> dict[str, torch.Tensor]:
    """Turn masks (True = kept) round, beside the parameters that they belong to."""
    parameters = dict(network.named_parameters())
    removed = {}
    for name, mask in masks.items():
        # Same strides as the weights (channels_last, mostly): no slow mixed access.
        twin = torch.empty_like(parameters[name], dtype=torch.bool)
        removed[name] = twin.copy_(mask.logical_not())
    return removed


@torch.no_grad()
def _largest_weights(
    masks: Masks, network: nn.Module, *, among: Masks
) -> dict[str, torch.Tensor]:
    """Keep as many weights as masks do, but those that are largest at present.

    `among`: weights that are still there, True = kept; parameters not named are whole.
    """
    parameters = dict(network.named_parameters())
    chosen = {}
    for name, mask in masks.items():
        size = parameters[name].detach().abs().cpu()
        if name in among:
            size = size.masked_fill(~among[name], -1.0)
        # Sorted stably, so that ties go by position as they do in a plan.
        first = size.flatten().argsort(descending=True, stable=True)[: int(mask.sum())]
        kept = torch.zeros(size.numel(), dtype=torch.bool)
        kept[first] = True
        chosen[name] = kept.view(size.shape)
    return chosen


def _ignore_removed(network: nn.Module, removed: Masks) -> None:
    """Take removed weights out of the gradient, in place."""
    parameters = dict(network.named_parameters())
    for name, gone in removed.items():
        gradient = parameters[name].grad
        if gradient is not None:
            gradient.masked_fill_(gone, 0.0)


@torch.no_grad()
def _zero_removed(network: nn.Module, removed: Masks) -> None:
    """Set removed weights to exactly zero, in place."""
    parameters = dict(network.named_parameters())
    for name, gone in removed.items():
        parameters[name].masked_fill_(gone, 0.0)
