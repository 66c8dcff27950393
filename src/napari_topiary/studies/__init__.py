"""Published experiments redone on the user's data, beside the published numbers."""

from __future__ import annotations

from napari_topiary.registry import find_members
from napari_topiary.studies.base import Study, studies
from napari_topiary.studies.context import Budget
from napari_topiary.studies.running import run_study

find_members(__name__, __path__)

__all__ = ["Budget", "Study", "run_study", "studies"]
