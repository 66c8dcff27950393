"""GeoJSON as QuPath writes and reads it: points, lines and polygons with a class."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats.base import (
    CORNER,
    Collector,
    Marks,
    Places,
    annotation_formats,
    check_one_slice,
    head_text,
)
from napari_topiary.io.own_files import signed
from napari_topiary.io.plain_files import parsed_json, read_text

MOST_NESTED = 50
"""Collections within collections; more is no drawing of a person."""
_COLOURS = (
    (230, 75, 53),
    (77, 187, 213),
    (0, 160, 135),
    (60, 84, 136),
    (243, 155, 127),
)


@annotation_formats.register("geojson")
class GeoJson:
    """Features in pixels, counted from the corner of the first one."""

    title: ClassVar[str] = "QuPath GeoJSON"
    details: ClassVar[str] = "annotations and detections with classes"
    marks: ClassVar[str] = "points, lines, areas"
    suffixes: ClassVar[tuple[str, ...]] = (".geojson", ".json")
    ending: ClassVar[str] = ".geojson"
    only_places: ClassVar[bool] = False
    names_classes: ClassVar[bool] = True

    @staticmethod
    def fits(head: bytes) -> bool:
        """Whether features begin."""
        text = head_text(head)
        return '"Feature' in text or '"coordinates"' in text

    @staticmethod
    def read(path: Path) -> list[Marks]:
        """Read points, lines and areas with their classes."""
        content = parsed_json(read_text(path, "GeoJSON file"), path.name)
        drawn, scores = Collector(), list[Any]()
        planes = list[tuple[Any, Any]]()
        for geometry, name, score in _geometries(content, path.name):
            if isinstance(plane := geometry.get("plane"), Mapping):
                planes.append((plane.get("z", 0), plane.get("t", 0)))
            kind, where = geometry.get("type"), _lists(geometry, path.name)
            if kind in ("Point", "MultiPoint"):
                found = _vertices([where] if kind == "Point" else where, path.name)
                drawn.add_places(found, name)
                scores += [score] * len(found)
            elif kind in ("LineString", "MultiLineString"):
                for line in [where] if kind == "LineString" else where:
                    drawn.add_line(_vertices(line, path.name), name)
            elif kind in ("Polygon", "MultiPolygon"):
                rings = (
                    where if kind == "Polygon" else [r for one in where for r in one]
                )
                drawn.add_area((_ring(ring, path.name) for ring in rings), name)
            else:
                raise TopiaryError(
                    f"{path.name} holds a geometry of type {kind!r}, which is none of "
                    "GeoJSON: export it from QuPath again."
                )
        check_one_slice(planes, path.name)
        known = bool(scores) and None not in scores
        return [drawn.marks(scores=tuple(scores) if known else None)]

    @staticmethod
    def write(path: Path, marked: Marks) -> None:
        """Write a collection of features; QuPath makes detections of them."""
        names = [*marked.classes, *marked.line_classes, *(a.name for a in marked.areas)]
        kinds = sorted(set(names))
        colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(kinds)}
        features = []
        for index, place in enumerate(marked.places):
            score = None if marked.scores is None else marked.scores[index]
            name = marked.classes[index]
            features.append(
                _feature("Point", _xy(place[None])[0], name, colours[name], score)
            )
        for line, name in zip(marked.lines, marked.line_classes, strict=True):
            features.append(_feature("LineString", _xy(line), name, colours[name]))
        for area in marked.areas:
            shape, where = _polygons([_xy(ring, close=True) for ring in area.rings])
            features.append(_feature(shape, where, area.name, colours[area.name]))
        collection = signed({"type": "FeatureCollection", "features": features})
        path.write_text(json.dumps(collection, ensure_ascii=False), encoding="utf-8")


def _geometries(
    content: Any, file: str, name: str = "", score: Any = None, depth: int = 0
) -> Iterator[tuple[Mapping[str, Any], str, Any]]:
    """Every geometry with its class and score."""
    if depth > MOST_NESTED:
        raise TopiaryError(f"{file} holds collections within collections without end.")
    if isinstance(content, list):
        for one in content:
            yield from _geometries(one, file, name, score, depth + 1)
        return
    if not isinstance(content, Mapping):
        raise TopiaryError(f"{file} is not GeoJSON: it has to hold features.")
    kind = content.get("type")
    if kind == "FeatureCollection":
        yield from _geometries(content.get("features") or [], file, depth=depth + 1)
    elif kind == "GeometryCollection":
        inner = content.get("geometries") or []
        yield from _geometries(inner, file, name, score, depth + 1)
    elif kind == "Feature":
        about = content.get("properties")
        about = about if isinstance(about, Mapping) else {}
        if content.get("geometry") is not None:
            own, known = _class_of(about), _score_of(about)
            yield from _geometries(content["geometry"], file, own, known, depth + 1)
    else:
        yield content, name, score


def _lists(geometry: Mapping[str, Any], file: str) -> list[Any]:
    """The coordinates of a geometry, which are lists within lists."""
    where, kind = geometry.get("coordinates"), str(geometry.get("type"))
    deep = kind.startswith("Multi") + (kind in ("Polygon", "MultiPolygon"))
    level = [where]
    for _ in range(deep):
        level = [one for part in level if isinstance(part, list) for one in part]
    inner = all(isinstance(one, list) for one in level)
    if not isinstance(where, list) or not where or not inner:
        raise TopiaryError(
            f"{file} holds a geometry of type {kind!r} without its coordinates: export "
            "it again."
        )
    return where


def _class_of(about: Mapping[str, Any]) -> str:
    given = about.get("classification", about.get("class"))
    if isinstance(given, Mapping):
        given = given.get("name") or given.get("names")
    if isinstance(given, list):
        given = " ".join(map(str, given))
    return str(given or "").strip()


def _score_of(about: Mapping[str, Any]) -> float | None:
    measured = about.get("measurements")
    if isinstance(measured, list):  # of older versions
        measured = {
            one.get("name"): one.get("value")
            for one in measured
            if isinstance(one, Mapping)
        }
    value = measured.get("score") if isinstance(measured, Mapping) else None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    with suppress(OverflowError):  # a number without end
        return float(value) if number and math.isfinite(value) else None  # type: ignore[arg-type]
    return None


def _vertices(where: Any, file: str) -> Places:
    try:
        places = np.array([[one[1], one[0]] for one in where], dtype=np.float64)
    except (TypeError, IndexError, KeyError, ValueError, OverflowError):
        places = np.full((1, 2), np.nan)
    if not len(places) or not np.isfinite(places).all():
        raise TopiaryError(
            f"{file} holds a shape without numbers for x and y: export it again."
        )
    return places - CORNER


def _ring(where: Any, file: str) -> Places:
    ring = _vertices(where, file)
    closed = len(ring) > 1 and np.array_equal(ring[0], ring[-1])
    return ring[:-1] if closed else ring


def _xy(places: Places, *, close: bool = False) -> list[list[float]]:
    where = [[float(x) + CORNER, float(y) + CORNER] for y, x in places]
    return [*where, where[0]] if close and where else where


def _polygons(rings: list[list[list[float]]]) -> tuple[str, Any]:
    """One polygon with its holes, or several: holes run the other way round."""
    if len(rings) < 2:
        return "Polygon", rings
    outer = [ring for ring in rings if _turn(ring) * _turn(rings[0]) > 0]
    holes = [ring for ring in rings if _turn(ring) * _turn(rings[0]) <= 0]
    polygons = [[ring] for ring in outer]
    for hole in holes:
        around = [p for p in polygons if _inside(hole[0], p[0])] or polygons
        min(around, key=lambda p: abs(_turn(p[0]))).append(hole)
    if len(polygons) == 1:
        return "Polygon", polygons[0]
    return "MultiPolygon", polygons


def _turn(ring: list[list[float]]) -> float:
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())


def _inside(place: list[float], ring: list[list[float]]) -> bool:
    x, y = place
    inside = False
    for (x0, y0), (x1, y1) in pairwise(ring):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            inside = not inside
    return inside


def _feature(
    kind: str,
    where: Any,
    name: str,
    colour: tuple[int, int, int],
    score: float | None = None,
) -> dict[str, Any]:
    about: dict[str, Any] = {"objectType": "detection"}
    if name:
        about["classification"] = {"name": name, "color": list(colour)}
    if score is not None:
        about["measurements"] = {"score": score}
    geometry = {"type": kind, "coordinates": where}
    return {"type": "Feature", "geometry": geometry, "properties": about}
