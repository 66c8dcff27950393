"""Filaments, drawn along their middle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations.base import (
    LayerData,
    Place,
    Table,
    Tool,
    annotation_kinds,
)
from napari_topiary.annotations.columns import (
    Path,
    as_paths,
    class_names,
    column,
    features_of,
    lengths,
    paths_from_table,
    paths_to_table,
    positive_or_none,
    rescaled_paths,
    same_paths,
    shape_types,
)
from napari_topiary.annotations.marks import MarkedThings, beyond
from napari_topiary.errors import TopiaryError
from napari_topiary.types import BACKGROUND, Task

if TYPE_CHECKING:
    from napari_topiary.annotations.targets import Canvas

LINE_SHAPES = ("path", "line", "polyline")
"""What napari and ImageJ call shapes that are no areas."""


@annotation_kinds.register("centerlines")
@dataclass(frozen=True, eq=False)
class Centerlines(MarkedThings):
    """Drawn centerlines; those of class *background* mean "this is not one"."""

    #: Vertices of each line, `(v, 2)` float y, x in pixels of the image
    paths: tuple[Path, ...]
    classes: tuple[str, ...]  #: Class name of each line
    #: Width of each filament in nm, None where twice the radius of its class counts;
    #: None = no line has its own
    width_nm: tuple[float | None, ...] | None = None

    kind: ClassVar[str] = "centerlines"
    storage: ClassVar[Literal["table", "image"]] = "table"
    title: ClassVar[str] = "centerlines"
    place: ClassVar[int] = 10
    tools: ClassVar[tuple[Tool, ...]] = (
        Tool(
            name="centerline",
            text="Centerline",
            mode="add_polyline",
            tip="Trace filaments along their middle.",
            hint="Click along the middle of a filament; double-click where it ends.",
            tasks=("detect",),
            key="Shift-C",
            place=10,
        ),
    )
    is_line: ClassVar[bool] = True

    def __post_init__(self) -> None:
        paths = as_paths(self.paths, "Centerline")
        classes = class_names(self.classes, "centerlines")
        own = positive_or_none(self.width_nm, "width")
        if len(classes) != len(paths) or (own and len(own) != len(paths)):
            raise TopiaryError(
                f"{len(paths)} centerlines come with {len(classes)} classes"
                + (f" and {len(own)} widths" if own else "")
                + ": give one of each per centerline."
            )
        object.__setattr__(self, "paths", paths)
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "width_nm", own)

    def __len__(self) -> int:
        """Count the lines."""
        return len(self.paths)

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return (
            isinstance(other, Centerlines)
            and same_paths(self.paths, other.paths)
            and self.classes == other.classes
            and self.width_nm == other.width_nm
        )

    @property
    def radii_nm(self) -> tuple[float | None, ...] | None:
        """Half of each line's width in nm, None where its class says it."""
        own = self.width_nm
        return None if own is None else tuple(w and w / 2 for w in own)

    def places(self) -> tuple[Place, ...]:
        """Return the vertices of each line."""
        return self.paths

    def placed(self, places: Sequence[Place]) -> Self:
        """Return the lines elsewhere."""
        return replace(self, paths=tuple(places))

    def only(self, kept: Sequence[int] | NDArray[np.integer]) -> Self:
        """Return the lines with these indices, with all that is theirs."""
        own = self.width_nm
        return type(self)(
            tuple(self.paths[i] for i in kept),
            tuple(self.classes[i] for i in kept),
            None if own is None else tuple(own[i] for i in kept),
        )

    def draw(self, canvas: Canvas) -> None:
        """Draw a band per line; a background line means "not this"."""
        radii = self.radii_px(canvas.task, canvas.scale)
        for path, name, radius in zip(self.paths, self.classes, radii, strict=True):
            if name == BACKGROUND:
                canvas.stamp_negative(path, radius)
            elif radius is not None:
                canvas.stamp(path, name=name, radius=radius)

    def nearest(self, shape: Sequence[int]) -> NDArray[np.float64]:
        """Of each line's box the place that is nearest to the image.

        A filament may run out of the picture.
        """
        middle = (np.asarray(shape[:2], dtype=np.float64) - 1) / 2
        near = [
            np.clip(middle, path.min(axis=0), path.max(axis=0)) for path in self.paths
        ]
        return np.array(near, dtype=np.float64).reshape(-1, 2)

    def usable(
        self, shape: Sequence[int], *, task: Task, scale: float | None
    ) -> tuple[Self, tuple[str, ...]]:
        """Leave out lines of which nothing is in the image."""
        far = beyond(self.nearest(shape), self.reaches(task, scale), shape)
        if not far.any():
            return self, ()
        keep = np.flatnonzero(~far)
        return (
            self.only(keep),
            (
                f"{far.sum()} of {len(self)} centerlines lie outside the image "
                f"({shape[0]} x {shape[1]} pixels, height x width): left out.",
            ),
        )

    def rescaled(self, factor_yx: tuple[float, float]) -> Self:
        """Return the lines on a grid of `factor_yx` times as many pixels."""
        return self.placed(rescaled_paths(self.paths, factor_yx))

    def counts(self) -> dict[tuple[str, str], int]:
        """Count the lines."""
        return {("centerline", "centerlines"): len(self)}

    def status(self) -> str:
        """Say how many are traced."""
        return f"{len(self)} traced"

    def to_layer_data(self, name: str, task: Task, scale: float | None) -> LayerData:
        """Return a napari Shapes layer: features `class` and, if given, `width_nm`."""
        radii = self.radii_px(task, scale)
        features: dict[str, Any] = {"class": np.array(self.classes, dtype=object)}
        if self.width_nm is not None:
            features["width_nm"] = np.array(self.width_nm, dtype=float)
        meta: dict[str, Any] = {"name": name, "features": features}
        if len(self):
            meta["shape_type"] = ["path"] * len(self)
            meta["edge_width"] = [2.0 if r is None else 2 * r for r in radii]
        return [np.array(path) for path in self.paths], meta, "shapes"

    @classmethod
    def from_layer_data(cls, data: Any, meta: Mapping[str, Any]) -> Self:
        """Read a napari Shapes layer of paths that has a feature `class`."""
        types = shape_types(meta, len(data), "path")
        _check_types(types)
        features = features_of(meta)
        classes = column(features, "class") if len(data) else ()
        own = features.get("width_nm") if len(data) else None
        return cls(
            tuple(data),
            class_names(classes, "centerlines"),
            None if own is None else lengths(own, "width_nm"),
        )

    def to_table(self) -> Table:
        """Return napari's shapes columns, `class` and, if given, `width_nm`."""
        extra: dict[str, Sequence[Any]] = {"class": self.classes}
        if self.width_nm is not None:
            extra["width_nm"] = self.width_nm
        return paths_to_table(self.paths, ["path"] * len(self), extra)

    @classmethod
    def from_table(cls, table: Mapping[str, Sequence[Any]]) -> Self:
        """Read napari's shapes columns, `class` and, if there, `width_nm`."""
        paths, types, rows = paths_from_table(table)
        _check_types(types)
        names = column(table, "class")
        own = table.get("width_nm")
        return cls(
            tuple(paths),
            class_names([names[row] for row in rows], "centerlines"),
            None if own is None else lengths([own[row] for row in rows], "width_nm"),
        )


def _check_types(types: Sequence[str]) -> None:
    wrong = sorted(set(types) - set(LINE_SHAPES))
    if wrong:
        raise TopiaryError(
            f"A centerline cannot be a {' or '.join(wrong)}: draw it with the path or "
            "line tool."
        )
