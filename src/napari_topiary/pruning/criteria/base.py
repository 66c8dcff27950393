"""The registry of criteria and what a criterion is given.

A criterion is a function `score(subject) -> {name: scores}`. For filters the names are
those of the coupled groups and the scores `(channels,)`; for weights the names are
parameter names and the scores have the parameter's shape. The lowest goes first, ties
by position. A criterion that finds an *order* (a greedy search, say) returns each
channel's place in it as its score.

A criterion that takes its time is a job instead, `search(subject, config) ->
Job[Search]`, whose result is the order itself; stopped, it returns what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig, PruneKind
from napari_topiary.pruning.search.record import Search
from napari_topiary.pruning.structure import Coupling
from napari_topiary.registry import Registry
from napari_topiary.types import Job

if TYPE_CHECKING:
    from napari_topiary.io.dataset import Sample


@dataclass(frozen=True)
class Subject:
    """What a criterion may look at.

    Parameters
    ----------
    checkpoint
        The network to be pruned; its state is float32 on the CPU.
    coupling
        Its groups and layers.
    prunable
        Names of the parameters whose single weights may go.
    samples
        Annotated images, for criteria that measure a loss; often none.
    device
        Where a criterion that runs the network is to do so.
    """

    checkpoint: Checkpoint
    coupling: Coupling
    prunable: tuple[str, ...]
    samples: Sequence[Sample] = ()
    device: str = "auto"


@dataclass(frozen=True)
class Criterion:
    """An entry of the registry.

    Parameters
    ----------
    removes
        Which kind of pruning it can rank for.
    score
        See the module's text; None for one that searches.
    needs_samples
        Whether it cannot work without annotated images.
    search
        See the module's text; for filters only.
    """

    removes: PruneKind
    score: Callable[[Subject], Mapping[str, torch.Tensor]] | None = None
    needs_samples: bool = False
    search: Callable[[Subject, PruneConfig], Job[Search]] | None = None


criteria: Registry[Criterion] = Registry("criterion")
