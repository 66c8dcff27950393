"""Upright boxes around things."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from napari_topiary.annotations.base import TableAnnotation, Tool, annotation_kinds
from napari_topiary.annotations.columns import unknown_class_problem

COLUMNS = ("top", "left", "bottom", "right")


@annotation_kinds.register("boxes")
@dataclass(frozen=True)
class Boxes(TableAnnotation):
    """Each `(top, left, bottom, right)` in pixels, with a class."""

    corners: tuple[tuple[float, ...], ...]
    classes: tuple[str, ...]

    kind: ClassVar[str] = "boxes"
    storage: ClassVar[Literal["table", "image"]] = "table"
    title: ClassVar[str] = "boxes"
    tools: ClassVar[tuple[Tool, ...]] = (
        Tool(
            name="box",
            text="Box",
            mode="add_rectangle",
            tip="Put a box around each thing.",
            hint="Drag a box around a thing.",
            tasks=("segment",),
            key="Shift-N",
        ),
    )

    def __len__(self):
        return len(self.corners)

    def draw(self, canvas):
        painted = np.zeros(canvas.shape, dtype=np.int16)
        for (top, left, bottom, right), name in zip(
            self.corners, self.classes, strict=True
        ):
            box = np.s_[round(top) : round(bottom), round(left) : round(right)]
            painted[box] = canvas.task.classes.index(name)
        canvas.fill(painted)

    def problem(self, shape, *, task, scale, radii):
        return unknown_class_problem(self.classes, task, "boxes")

    def counts(self):
        return {("box", "boxes"): len(self)}

    def status(self):
        return f"{len(self)} boxed"

    def places(self):
        return tuple(np.reshape(box, (2, 2)) for box in self.corners)

    def placed(self, places):
        return replace(self, corners=tuple(tuple(np.ravel(one)) for one in places))

    def usable(self, shape, *, task, scale):
        return self, ()

    def rescaled(self, factor_yx):
        pairs = factor_yx * 2
        corners = (
            tuple(a * f for a, f in zip(box, pairs, strict=True))
            for box in self.corners
        )
        return replace(self, corners=tuple(corners))

    def marked_classes(self, task):
        return {0} | {task.classes.index(name) for name in self.classes}

    def renamed(self, named):
        return replace(self, classes=tuple(named.get(c, c) for c in self.classes))

    def without_class(self, name, index):
        kept = [p for p in zip(self.corners, self.classes, strict=True) if p[1] != name]
        corners, classes = tuple(zip(*kept, strict=True)) or ((), ())
        return replace(self, corners=corners, classes=classes)

    def to_layer_data(self, name, task, scale):
        boxes = [np.array([box[:2], box[2:]]) for box in self.corners]
        features = {"class": list(self.classes)}
        return boxes, {"name": name, "features": features}, "shapes"

    @classmethod
    def from_layer_data(cls, data, meta):
        corners = tuple((*box.min(axis=0), *box.max(axis=0)) for box in data)
        return cls(corners, tuple(meta["features"]["class"]))

    def to_table(self):
        rows = list(zip(*self.corners, strict=True)) or [()] * 4
        return {
            **dict(zip(COLUMNS, map(list, rows), strict=True)),
            "class": list(self.classes),
        }

    @classmethod
    def from_table(cls, table):
        columns = [[float(one) for one in table[name]] for name in COLUMNS]
        return cls(tuple(zip(*columns, strict=True)), tuple(table["class"]))
