"""Pixel metrics from a confusion matrix, which adds up over images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_topiary.evaluation.detection_metrics import sample_points
from napari_topiary.types import Detections

PIXEL_METRICS = ("dice", "iou", "accuracy", "sensitivity", "specificity", "precision")
AT_ONCE = 1 << 20
"""So many pixels are counted at a time."""
SMALLEST_PROBABILITY = 1e-7
"""Probabilities are kept this far from 0 in the cross-entropy."""


@dataclass(frozen=True)
class PixelCounts:
    """Labelled pixels by true and found class."""

    #: `(k, k)` int: rows are the true class, columns the found one
    confusion: NDArray[np.int64]
    #: Sum of −ln(probability of the true class) over `scored` pixels
    surprise: float = 0.0
    scored: int = 0  #: Pixels with a probability

    def __add__(self, other: PixelCounts) -> PixelCounts:
        """Pool the pixels of two images."""
        return PixelCounts(
            self.confusion + other.confusion,
            self.surprise + other.surprise,
            self.scored + other.scored,
        )

    def of_class(self, index: int) -> dict[str, float]:
        """Metrics of class `index` against all others."""
        hit = float(self.confusion[index, index])
        missed = float(self.confusion[index].sum()) - hit
        extra = float(self.confusion[:, index].sum()) - hit
        rest = float(self.confusion.sum()) - hit - missed - extra
        return {
            "dice": _ratio(2 * hit, 2 * hit + missed + extra),
            "iou": _ratio(hit, hit + missed + extra),
            "accuracy": _ratio(hit + rest, hit + rest + missed + extra),
            "sensitivity": _ratio(hit, hit + missed),
            "specificity": _ratio(rest, rest + extra),
            "precision": _ratio(hit, hit + extra),
        }

    def foreground_accuracy(self) -> float:
        """Share of the pixels of all classes but background that are right."""
        own = self.confusion[1:]
        return _ratio(float(np.trace(own[:, 1:])), float(own.sum()))

    def metrics(self) -> dict[str, Any]:
        """All pixel metrics.

        Returns
        -------
        dict
            `accuracy` over all labelled pixels; `cross_entropy` (natural logarithm, NaN
            without probabilities); the others as the mean over the classes except
            background that occur in the truth or in what was found. `per_class` lists
            every class, background first.
        """
        per_class = [self.of_class(index) for index in range(len(self.confusion))]
        seen = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) > 0
        shown = [
            m for m, is_seen in zip(per_class[1:], seen[1:], strict=True) if is_seen
        ]
        result: dict[str, Any] = {
            name: _mean([m[name] for m in shown]) for name in PIXEL_METRICS
        }
        if not shown and self.confusion.sum() > 0:
            # Nothing there and nothing found: as good as it gets.
            result.update(dict.fromkeys(PIXEL_METRICS, 1.0))
        result["accuracy"] = _ratio(
            float(np.trace(self.confusion)), self.confusion.sum()
        )
        result["cross_entropy"] = _ratio(self.surprise, self.scored)
        result["per_class"] = per_class
        return result


def count_pixels(
    truth: NDArray[np.integer],
    labels: NDArray[np.integer] | NDArray[np.bool_],
    n_classes: int,
    *,
    probability: NDArray[np.floating] | None = None,
) -> PixelCounts:
    """Count the labelled pixels of one image.

    Parameters
    ----------
    truth
        `(y, x)` class index; negative = unknown, left out.
    labels
        `(y, x)` found class index.
    n_classes
        Number of classes, background included.
    probability
        `(k, y, x)`, for the cross-entropy.
    """
    counts = PixelCounts(np.zeros((n_classes, n_classes), np.int64))
    for rows in row_blocks(truth.shape):
        known = truth[rows] >= 0
        true = truth[rows][known].astype(np.int64)
        pairs = true * n_classes + labels[rows][known].astype(np.int64)
        confusion = np.bincount(pairs, minlength=n_classes**2)
        confusion = confusion.reshape(n_classes, n_classes).astype(np.int64)
        if probability is None:
            counts += PixelCounts(confusion)
            continue
        chosen = np.zeros(len(true))
        for index in range(n_classes):
            mine = true == index
            chosen[mine] = probability[index, rows][known][mine]
        chosen = np.clip(chosen, SMALLEST_PROBABILITY, 1.0)
        counts += PixelCounts(confusion, float(-np.log(chosen).sum()), len(true))
    return counts


def row_blocks(shape: Sequence[int]) -> Iterator[slice]:
    """Cut an image of `shape` (y, x) into rows that are counted at a time.

    What is needed to count a large image is then far smaller than the image.
    """
    height = max(1, AT_ONCE // max(1, shape[1]))
    for top in range(0, shape[0], height):
        yield slice(top, min(top + height, shape[0]))


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _mean(values: list[float]) -> float:
    values = [value for value in values if not np.isnan(value)]
    return float(np.mean(values)) if values else float("nan")


@dataclass(frozen=True)
class Zones:
    """Pixels that certainly belong to one particle."""

    pixel: NDArray[np.int64]  #: `(p,)` index of each pixel in the flattened image
    particle: NDArray[np.int64]  #: `(p,)` number of the particle that it belongs to
    #: `(n,)` true class of each particle, lines after points
    class_index: NDArray[np.int64]


def particle_zones(classes: NDArray[np.integer], particles: Detections) -> Zones:
    """Give every pixel of a class to the nearest particle of that class.

    Parameters
    ----------
    classes
        `(y, x)` true class index; 0 = background, −1 = unknown.
    particles
        True centres and lines, in pixels.
    """
    owners = [np.atleast_2d(place) for place in particles.coordinates]
    owners += [sample_points([line]) for line in particles.lines]
    class_index = np.concatenate([particles.class_index, particles.line_class])
    pixels, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for index in np.unique(class_index):
        mine = np.flatnonzero(class_index == index)
        inside = np.flatnonzero(classes.ravel() == index)
        places = np.concatenate([owners[number] for number in mine])
        if len(inside) == 0 or len(places) == 0:
            continue
        belongs = np.repeat(mine, [len(owners[number]) for number in mine])
        at = np.stack(np.divmod(inside, classes.shape[1]), axis=1)
        pixels.append(inside)
        numbers.append(belongs[cKDTree(places).query(at)[1]])
    return Zones(np.concatenate(pixels), np.concatenate(numbers), class_index)


def count_votes(
    zones: Zones, labels: NDArray[np.integer], n_classes: int
) -> NDArray[np.int64]:
    """Count particles by true class and by the class of most of their pixels.

    Parameters
    ----------
    zones
        From `particle_zones`; particles without a pixel of their own are left out.
    labels
        `(y, x)` found class index.
    n_classes
        Number of classes, background included.

    Returns
    -------
    ndarray
        `(k, k)`: rows are the true class, columns the found one; of a tie the lower
        index, so that half background is background.
    """
    ballots = zones.particle * n_classes + labels.ravel()[zones.pixel].astype(np.int64)
    count = len(zones.class_index) * n_classes
    votes = np.bincount(ballots, minlength=count).reshape(-1, n_classes)
    heard = votes.sum(axis=1) > 0
    pairs = zones.class_index[heard] * n_classes + votes[heard].argmax(axis=1)
    confusion = np.bincount(pairs, minlength=n_classes**2)
    return confusion.reshape(n_classes, n_classes).astype(np.int64)
