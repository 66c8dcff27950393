"""The one file that rebuilds a network, and the value that it is in memory."""

from napari_topiary.checkpoint.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.checkpoint.normalisation import Normalisation

__all__ = ["Checkpoint", "Normalisation", "load_checkpoint"]
