"""Things that are marked one by one, and whether their places fit an image."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import scipy
from numpy.typing import NDArray

from napari_topiary.annotations.base import Inside, Place, TableAnnotation
from napari_topiary.annotations.columns import radius_problem, unknown_class_problem
from napari_topiary.types import BACKGROUND, Task

Places = NDArray[np.float64]
"""`(n, 2)` y, x in pixels, pixel centres at integers."""

SAME_PLACE = 0.25
"""Centres that are nearer than this share of their radius are one particle."""
_UNKNOWN_RADIUS = 1.0
_FEW = 20
_NEXT_PIXEL = 1.5
_STRAYS = 0.05
"""Share of places that may lie outside in a reading that fits."""
_BINNINGS = (2, 3, 4, 6, 8)
_ENOUGH, _CORNER, _SPREAD, _SLACK = 10, 0.05, 0.8, 1.02
"""So many places spread over most of an image; in another unit, over as much less."""


def reaches(radii: Sequence[float | None]) -> NDArray[np.float64]:
    """Return radii in pixels as numbers; one pixel where a radius is unknown.

    Parameters
    ----------
    radii
        In pixels.
    """
    known = [_UNKNOWN_RADIUS if radius is None else radius for radius in radii]
    return np.array(known, dtype=np.float64)


def beyond(
    places: Places, reach: NDArray[np.float64], shape: Sequence[int]
) -> NDArray[np.bool_]:
    """Return which places are so far outside that nothing of them is in the image.

    Parameters
    ----------
    places
        Centres.
    reach
        `(n,)` radius of each in pixels.
    shape
        `(y, x)` of the image.
    """
    limit = np.asarray(shape[:2], dtype=np.float64) - 0.5
    off = np.maximum(-0.5 - places, places - limit).clip(0)
    far: NDArray[np.bool_] = np.hypot(off[:, 0], off[:, 1]) > reach
    return far


def repeated(
    places: Places, reach: NDArray[np.float64], names: Sequence[str]
) -> NDArray[np.bool_]:
    """Return which places repeat an earlier one of the same name.

    Parameters
    ----------
    places
        Centres.
    reach
        `(n,)` radius of each in pixels.
    names
        Class of each.
    """
    again = np.zeros(len(places), dtype=bool)
    kinds = np.asarray(names, dtype=object)
    for name in set(names):
        index = np.flatnonzero(kinds == name)
        if len(index) < 2:
            continue
        near = np.maximum(SAME_PLACE * reach[index], 1e-6)
        pairs = scipy.spatial.cKDTree(places[index]).query_pairs(
            near.max(), output_type="ndarray"
        )
        for first, second in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]:
            gap = np.hypot(*(places[index[first]] - places[index[second]]))
            if gap <= min(near[first], near[second]) and not again[index[first]]:
                again[index[second]] = True
    return again


def contradicting(
    places: Places, reach: NDArray[np.float64], names: Sequence[str]
) -> list[tuple[int, int]]:
    """Return pairs of places that are one, but of two classes that are looked for."""
    index = np.flatnonzero(np.asarray(names, dtype=object) != BACKGROUND)
    if len({names[int(i)] for i in index}) < 2:
        return []
    near = np.maximum(SAME_PLACE * reach, 1e-6)
    tree = scipy.spatial.cKDTree(places[index])
    pairs = index[tree.query_pairs(near[index].max(), output_type="ndarray")]
    return [
        (int(one), int(other))
        for one, other in pairs.reshape(-1, 2)
        if names[int(one)] != names[int(other)]
        and np.hypot(*(places[one] - places[other])) <= min(near[one], near[other])
    ]


def fill_areas(places: Places) -> bool:
    """Whether most places lie pixel beside pixel: areas, one row for each pixel."""
    distinct = np.unique(places, axis=0)
    if len(distinct) < _FEW:
        return False
    tree = scipy.spatial.cKDTree(distinct)
    count = tree.query_ball_point(distinct, _NEXT_PIXEL, return_length=True)
    return bool(np.mean(count > 2) > 0.5)  # itself, and two more


def _misfit_problem(
    places: Places,
    reach: NDArray[np.float64],
    shape: Sequence[int],
    *,
    scale: float | None,
    what: str,
) -> str | None:
    """Return a sentence if places as a whole do not belong to such an image.

    A few that are outside are left out; if it is many, the numbers mean something else.
    """
    far = beyond(places, reach, shape)
    count = int(far.sum())
    if 2 * count <= len(places):
        return None
    reason = misread(places, reach, shape, scale=scale) or (
        "Move them inside or delete them, and check that they belong to this image."
    )
    return (
        f"{count} of {len(places)} {what} lie outside the image ({shape[0]} x "
        f"{shape[1]} pixels, height x width). {reason}"
    )


def misread(
    places: Places,
    reach: NDArray[np.float64],
    shape: Sequence[int],
    *,
    scale: float | None,
) -> str:
    """Return a question if all places would fit, read otherwise; empty if not.

    Parameters
    ----------
    places, reach, shape, scale
        As for `_misfit_problem`.
    """

    def fits(others: Places) -> bool:
        return bool(beyond(others, reach, shape).mean() <= _STRAYS)

    if fits(places):
        return ""
    if fits(places[:, ::-1]):
        return "Are y and x swapped? axis-0 is y, downwards, and axis-1 is x."
    if fits(places * [-1, 1]):
        return "Is y mirrored? axis-0 is counted from the top, downwards."
    for unit, nm in (("nm", 1.0), ("angstrom", 0.1)):
        pixel = None if scale is None else scale / nm
        if pixel is None or pixel <= 1 or (places < -reach[:, None]).any():
            continue
        if fits(places / pixel):
            return (
                f"Are these {unit}? Divide them by {pixel:.4g} {unit} per pixel: "
                "pixels count."
            )
    for factor in _BINNINGS:
        smaller = places / factor
        if fits(smaller) and (smaller.max(axis=0) > np.asarray(shape[:2]) / 2).all():
            return (
                f"Are these of an image that was binned {factor} times afterwards? "
                f"Divide them by {factor}."
            )
    if scale is None and (places >= -reach[:, None]).all():
        return (
            "Are these nm, or pixels of a larger image? Pixels of this one count; its "
            "pixel size is unknown, so enter that first."
        )
    return ""


def cornered(places: Places, shape: Sequence[int], *, scale: float | None) -> str:
    """Return a question if all places lie in the upper left corner, as in another unit.

    Such places fit the image, so that nobody would notice.

    Parameters
    ----------
    places, shape, scale
        As for `_misfit_problem`.
    """
    if len(places) < _ENOUGH:
        return ""
    share = places.max(axis=0) / np.asarray(shape[:2])
    likely = [
        unit
        for unit, nm in (("nm", 1.0), ("angstrom", 0.1), ("µm", 1000.0))
        if scale is not None
        and scale / nm < _SPREAD
        and (share > _SPREAD * scale / nm).all()
        and (share < _SLACK * scale / nm).all()
    ]
    if not likely and not (share < _CORNER).all():
        return ""
    high, wide = (f"{100 * part:.3g} %" for part in share)
    unit = likely[0] if likely else "nm or µm"
    return (
        f"All {len(places)} points lie in the upper left of the image, within {high} "
        f"of its height and {wide} of its width: are these {unit}?"
    )


class MarkedThings(TableAnnotation):
    """What points and centerlines share; those of class *background* mean "not this".

    A kind of its own is a frozen dataclass with `classes`, the class of each thing.
    """

    classes: tuple[str, ...]

    is_line: ClassVar[bool]
    """Whether a thing is a path through its places rather than one place."""

    @property
    def radii_nm(self) -> tuple[float | None, ...] | None:
        """Radius of each thing in nm, None where that of its class counts."""
        return None

    @property
    def answers(self) -> NDArray[np.bool_]:
        """Which are an answer about this one place, `(n,)`: "not this" always is."""
        return np.array([name == BACKGROUND for name in self.classes], dtype=bool)

    @abstractmethod
    def only(self, kept: Sequence[int] | NDArray[np.integer]) -> Self:
        """Return the things with these indices, with all that is theirs."""

    @abstractmethod
    def nearest(self, shape: Sequence[int]) -> NDArray[np.float64]:
        """Of each thing the place `(n, 2)` that is nearest to an image `(y, x)`."""

    def centres(self) -> NDArray[np.float64]:
        """Return the middle of each thing's box, `(n, 2)`."""
        middles = [(one.min(axis=0) + one.max(axis=0)) / 2 for one in self.places()]
        return np.array(middles, dtype=np.float64).reshape(-1, 2)

    def radii_px(self, task: Task, scale: float | None) -> list[float | None]:
        """Return the radius of each thing in pixels, None if unknown."""
        usual = {name: task.radius(name, scale) for name in set(self.classes)}
        radii = [usual[name] for name in self.classes]
        if self.radii_nm is None or scale is None:
            return radii
        own = zip(self.radii_nm, radii, strict=True)
        return [known if one is None else one / scale for one, known in own]

    def reaches(self, task: Task, scale: float | None) -> NDArray[np.float64]:
        """Return the radius of each thing in pixels; one where it is unknown."""
        return reaches(self.radii_px(task, scale))

    def problem(
        self, shape: Sequence[int], *, task: Task, scale: float | None, radii: bool
    ) -> str | None:
        """Return what is wrong with them on such an image, as a sentence."""
        return (
            unknown_class_problem(self.classes, task, self.kind)
            or _misfit_problem(
                self.nearest(shape),
                self.reaches(task, scale),
                shape,
                scale=scale,
                what=self.kind,
            )
            or (
                radius_problem(
                    self.classes, self.radii_nm, task=task, scale=scale, shape=shape
                )
                if radii
                else None
            )
        )

    def marked_classes(self, task: Task) -> set[int]:
        """Return the indices of the classes; around what is marked lies background."""
        return {0} | {task.classes.index(name) for name in self.classes}

    def renamed(self, named: Mapping[str, str]) -> Self:
        """Return the same with class names replaced; others stay."""
        this: Any = self
        changed: Self = replace(
            this, classes=tuple(named.get(c, c) for c in self.classes)
        )
        return changed

    def without_class(self, name: str, index: int) -> Self:
        """Return those that are not of one class."""
        return self.only([i for i, one in enumerate(self.classes) if one != name])

    def within(self, inside: Inside) -> Self:
        """Return those with a place in a finished area, and answers about a place."""
        places = self.places()
        if not places:
            return self
        firsts = np.cumsum([0, *(len(one) for one in places[:-1])])
        finished = np.logical_or.reduceat(inside(np.concatenate(places)), firsts)
        return self.only(np.flatnonzero(finished | self.answers))

    def marked(self, task: Task, scale: float | None) -> list[tuple[Place, float]]:
        """Return places and radius in pixels of each thing that is there."""
        return [
            (places, task.radius_or_usual(name, scale))
            for places, name in zip(self.places(), self.classes, strict=True)
            if name != BACKGROUND
        ]


def drawn_radii_nm(annotations: Iterable[object]) -> dict[str, list[float]]:
    """Class -> each radius in nm that was drawn with it; half of the width of lines."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for item in annotations:
        if isinstance(item, MarkedThings):
            for name, radius in zip(item.classes, item.radii_nm or (), strict=False):
                if radius:
                    found[name].append(radius)
    return found
