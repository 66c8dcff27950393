"""What the annotations of a folder are, taken together: task, classes, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np

from napari_topiary.forms import Option, form_problem, number_problem, shown
from napari_topiary.io.annotation_formats import Marks
from napari_topiary.io.dataset_description import radius_names_problem
from napari_topiary.io.pixel_size import LARGEST, SMALLEST, pixel_size_problem
from napari_topiary.types import BACKGROUND, Task, TaskKind

Unit = Literal["px", "nm", "angstrom", "um"]
NM = {"nm": 1.0, "angstrom": 0.1, "um": 1000.0}
USUAL_NAMES: Mapping[str, str] = {
    "detect": "particle", "segment": "foreground", "instances": "object",
}  # fmt: skip
FINISHED = frozenset({"region*", "region", "finished", "finished region"})
"""Classes of areas in which everything is marked; the first is QuPath's own."""
IGNORED = "ignore*"
"""Class of areas, in QuPath, that are not to be looked at."""
MOST_CLASSES = 8
"""More numbers than this in label images are objects."""
_OPTIONS = {
    "are these nm or µm": "--units",
    "are these nm": "--units nm",
    "are these angstrom": "--units angstrom",
    "are these µm": "--units um",
    "swapped": "--swap-axes",
    "mirrored": "--flip-y",
    "binned": "--bin N",
}
"""What helps, by words of the question about places outside."""


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """How annotations of other programs are read."""

    task: Annotated[
        TaskKind | None,
        {"tooltip": "Kind of the data set (default: what the annotations suggest)."},
    ] = None
    #: Names of the painted numbers 1, 2, ...; of marks that have no class the first
    classes: tuple[str, ...] = ()
    #: `radius_nm`, `radius_px`: class -> radius; an empty name means every class
    radius_nm: Mapping[str, float] = field(default_factory=dict)
    radius_px: Mapping[str, float] = field(default_factory=dict)
    pixel_size_nm: Annotated[
        float | None,
        {
            "min": SMALLEST,
            "max": LARGEST,
            "tooltip": "Nm per pixel of the images, where the files do not say or are "
            "wrong.",
        },
        Option("--pixel-size", "NM"),
    ] = None
    only: Annotated[
        str,
        {
            "tooltip": "Annotation files that are used, for instance '*.star' or "
            "'GT/*' (default: all)."
        },
        Option(metavar="PATTERN"),
    ] = ""
    number_pieces: Annotated[
        bool,
        {
            "tooltip": "Make each separate piece of a mask an object with a number of "
            "its own."
        },
    ] = False
    invert_masks: Annotated[
        bool,
        {"tooltip": "What is painted in masks is the background, and 0 the objects."},
    ] = False
    units: Annotated[
        Unit,
        {"tooltip": "What they are in (default: px, or what the columns say)."},
    ] = "px"
    flip_y: Annotated[bool, {"tooltip": "Y is counted from below, upwards."}] = False
    swap_axes: Annotated[bool, {"tooltip": "Y and x are swapped."}] = False
    binned: Annotated[
        float,
        {
            "label": "A binning of",
            "min": 0.01,
            "max": 1000.0,
            "tooltip": "The images were binned N times after the coordinates were "
            "taken.",
        },
        Option("--bin", "N"),
    ] = 1.0

    def problem(self) -> str | None:
        """Return what is wrong with the settings, as a sentence."""
        problem = form_problem(self)
        if problem is not None:
            return problem
        if self.pixel_size_nm is not None:
            problem = pixel_size_problem(self.pixel_size_nm) or None
        for radius in (*self.radius_nm.values(), *self.radius_px.values()):
            number = number_problem("A radius of", radius, low=0.01, high=1e6)
            problem = problem or number
        if problem is not None:
            return problem
        if not all(isinstance(name, str) for name in self.classes):
            return f"The classes are {shown(self.classes)}: give names."
        if BACKGROUND in self.classes or len(set(self.classes)) < len(self.classes):
            return (
                f"The classes are {', '.join(self.classes)}: give each once, without "
                f"{BACKGROUND}."
            )
        if self.number_pieces and self.task not in (None, "instances"):
            return "Numbered pieces are objects: leave the task out, or give instances."
        return None

    def hint(self, problem: str) -> str:
        """Return the option that goes with a question about places outside."""
        for words, option in _OPTIONS.items():
            if words in problem.lower():
                return f" ({option})"
        return ""

    def name_of(self, given: str, kind: str) -> str:
        """Return the class of something that may have none."""
        return given or (self.classes[0] if self.classes else USUAL_NAMES[kind])


