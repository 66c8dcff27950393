"""What a person drew, as values, and the training target that it makes."""

from napari_topiary.annotations.base import (
    Annotation,
    LayerData,
    Table,
    TableAnnotation,
    Tool,
    annotation_kinds,
    kinds_in_order,
    rescaled,
)
from napari_topiary.annotations.centerlines import Centerlines
from napari_topiary.annotations.finished import (
    around_marks,
    counted,
    finished_area,
    finished_regions,
    marked_in_part,
    marks_outside,
    outside_note,
)
from napari_topiary.annotations.label_images import distance_map
from napari_topiary.annotations.labels import Labels, object_numbers
from napari_topiary.annotations.marks import MarkedThings, drawn_radii_nm
from napari_topiary.annotations.points import Points, zones_for
from napari_topiary.annotations.regions import Regions
from napari_topiary.annotations.targets import (
    Target,
    TargetConfig,
    annotation_problem,
    build_target,
    usable_annotations,
)
from napari_topiary.registry import find_members

find_members(__name__, __path__)

__all__ = [
    "Annotation",
    "Centerlines",
    "Labels",
    "LayerData",
    "MarkedThings",
    "Points",
    "Regions",
    "Table",
    "TableAnnotation",
    "Target",
    "TargetConfig",
    "Tool",
    "annotation_kinds",
    "annotation_problem",
    "around_marks",
    "build_target",
    "counted",
    "distance_map",
    "drawn_radii_nm",
    "finished_area",
    "finished_regions",
    "kinds_in_order",
    "marked_in_part",
    "marks_outside",
    "object_numbers",
    "outside_note",
    "rescaled",
    "usable_annotations",
    "zones_for",
]
