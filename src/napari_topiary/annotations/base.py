"""What every kind of annotation can do, and the register of the kinds.

An annotation is a value: numbers and names in pixels of the image, with conversions
to and from a napari layer and a file, and one method that draws it into a training
target. It knows neither the viewer nor the tool that it was drawn with.

A new kind is one new file with `@annotation_kinds.register("kind")`; its files lie in
the folder of that name in a dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from napari_topiary.registry import Registry
from napari_topiary.types import BACKGROUND, Task, TaskKind

if TYPE_CHECKING:
    from napari_topiary.annotations.targets import Canvas

Table = dict[str, list[Any]]
"""Columns by name, all of the same length, in the order in which they are written."""

LayerData = tuple[Any, dict[str, Any], str]
"""What napari makes a layer of: data, settings, layer type."""

Place = NDArray[np.float64]
"""`(v, 2)` y, x in pixels: all places of one thing."""

Inside = Callable[[Place], NDArray[np.bool_]]
"""Says of places which lie in a finished area: `(v,)` bool."""


class Pen(Protocol):
    """Draws on a picture of an image, in pixels of the image."""

    def circles(self, centres: Place, *, radius: float) -> None:
        """Draw circles around `(n, 2)` y, x."""

    def paths(self, lines: Iterable[Place]) -> None:
        """Draw lines through places."""

    def borders(self, outlines: Iterable[Place]) -> None:
        """Draw closed outlines of finished areas."""

    def labels(self, labels: NDArray[Any]) -> None:
        """Lay a colour over each label `(y, x)`."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One way to draw a kind of annotation: a button of the Annotate page."""

    name: str
    text: str  #: On the button
    mode: str  #: napari's mode of the layer
    tip: str
    hint: str  #: How to use it
    object_hint: str = ""  #: The same where separate objects are drawn, if it differs
    tasks: tuple[TaskKind, ...]  #: Kinds of task that it is offered for
    key: str
    place: int = 100  #: Where it stands among the others
    negative: bool = False  #: Whether it marks what is none of the classes
    kind: str = ""  #: Of annotation; known once that is registered


