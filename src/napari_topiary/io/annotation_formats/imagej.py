"""ImageJ and Fiji: one ROI, or the ROI manager's set of them."""

from __future__ import annotations

import importlib.util
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tifffile

from napari_topiary.annotations.regions import outline
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats.base import (
    CORNER,
    Collector,
    Marks,
    Places,
    annotation_formats,
    check_one_slice,
)
from napari_topiary.io.memory import check_fits
from napari_topiary.io.own_files import WRITER
from napari_topiary.io.plain_files import check_plain_file

LARGEST_ROI = 64 << 20
"""Bytes of one ROI; no person has drawn a larger one."""
MOST_ROIS = 1_000_000
_NUMBERED = re.compile(r"(^|[-_ #]+)\d+$")
_OF_A_PLACE = re.compile(r"\d+(-\d+)*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What ImageJ and roifile call an ROI without a name."""


@annotation_formats.register("roi")
class ImageJRoi:
    """Points, lines, and everything that encloses an area."""

    title: ClassVar[str] = "ImageJ ROI"
    details: ClassVar[str] = (
        "`.roi`, `RoiSet.zip`, what is saved in a TIFF; needs `[formats]`"
    )
    marks: ClassVar[str] = "points, lines, areas"
    suffixes: ClassVar[tuple[str, ...]] = (".roi", ".zip")
    ending: ClassVar[str] = "_RoiSet.zip"
    only_places: ClassVar[bool] = False
    names_classes: ClassVar[bool] = True

    @staticmethod
    def fits(head: bytes) -> bool:
        """Whether an ROI or an archive begins."""
        return head.startswith((b"Iout", b"PK\x03\x04", b"PK\x05\x06"))

    @staticmethod
    def read(path: Path) -> list[Marks]:
        """Read what is marked; the name of an ROI without its number is its class."""
        return _marked(_rois(path), path.name)

    @staticmethod
    def inside(path: Path) -> list[Marks]:
        """Read the selection and the overlay that ImageJ saves in a TIFF."""
        if path.suffix.lower() not in (".tif", ".tiff"):
            return []
        try:
            with tifffile.TiffFile(path) as file:
                about = file.imagej_metadata or {}
        except Exception:  # a damaged file: reading the image says so
            return []
        saved = dict.fromkeys([*about.get("Overlays", ()), about.get("ROI", b"")])
        found = [one for one in saved if one]
        if not found:
            return []
        roifile = _library(path)
        return _marked(map(roifile.ImagejRoi.frombytes, found), path.name)

    @staticmethod
    def write(path: Path, marked: Marks) -> None:
        """Write a set for the ROI manager; each ROI has the name of its class."""
        roifile = _library(path)
        kinds, count = roifile.ROI_TYPE, 0
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = WRITER.encode()

            def add(kind: Any, rings: Sequence[Places], name: str) -> None:
                nonlocal count
                count += 1
                own = f"{name or 'roi'} #{count}"
                if len(rings) > 1:
                    roi = _of_rings(roifile, rings)
                else:
                    xy = np.asarray(rings[0])[:, ::-1].astype(np.float32)
                    roi = roifile.ImagejRoi.frompoints(xy)
                    roi.roitype = kind
                roi.name = own
                # A slash would make a folder of it.
                entry = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", own)
                archive.writestr(f"{entry}.roi", roi.tobytes())

            for place, name in zip(marked.places, marked.classes, strict=True):
                add(kinds.POINT, [place[None]], name)
            for line, name in zip(marked.lines, marked.line_classes, strict=True):
                add(kinds.POLYLINE, [line], name)
            for area in marked.areas:
                add(kinds.POLYGON, [ring + CORNER for ring in area.rings], area.name)


def _marked(rois: Iterable[Any], file: str) -> list[Marks]:
    """What ROIs mark, for each slice that they are on."""
    each: dict[int | None, Collector] = {}
    for roi, place in _with_slices(list(rois), file):
        _draw(roi, each.setdefault(place, Collector()))
    if not each:
        return [Collector().marks()]
    return [drawn.marks(slice=place) for place, drawn in each.items()]


def _with_slices(rois: Sequence[Any], file: str) -> list[tuple[Any, int | None]]:
    """Each ROI with the slice that it is on, from 0; None where it is on none."""
    stepped = [(r.position, r.z_position, r.t_position) for r in rois]
    axes = {i for one in stepped for i, at in enumerate(one) if at}
    if len(axes) != 1 or not all(map(any, stepped)):
        check_one_slice((one for one in stepped if any(one)), file)
        return [(roi, None) for roi in rois]
    return [(roi, max(at) - 1) for roi, at in zip(rois, stepped, strict=True)]


def _draw(roi: Any, drawn: Collector) -> None:
    name, kind = _class_of(roi.name or ""), roi.roitype.name
    name = name or (f"group {roi.group}" if roi.group else "")
    if kind == "NOROI":
        return
    if kind in ("RECT", "OVAL") and not roi.shape_roi_size:
        top, left, bottom, right = (
            (roi.yd, roi.xd, roi.yd + roi.heightd, roi.xd + roi.widthd)
            if roi.subpixelrect
            else (roi.top, roi.left, roi.bottom, roi.right)
        )
        box = np.array([[top, left], [bottom, right]], dtype=np.float64)
        shape = "rectangle" if kind == "RECT" else "ellipse"
        drawn.add_area((outline(box - CORNER, shape),), name)
        return
    parts = _parts(roi)
    if kind == "POINT":
        drawn.add_places([place for part in parts for place in part], name)
    elif kind in ("LINE", "POLYLINE", "FREELINE", "ANGLE"):
        for part in parts:
            drawn.add_line(part, name)
    elif parts:
        drawn.add_area((part - CORNER for part in parts), name)


def _of_rings(roifile: Any, rings: Sequence[Places]) -> Any:
    """One ROI of several outlines: pieces, and holes that run the other way round."""
    path = list[float]()
    for ring in rings:
        for step, (y, x) in enumerate(ring):
            path += [float(step > 0), float(x), float(y)]  # 0 = begin here, 1 = draw
        path.append(4.0)  # back to the beginning
    (top, left), (bottom, right) = (
        find(np.concatenate(rings), axis=0) for find in (np.min, np.max)
    )
    return roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE.RECT,
        version=roifile.ImagejRoi.frompoints(np.eye(3, 2)).version,
        top=int(np.floor(top)),
        left=int(np.floor(left)),
        bottom=int(np.ceil(bottom)),
        right=int(np.ceil(right)),
        shape_roi_size=len(path),
        multi_coordinates=np.array(path, dtype=np.float32),
    )


