"""Every figure of quality: ground truth, metrics, thresholds, validate, compare.

A ratio without anything to count is NaN, except where nothing was there and nothing
was found, which is perfect (1).
"""

from napari_topiary.evaluation.compare import Comparison, compare
from napari_topiary.evaluation.evaluate import (
    evaluate,
    known_from_training,
    known_to_each,
)
from napari_topiary.evaluation.side_by_side import (
    ComparedImage,
    ComparisonTable,
    compare_checkpoints,
)

__all__ = [
    "ComparedImage",
    "Comparison",
    "ComparisonTable",
    "compare",
    "compare_checkpoints",
    "evaluate",
    "known_from_training",
    "known_to_each",
]
