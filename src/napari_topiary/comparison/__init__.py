"""Two predictions of one image: what was kept, lost, gained, and where it differs."""

from napari_topiary.comparison.changes import Changes
from napari_topiary.comparison.compare import agreement, compare
from napari_topiary.comparison.comparison import Comparison
from napari_topiary.comparison.lines import LineChanges
from napari_topiary.comparison.places import Place

__all__ = ["Changes", "Comparison", "LineChanges", "Place", "agreement", "compare"]
