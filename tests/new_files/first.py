"""Filters in the order in which they stand."""

import torch

from napari_topiary.pruning.criteria.base import Criterion, criteria


def score(subject):
    groups = subject.coupling.groups
    return {group.name: torch.arange(float(group.channels)) for group in groups}


criteria.register("first")(
    Criterion(
        removes="filters",
        title="their place",
        tip="The first filter of a layer goes first.",
        by="their place",
        score=score,
    )
)
