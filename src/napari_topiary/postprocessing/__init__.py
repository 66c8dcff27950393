"""Probability -> particles, traced lines, objects and labels; fast enough to be live.

Nothing here runs a network: thresholds, spacing and sizes can be moved while looking.
"""

from napari_topiary.postprocessing.detections import (
    above,
    find_detections,
    find_particles,
)
from napari_topiary.postprocessing.labels import (
    COMMON_THRESHOLD,
    Numbering,
    class_labels,
    threshold_of,
)
from napari_topiary.postprocessing.lines import line_lengths, trace_lines
from napari_topiary.postprocessing.objects import Seeds, grow_objects, label_objects

__all__ = [
    "COMMON_THRESHOLD",
    "Numbering",
    "Seeds",
    "above",
    "class_labels",
    "find_detections",
    "find_particles",
    "grow_objects",
    "label_objects",
    "line_lengths",
    "threshold_of",
    "trace_lines",
]
