"""Each network's own best thresholds, found on truth.

Pruning shifts how sure a network is before it costs quality, so networks are compared
where each is at its best as well as at a common threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary.data.working_grid import to_original
from napari_topiary.evaluation.ground_truth import Truth
from napari_topiary.evaluation.particles import points_inside
from napari_topiary.evaluation.thresholds import (
    best_detection_threshold,
    best_of_histogram,
    probability_histogram,
)
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Detections, Prediction, Task

LOWEST_SCORE = 0.05
"""Particles below this score are not considered."""

NEVER = 2.0
"""A threshold that no probability reaches."""

Pair = tuple[NDArray[np.float64], Detections, float]


@dataclass(frozen=True)
class Sweep:
    """What is needed to find the best threshold of each class; adds up over images.

    Parameters
    ----------
    particles
        Class name -> per image: true coordinates, what was found with a low threshold,
        tolerance in pixels.
    pixels
        Class name -> histogram `(2, 1024)`.
    """

    particles: Mapping[str, tuple[Pair, ...]] = field(default_factory=dict)
    pixels: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def __add__(self, other: Sweep) -> Sweep:
        """Pool the images of two sweeps."""
        particles = {
            name: self.particles.get(name, ()) + other.particles.get(name, ())
            for name in {**self.particles, **other.particles}
        }
        pixels = {**self.pixels}
        for name, counts in other.pixels.items():
            pixels[name] = pixels[name] + counts if name in pixels else counts
        return Sweep(particles, pixels)

    def best(self) -> dict[str, tuple[float, float]]:
        """Class name -> best threshold and what it reaches.

        That is F1 for classes of particles, Dice for all others. Classes that are
        not in the truth are left out.
        """
        found = {}
        for name, pairs in self.particles.items():
            # One sweep over all images needs one tolerance: everything in units of it.
            images = [
                (truth / reach, replace(mine, coordinates=mine.coordinates / reach))
                for truth, mine, reach in pairs
            ]
            if any(len(truth) for truth, _ in images):
                found[name] = best_detection_threshold(images, 1.0)
        for name, counts in self.pixels.items():
            if counts[1].any():
                found[name] = best_of_histogram(counts)
        return found


def sweep(
    prediction: Prediction,
    truth: Truth,
    *,
    reading: PostProcessing,
    tolerance_px: NDArray[np.float64],
) -> Sweep:
    """Gather what one image says about thresholds.

    Parameters
    ----------
    prediction
        Its probability is used, not its labels or detections.
    truth
        Of the same image.
    reading
        Radii, filament classes and spacing; its thresholds are not used.
    tolerance_px
        `(k,)` from `tolerances`, in pixels of the image.
    """
    task = prediction.task
    particles, pixels = {}, {}
    # Lines are judged by pixels: no need to trace them.
    low = {
        name: LOWEST_SCORE if by_particle(task, name, reading) else NEVER
        for name in task.classes[1:]
    }
    found = replace(reading, thresholds=low).detections(
        prediction.probability, prediction.shape, task
    )
    found = _inside(found, truth)
    marked = _inside(truth.particles, truth)
    known = truth.classes >= 0
    full = to_original(prediction.probability, prediction.shape)
    for index, name in enumerate(task.classes[1:], start=1):
        if by_particle(task, name, reading):
            mine = _of_class(found, index)
            there = _of_class(marked, index).coordinates
            particles[name] = ((there, mine, float(tolerance_px[index])),)
        else:
            there_px = truth.classes[known] == index
            pixels[name] = probability_histogram(there_px, full[index][known])
    return Sweep(particles, pixels)


def by_particle(task: Task, name: str, reading: PostProcessing) -> bool:
    """Whether a class is judged by its particles (F1) rather than by pixels (Dice)."""
    return task.kind == "detect" and name not in reading.line_classes


def _of_class(found: Detections, index: int) -> Detections:
    mine = found.class_index == index
    return Detections(
        found.coordinates[mine], found.class_index[mine], found.score[mine]
    )


def _inside(found: Detections, truth: Truth) -> Detections:
    """Particles in the finished areas."""
    keep = points_inside(found.coordinates, truth.area)
    return Detections(
        found.coordinates[keep], found.class_index[keep], found.score[keep]
    )
