"""Weights by their absolute value: small ones change the answer least."""

from __future__ import annotations

import torch

from napari_topiary.pruning.criteria.base import Criterion, CriterionInput, criteria


def score(subject: CriterionInput) -> dict[str, torch.Tensor]:
    """Absolute value of every prunable weight, in the parameters' shapes."""
    return {name: subject.checkpoint.state[name].abs() for name in subject.prunable}


criteria.register("magnitude")(
    Criterion(
        removes="weights",
        title="magnitude",
        tip="The weights that are closest to zero go first.",
        by="their magnitude",
        score=score,
        place=0,
    )
)
