"""Checkpoints judged on annotated images: one, or several side by side."""

from napari_topiary.evaluation.evaluate import (
    COMMON_THRESHOLD,
    evaluate,
    known_from_training,
)
from napari_topiary.evaluation.table import (
    ComparisonTable,
    SideBySide,
    compare_checkpoints,
)

__all__ = [
    "COMMON_THRESHOLD",
    "ComparisonTable",
    "SideBySide",
    "compare_checkpoints",
    "evaluate",
    "known_from_training",
]
