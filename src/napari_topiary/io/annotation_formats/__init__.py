"""One file per format of annotations; every module in this folder is loaded."""

from napari_topiary.io.annotation_formats.base import (
    AnnotationFormat,
    DrawnArea,
    Marks,
    WritingFormat,
    annotation_formats,
    check_one_slice,
    format_of,
    marks_inside,
    read_marks,
    readable_tables,
    writing_formats,
)
from napari_topiary.registry import find_members

find_members(__name__, __path__)

__all__ = [
    "AnnotationFormat",
    "DrawnArea",
    "Marks",
    "WritingFormat",
    "annotation_formats",
    "check_one_slice",
    "format_of",
    "marks_inside",
    "read_marks",
    "readable_tables",
    "writing_formats",
]
