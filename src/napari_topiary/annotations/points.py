"""Centres of particles, and places where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import scipy
from numpy.typing import NDArray

from napari_topiary.annotations.base import (
    LayerData,
    Pen,
    Place,
    Table,
    Tool,
    annotation_kinds,
)
from napari_topiary.annotations.columns import (
    FARTHEST,
    class_names,
    column,
    coordinates,
    features_of,
    lengths,
    positive_or_none,
    yes_or_no,
)
from napari_topiary.annotations.marks import (
    MarkedThings,
    beyond,
    contradicting,
    cornered,
    fill_areas,
    misread,
    repeated,
)
from napari_topiary.annotations.targets import TargetConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.types import BACKGROUND, Task

if TYPE_CHECKING:
    from napari_topiary.annotations.targets import Canvas
CROWDED = 2.0
"""The closest pairs count, but not single slips: this percentile of all distances."""
SHARE_OF_DISTANCE = 0.4
"""A disc reaches less than half of the way to the next centre."""
SMALLEST = 0.35
"""Smaller discs, in radii, would leave too little to learn from."""


@annotation_kinds.register("points")
@dataclass(frozen=True, eq=False)
class Points(MarkedThings):
    """Marked centres; those of class *background* mean "this is not one"."""

    coordinates: NDArray[np.float64]  #: `(n, 2)` float y, x in pixels of the image
    classes: tuple[str, ...]  #: Class name of each point
    #: Radius of each point in nm, None where that of its class counts; None = no point
    #: has its own
    radius_nm: tuple[float | None, ...] | None = None
    #: Whether a person answered a network here ("yes, this is one"): such points are
    #: learned from outside finished areas, too; None = none of them
    reviewed: tuple[bool, ...] | None = None

    kind: ClassVar[str] = "points"
    storage: ClassVar[Literal["table", "image"]] = "table"
    layer_type: ClassVar[Literal["points", "shapes", "labels"]] = "points"
    title: ClassVar[str] = "marks"
    opacity: ClassVar[float] = 0.9
    place: ClassVar[int] = 0
    tools: ClassVar[tuple[Tool, ...]] = (
        Tool(
            name="point",
            text="Point",
            mode="add",
            tip="Mark round particles by their centres.",
            hint="Click the centre of every particle. The circle shows its radius.",
            tasks=("detect",),
            key="Shift-D",
            place=0,
        ),
        Tool(
            name="negative",
            text="Not this",
            mode="add",
            tip="Mark what looks like a particle but is none, so that it is not found "
            "again.",
            hint="Click what only looks like one: ice, dirt, edges.",
            tasks=("detect",),
            key="0",
            place=50,
            negative=True,
        ),
    )
    is_line: ClassVar[bool] = False

    def __post_init__(self) -> None:
        places = np.array(self.coordinates, dtype=np.float64)
        if places.size == 0:
            places = places.reshape(0, 2)
        if places.ndim != 2 or places.shape[1] != 2:
            raise TopiaryError(
                f"The points have coordinates of shape {places.shape}; annotations are "
                "2-D: give y and x of each point, slice by slice for a stack."
            )
        bad = int((~(np.abs(places) <= FARTHEST)).any(axis=1).sum())
        if bad:
            raise TopiaryError(
                f"{bad} of {len(places)} points have no position (not a number): "
                "delete them."
            )
        classes = class_names(self.classes, "points")
        own = positive_or_none(self.radius_nm, "radius")
        seen = tuple(map(bool, self.reviewed or ()))
        if len(classes) != len(places) or (own and len(own) != len(places)):
            raise TopiaryError(
                f"{len(places)} points come with {len(classes)} classes"
                + (f" and {len(own)} radii" if own else "")
                + ": give one of each per point."
            )
        if seen and len(seen) != len(places):
            raise TopiaryError(
                f"Of {len(places)} points {len(seen)} say whether they were reviewed: "
                "say it of each, or of none."
            )
        places.flags.writeable = False
        object.__setattr__(self, "coordinates", places)
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "radius_nm", own)
        object.__setattr__(self, "reviewed", seen if any(seen) else None)

    def __len__(self) -> int:
        """Count the points."""
        return len(self.coordinates)

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return (
            isinstance(other, Points)
            and np.array_equal(self.coordinates, other.coordinates)
            and self.classes == other.classes
            and self.radius_nm == other.radius_nm
            and self.reviewed == other.reviewed
        )

    @property
    def radii_nm(self) -> tuple[float | None, ...] | None:
        """Radius of each in nm, None where that of its class counts."""
        return self.radius_nm

    @property
    def answers(self) -> NDArray[np.bool_]:
        """Which points are an answer about this one place, `(n,)` bool.

        "This is not one" always is, a particle where it was reviewed.
        """
        seen: NDArray[np.bool_] = super().answers
        if self.reviewed is not None:
            seen |= np.array(self.reviewed, dtype=bool)
        return seen

    def nearest(self, shape: Sequence[int]) -> NDArray[np.float64]:
        """Return the points themselves."""
        return self.coordinates

    def centres(self) -> NDArray[np.float64]:
        """Return the points themselves."""
        return self.coordinates

    def places(self) -> tuple[Place, ...]:
        """Return each point's place, `(1, 2)`."""
        return tuple(self.coordinates[:, None])

    def placed(self, places: Sequence[Place]) -> Self:
        """Return the points at other places."""
        return replace(self, coordinates=np.concatenate([np.zeros((0, 2)), *places]))

    def only(self, kept: Sequence[int] | NDArray[np.integer]) -> Self:
        """Return the points with these indices, with all that is theirs."""
        chosen = [int(index) for index in kept]
        own, seen = self.radius_nm, self.reviewed
        return type(self)(
            self.coordinates[chosen],
            tuple(self.classes[i] for i in chosen),
            None if own is None else tuple(own[i] for i in chosen),
            None if seen is None else tuple(seen[i] for i in chosen),
        )

    def joined(self, more: Points) -> Self:
        """Return these points and others of the same image behind them."""
        both = (self, more)
        return type(self)(
            np.concatenate([one.coordinates for one in both]),
            self.classes + more.classes,
            sum((one.radius_nm or (None,) * len(one) for one in both), ()),
            sum((one.reviewed or (False,) * len(one) for one in both), ()),
        )

    def draw(self, canvas: Canvas) -> None:
        """Draw a disc per point."""
        radii = self.radii_px(canvas.task, canvas.scale)
        for index, (place, name, radius) in enumerate(
            zip(self.coordinates, self.classes, radii, strict=True)
        ):
            if name == BACKGROUND:
                canvas.stamp_negative(place[None], radius)
            elif radius is not None:
                seen = self.reviewed is not None and self.reviewed[index]
                canvas.stamp(place[None], name=name, radius=radius, reviewed=seen)

    def problem(
        self, shape: Sequence[int], *, task: Task, scale: float | None, radii: bool
    ) -> str | None:
        """Return what is wrong with the points on such an image, as a sentence."""
        if fill_areas(self.coordinates):
            unit = cornered(self.coordinates, shape, scale=scale)
            if unit:
                return f"{unit} Pixels count."
            return (
                f"The {len(self)} points lie pixel beside pixel: these are areas. Save "
                "them as a label image in the folder labels, or keep one point for "
                "each particle."
            )
        return super().problem(shape, task=task, scale=scale, radii=radii)

    def usable(
        self, shape: Sequence[int], *, task: Task, scale: float | None
    ) -> tuple[Self, tuple[str, ...]]:
        """Leave out what is marked twice, and what lies too far outside."""
        reach, notes = self.reaches(task, scale), list[str]()
        far = beyond(self.coordinates, reach, shape)
        again = repeated(self.coordinates, reach, self.classes) & ~far
        if far.any():
            question = misread(self.coordinates, reach, shape, scale=scale)
            notes.append(
                f"{far.sum()} of {len(self)} points lie more than a radius outside the "
                f"image ({shape[0]} x {shape[1]} pixels, height x width): left out."
                + (f" {question}" if question else "")
            )
        if again.any():
            notes.append(
                f"{again.sum()} of {len(self)} points mark the same place as another "
                "one: each place counts once."
            )
        if both := contradicting(self.coordinates, reach, self.classes):
            y, x = self.coordinates[both[0][0]]
            names = " and ".join(sorted(self.classes[i] for i in both[0]))
            notes.append(
                f"{len(both)} of {len(self)} points mark the same place as one of "
                f"another class, the first as {names} at y {y:.4g}, x {x:.4g}: delete "
                "what is wrong."
            )
        asked = cornered(self.coordinates, shape, scale=scale)
        if asked:
            notes.append(asked)
        if not notes:
            return self, ()
        keep = np.flatnonzero(~far & ~again)
        return self.only(keep), tuple(notes)

    def rescaled(self, factor_yx: tuple[float, float]) -> Self:
        """Return the points on a grid of `factor_yx` times as many pixels."""
        places = (self.coordinates + 0.5) * np.asarray(factor_yx) - 0.5
        return replace(self, coordinates=places)

    def counts(self) -> dict[tuple[str, str], int]:
        """Count particles, and places where there is none."""
        negative = self.classes.count(BACKGROUND)
        return {
            ("particle", "particles"): len(self) - negative,
            ("counterexample", "counterexamples"): negative,
        }

    def show(self, pen: Pen, task: Task, scale: float | None) -> None:
        """Draw a circle of the radius of its class around each."""
        names = np.array(self.classes, dtype=object)
        for name in dict.fromkeys(self.classes):
            own = self.coordinates[names == name]
            pen.circles(own, radius=task.radius_or_usual(name, scale))

    def to_layer_data(self, name: str, task: Task, scale: float | None) -> LayerData:
        """Return a napari Points layer.

        Its features are `class` and, if given, `radius_nm` and `reviewed`.
        """
        radii = self.radii_px(task, scale)
        features: dict[str, Any] = {"class": np.array(self.classes, dtype=object)}
        if self.radius_nm is not None:
            features["radius_nm"] = np.array(self.radius_nm, dtype=float)
        if self.reviewed is not None:
            features["reviewed"] = np.array(self.reviewed, dtype=object)
        meta: dict[str, Any] = {"name": name, "features": features}
        if len(self):
            meta["size"] = np.array([10.0 if r is None else 2 * r for r in radii])
        return np.array(self.coordinates), meta, "points"

    @classmethod
    def from_layer_data(cls, data: Any, meta: Mapping[str, Any]) -> Self:
        """Read a napari Points layer that has a feature `class`."""
        places = np.asarray(data, dtype=np.float64)
        features = features_of(meta)
        classes = column(features, "class") if len(places) else ()
        own = features.get("radius_nm") if len(places) else None
        return cls(
            places,
            class_names(classes, "points"),
            None if own is None else lengths(own, "radius_nm"),
            yes_or_no(features, "reviewed") if len(places) else None,
        )

    def to_table(self) -> Table:
        """Return napari's own columns, `class` and, if given, those of each point."""
        table: Table = {
            "index": list(range(len(self))),
            "axis-0": self.coordinates[:, 0].tolist(),
            "axis-1": self.coordinates[:, 1].tolist(),
            "class": list(self.classes),
        }
        if self.radius_nm is not None:
            table["radius_nm"] = list(self.radius_nm)
        if self.reviewed is not None:
            table["reviewed"] = [1 if one else None for one in self.reviewed]
        return table

    @classmethod
    def from_table(cls, table: Mapping[str, Sequence[Any]]) -> Self:
        """Read `axis-0`, `axis-1`, `class`; if there, `radius_nm` and `reviewed`."""
        own = table.get("radius_nm")
        return cls(
            coordinates(table),
            class_names(column(table, "class"), "points"),
            None if own is None else lengths(own, "radius_nm"),
            yes_or_no(table, "reviewed"),
        )


