"""What every kind of annotation can do, and the register of the kinds.

An annotation is a value: numbers and names in pixels of the image, with conversions
to and from a napari layer and a file, and one method that draws it into a training
target. It knows neither the viewer nor the tool that it was drawn with.

A new kind is one new file with `@annotation_kinds.register("kind")`; its files lie in
the folder of that name in a dataset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from napari_topiary.registry import Registry
from napari_topiary.types import Task

if TYPE_CHECKING:
    from napari_topiary.annotations.targets import Canvas

Table = dict[str, list[Any]]
"""Columns by name, all of the same length, in the order in which they are written."""

LayerData = tuple[Any, dict[str, Any], str]
"""What napari makes a layer of: data, settings, layer type."""


class Annotation(Protocol):
    """What a person drew on one image, as a value.

    Coordinates are `(y, x)` in pixels of the image, pixel centres at integers.
    """

    kind: ClassVar[str]
    """Name in the register, and of the folder in a dataset."""

    storage: ClassVar[Literal["table", "image"]]
    """Whether its file is a CSV table or a label image."""

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

        Parameters
        ----------
        shape
            `(y, x)` of the image in pixels.
        task
            Classes and radii.
        scale
            nm per pixel of the image, None if unknown.
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


def annotation_problem(
    annotations: Sequence[Any],
    shape: Sequence[int],
    *,
    task: Task,
    scale: float | None = None,
    radii: bool = True,
) -> str | None:
    """Return what stops annotations from being learned from, as a sentence.

    Parameters
    ----------
    annotations
        All annotations of one image.
    shape
        `(y, x)` of the image in pixels.
    task
        Classes and radii.
    scale
        nm per pixel of the image, None if unknown.
    radii
        Whether missing radii are a problem (not for reading and showing).

    Returns
    -------
    str or None
        One sentence, None if all is well.
    """
    for annotation in annotations:
        sentence: str | None = annotation.problem(
            shape, task=task, scale=scale, radii=radii
        )
        if sentence is not None:
            return sentence
    return None


def usable_annotations(
    annotations: Sequence[Any],
    shape: Sequence[int],
    *,
    task: Task,
    scale: float | None = None,
) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Return what counts of annotations on an image, and sentences about the rest.

    Parameters
    ----------
    annotations
        All annotations of one image, without a problem.
    shape
        `(y, x)` of the image in pixels.
    task
        Classes and radii.
    scale
        nm per pixel of the image, None if unknown.
    """
    kept, notes = list[Any](), list[str]()
    for annotation in annotations:
        own, said = annotation.usable(shape, task=task, scale=scale)
        kept.append(own)
        notes += said
    return tuple(kept), tuple(notes)
