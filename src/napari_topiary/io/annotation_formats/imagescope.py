"""Aperio ImageScope: regions in layers, as XML."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import ClassVar

import numpy as np

from napari_topiary.annotations.regions import outline
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats.base import (
    CORNER,
    Collector,
    Marks,
    annotation_formats,
    head_text,
    number,
)
from napari_topiary.io.plain_files import read_text
from napari_topiary.types import BACKGROUND

RECTANGLE, ELLIPSE, ARROW, RULER = "1", "2", "3", "4"
NM_PER_MICRON = 1000.0


@annotation_formats.register("imagescope")
class ImageScope:
    """Each layer is a class; regions drawn as negative are cut out."""

    title: ClassVar[str] = "Aperio ImageScope XML"
    details: ClassVar[str] = "layers as classes"
    marks: ClassVar[str] = "areas, lines"
    suffixes: ClassVar[tuple[str, ...]] = (".xml",)

    @staticmethod
    def fits(head: bytes) -> bool:
        """Whether annotations begin."""
        text = head_text(head)
        return "<Annotations" in text and "<ASAP_" not in text

    @staticmethod
    def read(path: Path) -> list[Marks]:
        """Read outlines, lines and points, in pixels of the full image."""
        root = _parsed(path)
        microns = root.get("MicronsPerPixel")
        size = (
            0.0 if not microns else number(microns, f"MicronsPerPixel of {path.name}")
        )
        drawn = Collector()
        for layer in root.iter("Annotation"):
            for region in layer.iter("Region"):
                name = _class_of(layer, region)
                where = np.array(
                    [
                        [number(vertex.get(axis), path.name) for axis in ("Y", "X")]
                        for vertex in region.iter("Vertex")
                    ]
                ).reshape(-1, 2)
                kind = region.get("Type", "0")
                if not len(where):
                    continue
                if len(where) == 1:
                    drawn.add_places(where - CORNER, name)
                elif kind in (ARROW, RULER) or (
                    len(where) == 2 and kind not in (RECTANGLE, ELLIPSE)
                ):
                    drawn.add_line(where - CORNER, name)
                else:
                    shape = {RECTANGLE: "rectangle", ELLIPSE: "ellipse"}.get(kind, "")
                    ring = outline(where - CORNER, shape or "polygon")
                    cut = region.get("NegativeROA") == "1"
                    drawn.add_area((ring,), BACKGROUND if cut else name)
        # What is cut out is cut out of everything: drawn last.
        drawn.areas.sort(key=lambda area: area.name == BACKGROUND)
        return [drawn.marks(scale=size * NM_PER_MICRON if size > 0 else None)]


def _parsed(path: Path) -> ElementTree.Element:
    text = read_text(path, "XML file")
    # Entities can name other files, or grow without end; ImageScope writes none.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise TopiaryError(
            f"{path.name} defines entities, which annotations of ImageScope never do: "
            "it is not read."
        )
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise TopiaryError(
            f"{path.name} cannot be read as XML ({error}): export the annotations "
            "again."
        ) from error


def _class_of(layer: ElementTree.Element, region: ElementTree.Element) -> str:
    """Name of a layer, what is written beside it, or the text of a region."""
    described = [
        one.get("Value")
        for one in layer.iterfind("Attributes/Attribute")
        if one.get("Name") in ("Description", "Class")
    ]
    names = (layer.get("Name"), *described, region.get("Text"))
    return next((name.strip() for name in names if name and name.strip()), "")