def zones_for(
    images: Iterable[tuple[Points, float | None]], task: Task
) -> TargetConfig:
    """Choose the zones of marked particles by how close they lie to one another.

    With the usual zones particles that overlap in projection are drawn as one area,
    and what is learned as one cannot be told apart again.

    Parameters
    ----------
    images
        Marks of every image, with its nm per pixel (None if unknown).
    task
        Radii of the classes.

    Returns
    -------
    TargetConfig
        The usual zones, or narrower ones of the same width of ignored rim.
    """
    usual = TargetConfig()
    distances = [_in_radii(points, scale, task) for points, scale in images]
    found = np.concatenate([np.zeros(0), *distances])
    if len(found) == 0:
        return usual
    reach = SHARE_OF_DISTANCE * float(np.percentile(found, CROWDED))
    certain = float(np.clip(reach, SMALLEST, usual.certain))
    return TargetConfig(certain, certain + usual.ignore - usual.certain)


def _in_radii(points: Points, scale: float | None, task: Task) -> NDArray[np.float64]:
    """Distance of every particle to the next one, in the mean radius of the two."""
    radii = np.array([task.radius(name, scale) or np.nan for name in task.classes])
    index = np.array([task.classes.index(name) for name in points.classes], dtype=int)
    own = radii[index] if len(index) else np.zeros(0)
    marked = np.array([name != BACKGROUND for name in points.classes], dtype=bool)
    marked &= np.isfinite(own)
    if marked.sum() < 2:
        return np.zeros(0)
    places, own = np.asarray(points.coordinates)[marked], own[marked]
    distance, neighbour = scipy.spatial.cKDTree(places).query(places, k=2)
    ratio: NDArray[np.float64] = distance[:, 1] / (own + own[neighbour[:, 1]]) * 2
    return ratio
