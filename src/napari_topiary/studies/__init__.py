"""Published experiments redone on the user's data, beside the published numbers."""

from __future__ import annotations

from napari_topiary.registry import find_members
from napari_topiary.studies.base import Budget, Study, studies
from napari_topiary.studies.learning_curve import LearningCurve, learning_curve
from napari_topiary.studies.running import run_study

find_members(__name__, __path__)

__all__ = ["Budget", "LearningCurve", "Study", "learning_curve", "run_study", "studies"]
