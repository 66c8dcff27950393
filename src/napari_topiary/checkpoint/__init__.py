"""The one file that rebuilds a network, and the value that it is in memory."""

from napari_topiary.checkpoint.checkpoint import Checkpoint, factor_at, load_checkpoint

__all__ = ["Checkpoint", "factor_at", "load_checkpoint"]
