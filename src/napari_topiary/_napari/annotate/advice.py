"""What the marks on an image amount to, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_topiary.annotations import (
    annotation_problem,
    marks_outside,
    usable_annotations,
)
from napari_topiary.jobs.words import plural

if TYPE_CHECKING:
    from napari_topiary.session import Session


def advice(session: Session, name: str) -> str:
    """Say what is wrong with the marks on an image, or how they will be used.

    Parameters
    ----------
    session
        The project.
    name
        Name of one of its images.
    """
    entry, drawn = session.images[name], session.annotations.get(name, ())
    if not drawn:
        return ""
    shape = entry.image.shape[1:]
    problem = annotation_problem(drawn, shape, task=session.task, scale=entry.scale)
    if problem:
        return problem
    _, notes = usable_annotations(drawn, shape, task=session.task, scale=entry.scale)
    return " ".join((*notes, _area(drawn)))


def _area(drawn: Sequence[Any]) -> str:
    """Which part of the image counts as finished."""
    outside, every = marks_outside(drawn)
    if outside:
        return (
            f"<b>{outside} of {plural(every, 'mark')}</b> "
            f"{'lies' if outside == 1 else 'lie'} outside the finished areas and "
            f"{'does' if outside == 1 else 'do'} not teach: finish the whole image, or "
            "draw a finished area around each."
        )
    if any(one.kind == "regions" for one in drawn):
        return "Networks learn only inside the finished areas of this image."
    return (
        "No finished area is drawn: the whole image counts as finished. Did you mark "
        "only a part? Then draw a <b>Finished area</b> around it."
    )
