"""Annotations of other programs -> what is drawn on an image of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage import measure

from napari_topiary.annotations import Centerlines, Labels, Points, Regions
from napari_topiary.annotations.label_images import EIGHT, is_inverted
from napari_topiary.annotations.regions import filled
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats import DrawnArea, Marks
from napari_topiary.io.dataset_description import SAME_SCALE
from napari_topiary.io.importing.meaning import (
    FINISHED,
    IGNORED,
    MOST_CLASSES,
    NM,
    ImportConfig,
    LabelStats,
    Meaning,
)
from napari_topiary.types import BACKGROUND, LabelImage, Task


def label_stats(labels: LabelImage, file: str) -> LabelStats:
    """Look at the numbers of a label image, and refuse what is none.

    Parameters
    ----------
    labels
        `(y, x)`.
    file
        Its name, for sentences.
    """
    whole = Labels(labels).labels
    if whole.size and int(whole.min()) < 0:
        raise TopiaryError(
            f"{file} holds the number {int(whole.min())}: use 0 for background and 1, "
            "2, ... for the rest."
        )
    values, counts = np.unique(whole, return_counts=True)
    ends = counts[(values == 0) | (values == 255)].sum() / max(1, counts.sum())
    if len(values) > MOST_CLASSES and values[-1] == 255 and ends > 0.8:
        raise TopiaryError(
            f"{file} holds {len(values)} different values up to 255, most of them "
            "along edges: this is a picture with smooth or lossy edges; save the mask "
            "as PNG or TIFF, from the program that it comes from."
        )
    pieces = int(measure.label(whole, connectivity=2).max(initial=0))
    painted = tuple(int(value) for value in values if value)
    return LabelStats(painted, pieces, is_inverted(whole))


def checked_mask(labels: LabelImage, config: ImportConfig, *, file: str) -> LabelImage:
    """Return the label image of one image, a mask inverted where that is wanted."""
    if not config.invert_masks:
        return labels
    value = labels.max(initial=0)
    if ((labels != 0) & (labels != value)).any():
        raise TopiaryError(
            f"{file} holds more than one number: only masks of 0 and one number "
            "can be inverted; leave out --invert-masks, or choose files with --only."
        )
    return np.where(labels == 0, max(1, value), 0).astype(labels.dtype)


def marks_on(
    marks: Marks,
    shape: tuple[int, int],
    *,
    scale: float | None,
    config: ImportConfig,
    file: str,
) -> tuple[Marks, float | None, tuple[str, ...]]:
    """Bring marks to pixels of their image.

    Parameters
    ----------
    marks
        As a file has them.
    shape
        `(y, x)` of the image.
    scale
        nm per pixel of the image, None if unknown.
    config
        How they are to be read.
    file
        Name of the annotation file, for sentences.

    Returns
    -------
    tuple
        Marks in pixels, the pixel size (from the annotations where the image does not
        say), and sentences.
    """
    if marks.shape not in (None, shape) and config.binned == 1:
        raise TopiaryError(_other_size(file, marks.shape or shape, shape))
    grid, notes = _grid_of(marks, shape, scale, config, file)
    if grid.changes and any(area.mask is not None for area in marks.areas):
        raise TopiaryError(
            f"{file} holds masks of pixels, which cannot be turned or scaled: leave "
            "out --flip-y, --swap-axes, --bin and --units."
        )
    scale = scale if marks.scale is None else scale or marks.scale
    reached = grid.to_pixels(marks.places)
    radius = marks.radius
    if radius is not None and grid.of_pixels:
        radius = tuple(r * float(grid.factor[1]) for r in radius)
    return (
        replace(
            marks,
            places=reached,
            lines=tuple(grid.to_pixels(line) for line in marks.lines),
            areas=tuple(
                replace(area, rings=tuple(grid.to_pixels(ring) for ring in area.rings))
                for area in marks.areas
            ),
            radius=radius,
            unit="pixel",
        ),
        scale,
        tuple(notes),
    )


def _other_size(file: str, drawn: tuple[int, int], shape: tuple[int, int]) -> str:
    ratio = drawn[0] / shape[0]
    alike = abs(drawn[1] - ratio * shape[1]) <= max(1.0, ratio)
    cure = f"give --bin {ratio:.4g}" if alike else "give the one that it was drawn on"
    return (
        f"{file} was drawn on an image of {drawn[0]} x {drawn[1]} pixels, but this one "
        f"has {shape[0]} x {shape[1]} (height x width): {cure}."
    )


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """How the coordinates of a file become pixels of its image."""

    factor: NDArray[np.float64]  #: Pixels per unit along y and x
    #: Whether the file is about pixels, of which the first one's middle is at 0
    of_pixels: bool
    height: int  #: Rows of the image
    #: `swap_axes`, `flip_y`: as in the form
    swap_axes: bool
    flip_y: bool

    @property
    def changes(self) -> bool:
        """Whether coordinates do not stay as they are."""
        return bool(self.flip_y or self.swap_axes or (self.factor != 1).any())

    def to_pixels(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring `(n, 2)` coordinates to pixels."""
        result = places[:, ::-1] if self.swap_axes else places
        if not self.of_pixels:
            result = result * self.factor
        elif (self.factor != 1).any():
            result = (result + 0.5) * self.factor - 0.5
        if self.flip_y:
            # Counted upwards from the lowest row, or downwards from 0 as negatives.
            below = len(result) and result[:, 0].max() <= 0
            first = 0 if below else self.height - 1
            result = np.stack([first - result[:, 0], result[:, 1]], axis=1)
        return result


