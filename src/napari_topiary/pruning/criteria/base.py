"""The registry of criteria and what a criterion is given.

A criterion is a function `score(subject) -> {name: scores}`. For filters the names are
those of the coupled groups and the scores `(channels,)`; for weights the names are
parameter names and the scores have the parameter's shape. The lowest goes first, ties
by position. A criterion that finds an *order* (a greedy search, say) returns each
channel's place in it as its score.

A new criterion is a new file in this folder that registers a `Criterion`.

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
from napari_topiary.errors import TopiaryError
from napari_topiary.pruning.structure import Coupling, Search
from napari_topiary.registry import Registry
from napari_topiary.types import Job

if TYPE_CHECKING:
    from napari_topiary.io.dataset import Sample


@dataclass(frozen=True, kw_only=True)
class CriterionInput:
    """What a criterion may look at."""

    checkpoint: Checkpoint  #: The network to be pruned; its state is float32 on the CPU
    coupling: Coupling
    prunable: tuple[str, ...]  #: Names of the parameters whose single weights may go
    #: Annotated images, for criteria that measure a loss; often none
    samples: Sequence[Sample] = ()
    device: str = "auto"  #: Where a criterion that runs the network is to do so


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """An entry of the registry: all that is said of a criterion anywhere."""

    removes: PruneKind  #: Which kind of pruning it can rank for
    #: `title`, `tip`: what it is called where one is chosen, and a sentence on what
    #: goes first
    title: str
    tip: str
    by: str  #: What things are chosen by, to end a sentence with ("their magnitude")
    #: See the module's text; None for one that searches
    score: Callable[[CriterionInput], Mapping[str, torch.Tensor]] | None = None
    needs_samples: bool = False  #: Whether it cannot work without annotated images
    #: See the module's text; for filters only
    search: Callable[[CriterionInput, PruneConfig], Job[Search]] | None = None
    #: Where it stands among the others of its kind: the first is the usual one
    place: int = 100


criteria: Registry[Criterion] = Registry("criterion")


def criteria_for(kind: PruneKind) -> list[str]:
    """Names of the criteria that rank for a kind of pruning, the usual one first."""
    known = [name for name in criteria if criteria[name].removes == kind]
    return sorted(known, key=lambda name: criteria[name].place)


def criterion_of(config: PruneConfig, *, samples: bool) -> Criterion:
    """Return the criterion of a form, or say in a sentence why it cannot be used.

    Raises
    ------
    TopiaryError
        If there is none of that name, or it ranks something else, or needs images.
    """
    name, kind = config.criterion, config.kind
    try:
        criterion = criteria[name]
    except ValueError as error:
        raise TopiaryError(str(error)) from None
    if criterion.removes != kind:
        fitting = criteria_for(kind)
        things = "Single weights" if kind == "weights" else "Filters"
        raise TopiaryError(
            f"The criterion {name} ranks {criterion.removes}, not {kind}. {things} are "
            f"chosen by {' or by '.join(criteria[n].by for n in fitting)}: use "
            f"criterion {' or '.join(fitting)}."
        )
    if criterion.needs_samples and not samples:
        raise TopiaryError(
            f"The criterion {name} measures the loss on annotated images and there are "
            "none: annotate one (on the command line, give --data), or choose another "
            "criterion."
        )
    return criterion
