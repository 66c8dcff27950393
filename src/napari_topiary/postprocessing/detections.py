"""Probability of all classes -> one table of detections.

Particles are peaks of a class's probability, smoothed as wide as a particle is. A
network that learned certain discs of 0.75 radii answers with plateaus, noisy and
sometimes touching. Smoothing by less than half a disc turns a plateau into one peak at
its centre and leaves touching neighbours apart; the score is then read from the
probability itself, so that a threshold means what it says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_topiary.annotations.label_images import EIGHT
from napari_topiary.postprocessing.labels import threshold_of
from napari_topiary.postprocessing.lines import trace_lines
from napari_topiary.types import Detections, Task

LINE_RADIUS = 3.0
"""Half-width taken for filaments of unknown width, in pixels."""

SMOOTHING = 1 / 3
"""Sigma of the smoothing, in particle radii. More fuses touching particles."""
CORE = 0.7
"""Radius of the disc whose mean probability is the score, in particle radii: nearly
the disc that the network has learned. A smaller one takes more specks for particles."""
COARSEST = 8.0
"""Particles are found on a grid where their radius is at least this many pixels."""
LEVELS = 4096
"""Steps in which peaks are told apart; finer ones are rounding noise of a plateau."""
FAINTEST = 0.1
"""A smoothed peak is at least this share of its core's mean, even in a corner."""


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
    lines: list[NDArray[np.float64]] = []
    line_class, line_score = list[int](), list[float]()
    for index, name in enumerate(task.classes):
        if name in line_classes and index:
            paths, quality = trace_lines(
                probability[index],
                radius=radius_px.get(name) or LINE_RADIUS,
                threshold=threshold_of(name, threshold),
            )
            lines += paths
            line_class += [index] * len(paths)
            line_score += quality
    found = candidates(
        probability,
        classes=[n for n in task.classes if n not in line_classes],
        task=task,
        radius_px=radius_px,
        threshold=threshold,
    )
    return replace(
        best_apart(found, task=task, radius_px=radius_px, spacing=spacing),
        lines=tuple(lines),
        line_class=np.array(line_class, dtype=np.int64),
        line_score=np.array(line_score, dtype=np.float64),
    )


def candidates(
    probability: NDArray[np.floating],
    *,
    classes: Collection[str],
    task: Task,
    radius_px: Mapping[str, float],
    threshold: float | Mapping[str, float],
) -> Detections:
    """Find the particles of some classes; neighbours are not yet thinned out.

    Parameters
    ----------
    probability, task, radius_px, threshold
        As for `find_detections`.
    classes
        Names of the classes.
    """
    found = Detections.empty()
    for index, name in enumerate(task.classes):
        if index == 0 or name not in classes:
            continue
        where, score = find_particles(
            probability[index],
            radius=radius_px.get(name),
            threshold=threshold_of(name, threshold),
        )
        found = Detections(
            np.concatenate([found.coordinates, where]),
            np.concatenate(
                [found.class_index, np.full(len(score), index, dtype=np.int64)]
            ),
            np.concatenate([found.score, score]),
        )
    return found