def _grid_of(
    marks: Marks,
    shape: tuple[int, int],
    scale: float | None,
    config: ImportConfig,
    file: str,
) -> tuple[_Grid, list[str]]:
    """Return on what grid a file has its coordinates, and sentences."""
    notes, factor = list[str](), np.ones(2)
    unit = marks.unit if marks.unit != "pixel" else config.units
    if unit == "fraction":
        factor = np.array(shape, dtype=np.float64)
    elif unit in NM:
        size = scale or marks.scale
        if size is None:
            raise TopiaryError(
                f"{file} gives coordinates in {unit}, but the pixel size of the image "
                "is unknown: give it (--pixel-size)."
            )
        factor = np.full(2, NM[unit] / size)
    of_pixels, given = unit in ("px", "pixel"), marks.scale
    if given is not None and scale is None:
        notes.append(f"The pixel size of {given:.4g} nm is taken from {file}.")
    elif given is not None and scale is not None and of_pixels:
        ratio = given / scale
        if abs(ratio - 1) > SAME_SCALE and config.binned == 1:
            factor = np.full(2, ratio)
            notes.append(
                f"{file} is about pixels of {given:.4g} nm, the image has {scale:.4g} "
                f"nm: its coordinates are multiplied by {ratio:.4g}."
            )
    grid = _Grid(
        factor=factor / config.binned,
        of_pixels=of_pixels,
        height=shape[0],
        swap_axes=config.swap_axes,
        flip_y=config.flip_y,
    )
    return grid, notes