class Annotation(Protocol):
    """What a person drew on one image, as a value.

    Coordinates are `(y, x)` in pixels of the image, pixel centres at integers. What has
    a body here is inherited by a kind that has nothing better to say.
    """

    kind: ClassVar[str]
    """Name in the register, and of the folder in a dataset."""

    storage: ClassVar[Literal["table", "image"]]
    """Whether its file is a CSV table or a label image."""

    layer_type: ClassVar[Literal["points", "shapes", "labels"]] = "shapes"
    """Type of the napari layer that it is drawn in."""

    title: ClassVar[str] = "marked things"
    """What that layer is called, after its image."""

    opacity: ClassVar[float] = 0.6

    has_classes: ClassVar[bool] = True
    """Whether each thing has a class, in the layer a feature of that name."""

    is_line: ClassVar[bool] = False
    """Whether its things are as wide as the class, not areas with an outline."""

    tools: ClassVar[tuple[Tool, ...]] = ()
    """What it is drawn with; without any it is only shown."""

    place: ClassVar[int] = 100
    """Where it stands among the other kinds."""

    def __len__(self) -> int:
        """Count what was drawn; 0 = nothing."""
        ...

    def draw(self, canvas: Canvas) -> None:
        """Draw into a training target."""
        ...

    def problem(
        self, shape: Sequence[int], *, task: Task, scale: float | None, radii: bool
    ) -> str | None:
        """Return what is wrong with it on such an image, as a sentence.

        Parameters
        ----------
        shape
            `(y, x)` of the image in pixels.
        task
            Classes and radii.
        scale
            nm per pixel of the image, None if unknown.
        radii
            Whether missing radii are a problem (they are for training).
        """
        ...

    def usable(
        self, shape: Sequence[int], *, task: Task, scale: float | None
    ) -> tuple[Self, tuple[str, ...]]:
        """Return what counts of it on such an image, and sentences about the rest.

        Nothing is lost by it: files and layers keep everything that was drawn.
        """
        ...

    def rescaled(self, factor_yx: tuple[float, float]) -> Self:
        """Return it on a grid of `factor_yx` times as many pixels."""
        ...

    def marked_classes(self, task: Task) -> set[int]:
        """Return the indices of the classes that are marked, background included."""
        ...

    def renamed(self, named: Mapping[str, str]) -> Self:
        """Return it with class names replaced: old name -> new name; others stay."""
        ...

    def without_class(self, name: str, index: int) -> Self:
        """Return it without one class; later class numbers move up."""
        ...

    def to_layer_data(self, name: str, task: Task, scale: float | None) -> LayerData:
        """Return what napari needs to show it, in pixels of the image.

        `scale`, `translate` and `units` of the layer are left out on purpose: whoever
        adds the layer copies them from the image that it lies on.
        """
        ...

    @classmethod
    def from_layer_data(cls, data: Any, meta: Mapping[str, Any]) -> Self:
        """Read it from a napari layer's data and settings."""
        ...

    def fits(self, task: Task) -> bool:
        """Whether a network of this task can be scored on it."""
        return {BACKGROUND, *task.classes}.issuperset(getattr(self, "classes", ()))

    def counts(self) -> dict[tuple[str, str], int]:
        """Say what is learned from: (word for one, word for several) -> how many."""
        return {("marked thing", "marked things"): len(self)}

    def status(self) -> str:
        """Say in the list of images how much there is of it."""
        return f"{len(self)} marked"

    def of_class(self, name: str, task: Task) -> int:
        """Count the things of a class."""
        return int(getattr(self, "classes", ()).count(name))

    def places(self) -> tuple[Place, ...]:
        """Return the places of each thing: one, those of a path, corners."""
        return ()

    def placed(self, places: Sequence[Place]) -> Self:
        """Return the same things elsewhere, `places` for each as from `places`."""
        return self

    def marked(self, task: Task, scale: float | None) -> list[tuple[Place, float]]:
        """Return places and radius in pixels of each thing that is there."""
        return []

    def within(self, inside: Inside) -> Self:
        """Return what of it counts where only some areas are finished."""
        return self

    def covers(self, grid: tuple[int, int], cell: float) -> NDArray[np.bool_]:
        """Return the cells, of so many pixels a side, in which something is drawn."""
        return stamped([_along(one / cell) for one in self.places()], grid)

    def show(self, pen: Pen, task: Task, scale: float | None) -> None:
        """Draw it on a picture of its image."""
        pen.paths(self.places())


class TableAnnotation(Annotation, Protocol):
    """An annotation whose file is a table."""

    def to_table(self) -> Table:
        """Return napari's own columns and those of this kind."""
        ...

    @classmethod
    def from_table(cls, table: Mapping[str, Sequence[Any]]) -> Self:
        """Read it from columns of text or numbers."""
        ...


annotation_kinds: Registry[type[Any]] = Registry("annotation kind")
"""Every kind of annotation by name."""


def kinds_in_order() -> list[str]:
    """Names of the kinds, in the order in which the window shows them."""
    return sorted(annotation_kinds, key=lambda name: annotation_kinds[name].place)


def rescaled(annotation: Any, factor: float | tuple[float, float]) -> Any:
    """Return an annotation on a grid with `factor` times as many pixels.

    Parameters
    ----------
    annotation
        Any kind.
    factor
        New pixels per old pixel, one number or `(y, x)`; below 1 shrinks.
    """
    pair = factor if isinstance(factor, tuple) else (factor, factor)
    if pair == (1.0, 1.0):
        return annotation
    return annotation.rescaled((float(pair[0]), float(pair[1])))


def stamped(places: Sequence[Place], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the cells `(y, x)` of a grid that hold a place.

    Parameters
    ----------
    places
        In cells, counted from the corner of the first.
    grid
        `(y, x)` of the grid.
    """
    found = np.zeros(grid, dtype=bool)
    cells = np.floor(np.concatenate([np.zeros((0, 2)), *places])).astype(int)
    inside = ((cells >= 0) & (cells < grid)).all(axis=1)
    found[tuple(cells[inside].T)] = True
    return found


def _along(path: Place) -> Place:
    """Places along a path, less than one apart."""
    parts = [path[:1]]
    for start, end in pairwise(path):
        steps = int(np.ceil(np.hypot(*(end - start)))) + 1
        parts.append(start + np.linspace(0, 1, steps)[:, None] * (end - start))
    return np.concatenate(parts)