def best_apart(
    found: Detections, *, task: Task, radius_px: Mapping[str, float], spacing: float
) -> Detections:
    """Keep the best of particles that are too close, sorted by score, best first.

    Parameters
    ----------
    found
        All candidates.
    task, radius_px, spacing
        As for `find_detections`.
    """
    radii = np.array([radius_px.get(name, 0.0) for name in task.classes])
    reach = spacing * radii[found.class_index]
    keep = np.flatnonzero(thin_out(found.coordinates, found.score, reach))
    keep = keep[np.argsort(-found.score[keep], kind="stable")]
    return Detections(
        found.coordinates[keep], found.class_index[keep], found.score[keep]
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


def find_particles(
    probability: NDArray[np.floating], *, radius: float | None, threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find every peak of one class; neighbours are not yet thinned out.

    Parameters
    ----------
    probability
        `(y, x)` of one class.
    radius
        Particle radius in pixels; None = unknown, then every connected area above the
        threshold is one particle.
    threshold
        Lowest score that counts, 0..1.

    Returns
    -------
    tuple
        Coordinates `(n, 2)` y, x and scores `(n,)`.
    """
    probability = np.asarray(probability, dtype=np.float32)
    if radius is None:
        return _component_centroids(probability, threshold)
    # Larger than the image is as good as any: the memory follows the radius.
    radius = min(radius, 2.0 * max(probability.shape))
    step = shrinking(radius)
    small = _shrunk(probability, step)
    found = _peaks(small, radius=radius / step, threshold=threshold)
    # Block means sit at the middle of their block.
    coordinates = (found + 0.5) * step - 0.5
    coordinates = np.clip(coordinates, 0, np.array(probability.shape) - 1)
    score = disc_means(small, found, radius=max(1.0, CORE * radius / step))
    good = score >= threshold
    return coordinates[good], score[good]


def shrinking(radius: float) -> int:
    """Side of the blocks of pixels that particles of a radius are looked for in."""
    return max(1, int(radius // COARSEST))


def disc_means(
    image: NDArray[np.floating], centres: NDArray[np.float64], *, radius: float
) -> NDArray[np.float64]:
    """Mean of an image inside a disc around each centre, image border left out.

    Pixels on the rim count by how far inside they are, so that the mean does not jump
    with the sub-pixel position of the centre.

    Parameters
    ----------
    image
        `(y, x)`.
    centres
        `(n, 2)` y, x.
    radius
        In pixels.
    """
    reach = int(radius + 1.0)
    offsets = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    offsets = offsets[np.hypot(*offsets.T) <= radius + 1.2]
    at = np.rint(centres).astype(np.intp)[:, None, :] + offsets
    y, x = np.moveaxis(at, 2, 0)
    weight = np.hypot(y - centres[:, :1], x - centres[:, 1:])
    weight = np.clip(radius + 0.5 - weight, 0.0, 1.0)
    weight *= (y >= 0) & (x >= 0) & (y < image.shape[0]) & (x < image.shape[1])
    values = image[y.clip(0, image.shape[0] - 1), x.clip(0, image.shape[1] - 1)]
    means: NDArray[np.float64] = (values * weight).sum(axis=1) / weight.sum(axis=1)
    return means


def thin_out(
    coordinates: NDArray[np.float64],
    score: NDArray[np.float64],
    reach: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Which of several detections stay when the best of each neighbourhood wins.

    The answer is the greedy one (best first, each removes what is too close), reached
    in a few rounds over arrays. It depends on better-scored neighbours only: raising a
    threshold afterwards is the same as having started with it.

    Parameters
    ----------
    coordinates
        `(n, 2)` y, x.
    score
        `(n,)`.
    reach
        `(n,)` smallest distance each tolerates; of a pair the smaller one counts.
    """
    keep = np.ones(len(score), dtype=bool)
    if len(score) < 2:
        return keep
    rank = np.empty(len(score), dtype=np.intp)
    rank[np.lexsort((np.arange(len(score)), -score))] = np.arange(len(score))
    pairs = scipy.spatial.cKDTree(coordinates).query_pairs(
        float(reach.max()), output_type="ndarray"
    )
    distance = np.linalg.norm(
        coordinates[pairs[:, 0]] - coordinates[pairs[:, 1]], axis=1
    )
    pairs = pairs[distance < reach[pairs].min(axis=1)]
    swap = rank[pairs[:, 0]] > rank[pairs[:, 1]]
    better = np.where(swap, pairs[:, 1], pairs[:, 0])
    worse = np.where(swap, pairs[:, 0], pairs[:, 1])
    while len(better):
        winner = np.ones(len(score), dtype=bool)
        winner[worse] = False
        keep[worse[winner[better]]] = False
        open_ = keep[better] & keep[worse]
        better, worse = better[open_], worse[open_]
    return keep


def _peaks(
    probability: NDArray[np.float32], *, radius: float, threshold: float
) -> NDArray[np.float64]:
    """Sub-pixel positions `(n, 2)` of the smoothed probability's maxima."""
    # Zeros beyond the border: a particle cut by it leans inwards a little, where
    # mirrored values would fuse it with its own mirror image.
    smooth = ndi.gaussian_filter(
        probability, SMOOTHING * radius, truncate=3.0, mode="constant"
    )
    smooth = np.pad(smooth, 1)
    steps = np.rint(smooth * LEVELS).astype(np.int16)
    rows = np.maximum(np.maximum(steps[:-2], steps[1:-1]), steps[2:])
    highest = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    peak = steps[1:-1, 1:-1] == highest
    peak &= highest >= max(1, round(FAINTEST * threshold * LEVELS))
    plateaus, count = ndi.label(peak, structure=EIGHT)
    if count == 0:
        return np.zeros((0, 2))
    y, x = np.nonzero(peak)
    index = plateaus[y, x] - 1
    size = np.bincount(index, minlength=count)
    centre = np.stack(
        [np.bincount(index, weights=at, minlength=count) / size for at in (y, x)],
        axis=1,
    )
    return _refined(smooth, centre)


def _refined(
    padded: NDArray[np.float32], centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Move each peak to the top of the parabola through its neighbours, per axis."""
    y, x = np.rint(centre).astype(np.intp).T + 1
    here = padded[y, x]
    refined = centre.copy()
    for axis, (before, after) in enumerate(
        [(padded[y - 1, x], padded[y + 1, x]), (padded[y, x - 1], padded[y, x + 1])]
    ):
        bend = 2.0 * here - before - after
        sharp = bend > 1e-6
        shift = np.where(sharp, (after - before) / np.where(sharp, 2 * bend, 1.0), 0.0)
        fitted = np.rint(centre[:, axis]) + np.clip(shift, -0.5, 0.5)
        refined[:, axis] = np.where(sharp, fitted, centre[:, axis])
    limit = np.array(padded.shape) - 3
    return np.clip(refined, 0, limit)


def _component_centroids(
    probability: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    components, count = ndi.label(probability >= threshold)
    if count == 0:
        return np.zeros((0, 2)), np.zeros(0)
    y, x = np.nonzero(components)
    index = components[y, x] - 1
    weight = probability[y, x].astype(np.float64)
    mass = np.bincount(index, weights=weight, minlength=count)
    safe = np.where(mass > 0, mass, 1.0)
    centre = [np.bincount(index, weights=weight * at, minlength=count) for at in (y, x)]
    score = mass / np.bincount(index, minlength=count)
    return np.stack([part / safe for part in centre], axis=1), score


def _shrunk(image: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Means of blocks of `step` x `step` pixels; the last ones repeat the border."""
    if step == 1:
        return image
    height, width = image.shape
    image = np.pad(image, ((0, -height % step), (0, -width % step)), mode="edge")
    blocks = image.reshape(image.shape[0] // step, step, image.shape[1] // step, step)
    means: NDArray[np.float32] = blocks.mean(axis=(1, 3))
    return means
