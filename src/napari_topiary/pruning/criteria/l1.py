"""Filters by the sum of their absolute weights (Li et al. 2017).

Where several layers are added up, a channel's score is the sum over those layers.
Biases and normalisations do not count.
"""

from __future__ import annotations

import torch

from napari_topiary.pruning.criteria.base import Criterion, CriterionInput, criteria
from napari_topiary.pruning.structure import ChannelGroup


def score(subject: CriterionInput) -> dict[str, torch.Tensor]:
    """L1 norm `(channels,)` of every channel of every group."""
    return {group.name: _norms(subject, group) for group in subject.coupling.groups}


def _norms(subject: CriterionInput, group: ChannelGroup) -> torch.Tensor:
    total = torch.zeros(group.channels)
    for cut in group.cuts:
        facts = subject.coupling.layers[cut.layer]
        if cut.side == "in" or facts.kind == "norm":
            continue
        weight = subject.checkpoint.state[f"{cut.layer}.weight"].float()
        if facts.kind == "transposed":
            weight = weight.transpose(0, 1)
        norms = weight.abs().flatten(1).sum(1)
        total.index_add_(0, torch.from_numpy(cut.roots), norms[cut.places])
    return total


criteria.register("l1")(
    Criterion(
        removes="filters",
        title="L1 norm",
        tip="The filters whose weights are smallest in sum go first.",
        by="their L1 norm",
        score=score,
        place=0,
    )
)
