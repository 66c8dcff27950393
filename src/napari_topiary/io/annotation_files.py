"""The annotations of one image as files in a dataset folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_topiary.annotations import (
    Labels,
    MarkedThings,
    Regions,
    Table,
    TableAnnotation,
    annotation_kinds,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.io.folder_changes import FolderChange
from napari_topiary.io.images import (
    holds_image,
    read_label_slices,
    read_labels,
    write_image,
)
from napari_topiary.io.pairing import Pairing, place_of
from napari_topiary.io.stacks import rows_by_slice
from napari_topiary.io.tables import Rows, joined, read_rows, write_table
from napari_topiary.types import Task

_TYPES = (np.uint8, np.uint16, np.uint32, np.int16, np.int32, np.int64, np.uint64)
_FEW = 6
_EDGE = 4
"""A label image may lack so many rows or columns (or 1/50 of them) and be used."""


@dataclass(frozen=True)
class Drawn:
    """What is drawn on one image, as much of it as could be read."""

    annotations: tuple[Any, ...] = ()  #: One for each kind
    #: A sentence for each file that could not be read wholly, which begins with it
    faults: tuple[str, ...] = ()
    whole: tuple[Path, ...] = ()  #: The files that were read wholly
    #: Those of the faults because of which nothing of a file could be read
    unread: tuple[str, ...] = ()


def read_annotations(files: Mapping[str, Path], *, task: Task) -> tuple[Any, ...]:
    """Read everything that is drawn on one image.

    Parameters
    ----------
    files
        A file for each kind that there is, as `Pairing.of` gives them.
    task
        Kind of labels, and the class of things whose table does not name any (possible
        only if there is just one).

    Raises
    ------
    TopiaryError
        With a sentence that starts with the file.
    """
    drawn = read_sound_annotations(files, task=task)
    if drawn.faults:
        raise TopiaryError(drawn.faults[0])
    return drawn.annotations


def read_sound_annotations(
    files: Mapping[str, Path], *, task: Task, shape: Sequence[int] | None = None
) -> Drawn:
    """Read what is sound of everything that is drawn on one image.

    Rows of a table that cannot be read are left out. A label image that is a few rows
    or columns too small or too large is used where it overlaps.

    Parameters
    ----------
    files
        A file for each kind that there is, as `Pairing.of` gives them.
    task
        As for `read_annotations`.
    shape
        `(y, x)` of the image; None = label images are taken as they are.
    """
    found, faults, whole, unread = [], [], [], []
    for kind, path in files.items():
        reader = _READERS[annotation_kinds[kind].storage]
        try:
            annotation, fault = reader(path, kind, task, shape)
        except TopiaryError as error:
            annotation, fault = None, str(error)
        if annotation is not None:
            found.append(annotation)
        if fault:
            faults.append(f"{kind}/{path.name}: {fault}")
            unread += faults[-1:] if annotation is None else []
        else:
            whole.append(path)
    return Drawn(tuple(found), tuple(faults), tuple(whole), tuple(unread))


def read_stack_annotations(
    files: Mapping[str, Path], *, task: Task, count: int
) -> tuple[Drawn, ...]:
    """Read what is sound of what is drawn on a stack, slice by slice.

    Nothing is known of a slice that no row is in, nor of one that is not painted where
    others are, unless a finished region is drawn on it.

    Parameters
    ----------
    files
        A file for each kind that there is.
    task
        As for `read_annotations`.
    count
        Slices of the stack.
    """
    each: list[list[Any]] = [[] for _ in range(count)]
    faults, whole = list[str](), list[Path]()
    # Regions first: they say which slices a person has looked at.
    for kind, path in sorted(files.items(), key=lambda file: not _finishes(file[0])):
        is_table = annotation_kinds[kind].storage == "table"
        reader = _read_stack_table if is_table else _read_stack_labels
        try:
            found, fault = reader(path, kind, task, count)
        except TopiaryError as error:
            faults.append(f"{kind}/{path.name}: {error}")
            continue
        if fault:
            faults.append(f"{kind}/{path.name}: {fault}")
        else:
            whole.append(path)
        is_empty = not any(map(len, found))  # somebody has looked and found nothing
        for own, annotation in zip(each, found, strict=True):
            if len(annotation) or ((is_empty or own) and not _finishes(kind)):
                own.append(annotation)
    return tuple(Drawn(tuple(own), tuple(faults), tuple(whole)) for own in each)


def _finishes(kind: str) -> bool:
    """Whether a kind says what a person has looked at, rather than what is there."""
    return issubclass(annotation_kinds[kind], Regions)


def over_stack(own: Sequence[Any], stack: Sequence[Any]) -> tuple[Any, ...]:
    """Return what is drawn on a slice: by its own files, else by those of the stack."""
    kinds = {annotation.kind for annotation in own}
    return (*own, *(other for other in stack if other.kind not in kinds))


def write_annotations(
    change: FolderChange, name: str, annotations: Iterable[Any], *, there: Pairing
) -> None:
    """Write everything that is drawn on one image; kinds no longer there are removed.

    Parameters
    ----------
    change
        To the dataset folder.
    name
        Name of the image.
    annotations
        Several tables of one kind become one. An empty one is written too: a table
        without rows says that a person has looked and found nothing.
    there
        What is in the folder now.
    """
    annotations = tuple(annotations)
    for kind in annotation_kinds:
        same = [annotation for annotation in annotations if annotation.kind == kind]
        new = _write(change, kind, name, same) if same else None
        for old in there.all_of(kind, name):
            if (place := place_of(old)) != new:
                change.remove(place)


def _write(change: FolderChange, kind: str, name: str, annotations: list[Any]) -> str:
    """Write what is drawn of one kind; return where."""
    if annotations[0].storage == "table":
        table = joined([a.to_table() for a in annotations])
        file = f"{kind}/{name}.csv"
        write_table(change.new(file), table)
        return file
    if len(annotations) > 1:
        raise TopiaryError(
            f"The image {name!r} has {len(annotations)} label images: merge them into "
            "one."
        )
    labels, file = _compact(annotations[0]), f"{kind}/{name}.tif"
    if not holds_image(change.root / file, labels[None]):
        write_image(change.new(file), labels)
    return file


def _read_table(
    path: Path, kind: str, task: Task, shape: Sequence[int] | None
) -> tuple[Any, str]:
    """Read a table; return what is drawn, and what is wrong with the rest of it."""
    return _drawn_in(read_rows(path), kind, task)


def _read_stack_table(
    path: Path, kind: str, task: Task, count: int
) -> tuple[list[Any], str]:
    """Read a table of a stack; return what is drawn on each slice, and a fault."""
    rows = read_rows(path)
    slices, fault = rows_by_slice(rows, count)
    drawn = [_drawn_in(own, kind, task) for own in slices]
    faults = [rows.fault, fault, *(said for _, said in drawn)]
    return [one for one, _ in drawn], next(filter(None, faults), "")


def _drawn_in(rows: Rows, kind: str, task: Task) -> tuple[Any, str]:
    table, lines = rows.table, rows.lines
    of_a_class = issubclass(annotation_kinds[kind], MarkedThings)
    if of_a_class and "class" not in table and len(task.classes) == 2:
        table["class"] = [task.classes[1]] * len(lines)
    annotation, bad, reason = _of_good_rows(annotation_kinds[kind], table)
    left_out = sorted([*rows.bad, *(lines[row] for row in bad)])
    if not left_out:
        return annotation, ""
    total = len(lines) + len(rows.bad)
    listed = ", ".join(map(str, left_out[:_FEW])) + (", ..." * (len(left_out) > _FEW))
    return annotation, (
        f"{rows.fault or reason} {len(left_out)} of {total} rows cannot be read "
        f"(line {listed})."
    )


def _of_good_rows(
    kind: type[TableAnnotation], table: Table
) -> tuple[Any, list[int], str]:
    """Return what is drawn in the rows that are sound, the other rows, and why."""
    try:
        return kind.from_table(table), [], ""
    except TopiaryError as error:
        reason = str(error)
    count = len(next(iter(table.values()), []))
    groups: dict[object, list[int]] = {}
    is_of_shapes = "vertex-index" in table and "index" in table
    for row in range(count):
        groups.setdefault(table["index"][row] if is_of_shapes else row, []).append(row)
    good: list[int] = []
    for group in groups.values():
        try:
            kind.from_table(_rows(table, group))
        except TopiaryError:
            continue
        good += group
    if not good:
        raise TopiaryError(reason)
    bad = sorted(set(range(count)) - set(good))
    return kind.from_table(_rows(table, sorted(good))), bad, reason


def _rows(table: Table, rows: Sequence[int]) -> Table:
    return {name: [values[row] for row in rows] for name, values in table.items()}


def _read_labels(
    path: Path, kind: str, task: Task, shape: Sequence[int] | None
) -> tuple[Any, str]:
    """Read a label image; return it, and what is wrong with it."""
    labels = Labels(read_labels(path), instances=task.kind == "instances")
    if shape is None or labels.labels.shape == tuple(shape[:2]):
        return labels, ""
    sentence = labels.problem(shape, task=task, scale=None, radii=False) or ""
    sizes = zip(labels.labels.shape, shape, strict=False)
    if any(abs(own - size) > max(_EDGE, size // 50) for own, size in sizes):
        return None, sentence
    fitted = np.zeros((int(shape[0]), int(shape[1])), labels.labels.dtype)
    part = labels.labels[: fitted.shape[0], : fitted.shape[1]]
    fitted[: part.shape[0], : part.shape[1]] = part
    sentence += " They are used where both overlap, from the upper left corner."
    return Labels(fitted, labels.instances), sentence


def _read_stack_labels(
    path: Path, kind: str, task: Task, count: int
) -> tuple[list[Any], str]:
    """Read a stack of label images; return what is painted on each slice."""
    slices = read_label_slices(path)
    if len(slices) != count:
        raise TopiaryError(
            f"there are {len(slices)} label images for the {count} slices of the "
            "stack: save one for each slice, empty where nothing is painted."
        )
    return [Labels(one, instances=task.kind == "instances") for one in slices], ""


_READERS = {"table": _read_table, "image": _read_labels}


def _compact(labels: Labels) -> np.ndarray[Any, Any]:
    """Labels in the smallest type that holds them and that other programs read."""
    values = labels.labels
    lowest, highest = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if labels.instances and highest > np.iinfo(np.uint32).max:
        # Larger numbers say nothing more, and hardly a program reads them.
        numbers = np.unique(values)
        numbers = numbers[numbers != 0]
        ranks = np.searchsorted(numbers, values) + 1
        return _compact(Labels(np.where(values == 0, 0, ranks), instances=True))
    for dtype in _TYPES:
        limits = np.iinfo(dtype)
        if limits.min <= lowest and highest <= limits.max:
            return values.astype(dtype)
    return values
