"""Things that are marked one by one, each of a class: particles, filaments."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations.base import Inside, Place, TableAnnotation
from napari_topiary.annotations.columns import radius_problem, unknown_class_problem
from napari_topiary.annotations.places import misfit_problem, reaches
from napari_topiary.types import BACKGROUND, Task


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
    def reviewed(self) -> NDArray[np.bool_]:
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

    def radius_px(self, index: int, task: Task, scale: float | None) -> float | None:
        """Return the radius of one thing in pixels, None if unknown."""
        own = None if self.radii_nm is None else self.radii_nm[index]
        if own is not None and scale is not None:
            return own / scale
        return task.radius(self.classes[index], scale)

    def reaches(self, task: Task, scale: float | None) -> NDArray[np.float64]:
        """Return the radius of each thing in pixels; one where it is unknown."""
        return reaches([self.radius_px(i, task, scale) for i in range(len(self))])

    def problem(
        self, shape: Sequence[int], *, task: Task, scale: float | None, radii: bool
    ) -> str | None:
        """Return what is wrong with them on such an image, as a sentence."""
        return (
            unknown_class_problem(self.classes, task, self.kind)
            or misfit_problem(
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
        return self.only(np.flatnonzero(finished | self.reviewed))

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
