"""What counts as unimportant: one file a criterion, found by itself."""

from napari_topiary.pruning.criteria.base import (
    Criterion,
    CriterionInput,
    criteria,
    criteria_for,
    criterion_of,
)
from napari_topiary.registry import find_members

find_members(__name__, __path__)

__all__ = ["Criterion", "CriterionInput", "criteria", "criteria_for", "criterion_of"]
