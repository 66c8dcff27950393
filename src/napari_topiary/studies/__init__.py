"""Published experiments redone on the user's data, beside the published numbers."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from napari_topiary.studies.base import Budget, Study, studies
from napari_topiary.studies.learning_curve import LearningCurve, learning_curve
from napari_topiary.studies.running import run_study

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Budget",
    "LearningCurve",
    "Study",
    "learning_curve",
    "run_study",
    "studies",
]
