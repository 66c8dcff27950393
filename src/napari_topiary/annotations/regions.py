"""Areas that a person has finished: inside them everything is marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations.base import (
    LayerData,
    Pen,
    Place,
    Table,
    TableAnnotation,
    Tool,
    annotation_kinds,
)
from napari_topiary.annotations.columns import (
    Path,
    as_paths,
    paths_from_table,
    paths_to_table,
    rescaled_paths,
    same_paths,
    shape_types,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.types import Task

if TYPE_CHECKING:
    from napari_topiary.annotations.targets import Canvas

_AREAS = ("rectangle", "polygon", "ellipse")
_ELLIPSE_VERTICES = 72
_TOUCHES = 1e-9  # a pixel centre on the outline is inside, whatever rounding says


@annotation_kinds.register("regions")
@dataclass(frozen=True, eq=False)
class Regions(TableAnnotation):
    """Finished areas; outside of them nothing is known.

    A pixel is finished if its centre lies inside or on the outline of any of them. No
    area at all means the same as no `Regions`: the whole image is finished.
    """

    #: Vertices of each area, `(v, 2)` float y, x in pixels of the image; the four
    #: corners of the box for a rectangle or an ellipse
    polygons: tuple[Path, ...]
    #: ``"rectangle"``, ``"polygon"`` or ``"ellipse"`` for each
    shape_types: tuple[str, ...]

    kind: ClassVar[str] = "regions"
    storage: ClassVar[Literal["table", "image"]] = "table"
    title: ClassVar[str] = "finished areas"
    opacity: ClassVar[float] = 0.9
    has_classes: ClassVar[bool] = False
    place: ClassVar[int] = 30
    tools: ClassVar[tuple[Tool, ...]] = (
        Tool(
            name="region",
            text="Finished area",
            mode="add_rectangle",
            tip="Say where everything is marked: only there do networks learn.",
            hint="Drag a box around a part in which everything is marked.",
            tasks=("detect", "segment", "instances"),
            key="Shift-F",
            place=40,
        ),
    )

    def __post_init__(self) -> None:
        polygons = as_paths(self.polygons, "Region")
        types = tuple(self.shape_types)
        if len(types) != len(polygons):
            raise TopiaryError(
                f"{len(polygons)} regions come with {len(types)} shape types: give one "
                "per region."
            )
        wrong = sorted(set(types) - set(_AREAS))
        if wrong:
            raise TopiaryError(
                f"A finished region cannot be a {' or '.join(wrong)}: draw it as a "
                "rectangle, an ellipse or a polygon."
            )
        polygons = tuple(
            _corners(polygon) if name != "polygon" else polygon
            for polygon, name in zip(polygons, types, strict=True)
        )
        object.__setattr__(self, "polygons", polygons)
        object.__setattr__(self, "shape_types", types)

    def __len__(self) -> int:
        """Count the areas."""
        return len(self.polygons)

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return (
            isinstance(other, Regions)
            and same_paths(self.polygons, other.polygons)
            and self.shape_types == other.shape_types
        )

    def mask(self, shape: Sequence[int]) -> NDArray[np.bool_]:
        """Return the union of the areas.

        Parameters
        ----------
        shape
            `(y, x)` in pixels.
        """
        mask = np.zeros((int(shape[0]), int(shape[1])), dtype=bool)
        for polygon, name in zip(self.polygons, self.shape_types, strict=True):
            if name == "ellipse":
                _fill_ellipse(mask, polygon)
            else:
                _fill_polygon(mask, polygon)
        return mask

    def contains(self, places: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which places lie on pixels of the areas: `(n,)` bool.

        Parameters
        ----------
        places
            `(n, 2)` y, x in pixels.
        """
        pixels = np.rint(np.asarray(places, dtype=np.float64)).reshape(-1, 2)
        inside = np.zeros(len(pixels), dtype=bool)
        for polygon, name in zip(self.polygons, self.shape_types, strict=True):
            within = _in_ellipse if name == "ellipse" else _in_polygon
            inside |= within(pixels, polygon)
        return inside

    def draw(self, canvas: Canvas) -> None:
        """Mark the areas as finished."""
        if len(self):
            canvas.finish(self.mask(canvas.shape))

    def problem(
        self, shape: Sequence[int], *, task: Task, scale: float | None, radii: bool
    ) -> str | None:
        """Return what is wrong with the areas on such an image, as a sentence."""
        if len(self) and not self.mask(shape).any():
            return (
                f"The finished regions do not cover a single pixel of the image "
                f"({shape[0]} x {shape[1]} pixels, height x width): draw one on it, or "
                "delete them."
            )
        return None

    def status(self) -> str:
        """Say how many are finished."""
        return f"{len(self)} {'area' if len(self) == 1 else 'areas'} finished"

    def usable(
        self, shape: Sequence[int], *, task: Task, scale: float | None
    ) -> tuple[Self, tuple[str, ...]]:
        """All of it: what is outside the image covers nothing."""
        return self, ()

    def rescaled(self, factor_yx: tuple[float, float]) -> Self:
        """Return the areas on a grid of `factor_yx` times as many pixels."""
        return self.placed(rescaled_paths(self.polygons, factor_yx))

    def marked_classes(self, task: Task) -> set[int]:
        """Return none: finished areas mark nothing by themselves."""
        return set()

    def renamed(self, named: Mapping[str, str]) -> Self:
        """Return the same: areas have no class."""
        return self

    def without_class(self, name: str, index: int) -> Self:
        """Return the same: areas have no class."""
        return self

    def counts(self) -> dict[tuple[str, str], int]:
        """Return none: finished areas mark nothing by themselves."""
        return {}

    def places(self) -> tuple[Place, ...]:
        """Return the corners of each area."""
        return self.polygons

    def only(self, kept: Sequence[int]) -> Self:
        """Return the areas with these indices."""
        polygons = tuple(self.polygons[i] for i in kept)
        types = tuple(self.shape_types[i] for i in kept)
        return replace(self, polygons=polygons, shape_types=types)

    def placed(self, places: Sequence[Place]) -> Self:
        """Return the areas elsewhere."""
        return replace(self, polygons=tuple(places))

    def covers(self, grid: tuple[int, int], cell: float) -> NDArray[np.bool_]:
        """Return the cells, of so many pixels a side, within the areas."""
        return self.rescaled((1 / cell, 1 / cell)).mask(grid)

    def show(self, pen: Pen, task: Task, scale: float | None) -> None:
        """Draw the border of each area."""
        pen.borders(
            outline(polygon, kind)
            for polygon, kind in zip(self.polygons, self.shape_types, strict=True)
        )

    def to_layer_data(self, name: str, task: Task, scale: float | None) -> LayerData:
        """Return a napari Shapes layer."""
        meta: dict[str, Any] = {"name": name}
        if len(self):
            meta["shape_type"] = list(self.shape_types)
        return [np.array(polygon) for polygon in self.polygons], meta, "shapes"

    @classmethod
    def from_layer_data(cls, data: Any, meta: Mapping[str, Any]) -> Self:
        """Read a napari Shapes layer of rectangles, ellipses and polygons."""
        return cls(tuple(data), shape_types(meta, len(data), "rectangle"))

    def to_table(self) -> Table:
        """Return napari's shapes columns."""
        return paths_to_table(self.polygons, self.shape_types)

    @classmethod
    def from_table(cls, table: Mapping[str, Sequence[Any]]) -> Self:
        """Read napari's shapes columns."""
        polygons, types, _ = paths_from_table(table)
        return cls(tuple(polygons), tuple(types))


