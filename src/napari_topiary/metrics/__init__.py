"""Every quality figure of the project, defined once.

A ratio without anything to count is NaN, except where nothing was there and nothing
was found, which is perfect (1).
"""

from napari_topiary.metrics.matching import (
    DetectionCounts,
    count_detections,
    detection_metrics,
    match_points,
    points_inside,
)
from napari_topiary.metrics.objects import Overlaps, instance_metrics, overlaps
from napari_topiary.metrics.paths import LineCounts, count_lines, sample_points
from napari_topiary.metrics.pixels import PixelCounts, count_pixels, pixel_metrics
from napari_topiary.metrics.thresholds import (
    BINS,
    best_detection_threshold,
    best_of_histogram,
    best_pixel_threshold,
    dice_of_histogram,
    probability_histogram,
    steady_detection_threshold,
)
from napari_topiary.metrics.votes import Zones, count_votes, particle_zones

__all__ = [
    "BINS",
    "DetectionCounts",
    "LineCounts",
    "Overlaps",
    "PixelCounts",
    "Zones",
    "best_detection_threshold",
    "best_of_histogram",
    "best_pixel_threshold",
    "count_detections",
    "count_lines",
    "count_pixels",
    "count_votes",
    "detection_metrics",
    "dice_of_histogram",
    "instance_metrics",
    "match_points",
    "overlaps",
    "particle_zones",
    "pixel_metrics",
    "points_inside",
    "probability_histogram",
    "sample_points",
    "steady_detection_threshold",
]
