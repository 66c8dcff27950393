"""What runs a network's arithmetic. A new one is a new file here that registers."""

from napari_topiary.inference.backends.base import (
    Backend,
    BackendKind,
    backend_kind,
    backends,
    same_labels,
)
from napari_topiary.registry import find_members

find_members(__name__, __path__)

__all__ = ["Backend", "BackendKind", "backend_kind", "backends", "same_labels"]
