"""Networks for other programs: one file per format, found in a registry."""

from napari_topiary.export.base import (
    Exported,
    ExportFormat,
    export_formats,
    export_network,
    export_target,
)
from napari_topiary.registry import find_members

find_members(__name__, __path__)

__all__ = [
    "ExportFormat",
    "Exported",
    "export_formats",
    "export_network",
    "export_target",
]
