"""Changes to the classes of a project, each one a new task for its session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_topiary.errors import TopiaryError
from napari_topiary.types import BACKGROUND, Task, TaskKind

if TYPE_CHECKING:
    from napari_topiary.session import Session

_GUESS = 40
"""A new class starts with a radius of this part of the image's shorter side."""


def add_class(session: Session, name: str, image: str | None) -> str:
    """Add a class and guess its radius, so that the first mark shows a size.

    Parameters
    ----------
    session
        The project.
    name
        What is to be found, as the user typed it.
    image
        Name of the shown image, for the guess.

    Returns
    -------
    str
        The name as it was added.
    """
    name = " ".join(name.split())
    if not name:
        raise TopiaryError("Type what you are looking for first, e.g. adenovirus.")
    if name in session.task.classes:
        raise TopiaryError(f"There is a class {name!r} already.")
    task = session.task
    session.set_task(replace(task, classes=(*task.classes, name)))
    if task.kind == "detect" and image is not None:
        entry = session.images[image]
        pixels = float(f"{min(entry.image.shape[1:]) / _GUESS:.2g}")
        scale = entry.scale
        guess = pixels if scale is None else float(f"{pixels * scale:.2g}")
        set_radius(session, name, guess, scale)
    return name


def set_radius(
    session: Session, name: str, radius: float | None, scale: float | None
) -> None:
    """Set the radius of a class.

    Parameters
    ----------
    session
        The project.
    name
        Name of the class.
    radius
        In nm where the pixel size is known, else in pixels; None = unknown.
    scale
        nm per pixel of the shown image, None if unknown.
    """
    task = session.task
    nm, px = dict(task.radius_nm), dict(task.radius_px)
    if radius is None:
        nm.pop(name, None)
        px.pop(name, None)
    elif scale is None:
        px[name] = radius
    else:
        nm[name] = radius
        px[name] = radius / scale
    session.set_task(replace(task, radius_nm=nm, radius_px=px))


def set_kind(session: Session, kind: TaskKind) -> None:
    """Change what a network is to answer; the classes stay."""
    if kind != session.task.kind:
        session.set_task(replace(session.task, kind=kind))


def marks_of(session: Session, name: str) -> int:
    """Count what is drawn of a class on all images (painted images count one each)."""
    return sum(count(session, image, name) for image in session.images)


def count(session: Session, image: str, name: str) -> int:
    """Count the points and paths of a class on an image; 1 for painted pixels of it.

    Parameters
    ----------
    session
        The project.
    image
        Name of one of its images.
    name
        Name of a class.
    """
    number = 0
    for annotation in session.annotations.get(image, ()):
        if annotation.kind in ("points", "centerlines"):
            number += annotation.classes.count(name)
        elif annotation.kind == "labels":
            number += int(_painted(session.task, annotation, name))
    return number


def _painted(task: Task, annotation: Any, name: str) -> bool:
    if annotation.instances:
        return len(annotation) > 0 and name != BACKGROUND
    return bool((annotation.labels == task.classes.index(name)).any())


def remove_class(session: Session, name: str) -> None:
    """Remove a class and everything that is drawn of it.

    Parameters
    ----------
    session
        The project.
    name
        Name of the class.
    """
    task = session.task
    index = task.classes.index(name)
    for image, drawn in list(session.annotations.items()):
        kept = [_without(annotation, name, index) for annotation in drawn]
        session.set_annotations(image, kept)
    session.set_task(
        Task(
            task.kind,
            tuple(one for one in task.classes if one != name),
            _but(task.radius_nm, name),
            _but(task.radius_px, name),
        )
    )


def _but(radii: Mapping[str, float], name: str) -> dict[str, float]:
    return {one: radius for one, radius in radii.items() if one != name}


def _without(annotation: Any, name: str, index: int) -> Any:
    """Return an annotation without one class; later class numbers move up."""
    if annotation.kind == "labels" and not annotation.instances:
        labels = annotation.labels.astype(np.int64)
        labels[labels == index] = 0
        labels[labels > index] -= 1
        return replace(annotation, labels=labels.astype(annotation.labels.dtype))
    if annotation.kind not in ("points", "centerlines"):
        return annotation
    kept = [i for i, one in enumerate(annotation.classes) if one != name]
    changes: dict[str, Any] = {"classes": tuple(annotation.classes[i] for i in kept)}
    if annotation.kind == "points":
        changes["coordinates"] = annotation.coordinates[kept]
        own = "radius_nm"
    else:
        changes["paths"] = tuple(annotation.paths[i] for i in kept)
        own = "width_nm"
    values = getattr(annotation, own)
    if values is not None:
        changes[own] = tuple(values[i] for i in kept)
    return replace(annotation, **changes)