@dataclass(frozen=True)
class LabelStats:
    """Which numbers are painted in a label image."""

    values: tuple[int, ...]  #: The numbers, without 0
    pieces: int  #: How many connected areas of one number there are
    inverted: bool = False  #: Whether it looks as if the background were painted

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return len(self.values)


@dataclass(frozen=True)
class Meaning:
    """What the annotations of a folder are, taken together."""

    task: Task  #: Kind, classes and radii
    #: Painted number -> class index, for classes
    values: Mapping[int, int] = field(default_factory=dict)
    number_pieces: bool = False  #: Whether pieces are numbered anew


def _named(
    painted: Sequence[int], kind: TaskKind, config: ImportConfig
) -> tuple[set[str], str, str]:
    """Names of the painted numbers, what has to be solved first, and a sentence."""
    problem = note = ""
    if config.classes and len(config.classes) < len(painted):
        problem = (
            f"The labels hold {len(painted)} numbers "
            f"({', '.join(map(str, painted[:9]))}), but there are names for "
            f"{len(config.classes)}: name each (--classes)."
        )
    given = config.classes or _class_names(len(painted), kind)
    if painted and list(painted) != list(range(1, len(painted) + 1)):
        meant = ", ".join(f"{v} = {n}" for v, n in zip(painted, given, strict=False))
        note = f"The painted numbers are read as classes: {meant}."
    names = set(given[: len(painted)]) if len(given) >= len(painted) else set[str]()
    return names, problem, note


def meaning_of(
    found: Sequence[tuple[Marks | None, LabelStats | None, float | None]],
    config: ImportConfig,
) -> tuple[Meaning | None, str, tuple[str, ...]]:
    """Tell the task and its classes from all annotations together.

    Parameters
    ----------
    found
        For each image: marks (in pixels) or what is painted, and nm per pixel.
    config
        What is wanted; wins over what the annotations suggest.

    Returns
    -------
    tuple
        The meaning (None if there is nothing), a problem that has to be solved first
        (empty if none), and sentences.
    """
    if not found:
        return None, "", ()
    stats = [one for _, one, _ in found if one is not None]
    inverted = sum(one.inverted for one in stats)
    marked = [(marks, scale) for marks, _, scale in found if marks is not None]
    kind, why = _kind(stats, [marks for marks, _ in marked], config)
    notes = [why] if why else []
    if 2 * inverted > len(stats):
        notes.append(
            f"{inverted} of {len(stats)} masks are painted over most of the image, "
            "along its border too, and what is 0 lies there as objects would: give "
            "--invert-masks if 0 are the objects."
        )
    names = {
        config.name_of(name, kind)
        for marks, _ in marked
        for name in (*marks.classes, *marks.line_classes, *(_names(marks)))
        if name != BACKGROUND
    }
    values, problem = dict[int, int](), ""
    if stats and kind != "instances":
        painted = sorted({value for one in stats for value in one.values})
        values = {value: index for index, value in enumerate(painted, start=1)}
        named, problem, note = _named(painted, kind, config)
        names |= named
        notes += [note] if note else []
    if kind == "instances":
        if len(names) > 1:
            notes.append(
                f"Objects are of one class: {', '.join(sorted(names))} all count as "
                f"{config.name_of('', kind)}."
            )
        names = {config.name_of("", kind)} if len(names) != 1 else names
    ordered = [name for name in config.classes if name in names or stats]
    ordered += sorted(names - set(ordered))
    if not ordered:
        ordered = [config.name_of("", kind)]
    task = Task(kind, (BACKGROUND, *ordered))
    if kind == "detect":
        task, missing, said = _with_radii(task, marked, config)
        notes += said
        problem = problem or missing
    pieces = config.number_pieces or kind == "instances"
    return Meaning(task, values, pieces), problem, tuple(notes)


