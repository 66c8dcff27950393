"""The threshold at which a network is at its best, by exact sweeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from napari_topiary.data.working_grid import to_original
from napari_topiary.evaluation.detection_metrics import near_pairs, points_inside
from napari_topiary.evaluation.ground_truth import Truth
from napari_topiary.evaluation.pixel_metrics import row_blocks
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Detections, Prediction, Task

BINS = 1024
"""Candidate pixel thresholds; a power of two, so that binning rounds exactly."""
LOGITS = np.linspace(-2.2, 7.0, 185)
"""Candidate detection thresholds, as log odds. None is below 0.1: fainter detections
are not collected, so that all thresholds there look as good as the lowest."""
DIFFERENT = 1e-6
"""Scores that lie closer together than this are all the same."""
SLACK = 0.01
"""F1 that a steadier threshold may cost on the images that there are."""

LOWEST_SCORE = 0.05
"""Particles below this score are not considered."""
NEVER = 2.0
"""A threshold that no probability reaches."""
Pair = tuple[NDArray[np.float64], Detections, float]


def best_pixel_threshold(
    truth: NDArray[np.bool_], probability: NDArray[np.floating]
) -> tuple[float, float]:
    """Threshold with the highest Dice, for pixels whose probability reaches it.

    Parameters
    ----------
    truth
        Any shape; True where the class is. Leave unknown pixels out.
    probability
        Same shape, 0..1.

    Returns
    -------
    tuple
        Threshold (a multiple of 1/1024, never 0 or 1) and its Dice. Where a range of
        thresholds is equally good, the middle of the widest such range.
    """
    return best_of_histogram(probability_histogram(truth, probability))


def probability_histogram(
    truth: NDArray[np.bool_], probability: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Count pixels by probability; adds up over images.

    Parameters
    ----------
    truth
        Any shape; True where the class is. Leave unknown pixels out.
    probability
        Same shape, 0..1.

    Returns
    -------
    ndarray
        `(2, 1024)`: elsewhere, and where the class is.
    """
    truth = np.asarray(truth, dtype=bool).ravel()
    steps = np.asarray(probability, dtype=np.float32).ravel() * BINS
    index = np.clip(steps, 0, BINS - 1).astype(np.int64) + BINS * truth
    counts = np.bincount(index, minlength=2 * BINS).reshape(2, BINS)
    return counts.astype(np.int64)


def best_of_histogram(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Threshold with the highest Dice and that Dice; see `best_pixel_threshold`.

    Parameters
    ----------
    counts
        `(2, 1024)` from `probability_histogram`.
    """
    dice = dice_of_histogram(counts)[1:]
    best = dice >= dice.max() - 1e-12
    edges = np.flatnonzero(np.diff(best.astype(np.int8), prepend=0, append=0))
    starts, ends = edges[::2], edges[1::2] - 1
    widest = int(np.argmax(ends - starts))
    middle = (int(starts[widest]) + int(ends[widest])) // 2
    return (middle + 1) / BINS, float(dice[middle])


def dice_of_histogram(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Dice `(1024,)` at every threshold, beginning with 0.

    Parameters
    ----------
    counts
        `(2, 1024)` from `probability_histogram`.
    """
    there, found = counts[1], counts.sum(axis=0)
    hits = there[::-1].cumsum()[::-1]
    whole = found[::-1].cumsum()[::-1] + there.sum()
    return np.where(whole > 0, 2 * hits / np.maximum(whole, 1), 1.0)


def best_detection_threshold(
    images: Sequence[tuple[NDArray[np.float64], Detections]], tolerance_px: float
) -> tuple[float, float]:
    """Score threshold with the highest F1 over all images.

    Adding detections one by one, best score first, each either finds room in the
    largest possible matching or does not, so the count of hits is exact for every
    threshold in a single pass.

    Parameters
    ----------
    images
        Per image the true coordinates `(n, 2)` and what was found with a low threshold,
        both of one class.
    tolerance_px
        Largest distance of a pair, in pixels.

    Returns
    -------
    tuple
        Threshold and F1 (pooled over the images). The threshold lies half way down to
        the next lower score; of equally good ones, the one in the widest gap.
    """
    n_true = sum(len(truth) for truth, _ in images)
    scores = np.concatenate([np.zeros(0), *(found.score for _, found in images)])
    if len(scores) == 0:
        return 0.5, 1.0 if n_true == 0 else 0.0
    gains = np.concatenate(
        [_gains(truth, found, tolerance_px) for truth, found in images]
    )
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], gains[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + n_true)
    # Equal scores come and go together.
    gap = scores - np.append(scores[1:], 0.0)
    possible = gap > 0
    if n_true == 0:
        # To find nothing is right here: just above the best score.
        return float((1.0 + scores[0]) / 2), 1.0
    best = float(f1[possible].max(initial=0.0))
    if best == 0.0:
        return 0.5, 0.0
    good = np.flatnonzero(possible & (f1 >= best - 1e-12))
    cut = int(good[np.argmax(gap[good])])
    return float(scores[cut] - gap[cut] / 2), best


