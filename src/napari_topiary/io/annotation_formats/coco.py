"""COCO: outlines, run lengths and boxes of many images in one JSON file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats.base import (
    CORNER,
    Collector,
    Marks,
    annotation_formats,
    head_text,
    number,
    stated_shape,
)
from napari_topiary.io.memory import check_fits
from napari_topiary.io.plain_files import parsed_json, read_text


@annotation_formats.register("coco")
class Coco:
    """Boxes become places, everything else areas."""

    title: ClassVar[str] = "COCO JSON"
    details: ClassVar[str] = "outlines, run lengths, boxes, key points"
    marks: ClassVar[str] = "areas, points"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    @staticmethod
    def fits(head: bytes) -> bool:
        """Whether it is an object that can be COCO; its keys are in any order."""
        text = head_text(head).lstrip()
        names = ('"images"', '"annotations"', '"categories"', '"info"', '"licenses"')
        return text.startswith("{") and any(name in text for name in names)

    @staticmethod
    def read(path: Path) -> list[Marks]:
        """Read what is marked on each image."""
        content = parsed_json(read_text(path, "COCO file"), path.name)
        lists = {
            key: content.get(key) if isinstance(content, Mapping) else None
            for key in ("images", "annotations", "categories")
        }
        if not all(
            isinstance(one, list) and all(isinstance(v, Mapping) for v in one)
            for one in (lists["images"], lists["annotations"])
        ):
            raise TopiaryError(
                f'{path.name} is not COCO: it has to hold lists of "images" and of '
                '"annotations".'
            )
        given = lists["categories"]
        categories = given if isinstance(given, list) else ()
        names = {
            str(one.get("id")): str(one.get("name", ""))
            for one in categories
            if isinstance(one, Mapping)
        }
        drawn: dict[str, list[Mapping[str, Any]]] = {}
        for one in lists["annotations"] or ():
            drawn.setdefault(str(one.get("image_id")), []).append(one)
        listed = {str(image.get("id")) for image in lists["images"] or ()}
        lost = sum(len(drawn[one]) for one in drawn.keys() - listed)
        if lost:
            raise TopiaryError(
                f"{path.name} has {lost} annotations of images that are not in its "
                'list of "images": export the whole of it again.'
            )
        return [
            _marks(path, image, drawn.get(str(image.get("id")), []), names)
            for image in lists["images"] or ()
        ]


def _marks(
    path: Path,
    image: Mapping[str, Any],
    drawn: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
) -> Marks:
    found, radius = Collector(), list[float]()
    for one in drawn:
        where = f"The annotation {one.get('id')} of {path.name}"
        name = names.get(str(one.get("category_id")), "")
        outlined = one.get("segmentation")
        if isinstance(outlined, Mapping):
            found.add_area((), name, _run_lengths(outlined, where))
        elif isinstance(outlined, list) and outlined:
            found.add_area((_ring(ring, where) for ring in outlined), name)
        elif points := _seen_points(one.get("keypoints"), where):
            found.add_places(points, name)
            radius += [0.0] * len(points)
        else:
            x, y, width, height = _numbers(one.get("bbox"), 4, where)
            middle = np.array([y + height / 2, x + width / 2]) - CORNER
            found.add_places([middle], name)
            radius.append((width + height) / 4)
    return found.marks(
        radius=tuple(radius) or None,
        image=str(image.get("file_name", "")),
        shape=stated_shape(image.get("height"), image.get("width")),
    )


def _seen_points(given: Any, where: str) -> list[tuple[float, float]]:
    """Key points (x, y, 0 = not marked) as y, x."""
    if not isinstance(given, list) or not given:
        return []
    x, y, marked = (
        np.array(_numbers(given, len(given) // 3 * 3, where)).reshape(-1, 3).T
    )
    return [(b, a) for a, b, seen in zip(x, y, marked, strict=True) if seen > 0]


def _run_lengths(given: Mapping[str, Any], where: str) -> NDArray[np.bool_]:
    """Return a mask `(y, x)` from COCO's run lengths, plain or packed into text.

    `size` is (height, width), `counts` pixels outside, inside, outside, ... column by
    column.
    """
    size = _numbers(given.get("size"), 2, where)
    height, width = (int(n) for n in size)
    counts = given.get("counts")
    if isinstance(counts, str):
        counts = _unpacked(counts, where)
    if not isinstance(counts, list) or min(height, width) < 1:
        raise TopiaryError(f"{where} has run lengths without counts: export it again.")
    runs = _numbers(counts, len(counts), where)
    if min(runs, default=0) < 0 or math.fsum(runs) != height * width:
        raise TopiaryError(
            f"{where} has run lengths of {math.fsum(runs):,.0f} pixels for "
            f"{height} x {width}: export it again."
        )
    check_fits(2 * height * width, where, "cut the image into parts")
    inside = np.arange(len(runs)) % 2 == 1
    flat = np.repeat(inside, np.array(runs, dtype=np.int64))
    mask: NDArray[np.bool_] = flat.reshape(width, height).T
    return mask


def _unpacked(text: str, where: str) -> list[int]:
    """Run lengths out of text: 5 bits a letter, each from the third on a difference."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 60:
            raise TopiaryError(f"{where} has run lengths that mean nothing.")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def _ring(ring: Any, where: str) -> NDArray[np.float64]:
    count = len(ring) if isinstance(ring, list) else 0
    flat = np.array(_numbers(ring, count, where))
    if count < 6 or count % 2:
        raise TopiaryError(
            f"{where} has an outline of {count} numbers, but it needs x and y of three "
            "places or more: correct or delete it."
        )
    outline: NDArray[np.float64] = flat.reshape(-1, 2)[:, ::-1] - CORNER
    return outline


def _numbers(values: Any, count: int, where: str) -> list[float]:
    if not isinstance(values, list) or len(values) != count:
        raise TopiaryError(
            f"{where} has neither an outline nor a box (x, y, width, height): correct "
            "or delete it."
        )
    return [number(value, where) for value in values]
