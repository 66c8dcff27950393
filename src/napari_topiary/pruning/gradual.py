"""Gradual pruning: remove along a plan while the network is being fine-tuned.

Cutting nine tenths at once leaves a network that can be beyond repair; cutting a
little, learning, and cutting on does not. The share removed follows a cubic curve
(fast while there is plenty, slow towards the end; Zhu & Gupta 2017) over the first part
of the run and ends exactly at the slider's position; the rest of the run is for the
final form alone. Filters go physically, so training gets faster on the way.
"""

from __future__ import annotations

import numpy as np
import torch

from napari_topiary.networks.base import Network
from napari_topiary.pruning.filter_plan import FilterPlan
from napari_topiary.pruning.masks import removed_weights, zero_removed
from napari_topiary.pruning.plan import PruningPlan
from napari_topiary.pruning.surgery import (
    Indices,
    kept_indices,
    layer_widths,
    network_like,
    slice_tensors,
)
from napari_topiary.shaping import Shape

ABOVE_RATIO = 4.0
"""Compression ratio above which removal is gradual by default."""
FILTER_STAGES = 8
WEIGHT_STAGES = 40


def shaper_for(plan: PruningPlan, share: float) -> GradualPruning:
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
    """A `Shaper` that walks a plan to a position.

    Parameters
    ----------
    plan
        Made for the checkpoint that fine-tuning starts from.
    share
        Where to end: share of the unpruned network's weights removed.
    until
        Part of the run (0..1) after which the final form is reached.
    stages
        How many times something is removed, 1 = all before the first step; None = as
        suits the kind. Every cut of filters sets the optimizer back, so they go in few
        steps; masks may grow in many.
    """

    def __init__(
        self,
        plan: PruningPlan,
        share: float,
        *,
        until: float = 0.5,
        stages: int | None = None,
    ) -> None:
        self._plan = plan
        self._share = share
        self._until = until
        usual = FILTER_STAGES if isinstance(plan, FilterPlan) else WEIGHT_STAGES
        self._stages = max(1, usual if stages is None else stages)
        self._end = plan.cursor(share)
        self._cursor = 0
        self._removed: dict[str, torch.Tensor] | None = None

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

    def update(self, fraction: float, network: Network) -> Network:
        """Return the network with the filters cut that are due."""
        cursor = max(self._cursor, self.cursor_at(fraction))
        if isinstance(self._plan, FilterPlan):
            network = _cut(network, self._plan, (self._cursor, cursor))
        self._move(cursor)
        self.after_step(network)
        return network

    def after_step(self, network: Network) -> None:
        """Set removed weights back to exactly zero."""
        if self._removed is None:
            masks = self._plan.form(self._cursor).masks
            self._removed = removed_weights(masks, network)
        zero_removed(network, self._removed)

    def _move(self, cursor: int) -> None:
        self._cursor, self._removed = cursor, None

    def shape(self) -> Shape:
        """Return the present form, with its entry in the pruning history."""
        form = self._plan.form(self._cursor)
        share = self._share if self.settled else self._plan.share(self._cursor)
        entry = self._plan.entry(share) | {"stages": self._stages}
        history = (*self._plan.checkpoint.pruning, entry)
        return Shape(form.widths, form.masks, history)


def _cut(network: Network, plan: FilterPlan, cursors: tuple[int, int]) -> Network:
    """Take a network that stands at one position of a plan to a later one."""
    before, after = (kept_indices(plan.coupling, plan.kept(c)) for c in cursors)
    steps = {}
    for name, index in after.items():
        old = before.get(name, Indices())
        steps[name] = Indices(
            _within(old.out, index.out), _within(old.into, index.into)
        )
    tensors = {
        name: tensor.detach()
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    cut = {
        name: _laid_out(tensor, tensors[name])
        for name, tensor in slice_tensors(tensors, plan.coupling, steps).items()
    }
    return network_like(network, cut, layer_widths(plan.coupling, after))


def _laid_out(tensor: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
    """Lay a tensor out in memory as `model` is: slicing undoes channels_last."""
    last = model.dim() == 4 and model.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return tensor.contiguous(memory_format=layout)


def _within(old: torch.Tensor | None, new: torch.Tensor | None) -> torch.Tensor | None:
    """Where the indices `new` sit in the ascending list `old` (None = everything)."""
    if new is None or old is None:
        return new
    return torch.from_numpy(np.searchsorted(old.numpy(), new.numpy()))
