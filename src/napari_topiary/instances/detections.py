"""Probability of all classes -> one table of detections."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary.instances.labels import threshold_of
from napari_topiary.instances.lines import trace_lines
from napari_topiary.instances.particles import find_particles, thin_out
from napari_topiary.types import Detections, Task

LINE_RADIUS = 3.0
"""Half-width taken for filaments of unknown width, in pixels."""


def find_detections(
    probability: NDArray[np.floating],
    *,
    task: Task,
    radius_px: Mapping[str, float],
    threshold: float | Mapping[str, float],
    spacing: float = 1.0,
    line_classes: Collection[str] = frozenset(),
) -> Detections:
    """Find particles and trace filaments.

    Two particles are never closer than `spacing` times the (smaller) radius, whatever
    their classes: a virus has one class, the better-scored one.

    Parameters
    ----------
    probability
        `(k, y, x)`, class order of the task.
    task
        Names the classes.
    radius_px
        Class name -> radius in pixels of `probability` (half the width of filaments).
        For a class that is missing every connected area is one particle.
    threshold
        Lowest score that counts: one for all classes, or class name -> threshold.
    spacing
        Smallest distance of two particles, in radii.
    line_classes
        Classes that are filaments.

    Returns
    -------
    Detections
        In pixels of `probability`; particles sorted by score, best first.
    """
    coordinates, classes, scores, reaches = [], [], [], []
    lines: list[NDArray[np.float64]] = []
    line_class: list[int] = []
    line_score: list[float] = []
    for index, name in enumerate(task.classes):
        if index == 0:
            continue
        limit, radius = threshold_of(name, threshold), radius_px.get(name)
        if name in line_classes:
            paths, quality = trace_lines(
                probability[index], radius=radius or LINE_RADIUS, threshold=limit
            )
            lines += paths
            line_class += [index] * len(paths)
            line_score += quality
            continue
        where, score = find_particles(
            probability[index], radius=radius, threshold=limit
        )
        coordinates.append(where)
        scores.append(score)
        classes.append(np.full(len(score), index, dtype=np.int64))
        reaches.append(np.full(len(score), spacing * (radius or 0.0)))
    particles = Detections.empty()
    if coordinates:
        particles = _best_apart(
            Detections(
                np.concatenate(coordinates),
                np.concatenate(classes),
                np.concatenate(scores),
            ),
            np.concatenate(reaches),
        )
    return replace(
        particles,
        lines=tuple(lines),
        line_class=np.array(line_class, dtype=np.int64),
        line_score=np.array(line_score, dtype=np.float64),
    )


def above(
    found: Detections, task: Task, threshold: float | Mapping[str, float]
) -> Detections:
    """Particles that reach the threshold; the same as finding them with it.

    Parameters
    ----------
    found
        Found with a lower threshold. Its lines are kept as they are.
    task
        Names the classes.
    threshold
        One for all classes, or class name -> threshold.
    """
    limits = np.array([threshold_of(name, threshold) for name in task.classes])
    good = found.score >= limits[found.class_index]
    return replace(
        found,
        coordinates=found.coordinates[good],
        class_index=found.class_index[good],
        score=found.score[good],
    )


def _best_apart(found: Detections, reach: NDArray[np.float64]) -> Detections:
    keep = np.flatnonzero(thin_out(found.coordinates, found.score, reach))
    keep = keep[np.argsort(-found.score[keep], kind="stable")]
    return Detections(
        found.coordinates[keep], found.class_index[keep], found.score[keep]
    )
