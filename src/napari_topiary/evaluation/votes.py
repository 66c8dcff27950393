"""Which class each particle is given by the pixels of its own.

Pixel figures count a large particle many times; here every particle counts once, as
what most of the pixels in its certain zone were taken for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_topiary.evaluation.lines import sample_points
from napari_topiary.types import Detections


@dataclass(frozen=True)
class Zones:
    """Pixels that certainly belong to one particle.

    Parameters
    ----------
    pixel
        `(p,)` index of each pixel in the flattened image.
    particle
        `(p,)` number of the particle that it belongs to.
    class_index
        `(n,)` true class of each particle, lines after points.
    """

    pixel: NDArray[np.int64]
    particle: NDArray[np.int64]
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
