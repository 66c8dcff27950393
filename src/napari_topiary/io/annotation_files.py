"""The annotations of one image as files in a dataset folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_topiary.annotations import Labels, Table, annotation_kinds
from napari_topiary.errors import TopiaryError
from napari_topiary.io.images import (
    holds_image,
    read_labels,
    write_image,
)
from napari_topiary.io.pairing import pair_files
from napari_topiary.io.tables import joined, read_table, write_table
from napari_topiary.types import Task


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
    found = []
    for kind, path in files.items():
        try:
            found.append(_read(path, kind, task))
        except TopiaryError as error:
            raise TopiaryError(f"{kind}/{path.name}: {error}") from error
    return tuple(found)


def write_annotations(
    folder: str | os.PathLike[str], name: str, annotations: Iterable[Any]
) -> None:
    """Write everything that is drawn on one image; kinds no longer there are removed.

    Parameters
    ----------
    folder
        The dataset folder.
    name
        Name of the image.
    annotations
        Several tables of one kind become one. An empty one is written too: a table
        without rows says that a person has looked and found nothing.
    """
    annotations = tuple(annotations)
    there = pair_files(folder).of(name)
    for kind in annotation_kinds:
        same = [annotation for annotation in annotations if annotation.kind == kind]
        old = there.get(kind)
        new = _write(Path(folder) / kind, name, same) if same else None
        if old is not None and old != new:
            old.unlink()


def _write(home: Path, name: str, annotations: list[Any]) -> Path:
    if annotations[0].storage == "table":
        path = home / f"{name}.csv"
        write_table(path, joined([a.to_table() for a in annotations]))
        return path
    if len(annotations) > 1:
        raise TopiaryError(
            f"The image {name!r} has {len(annotations)} label images: merge them into "
            "one."
        )
    path, labels = home / f"{name}.tif", _compact(annotations[0].labels)
    if not holds_image(path, labels[None]):
        write_image(path, labels)
    return path


def _read(path: Path, kind: str, task: Task) -> Any:
    if annotation_kinds[kind].storage == "image":
        return Labels(read_labels(path), instances=task.kind == "instances")
    table: Table = read_table(path)
    if kind != "regions" and "class" not in table and len(task.classes) == 2:
        rows = len(next(iter(table.values()), []))
        table["class"] = [task.classes[1]] * rows
    return annotation_kinds[kind].from_table(table)


def _compact(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Labels in the smallest type that other programs read."""
    highest = int(labels.max()) if labels.size else 0
    for dtype in (np.uint8, np.uint16):
        if highest <= np.iinfo(dtype).max:
            return labels.astype(dtype)
    return labels.astype(np.uint32)