def annotations_of_labels(
    labels: LabelImage, meaning: Meaning
) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Return painted numbers as the task means them, and sentences.

    Parameters
    ----------
    labels
        `(y, x)` as the file holds it.
    meaning
        Of the whole folder.
    """
    whole = Labels(labels).labels
    if meaning.task.kind == "instances":
        if len(np.unique(whole[whole > 0])) == 1 and meaning.number_pieces:
            pieces, count = ndi.label(whole, structure=EIGHT)
            said = f"{count} separate pieces are numbered as objects."
            return (Labels(pieces, instances=True),), (said,) if count > 1 else ()
        return (Labels(whole, instances=True),), ()
    result = np.zeros(whole.shape, dtype=np.uint8)
    for value, index in meaning.values.items():
        result[whole == value] = index
    return (Labels(result),), ()


def annotations_of_marks(
    marks: Marks, shape: tuple[int, int], meaning: Meaning, config: ImportConfig
) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Return marks as the task means them, and sentences.

    Parameters
    ----------
    marks
        In pixels of the image.
    shape
        `(y, x)` of the image.
    meaning
        Of the whole folder.
    config
        Names those without a class.
    """
    finished = [area for area in marks.areas if area.name.lower() in FINISHED]
    ignored = sum(area.name.lower() == IGNORED for area in marks.areas)
    special = (*FINISHED, IGNORED)
    areas = [area for area in marks.areas if area.name.lower() not in special]
    result, notes = list[Any](), tuple[str, ...]()
    if ignored:
        notes = (
            f"{ignored} areas of the class Ignore* are left out: if nothing is to be "
            "learned there, draw an area of the class Region* around the rest.",
        )
    rings = [ring for area in finished for ring in area.rings[:1]]
    if rings:
        result.append(Regions(tuple(rings), ("polygon",) * len(rings)))
    if meaning.task.kind == "detect":
        return (*result, *_centres_and_lines(marks, areas, shape, config)), notes
    painted, said = _painted(marks, areas, shape, meaning.task, config)
    return (*result, painted), (*notes, *said)


def _centres_and_lines(
    marks: Marks,
    areas: Sequence[DrawnArea],
    shape: tuple[int, int],
    config: ImportConfig,
) -> list[Any]:
    """Points and lines, areas as their middles."""
    found = list[Any]()

    def name_of(given: str) -> str:
        return given if given == BACKGROUND else config.name_of(given, "detect")

    middles = [_middle(area, shape) for area in areas]
    places = np.concatenate([marks.places, np.array(middles).reshape(-1, 2)])
    names = (*marks.classes, *(area.name for area in areas))
    if len(places) or not marks.lines:
        found.append(Points(places, tuple(map(name_of, names))))
    if marks.lines:
        found.append(Centerlines(marks.lines, tuple(map(name_of, marks.line_classes))))
    return found


def _painted(
    marks: Marks,
    areas: Sequence[DrawnArea],
    shape: tuple[int, int],
    task: Task,
    config: ImportConfig,
) -> tuple[Labels, tuple[str, ...]]:
    """Areas painted one over the other, by number or by class."""
    notes, numbered = list[str](), task.kind == "instances"
    lost = len(marks.places) + len(marks.lines)
    if lost:
        notes.append(
            f"{lost} points and lines are left out, since the data set is about areas: "
            "give --task detect to take points, with areas as their middles."
        )
    if lost and not areas:
        raise TopiaryError(
            f"The {lost} points and lines are no areas, as the annotations of the "
            "other images are: import them apart (--only, --task detect)."
        )
    painted = np.zeros(shape, dtype=np.int32)
    for number, area in enumerate(areas, start=1):
        box, mask = _pixels(area, shape)
        if area.name == BACKGROUND:
            value = 0
        elif numbered:
            value = number
        else:
            value = task.classes.index(config.name_of(area.name, task.kind))
        painted[box][mask] = value
    hidden = len(areas) - len(np.unique(painted[painted > 0]))
    if numbered and hidden > sum(a.name == BACKGROUND for a in areas):
        notes.append(f"{hidden} of {len(areas)} areas are hidden under others.")
    return Labels(painted, instances=numbered), tuple(notes)


def _pixels(
    area: DrawnArea, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    if area.mask is None:
        return filled(area.rings, shape)
    if area.mask.shape != shape:
        raise TopiaryError(
            f"A mask of {area.mask.shape[0]} x {area.mask.shape[1]} pixels does not "
            f"belong to an image of {shape[0]} x {shape[1]} (height x width)."
        )
    return (slice(0, shape[0]), slice(0, shape[1])), area.mask


def _middle(area: DrawnArea, shape: tuple[int, int]) -> NDArray[np.float64]:
    box, mask = _pixels(area, shape)
    inside = np.argwhere(mask)
    if not len(inside):
        where: NDArray[np.float64] = np.concatenate(area.rings).mean(axis=0)
        return where
    corner = np.array([box[0].start, box[1].start])
    middle: NDArray[np.float64] = inside.mean(axis=0) + corner
    return middle
