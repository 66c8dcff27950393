"""Changes to the classes of a project, each one a new task for its session."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_topiary.errors import TopiaryError
from napari_topiary.types import BACKGROUND, Task, TaskKind

if TYPE_CHECKING:
    from napari_topiary.session import Session

EXAMPLES = {"detect": "adenovirus", "segment": "membrane", "instances": "nucleus"}
"""Kind of task -> something that one may look for."""
_GUESS = 40
"""A new class starts with a radius of this part of the image's shorter side."""


def add_class(session: Session, name: str, image: str | None) -> str:
    """Add a class and guess its radius, so that the first mark shows a size."""
    name = " ".join(name.split())
    if not name:
        example = EXAMPLES[session.task.kind]
        raise TopiaryError(f"Type what you are looking for first, e.g. {example}.")
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
    """Count the points and paths of a class on an image; 1 for painted pixels of it."""
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