def _rois(path: Path) -> list[Any]:
    """Every ROI of a file."""
    check_plain_file(path)
    roifile = _library(path)
    try:
        if path.suffix.lower() == ".roi":
            return [roifile.ImagejRoi.frombytes(path.read_bytes())]
        with zipfile.ZipFile(path) as archive:
            members = [
                one for one in archive.infolist() if one.filename[-4:].lower() == ".roi"
            ]
            if not members and archive.infolist():
                raise TopiaryError(
                    f"{path.name} holds no ROI: save the set from ImageJ's ROI manager."
                )
            largest = max((one.file_size for one in members), default=0)
            if largest > LARGEST_ROI or len(members) > MOST_ROIS:
                raise TopiaryError(
                    f"{path.name} holds more than any drawing does: it is damaged."
                )
            total = sum(one.file_size for one in members)
            check_fits(8 * total, path.name, "save fewer ROIs in one set")
            rois = []
            for one in members:
                roi = roifile.ImagejRoi.frombytes(archive.read(one))
                roi.name = roi.name or Path(one.filename).stem
                rois.append(roi)
            return rois
    except TopiaryError:
        raise
    except (
        ValueError, OSError, EOFError, IndexError, KeyError, TypeError, struct.error,
        zipfile.BadZipFile, NotImplementedError, RuntimeError, OverflowError,
        MemoryError, zlib.error,
    ) as error:  # fmt: skip
        raise TopiaryError(
            f"{path.name} cannot be read as ROIs of ImageJ ({error}): save the set "
            "from its ROI manager again."
        ) from error


def _library(path: Path) -> Any:
    if importlib.util.find_spec("roifile") is None:
        raise TopiaryError(
            f"{path.name}: ROIs of ImageJ need roifile, which is not installed: "
            "pip install 'napari-topiary[formats]'."
        )
    # Needed by few.
    import roifile

    return roifile


def _parts(roi: Any) -> list[Places]:
    """The outlines of an ROI `(v, 2)` y, x."""
    found = roi.coordinates(multi=True) if roi.shape_roi_size else [roi.coordinates()]
    parts = [np.asarray(one, dtype=np.float64)[:, ::-1] for one in found if len(one)]
    closed = [
        p[:-1] if roi.shape_roi_size and np.array_equal(p[0], p[-1]) else p
        for p in parts
    ]
    if not all(np.isfinite(part).all() for part in closed):
        raise ValueError("a vertex without a position")
    return closed


def _class_of(name: str) -> str:
    """Name of an ROI without the number of it; places are what ImageJ names by."""
    return "" if _OF_A_PLACE.fullmatch(name) else _NUMBERED.sub("", name).strip()
