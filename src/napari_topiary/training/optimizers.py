"""The optimizers that a form can ask for."""

from __future__ import annotations

from typing import Any

import torch

from napari_topiary.config import TrainConfig
from napari_topiary.training.muon import Muon


def optimizer_for(
    config: TrainConfig, groups: list[dict[str, Any]]
) -> torch.optim.Optimizer:
    """Make the optimizer that a form asks for."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "muon":
        return Muon(groups, lr=rate, weight_decay=decay)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, weight_decay=decay)
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(groups, lr=rate, weight_decay=decay)
