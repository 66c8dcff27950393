"""Painted or loaded labels: a class per pixel, or numbered objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_topiary.annotations.base import (
    Annotation,
    LayerData,
    Pen,
    Place,
    Tool,
    annotation_kinds,
    stamped,
)
from napari_topiary.annotations.label_images import (
    EIGHT,
    are_equal,
    distance_map,
    drawn_as,
    ground_problem,
    has_other_numbers,
    numbered,
    scattered_problem,
    separated,
)
from napari_topiary.config import DistanceScale
from napari_topiary.errors import TopiaryError
from napari_topiary.types import BACKGROUND, LabelImage, Task

if TYPE_CHECKING:
    from napari_topiary.annotations.targets import Canvas

_MOST = 2.0**63
_FEW = 2**16
"""Label numbers below this are counted in a table."""
LARGEST_NUMBER = 1_000_000
"""Objects with larger numbers are numbered anew before they are looked for."""
_PICTURE = 8
"""More values than this, and than there are classes, are grey levels."""


@annotation_kinds.register("labels")
@dataclass(frozen=True, eq=False)
class Labels(Annotation):
    """A label image."""

    #: `(y, x)` int: class index, or for instances 0 = background and 1..n
    labels: LabelImage
    instances: bool = False  #: Whether the numbers are objects rather than classes

    kind: ClassVar[str] = "labels"
    storage: ClassVar[Literal["table", "image"]] = "image"
    layer_type: ClassVar[Literal["points", "shapes", "labels"]] = "labels"
    title: ClassVar[str] = "painted"
    opacity: ClassVar[float] = 0.5
    has_classes: ClassVar[bool] = False
    place: ClassVar[int] = 20
    tools: ClassVar[tuple[Tool, ...]] = (
        Tool(
            name="paint",
            text="Paint",
            mode="paint",
            tip="Paint what belongs to the class, pixel by pixel.",
            hint="Paint over it; [ and ] change the brush, E erases, 2 paints again.",
            object_hint="Paint one object. A stroke apart from it begins the next one, "
            "and so does Q. [ and ] change the brush, E erases, 2 paints again.",
            tasks=("segment", "instances"),
            key="Shift-B",
            place=20,
        ),
        Tool(
            name="outline",
            text="Outline",
            mode="polygon",
            tip="Click around it: what is inside is filled (napari's polygon).",
            hint="Click around it; a double-click closes it, and it fills itself. A "
            "right click takes the last corner back, Escape all.",
            object_hint="Click around one object; a double-click closes it, and it "
            "fills itself. The next outline begins the next object. Escape gives up.",
            tasks=("segment", "instances"),
            key="Shift-P",
            place=30,
        ),
        Tool(
            name="split",
            text="Split",
            mode="pick",
            tip="Cut an object that is two at its narrowest place.",
            hint="Click an object: it is cut at its narrowest place.",
            tasks=("instances",),
            key="Shift-X",
            place=70,
        ),
        Tool(
            name="merge",
            text="Merge",
            mode="pick",
            tip="Join objects that are one.",
            hint="Click an object, then what belongs to it.",
            tasks=("instances",),
            key="Shift-V",
            place=80,
        ),
    )

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
            if np.isnan(labels).any():
                raise TopiaryError(
                    "The labels have pixels that are no number (NaN): save a label "
                    "image (0 = background, 1, 2, ...), and draw finished areas around "
                    "what is known."
                )
            whole = np.rint(labels)
            if not np.array_equal(whole, labels):
                raise TopiaryError(
                    "The labels are not whole numbers: save a label image (0 = "
                    "background, 1, 2, ...), not a probability map."
                )
            largest = float(np.abs(labels).max(initial=0))
            if not largest < _MOST:
                raise TopiaryError(
                    f"The labels go up to {largest:g}, which is no number of an object "
                    "or class: save a label image (0 = background, 1, 2, ...)."
                )
            labels = whole.astype(np.int32 if largest < 2**31 else np.int64)
        labels.flags.writeable = False
        object.__setattr__(self, "labels", labels)

    def __bool__(self) -> bool:
        """Whether anything is painted; counting it takes longer."""
        return self._ends != (0, 0)

    def __len__(self) -> int:
        """Count the different labels, background not included."""
        labels = self.labels
        if labels.size and labels.min() >= 0 and labels.max() < _FEW:
            # Many times faster than sorting all pixels; asked after every stroke.
            there = np.zeros(_FEW, dtype=bool)
            there[labels] = True
            return int(np.count_nonzero(there[1:]))
        return int(np.count_nonzero(np.unique(labels)))

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return (
            isinstance(other, Labels)
            and self.instances == other.instances
            and are_equal(self.labels, other.labels)
        )

    def draw(self, canvas: Canvas) -> None:
        """Paint the classes; objects become class 1 with a line between neighbours."""
        meant, _ = self._meant(canvas.task)
        if self._objects(canvas.task):
            canvas.fill(separated(meant))
        else:
            canvas.fill(meant)

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
        lowest, highest = self._ends
        if lowest < 0:
            return (
                f"The labels hold the value {lowest}: use 0 for background and "
                "1, 2, ... for the rest."
            )
        if self._objects(task):
            return scattered_problem(self.labels)
        meant, _ = self._meant(task)
        if int(meant.max()) >= len(task.classes):
            known = ", ".join(f"{i} {name}" for i, name in enumerate(task.classes))
            values = len(self)
            if values > _PICTURE:
                return (
                    f"The labels hold {values} different values up to {highest}, but "
                    f"the classes are {known}: this is a picture with smooth or lossy "
                    "edges, not a label image; save it as PNG or TIFF with the numbers "
                    "of the classes alone."
                )
            return (
                f"The labels hold the value {highest}, but the classes are {known}: "
                "add the class, or correct the labels."
            )
        return None

    def usable(
        self, shape: Sequence[int], *, task: Task, scale: float | None
    ) -> tuple[Self, tuple[str, ...]]:
        """Read black and white masks as they are meant."""
        meant, note = self._meant(task)
        notes = (note, ground_problem(self.labels, objects=self._objects(task)))
        labels = type(self)(meant, self.instances) if note else self
        return labels, tuple(filter(None, notes))

    def meant(self, task: Task) -> Self:
        """Read black and white masks as they are meant, and look no further."""
        labels, note = self._meant(task)
        return type(self)(labels, self.instances) if note else self

    def rescaled(self, factor_yx: tuple[float, float]) -> Self:
        """Return the labels on another grid; each pixel takes the nearest label."""
        picks = []
        for size, factor in zip(self.labels.shape, factor_yx, strict=True):
            new = max(1, round(size * factor))
            picks.append(((np.arange(new) + 0.5) * (size / new)).astype(int))
        return type(self)(self.labels[np.ix_(*picks)], self.instances)

    def marked_classes(self, task: Task) -> set[int]:
        """Return the classes that are painted; masks of 0 and 255 mean 0 and 1."""
        last = len(task.classes) - 1
        ends = {min(int(end), last) for end in (self.labels.min(), self.labels.max())}
        return ends | {i for i in range(1, last) if (self.labels == i).any()}

    def renamed(self, named: Mapping[str, str]) -> Self:
        """Return the same: numbers have no names."""
        return self

    def without_class(self, name: str, index: int) -> Self:
        """Return the labels without one class; later class numbers move up."""
        if self.instances:
            return self
        labels = self.labels.astype(np.int64)
        labels[labels == index] = 0
        labels[labels > index] -= 1
        return replace(self, labels=labels.astype(self.labels.dtype))

    def fits(self, task: Task) -> bool:
        """Whether its numbers are objects where the task has objects, else classes."""
        if self._objects(task):
            return self.instances and task.kind == "instances"
        return self._ends[1] < len(task.classes)

    def counts(self) -> dict[tuple[str, str], int]:
        """Count as one, whatever is painted."""
        return {("painted image", "painted images"): 1}

    def status(self) -> str:
        """Say that something is painted."""
        return "painted"

    def of_class(self, name: str, task: Task) -> int:
        """Count as one where pixels of the class are painted."""
        if self._objects(task):
            return int(name != BACKGROUND and bool(self))
        return int((self.labels == task.classes.index(name)).any())

    def marked(self, task: Task, scale: float | None) -> list[tuple[Place, float]]:
        """Corners of the box of each painted thing, and half of its shorter side."""
        numbers = np.where(self.labels > 0, self.labels, 0)
        if not self.instances:
            pieces, _ = ndi.label(numbers)
        elif numbers.max(initial=0) <= LARGEST_NUMBER:
            pieces = numbers.astype(np.int32)
        else:  # only as many boxes are looked for as there are
            pieces = np.unique(numbers, return_inverse=True)[1].reshape(numbers.shape)
            pieces += int(numbers.min(initial=1) > 0)
        boxes = [box for box in ndi.find_objects(pieces) if box is not None]
        return [
            (
                np.array([[y.start, x.start], [y.stop - 1, x.stop - 1]], dtype=float),
                min(y.stop - y.start, x.stop - x.start) / 2,
            )
            for y, x in boxes
        ]

    def covers(self, grid: tuple[int, int], cell: float) -> NDArray[np.bool_]:
        """Return the cells, of so many pixels a side, in which something is painted."""
        step = max(1, int(cell / 2))
        painted = np.argwhere(self.labels[::step, ::step]) * step
        return stamped([painted / cell], grid)

    def show(self, pen: Pen, task: Task, scale: float | None) -> None:
        """Lay a colour over each label."""
        pen.labels(self.labels)

    def to_layer_data(self, name: str, task: Task, scale: float | None) -> LayerData:
        """Return a napari Labels layer; objects in the numbers that it draws fast."""
        meta = {"name": name, "metadata": {"instances": self.instances}}
        return self.pixels(task), meta, "labels"

    def pixels(self, task: Task, room: LabelImage | None = None) -> LabelImage:
        """Return the labels to be drawn on, in `room` where they fit: that is faster.

        Fresh memory for a large image takes ten times as long as filling it.
        """
        known = self.labels.dtype
        if task.kind == "instances":
            known = drawn_as(*self._ends, known)
        if room is None or (room.shape, room.dtype) != (self.labels.shape, known):
            return self.labels.astype(known)
        np.copyto(room, self.labels, casting="unsafe")
        return room

    @cached_property
    def _ends(self) -> tuple[int, int]:
        """Lowest and highest number, at most and at least 0; asked at every look."""
        return int(self.labels.min(initial=0)), int(self.labels.max(initial=0))

    @classmethod
    def from_layer_data(cls, data: Any, meta: Mapping[str, Any]) -> Self:
        """Read a napari Labels layer."""
        notes = meta.get("metadata") or {}
        return cls(np.asarray(data), bool(notes.get("instances", False)))

    def _objects(self, task: Task) -> bool:
        return self.instances or task.kind == "instances"

    def _meant(self, task: Task) -> tuple[LabelImage, str]:
        """Labels where a mask of one value is what it stands for, and a sentence."""
        labels = self.labels
        value = self._ends[1]
        if value < 1 or has_other_numbers(labels, value):
            return labels, ""
        if self._objects(task):
            pieces, count = ndi.label(labels, structure=EIGHT)
            if count < 2:
                return labels, ""
            return pieces, (
                f"One number ({value}) for {count} separate pieces: each piece counts "
                "as an object of its own, and those that touch as one. Give each "
                "object a number of its own if that is not what is meant."
            )
        if value < len(task.classes) or len(task.classes) != 2:
            return labels, ""
        return (labels != 0).astype(np.uint8), (
            f"The labels hold 0 and {value}: {value} is taken for {task.classes[1]}."
        )


def object_numbers(
    annotations: Sequence[Any], shape: tuple[int, int]
) -> NDArray[np.signedinteger]:
    """Numbers of the painted objects, 0 = background.

    Signed, whatever the file was, so that −1 can stand for unknown; numbers that are
    too large for that are given anew, all different.

    Parameters
    ----------
    annotations
        All annotations of one image.
    shape
        `(y, x)` of the image in pixels.
    """
    objects: NDArray[np.signedinteger] = np.zeros(shape, dtype=np.int32)
    for annotation in annotations:
        if isinstance(annotation, Labels):
            labels = annotation.labels
            if int(labels.max(initial=0)) > np.iinfo(np.int64).max:
                labels = numbered(labels)
            small = int(labels.max(initial=0)) <= np.iinfo(np.int32).max
            if small and labels.dtype == np.uint32:
                objects = labels.view(np.int32)  # large images are not copied
            else:
                objects = labels.astype(np.int32 if small else np.int64, copy=False)
    return objects


def object_distances(
    annotations: Sequence[Any],
    shape: tuple[int, int],
    *,
    relative_to: DistanceScale = "object",
) -> NDArray[np.float32]:
    """Distance map `(y, x)` of everything that was labelled as objects on a grid."""
    result = np.zeros(shape, dtype=np.float32)
    for annotation in annotations:
        if isinstance(annotation, Labels):
            own = distance_map(annotation.labels, relative_to=relative_to)
            np.maximum(result, own, out=result)
    return result
