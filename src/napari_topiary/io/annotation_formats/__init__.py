"""One file per format of annotations; every module in this folder is loaded."""

from importlib import import_module
from pkgutil import iter_modules

from napari_topiary.io.annotation_formats.base import (
    AnnotationFormat,
    DrawnArea,
    Marks,
    WritingFormat,
    annotation_formats,
    format_of,
    read_marks,
    readable_tables,
    writing_formats,
)

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "AnnotationFormat",
    "DrawnArea",
    "Marks",
    "WritingFormat",
    "annotation_formats",
    "format_of",
    "read_marks",
    "readable_tables",
    "writing_formats",
]
