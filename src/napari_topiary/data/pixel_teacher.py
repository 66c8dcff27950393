"""A little painted, much that nobody has looked at: what resembles it is learned too.

A network that learns from one painted corner learns that corner by heart. A forest of
decision trees that sees of a pixel nothing but its close surroundings cannot: it labels
the rest of the image, and the images without any annotation, better than that network.
Where it is sure the network learns from it as well, elsewhere the pixel stays unknown.

None of this leaves the training: what is held out is neither learned from nor measured
by what was found here, and nothing is added to the annotations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features

from napari_topiary.data.annotated_area import AnnotatedArea
from napari_topiary.data.hold_out import barred
from napari_topiary.data.working_grid import area_to_working, to_working
from napari_topiary.normalisation import Normalisation

FEWEST, MOST = 400, 40_000
"""Painted pixels from which, and up to which, it is done."""
UNSEEN = 0.25
"""Share of the painted images that nobody has looked at from which it is done. Whoever
paints some images wholly, others not at all, has said what is to be learned from."""
LABELLED = 800_000
"""Pixels that are looked at in all, spread over the images: some seconds."""
EXAMPLES = 20_000
"""Painted pixels that the trees grow on, at most."""
TREES, LEAF = 100, 5
SMALLEST, LARGEST = 0.7, 8.0
"""Surroundings that are looked at: deviations of Gaussians, in working pixels."""
MARGIN = math.ceil(3 * LARGEST)
SURE = 0.4
"""How much likelier a class must be than all others together to be learned."""
TRUSTED = 0.3
"""Dice that is asked for: of one half of what is painted, labelled by the other."""
SHIFT, STRETCH = 0.5, 1.33
"""Images that differ by less, in spreads and as a factor of it, differ in what they
show; others in how they were taken."""

Place = tuple[slice, slice]


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What is learned beside the annotations."""

    areas: tuple[AnnotatedArea, ...]  #: All areas, what was labelled drawn in them
    pixels: int  #: How many pixels were labelled


def little_painted(areas: Sequence[AnnotatedArea]) -> bool:
    """Whether little is painted, of images of which much has not been looked at.

    Known before any image without annotations is read.

    Parameters
    ----------
    areas
        As annotated, in working pixels; those on which nothing is painted do not count.
    """
    known = [area.field.target >= 0 for area in areas]
    known = [one for one in known if one.any()]
    painted, there = (sum(int(f(one)) for one in known) for f in (np.sum, np.size))
    return FEWEST <= painted <= MOST and there - painted >= UNSEEN * there


