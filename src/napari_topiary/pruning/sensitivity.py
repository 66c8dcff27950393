"""What it costs to cut one layer, and only that one: where a network can spare filters.

For every layer the loss is measured when a quarter, a half and three quarters of its
filters are gone, weakest first, and all other layers are whole. What lies below the
layer is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.devices import pick_device
from napari_topiary.io.dataset import Sample
from napari_topiary.pruning.criteria import CriterionInput, criteria
from napari_topiary.pruning.making import structure
from napari_topiary.pruning.search.ablation import AblatedNetwork
from napari_topiary.pruning.search.calibration import draw_calibration
from napari_topiary.pruning.search.greedy import WorkCounter
from napari_topiary.pruning.structure import ChannelGroup
from napari_topiary.types import Job, Progress, Stop

SHARES = (0.25, 0.5, 0.75)
BATCHES = 10


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What removing shares of single layers costs."""

    layers: tuple[str, ...]  #: Their names, in the order the network runs
    shares: tuple[float, ...]  #: Shares of a layer's filters that are gone, 0..1
    #: `(layers, shares)` loss above that of the whole network (below 0: it is better
    #: without); NaN where it was stopped before
    rise: NDArray[np.float64]
    #: `(layers, shares)` how many filters that is; one always stays
    removed: NDArray[np.int64]
    base: float  #: Loss of the whole network: mean cross-entropy of the mini-batches


def sensitivity(
    checkpoint: Checkpoint,
    samples: Sequence[Sample],
    *,
    shares: Sequence[float] = SHARES,
    criterion: str = "l1",
    device: str = "auto",
) -> Job[Sensitivity]:
    """Measure what cutting each layer costs.

    Parameters
    ----------
    checkpoint
        The network; it is not changed.
    samples
        Annotated images.
    shares
        Of a layer's filters, 0..1.
    criterion
        Ranks the filters of a layer; one that reads weights only.
    device
        Where to compute.

    Yields
    ------
    Progress
        After every layer, with the time left; a `Stop` sent in keeps what is measured.
    """
    samples = tuple(one.read_marked(checkpoint.task) for one in samples)
    score = _score_of(criterion, samples)
    yield Progress(0, 0, "Drawing patches to measure on")
    network, coupling = structure(checkpoint)
    scores = score(
        CriterionInput(
            checkpoint=checkpoint, coupling=coupling, prunable=(), samples=samples
        )
    )
    calibration = draw_calibration(
        checkpoint, samples, batches=BATCHES, seed=0, device=pick_device(device)
    )
    ablated = AblatedNetwork(network, coupling, calibration)
    groups = [group for _, group in ablated.groups]
    removed = _removed(groups, shares)
    rise, base = np.full(removed.shape, np.nan), float("nan")
    prices = ablated.prices()
    counter = WorkCounter(sum(prices.values()))
    for row, ablation in enumerate(ablated.each(groups)):
        if row == 0:
            base = ablation.loss()
        order = np.argsort(scores[ablation.group.name].numpy(), kind="stable").tolist()
        for column, count in enumerate(removed[row]):
            rise[row, column] = ablation.loss_without(order[:count]) - base
        message = yield counter.after(
            prices[ablation.group.name], f"Measuring layers: {ablation.group.name}"
        )
        if message is Stop:
            break
    layers, shares = tuple(group.name for group in groups), tuple(shares)
    return Sensitivity(
        layers=layers, shares=shares, rise=rise, removed=removed, base=base
    )


def _removed(
    groups: Sequence[ChannelGroup], shares: Sequence[float]
) -> NDArray[np.int64]:
    """How many filters are shares of each layer, `(layers, shares)`; one stays."""
    sizes = np.array([group.channels for group in groups], dtype=np.int64)
    removed = np.floor(np.outer(sizes, shares) + 0.5).astype(np.int64)
    return np.asarray(np.clip(removed, 0, sizes[:, None] - 1))


def _score_of(
    criterion: str, samples: Sequence[Sample]
) -> Callable[[CriterionInput], Mapping[str, torch.Tensor]]:
    """Return how a criterion ranks filters, or refuse what cannot be measured."""
    score = criteria[criterion].score
    if score is None or criteria[criterion].removes != "filters":
        raise TopiaryError(
            f"The criterion {criterion} cannot rank the filters of one layer on its "
            "own: use l1."
        )
    if not samples:
        raise TopiaryError(
            "How much each layer matters is measured on annotated images, and there "
            "are none: annotate one."
        )
    return score
