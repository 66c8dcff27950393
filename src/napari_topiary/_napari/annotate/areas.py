"""Finished areas: what to annotate next, and which marks lie outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_topiary._napari.canvas.layers import image_layer, put_layer, remove_layer
from napari_topiary._napari.canvas.shown_image import look_at
from napari_topiary._napari.drawing import marks
from napari_topiary.annotations import (
    Regions,
    annotation_problem,
    around_marks,
    outside_note,
    usable_annotations,
)
from napari_topiary.annotations.finished import Area, suggest_area, uncertainty
from napari_topiary.types import BACKGROUND

if TYPE_CHECKING:
    from napari_topiary._napari.drawing.drawing import Drawing
    from napari_topiary.session import Session

_RADII = 14
_SHARES = (0.2, 0.5)
_LARGEST = 4096
"""Of a larger image nobody can mark a fifth."""
FRAME_COLOUR = "#ff9f43"


class Advice:
    """What is wrong with the marks on an image, or how they will be used.

    It is asked for whenever a layer is selected: of the same marks only once.
    """

    def __init__(self) -> None:
        self._about: tuple[object, ...] = ()
        self._words = ""

    def of(self, session: Session, name: str) -> str:
        """Say it of an image."""
        entry, drawn = session.images[name], session.annotations.get(name, ())
        about = (name, entry.image, entry.scale, session.task, drawn)
        same = len(self._about) == len(about) and all(
            one is other for one, other in zip(about, self._about, strict=True)
        )
        if not same:
            self._about, self._words = about, advice(session, name)
        return self._words


def advice(session: Session, name: str) -> str:
    """Say what is wrong with the marks on an image, or how they will be used."""
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
    what, _, to_do = outside_note(drawn).partition(": ")
    if what:
        return f"<b>{what}</b>: {to_do}"
    if any(one.kind == "regions" for one in drawn):
        return "Networks learn only inside the finished areas of this image."
    return (
        "No finished area is drawn: the whole image counts as finished, and what is "
        "not marked as empty. Did you mark only a part? Then draw a <b>Finished "
        "area</b>, or finish what is around the marks."
    )


class AreaSuggestions(QObject):
    """Proposes areas of the shown image, one at a time."""

    changed = Signal()

    def __init__(self, drawing: Drawing) -> None:
        super().__init__()
        self.drawing = drawing
        self.area: Area | None = None
        self._image: str | None = None
        self._proposed: list[Area] = []
        drawing.changed.connect(self._on_drawing)

    def suggest(self) -> Area | None:
        """Propose the next area of the shown image and look at it."""
        drawing, name = self.drawing, self.drawing.name
        if name is None:
            return None
        drawing.gather()
        session = drawing.session
        shape = session.images[name].image.shape[1:]
        prediction = session.predictions.get(name)
        doubt = None
        if prediction is not None and prediction.corner is None:
            doubt = uncertainty(prediction.probability)
        self._image = name
        self.area = suggest_area(
            shape,
            session.annotations.get(name, ()),
            side=self._side(name, min(*shape, _LARGEST)),
            doubt=doubt,
            avoid=self._proposed,
        )
        self._proposed.append(self.area)
        self._show()
        self.changed.emit()
        return self.area

    def finish(self) -> None:
        """Take the proposed area as finished: networks learn from all of it."""
        drawing, area = self.drawing, self.area
        if area is None or drawing.name is None:
            return
        drawing.gather()
        top, bottom, left, right = (edge - 0.5 for edge in area)
        box = np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
        old = drawing.of_kind("regions")
        polygons = () if old is None else old.polygons
        types = () if old is None else old.shape_types
        regions = Regions((*polygons, box), (*types, "rectangle"))
        self.give_up()
        drawing.replace_kind("regions", regions)

    @property
    def has_marks(self) -> bool:
        """Whether anything but "not this" is marked on the shown image."""
        return any(
            one.kind == "labels" or set(getattr(one, "classes", ())) - {BACKGROUND}
            for one in self.drawing.drawn
        )

    def finish_around_marks(self) -> None:
        """Take only what is around the marks as finished: the rest is not known."""
        drawing, name = self.drawing, self.drawing.name
        drawing.gather()
        if name is None:
            return
        entry = drawing.session.images[name]
        part = around_marks(
            drawing.drawn,
            entry.image.shape[1:],
            task=drawing.session.task,
            scale=entry.scale,
        )
        if part is not None:
            drawing.replace_kind("regions", part)

    def finish_all(self) -> None:
        """Take the whole image as finished: without areas all of it is."""
        self.drawing.gather()
        self.drawing.replace_kind("regions", None)

    def give_up(self) -> None:
        """Take the frame away."""
        self.area = None
        if self._image is not None and self.drawing.viewer is not None:
            remove_layer(self.drawing.viewer, ("suggestion", self._image))
        self.changed.emit()

    def _side(self, name: str, shorter: int) -> float:
        radii = [
            marks.radius_px(self.drawing.session, name, one)
            for one in self.drawing.session.task.classes[1:]
        ]
        low, high = (share * shorter for share in _SHARES)
        return float(np.clip(_RADII * max(radii, default=0.0), low, high))

    def _show(self) -> None:
        viewer, name = self.drawing.viewer, self.drawing.name
        image = None if name is None else image_layer(viewer, name)
        if image is None or self.area is None:
            return
        top, bottom, left, right = (edge - 0.5 for edge in self.area)
        put_layer(
            viewer,
            ("suggestion", name),
            [np.array([[top, left], [top, right], [bottom, right], [bottom, left]])],
            "shapes",
            like=image,
            name=f"{name} · mark this area next",
            shape_type="rectangle",
            edge_color=FRAME_COLOUR,
            edge_width=max(1.0, (bottom - top) / 80),
            face_color="transparent",
            opacity=1.0,
        )
        look_at(viewer, image, (top, bottom, left, right))

    def _on_drawing(self) -> None:
        if self.area is not None and self.drawing.name != self._image:
            self._proposed.clear()
            self.area = None
            self.changed.emit()
