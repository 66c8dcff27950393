"""What counts as unimportant: one file a criterion, found by name."""

from napari_topiary.pruning.criteria.base import Criterion, Subject, criteria
from napari_topiary.pruning.criteria.l1 import l1
from napari_topiary.pruning.criteria.loss import loss
from napari_topiary.pruning.criteria.magnitude import magnitude

__all__ = ["Criterion", "Subject", "criteria", "l1", "loss", "magnitude"]
