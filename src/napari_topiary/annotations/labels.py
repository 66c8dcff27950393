"""Painted or loaded labels: a class per pixel, or numbered objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations.base import LayerData, annotation_kinds
from napari_topiary.errors import TopiaryError
from napari_topiary.types import LabelImage, Task

if TYPE_CHECKING:
    from napari_topiary.annotations.canvas import Canvas

_MOST = 2.0**63
_FEW = 2**16
"""Label numbers below this are counted in a table."""


@annotation_kinds.register("labels")
@dataclass(frozen=True, eq=False)
class Labels:
    """A label image.

    Parameters
    ----------
    labels
        `(y, x)` int: class index, or for instances 0 = background and 1..n.
    instances
        Whether the numbers are objects rather than classes.
    """

    labels: LabelImage
    instances: bool = False

    kind: ClassVar[str] = "labels"
    storage: ClassVar[Literal["table", "image"]] = "image"

    def __post_init__(self) -> None:
        labels = np.array(self.labels)
        if labels.ndim != 2:
            raise TopiaryError(
                f"The labels have shape {labels.shape}; annotations are 2-D: give one "
                "label image (height x width), slice by slice for a stack."
            )
        if labels.dtype == bool:
            labels = labels.astype(np.uint8)
        if not np.issubdtype(labels.dtype, np.integer):
            whole = np.rint(labels)
            if not np.array_equal(whole, labels):
                raise TopiaryError(
                    "The labels are not whole numbers: save a label image (0 = "
                    "background, 1, 2, ...), not a probability map."
                )
            if labels.size and not np.abs(labels).max() < _MOST:
                raise TopiaryError(
                    f"The labels go up to {np.abs(labels).max():g}, which is no number "
                    "of an object or class: save a label image (0 = background, 1, 2, "
                    "...)."
                )
            small = not labels.size or np.abs(labels).max() < 2**31
            labels = whole.astype(np.int32 if small else np.int64)
        labels.flags.writeable = False
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        """Count the different labels, background not included."""
        labels = self.labels
        if labels.size and labels.min() >= 0 and labels.max() < _FEW:
            # Many times faster than sorting all pixels; asked after every stroke.
            counts = np.bincount(labels.ravel().astype(np.intp))
            return int(np.count_nonzero(counts[1:]))
        return int(np.count_nonzero(np.unique(labels)))

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return (
            isinstance(other, Labels)
            and np.array_equal(self.labels, other.labels)
            and self.instances == other.instances
        )

    def draw(self, canvas: Canvas) -> None:
        """Paint the classes; objects become class 1 with a line between neighbours."""
        if self.instances or canvas.task.kind == "instances":
            canvas.fill(_separated(self.labels))
        else:
            canvas.fill(self.labels)

    def problem(
        self, shape: Sequence[int], *, task: Task, scale: float | None, radii: bool
    ) -> str | None:
        """Return what is wrong with the labels on such an image, as a sentence."""
        size = (int(shape[0]), int(shape[1]))
        if self.labels.shape != size:
            return (
                f"The labels are {self.labels.shape[0]} x {self.labels.shape[1]} "
                f"pixels, but the image is {size[0]} x {size[1]} (height x width): "
                "labels and image must have the same size."
            )
        lowest, highest = int(self.labels.min()), int(self.labels.max())
        if lowest < 0:
            return (
                f"The labels hold the value {lowest}: use 0 for background and "
                "1, 2, ... for the rest."
            )
        objects = self.instances or task.kind == "instances"
        if not objects and highest >= len(task.classes):
            known = ", ".join(f"{i} {name}" for i, name in enumerate(task.classes))
            return (
                f"The labels hold the value {highest}, but the classes are {known}: "
                "add the class, or correct the labels."
            )
        return None

    def rescaled(self, factor_yx: tuple[float, float]) -> Self:
        """Return the labels on another grid; each pixel takes the nearest label."""
        picks = []
        for size, factor in zip(self.labels.shape, factor_yx, strict=True):
            new = max(1, round(size * factor))
            picks.append(((np.arange(new) + 0.5) * (size / new)).astype(int))
        return type(self)(self.labels[np.ix_(*picks)], self.instances)

    def to_layer_data(self, name: str, task: Task, scale: float | None) -> LayerData:
        """Return a napari Labels layer."""
        meta = {"name": name, "metadata": {"instances": self.instances}}
        return np.array(self.labels), meta, "labels"

    @classmethod
    def from_layer_data(cls, data: Any, meta: Mapping[str, Any]) -> Self:
        """Read a napari Labels layer."""
        notes = meta.get("metadata") or {}
        return cls(np.asarray(data), bool(notes.get("instances", False)))


def _separated(labels: LabelImage) -> NDArray[np.uint8]:
    """Objects as 1, with a background line of 1 px wherever two of them touch.

    The line is taken from the larger object of the two, so that small ones survive.
    """
    if labels.size and labels.max() >= max(_FEW, labels.size):
        _, inverse = np.unique(labels, return_inverse=True)
        labels = inverse.reshape(labels.shape) + int(labels.min() > 0)
    sizes = np.bincount(labels.ravel().astype(np.intp))
    sizes[0] = -1  # background comes first
    rank = np.empty(len(sizes), dtype=np.int32)
    rank[np.argsort(sizes, kind="stable")] = np.arange(len(sizes))
    numbered = rank[labels]  # 0 = background, then objects by size
    padded = np.pad(numbered, 1)
    line = np.zeros(labels.shape, dtype=bool)
    height, width = labels.shape
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            neighbour = padded[dy : dy + height, dx : dx + width]
            line |= (neighbour > 0) & (neighbour < numbered)
    return ((numbered > 0) & ~line).astype(np.uint8)
