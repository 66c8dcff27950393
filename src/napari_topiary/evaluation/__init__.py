"""Checkpoints judged on annotated images: one, or several side by side."""

from napari_topiary.evaluation.evaluate import COMMON_THRESHOLD, evaluate

__all__ = ["COMMON_THRESHOLD", "evaluate"]