def steady_detection_threshold(
    images: Sequence[tuple[NDArray[np.float64], Detections]], tolerance_px: float
) -> float:
    """Score threshold that is good on every image, not perfect on these few.

    The exact optimum of a handful of images hangs on single detections and on the
    oddest image. So every image has its own F1, the median over the images counts, and
    of all thresholds around the best that cost less than `SLACK` the one is taken that
    is nearest to half way between the two heaps of scores.

    Parameters
    ----------
    images
        As for `best_detection_threshold`.
    tolerance_px
        Largest distance of a pair, in pixels.

    Returns
    -------
    float
        A threshold in 0..1; 0.5 where nothing was found.
    """
    grid = 1 / (1 + np.exp(-LOGITS))
    every = []
    for truth, found in images:
        order = np.argsort(-found.score, kind="stable")
        gains = _gains(truth, found, tolerance_px)[order]
        hits = np.concatenate([[0], gains.cumsum()])
        taken = np.searchsorted(-found.score[order], -grid, side="right")
        whole = taken + len(truth)
        every.append(np.where(whole > 0, 2 * hits[taken] / np.maximum(whole, 1), 1.0))
    f1 = np.median(every, axis=0) if every else np.zeros(len(grid))
    if f1.max() == 0.0:
        return 0.5
    good = f1 >= f1.max() - SLACK
    # Only the range around the peak: another range may be good by accident.
    left = right = int(np.argmax(f1))
    while left > 0 and good[left - 1]:
        left -= 1
    while right < len(grid) - 1 and good[right + 1]:
        right += 1
    scores = np.concatenate([np.zeros(0), *(found.score for _, found in images)])
    parted = 0.5
    if len(scores) and np.ptp(scores) > DIFFERENT:
        low = scores <= threshold_otsu(scores)
        parted = (scores[low].mean() + scores[~low].mean()) / 2
    return float(np.clip(parted, grid[left], grid[right]))


def _gains(
    truth: NDArray[np.float64], found: Detections, tolerance: float
) -> NDArray[np.int64]:
    """1 for every detection that enlarges the matching of the better-scored ones."""
    near: list[list[int]] = [[] for _ in range(len(found))]
    for mine, there in near_pairs(found.coordinates, truth, tolerance).tolist():
        near[mine].append(there)
    owner: dict[int, int] = {}
    holds: dict[int, int] = {}
    gains = np.zeros(len(found), dtype=np.int64)
    for mine in np.argsort(-found.score, kind="stable").tolist():
        gains[mine] = _make_room(mine, near, owner, holds)
    return gains


def _make_room(
    mine: int, near: list[list[int]], owner: dict[int, int], holds: dict[int, int]
) -> bool:
    """Match one more detection, moving others along if need be."""
    came_from: dict[int, int] = {}
    waiting = deque([mine])
    while waiting:
        asking = waiting.popleft()
        for there in near[asking]:
            if there in came_from:
                continue
            came_from[there] = asking
            if there in owner:
                waiting.append(owner[there])
                continue
            # A free one: everybody on the way to it moves up by one.
            free: int | None = there
            while free is not None:
                taker = came_from[free]
                left = holds.get(taker)
                owner[free], holds[taker] = taker, free
                free = left
            return True
    return False


@dataclass(frozen=True)
class Sweep:
    """What is needed to find the best threshold of each class; adds up over images."""

    #: Class name -> per image: true coordinates, what was found with a low threshold,
    #: tolerance in pixels
    particles: Mapping[str, tuple[Pair, ...]] = field(default_factory=dict)
    #: Class name -> histogram `(2, 1024)`
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
    postprocessing: PostProcessing,
    tolerance_px: NDArray[np.float64],
) -> Sweep:
    """Gather what one image says about thresholds.

    Parameters
    ----------
    prediction
        Its probability is used, not its labels or detections.
    truth
        Of the same image.
    postprocessing
        Radii, filament classes and spacing; its thresholds are not used.
    tolerance_px
        `(k,)` from `tolerances`, in pixels of the image.
    """
    task = prediction.task
    particles, pixels = {}, {}
    # Lines are scored by pixels: no need to trace them.
    low = {
        name: LOWEST_SCORE if _by_particle(task, name, postprocessing) else NEVER
        for name in task.classes[1:]
    }
    found = postprocessing.at(low).detections(
        prediction.probability, prediction.shape, task
    )
    found = _inside(found, truth)
    marked = _inside(truth.particles, truth)
    known = truth.classes >= 0
    full = to_original(prediction.probability, prediction.shape)
    for index, name in enumerate(task.classes[1:], start=1):
        if _by_particle(task, name, postprocessing):
            mine = _of_class(found, index)
            there = _of_class(marked, index).coordinates
            particles[name] = ((there, mine, float(tolerance_px[index])),)
        else:
            pixels[name] = sum(
                (
                    probability_histogram(
                        truth.classes[rows][known[rows]] == index,
                        full[index, rows][known[rows]],
                    )
                    for rows in row_blocks(known.shape)
                ),
                np.zeros((2, BINS), np.int64),
            )
    return Sweep(particles, pixels)


def _by_particle(task: Task, name: str, postprocessing: PostProcessing) -> bool:
    """Whether a class is scored by its particles (F1) rather than by pixels (Dice)."""
    return task.kind == "detect" and name not in postprocessing.line_classes


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
