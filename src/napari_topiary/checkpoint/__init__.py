"""The one file that rebuilds a network, and the value that it is in memory."""

from napari_topiary.checkpoint.checkpoint import Checkpoint, factor_at, load_checkpoint
from napari_topiary.checkpoint.contrast import Contrast
from napari_topiary.checkpoint.normalisation import Normalisation

__all__ = ["Checkpoint", "Contrast", "Normalisation", "factor_at", "load_checkpoint"]