def _kind(
    stats: Sequence[LabelStats], marked: Sequence[Marks], config: ImportConfig
) -> tuple[TaskKind, str]:
    """The task that annotations suggest, and why if it is not plain."""
    if config.task is not None:
        return config.task, ""
    if config.number_pieces:
        return "instances", ""
    if stats:
        return _kind_of_labels(stats)
    areas = [area for marks in marked for area in marks.areas]
    areas = [a for a in areas if a.name.lower() not in (*FINISHED, IGNORED)]
    if not areas or sum(len(m.places) + len(m.lines) for m in marked) > len(areas):
        return "detect", ""
    kinds = {area.name for area in areas} - {BACKGROUND}
    if len(kinds) == 1 and len(areas) >= max(10, 2 * len(marked)):
        return "instances", (
            f"{len(areas)} areas of one class are taken for objects: give --task "
            "segment if touching ones are to be one."
        )
    return "segment", (
        f"{len(areas)} areas of {'one class' if len(kinds) == 1 else 'several classes'}"
        " are taken for the classes of pixels: give --task instances if each is an "
        "object."
    )


def _kind_of_labels(stats: Sequence[LabelStats]) -> tuple[TaskKind, str]:
    values = {value for one in stats for value in one.values}
    pieces, numbers = sum(one.pieces for one in stats), sum(one.count for one in stats)
    if len(values) <= 1:
        more = f", in {pieces} separate pieces" if pieces > numbers else ""
        return "segment", (
            f"The masks hold one number{more}: pixels of one class. Give "
            "--number-pieces to make each piece an object."
            if more
            else ""
        )
    if len(values) > MOST_CLASSES or pieces <= 1.2 * numbers:
        return "instances", (
            f"{len(values)} different numbers are taken for those of objects: give "
            "--task segment if they are classes."
        )
    return "segment", (
        f"{len(values)} different numbers are taken for classes: give --task instances "
        "if they are objects."
    )


def _class_names(count: int, kind: str) -> tuple[str, ...]:
    if count <= 1:
        return (USUAL_NAMES[kind],)
    return tuple(f"class {number}" for number in range(1, count + 1))


def _names(marks: Marks) -> list[str]:
    special = (*FINISHED, IGNORED)
    return [a.name for a in marks.areas if a.name.lower() not in special]


def _with_radii(
    task: Task, marked: Sequence[tuple[Marks, float | None]], config: ImportConfig
) -> tuple[Task, str, list[str]]:
    """The task with a radius for each class, a problem if there is none, and notes."""
    given = {*config.radius_nm, *config.radius_px} - {"", BACKGROUND}
    if problem := radius_names_problem(given, task.classes[1:]):
        return task, problem, []
    scales = [scale for _, scale in marked]
    in_nm, in_px = dict[str, float](), dict[str, float]()
    notes, missing = list[str](), list[str]()
    for name in task.classes[1:]:
        named = name in config.radius_px or name in config.radius_nm
        if name in config.radius_px or (not named and "" in config.radius_px):
            in_px[name] = config.radius_px.get(name, config.radius_px.get("", 0.0))
            continue
        own = config.radius_nm.get(name, config.radius_nm.get(""))
        if own is not None:
            in_nm[name] = own
            continue
        sizes = [
            (radius, scale)
            for marks, scale in marked
            for radius, given in zip(
                marks.radius or (), marks.classes if marks.radius else (), strict=True
            )
            if config.name_of(given, "detect") == name and radius > 0
        ]
        if not sizes:
            missing.append(name)
        elif None in scales:
            in_px[name] = float(np.median([radius for radius, _ in sizes]))
        else:
            in_nm[name] = float(np.median([r * (s or 1.0) for r, s in sizes]))
        if sizes:
            size = f"{in_nm[name]:.4g} nm" if name in in_nm else f"{in_px[name]:.4g} px"
            notes.append(
                f"The radius of {name} is half of its boxes, {size}: boxes are often "
                f"larger than what is in them; if so, give --radius {name}=NM."
            )
    problem = ""
    if missing:
        problem = (
            f"The annotations do not say how large {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'}: give the radius, in nm (--radius "
            f'"{missing[0]}=40") or in pixels (--radius "{missing[0]}=12px").'
        )
    elif in_nm and None in scales:
        problem = (
            "Radii are given in nm, but the pixel size of some images is unknown: give "
            f"it (--pixel-size), or the radius in pixels (--radius "
            f'"{next(iter(in_nm))}=12px").'
        )
    return Task("detect", task.classes, in_nm, in_px), problem, notes