def taught(
    areas: Sequence[AnnotatedArea], held: Sequence[AnnotatedArea]
) -> Taught | None:
    """Label what resembles the painted pixels where nobody has looked.

    Only where little is painted, of images of which much has not been looked at; and
    only if one half of what is painted can be told by the other.

    Parameters
    ----------
    areas
        As annotated, in working pixels; on some of them nothing need be painted.
    held
        What must not be learned from.

    Returns
    -------
    Taught or None
        None where this does not help.
    """
    if not little_painted(areas):
        return None
    usual = _usual(areas)
    forest = _forest(areas, usual)
    if forest is None:
        return None
    side = max(1, math.isqrt(LABELLED // len(areas)))
    labelled = [
        _labelled(forest, area, usual, side, barred(area, held, MARGIN), seed=number)
        for number, area in enumerate(areas)
    ]
    known, before = (
        sum(int((area.field.target >= 0).sum()) for area in some)
        for some in (labelled, areas)
    )
    more = known - before
    return Taught(areas=tuple(labelled), pixels=more) if more else None


def _usual(areas: Sequence[AnnotatedArea]) -> tuple[float, float]:
    """Mean and deviation of the painted images, as they are in their files."""
    painted = [area for area in areas if (area.field.target >= 0).any()]
    measured = [_mean_and_deviation(_as_they_are(a), _inside(a)) for a in painted]
    mean, deviation = np.median(measured, axis=0).tolist()
    return mean, deviation


def _comparable(area: AnnotatedArea, usual: tuple[float, float]) -> NDArray[np.float32]:
    """Intensities `(c, y, x)` that mean the same in every image.

    How bright an image is in the mean is what it shows, for images that were taken
    alike: then intensities are taken as they are. Where an image was taken differently,
    or its light is uneven, it is brought to the range of the painted ones.
    """
    image, inside = _as_they_are(area), _inside(area)
    mean, deviation = _mean_and_deviation(image, inside)
    alike = abs(mean - usual[0]) < SHIFT * usual[1]
    alike &= 1 / STRETCH < deviation / usual[1] < STRETCH
    if alike and _follows(area.field.image, image, inside):
        mean, deviation = usual
    else:
        image = area.field.image
        mean, deviation = _mean_and_deviation(image, inside)
    return np.where(inside, (image - mean) / deviation, 0).astype(np.float32)


def _inside(area: AnnotatedArea) -> NDArray[np.bool_]:
    """Which pixels carry an image."""
    return area_to_working(area.sample.area, area.field.target.shape)


def _as_they_are(area: AnnotatedArea) -> NDArray[np.float32]:
    """The image of an area on the working grid, not normalised."""
    image = area.sample.image
    values = Normalisation(kind="none").apply(image, area.sample.excerpt)
    return to_working(values, image.shape[1] / area.field.target.shape[0])


def _mean_and_deviation(
    image: NDArray[np.float32], where: NDArray[np.bool_]
) -> tuple[float, float]:
    """Of the intensities, whatever single pixels are: mean and deviation."""
    if not where.any():
        return 0.0, 1.0
    values = image[:, where]
    values = values.clip(*np.percentile(values, (1, 99)))
    return float(values.mean()), max(float(values.std()), 1e-6)


def _follows(
    seen: NDArray[np.float32], image: NDArray[np.float32], where: NDArray[np.bool_]
) -> bool:
    """Whether a normalised image is the image itself, shifted and stretched."""
    one, other = seen[:, where].ravel(), image[:, where].ravel()
    return one.size > 1 and bool(np.corrcoef(one, other)[0, 1] > 0.999)


def _features(image: NDArray[np.float32], place: Place) -> NDArray[np.float32]:
    """What the trees see of each pixel of a part: `(y, x, f)`."""
    around = tuple(slice(max(0, s.start - MARGIN), s.stop + MARGIN) for s in place)
    part = np.moveaxis(image[:, *around], 0, -1)
    seen = multiscale_basic_features(
        part, sigma_min=SMALLEST, sigma_max=LARGEST, channel_axis=-1
    )
    inner = tuple(
        slice(s.start - a.start, s.stop - a.start)
        for s, a in zip(place, around, strict=True)
    )
    return np.asarray(seen[inner], dtype=np.float32)


def _forest(areas: Sequence[AnnotatedArea], usual: tuple[float, float]) -> Any | None:
    """Trees that tell the painted classes; None if they cannot be told."""
    seen, classes, second = [], [], []
    for area in areas:
        where = area.field.target >= 0
        if not where.any():
            continue
        place = _span(where)
        inside = where[place]
        seen.append(_features(_comparable(area, usual), place)[inside])
        classes.append(area.field.target[place][inside])
        # Neighbours are alike: halves that lie beside each other are an honest test.
        axis = int(np.argmax(inside.shape))
        at = np.nonzero(inside)[axis]
        second.append(at > np.median(at))
    features, wanted = np.concatenate(seen), np.concatenate(classes)
    half = np.concatenate(second)
    if len(np.unique(wanted)) < 2:
        return None
    quality = []
    for learned in (half, ~half):
        there = np.unique(wanted[learned])
        if len(there) < 2:
            return None
        said = _grown(features[learned], wanted[learned]).predict(features[~learned])
        truth = wanted[~learned]
        quality += [
            2
            * np.sum((said == k) & (truth == k))
            / np.sum((said == k) * 1 + (truth == k))
            for k in there[there > 0]
            if (truth == k).any()
        ]
    if not quality or np.mean(quality) < TRUSTED:
        return None
    return _grown(features, wanted)


def _grown(features: NDArray[np.float32], classes: NDArray[np.int16]) -> Any:
    # A second to load, and nothing but this needs it.
    from sklearn.ensemble import RandomForestClassifier

    random = np.random.default_rng(0)
    if len(classes) > EXAMPLES:
        most = EXAMPLES // len(np.unique(classes))
        order = random.permutation(len(classes))
        chosen = [order[classes[order] == k][:most] for k in np.unique(classes)]
        index = np.concatenate(chosen)
        features, classes = features[index], classes[index]
    forest = RandomForestClassifier(
        TREES, min_samples_leaf=LEAF, class_weight="balanced", random_state=0
    )
    return forest.fit(features, classes)


def _labelled(
    forest: Any,
    area: AnnotatedArea,
    usual: tuple[float, float],
    side: int,
    away: NDArray[np.bool_],
    *,
    seed: int,
) -> AnnotatedArea:
    """Label a part of an image, where nothing is known and nothing is held out."""
    field = area.field
    place = _window(field.target >= 0, side, seed)
    said = _features(_comparable(area, usual), place)
    chance = forest.predict_proba(said.reshape(-1, said.shape[-1]))
    likeliest = forest.classes_[chance.argmax(axis=1)].reshape(said.shape[:2])
    lead = (2 * chance.max(axis=1) - 1).reshape(said.shape[:2])
    free = ((field.target < 0) & _inside(area) & ~away)[place] & (lead > SURE)
    target, weight = field.target.copy(), field.weight.copy()
    target[place] = np.where(free, likeliest, target[place])
    weight[place] = np.where(free, lead, weight[place])
    return replace(area, field=replace(field, target=target, weight=weight))


def _window(known: NDArray[np.bool_], side: int, seed: int) -> Place:
    """A part of an image of about a size: around what is painted, or anywhere."""
    random = np.random.default_rng(seed)
    rows, columns = (
        _part(length, side, np.asarray(known.any(axis=1 - axis)), random)
        for axis, length in enumerate(known.shape)
    )
    return rows, columns


def _part(
    length: int, side: int, known: NDArray[np.bool_], random: np.random.Generator
) -> slice:
    first = int(random.integers(max(1, length - side + 1)))
    if known.any():
        first = round(float(np.flatnonzero(known).mean()) - side / 2)
    first = max(0, min(first, length - side))
    return slice(first, min(length, first + side))


def _span(where: NDArray[np.bool_]) -> Place:
    """The part of an image that holds all of an area."""
    rows, columns = (
        slice(int(at[0]), int(at[-1]) + 1)
        for at in (np.flatnonzero(where.any(axis=1 - axis)) for axis in (0, 1))
    )
    return rows, columns