def outline(vertices: Path, shape_type: str) -> Path:
    """Return the outline of a shape as a polygon `(v, 2)` y, x.

    Parameters
    ----------
    vertices
        Of a polygon; two opposite corners, or all four, of a rectangle or of the box
        around an ellipse.
    shape_type
        ``"rectangle"``, ``"polygon"`` or ``"ellipse"``.
    """
    if shape_type == "polygon":
        return vertices
    corners = _corners(vertices)
    if shape_type != "ellipse":
        return corners
    turn = np.linspace(0, 2 * np.pi, _ELLIPSE_VERTICES, endpoint=False)[:, None]
    half = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    ellipse: Path = (
        corners.mean(axis=0) + np.cos(turn) * half[0] + np.sin(turn) * half[1]
    )
    return ellipse


def filled(
    rings: Sequence[Path], shape: Sequence[int]
) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Return the pixels within outlines, and where in the image they are.

    A pixel belongs to it if its centre lies in an odd number of outlines, so that what
    is outlined inside of another outline is a hole.

    Parameters
    ----------
    rings
        Outlines, `(v, 2)` y, x.
    shape
        `(y, x)` of the image in pixels.
    """
    size = np.asarray(shape[:2])
    every = np.concatenate([np.zeros((0, 2)), *rings])
    if not len(every):
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), dtype=bool)
    low = np.clip(np.ceil(every.min(axis=0) - _TOUCHES), 0, size).astype(int)
    high = np.clip(np.floor(every.max(axis=0) + _TOUCHES) + 1, low, size).astype(int)
    mask = np.zeros(tuple(high - low), dtype=bool)
    for ring in rings:
        one = np.zeros_like(mask)
        _fill_polygon(one, ring - low)
        mask ^= one
    return (slice(low[0], high[0]), slice(low[1], high[1])), mask


def _corners(box: Path) -> Path:
    """Four corners of a box that may be given by two opposite ones."""
    if len(box) == 4:
        return box
    if len(box) != 2:
        raise TopiaryError(
            f"A rectangle or ellipse has 4 corners, but one here has {len(box)} "
            "vertices: draw it again."
        )
    (y0, x0), (y1, x1) = box
    corners = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])
    corners.flags.writeable = False
    return corners


def _fill_polygon(mask: NDArray[np.bool_], polygon: Path) -> None:
    """Fill row by row (even-odd), the outline included.

    Each row is cut twice, once counting the edges that start in it and once those that
    end in it; the union of both is the closed polygon, flat edges and tips included.
    """
    start, low, high, slope = _edges(polygon)
    first = max(0, int(np.ceil(low.min() - _TOUCHES)))
    last = min(mask.shape[0] - 1, int(np.floor(high.max() + _TOUCHES)))
    for row in range(first, last + 1):
        for cut in ((low <= row) & (row < high), (low < row) & (row <= high)):
            x = np.sort(start[cut, 1] + (row - start[cut, 0]) * slope[cut])
            for left, right in zip(x[::2], x[1::2], strict=False):
                begin = max(0, int(np.ceil(left - _TOUCHES)))
                mask[row, begin : max(0, int(np.floor(right + _TOUCHES)) + 1)] = True


def _edges(
    polygon: Path,
) -> tuple[Path, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each edge its start, lowest and highest y, and how x changes with y."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    low = np.minimum(start[:, 0], end[:, 0])
    high = np.maximum(start[:, 0], end[:, 0])
    rise = end[:, 0] - start[:, 0]
    slope = (end[:, 1] - start[:, 1]) / np.where(rise == 0, 1.0, rise)
    return start, low, high, slope


def _in_polygon(places: NDArray[np.float64], polygon: Path) -> NDArray[np.bool_]:
    """Which places a closed polygon contains (even-odd); as `_fill_polygon`."""
    start, low, high, slope = _edges(polygon)
    y, x = places[:, :1], places[:, 1:]
    crossing = start[:, 1] + (y - start[:, 0]) * slope  # (n, v)
    inside = np.zeros(len(places), dtype=bool)
    for cut in ((low <= y) & (y < high), (low < y) & (y <= high)):
        left = (cut & (crossing < x - _TOUCHES)).sum(axis=1)
        inside |= left % 2 == 1
        inside |= (cut & (np.abs(crossing - x) <= _TOUCHES)).any(axis=1)
    return inside


def _in_ellipse(places: NDArray[np.float64], corners: Path) -> NDArray[np.bool_]:
    """Which places the ellipse contains that touches the sides of a turned box."""
    centre = corners.mean(axis=0)
    axes = np.stack([corners[1] - corners[0], corners[3] - corners[0]], axis=1) / 2
    if abs(np.linalg.det(axes)) < _TOUCHES:
        return np.zeros(len(places), dtype=bool)
    round_one = (places - centre) @ np.linalg.inv(axes).T
    within: NDArray[np.bool_] = (round_one**2).sum(axis=1) <= 1 + _TOUCHES
    return within


def _fill_ellipse(mask: NDArray[np.bool_], corners: Path) -> None:
    """Fill the ellipse that touches the sides of a (possibly turned) box."""
    low = np.maximum(np.ceil(corners.min(axis=0) - _TOUCHES), 0).astype(int)
    high = np.minimum(np.floor(corners.max(axis=0) + _TOUCHES) + 1, mask.shape)
    box = slice(low[0], int(high[0])), slice(low[1], int(high[1]))
    places = np.moveaxis(np.mgrid[box], 0, -1).astype(np.float64)
    mask[box] |= _in_ellipse(places.reshape(-1, 2), corners).reshape(mask[box].shape)
