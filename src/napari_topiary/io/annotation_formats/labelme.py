"""LabelMe: outlines, boxes, circles, lines and points of one image as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from napari_topiary.annotations.regions import outline
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats.base import (
    CORNER,
    Collector,
    Marks,
    Places,
    annotation_formats,
    head_text,
    number,
    stated_shape,
)
from napari_topiary.io.plain_files import parsed_json, read_text


@annotation_formats.register("labelme")
class LabelMe:
    """Shapes in pixels, counted from the corner of the first one; each has a label."""

    title: ClassVar[str] = "LabelMe JSON"
    details: ClassVar[str] = "shapes with labels"
    marks: ClassVar[str] = "points, lines, areas"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    @staticmethod
    def fits(head: bytes) -> bool:
        """Whether shapes begin."""
        text = head_text(head)
        return '"shapes"' in text and ('"points"' in text or '"flags"' in text)

    @staticmethod
    def read(path: Path) -> list[Marks]:
        """Read what is drawn; a circle is its middle and a place on its border."""
        content = parsed_json(read_text(path, "LabelMe file"), path.name)
        shapes = content.get("shapes") if isinstance(content, Mapping) else None
        if not isinstance(shapes, list):
            raise TopiaryError(f'{path.name} is not of LabelMe: it has no "shapes".')
        drawn = Collector()
        for index, shape in enumerate(shapes, start=1):
            where = f"Shape {index} of {path.name}"
            given, kind = (
                (shape.get("points"), shape.get("shape_type") or "polygon")
                if isinstance(shape, Mapping)
                else (None, "")
            )
            pairs = given if isinstance(given, list) else []
            if not pairs or any(not isinstance(p, list) or len(p) < 2 for p in pairs):
                raise TopiaryError(
                    f"{where} has no points: delete it, or draw it anew."
                )
            xy = np.array(
                [[number(value, where) for value in one[:2]] for one in pairs]
            )
            places, name = xy[:, ::-1] - CORNER, str(shape.get("label") or "").strip()
            if kind in ("point", "points"):
                drawn.add_places(places, name)
            elif kind in ("line", "linestrip"):
                drawn.add_line(places, name)
            elif kind in ("rectangle", "circle"):
                drawn.add_area((_around(places, str(kind), where),), name)
            elif kind == "polygon":
                drawn.add_area((places,), name)
            else:
                raise TopiaryError(
                    f"{where} is a {kind}, which is not read here: draw it as a "
                    "polygon, or export the labels as PNG."
                )
        image = content.get("imagePath")
        shape = stated_shape(content.get("imageHeight"), content.get("imageWidth"))
        name = image if isinstance(image, str) else ""
        return [drawn.marks(image=name, shape=shape)]


def _around(drawn: Places, kind: str, where: str) -> Places:
    """The outline of a rectangle by two corners, or of a circle."""
    if len(drawn) == 4 and kind == "rectangle":
        return drawn
    if len(drawn) != 2:
        raise TopiaryError(f"{where} needs two places: delete it, or draw it anew.")
    if kind == "circle":
        radius = float(np.hypot(*(drawn[1] - drawn[0])))
        drawn = np.stack([drawn[0] - radius, drawn[0] + radius])
    return outline(drawn, "ellipse" if kind == "circle" else "rectangle")
