"""Units of length, and what a pixel size can be: in a file, a form or an option."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from xml.etree import ElementTree

import tifffile

from napari_topiary.errors import TopiaryError
from napari_topiary.forms import number_problem

SMALLEST, LARGEST = 1e-3, 1e6
"""nm per pixel: no microscope has more."""
SAME = 1.01
"""Two pixel sizes mean the same if one is less than so many times the other."""
SHORTEST_BAR = 5
"""In pixels: a shorter line says too little about the length of a pixel."""
_LENGTH = re.compile(r"\s*(\d+(?:[.,]\d*)?|[.,]\d+)\s*(\D*?)\s*")
_PRINTED = (72, 96, 100, 150, 200, 300, 400, 600, 1200, 2400)
_INCH = 25.4e6
Sizes = tuple[float | None, float | None]
"""Pixel size in nm along y and x, None where unknown."""
_SYMBOLS = {"p": 1e-3, "n": 1.0, "u": 1e3, "μ": 1e3, "m": 1e6, "c": 1e7, "": 1e9}
_PREFIXES = {
    "pico": 1e-3, "nano": 1.0, "micro": 1e3, "mikro": 1e3, "milli": 1e6, "centi": 1e7,
    "": 1e9,
}  # fmt: skip
NM_PER_UNIT = {
    **{f"{prefix}m": nm for prefix, nm in _SYMBOLS.items()},
    **{f"{prefix}_m": nm for prefix, nm in _SYMBOLS.items() if prefix},
    **{
        f"{prefix}{name}": nm
        for prefix, nm in _PREFIXES.items()
        for name in ("meter", "metre", "meters", "metres")
    },
    **dict.fromkeys(("micron", "microns", "mikron", "mikrons"), 1e3),
    **{
        name: 0.1
        for start in ("a", "å")
        for name in (start, f"{start}ngstrom", f"{start}ngstroms", f"{start}ngström",
                     f"{start}ngströms")
    },
}  # fmt: skip
"""As in the compatibility form of Unicode, where there is one micro sign only."""
DOUBTFUL = {0.1: "1 angstrom", 1000.0: "1 µm"}
"""nm per pixel that programs write which do not know it."""
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})")
_COARSEST_NM = 5000.0
"""Coarser "pixel sizes" are print resolutions (300 dpi = 84,667 nm), not optics."""


def pixel_size_problem(size: Any) -> str:
    """Return why something cannot be a pixel size, as a sentence; empty if it can.

    Parameters
    ----------
    size
        nm per pixel.
    """
    problem = number_problem(
        "A pixel size in nm of",
        size,
        low=SMALLEST,
        high=LARGEST,
        meaning="a millimetre at most, nothing if it is unknown",
    )
    if problem is not None:
        return problem
    for dots in _PRINTED:
        if math.isclose(size, _INCH / dots, rel_tol=1e-4):
            return (
                f"{size:,.0f} nm per pixel are {dots} dots per inch: the resolution of "
                "a print, not the pixel size of a microscope. Give the real one, or "
                "leave it empty if it is unknown."
            )
    return ""


def pixel_size_of_bar(length_px: float, written: str) -> float:
    """Return nm per pixel by a scale bar, or raise with a sentence.

    Parameters
    ----------
    length_px
        Of the bar in the image, in pixels.
    written
        What is written beside it: a number and a unit, for instance ``"0.5 µm"``.
    """
    found = _LENGTH.fullmatch(written)
    nm = None if found is None else nm_per_unit(found[2])
    if found is None or nm is None:
        raise TopiaryError(
            f"{written.strip() or 'Nothing'} is not a length: give a number and a unit "
            "as they are written beside the bar, for example 500 nm or 0.2 µm."
        )
    if length_px < SHORTEST_BAR:
        raise TopiaryError(
            f"The line is {length_px:.1f} pixels long: draw it from one end of the "
            "scale bar to the other, and zoom in to hit them."
        )
    size = float(f"{float(found[1].replace(',', '.')) * nm / length_px:.5g}")
    problem = pixel_size_problem(size)
    if problem:
        raise TopiaryError(problem)
    return size


def nm_per_unit(unit: str | None) -> float | None:
    """Return nm in one `unit`, None for pixels, inches or anything unknown."""
    if unit is None:
        return None
    # ImageJ writes what is not ASCII as an escape.
    name = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), unit)
    for code in ("cp1252", "latin-1"):
        with suppress(UnicodeError):  # that was read as another code than it is in
            name = name.encode(code).decode("utf-8")
    name = name.replace("Â", "").strip(" .[]\0")
    return NM_PER_UNIT.get(unicodedata.normalize("NFKC", name).lower())


def pixel_size_doubt(name: str, size: float | None) -> tuple[str, ...]:
    """Return a sentence if a file's pixel size may be none at all.

    Parameters
    ----------
    name
        Of the file.
    size
        nm per pixel, None if unknown.
    """
    if size not in DOUBTFUL:
        return ()
    return (
        f"{name} gives a pixel size of exactly {DOUBTFUL[size]}, which is what many "
        f"programs write that do not know it: check the pixel size ({size:g} nm).",
    )


def pixel_size(file: tifffile.TiffFile, page: Any) -> Sizes:
    """Return nm per pixel along y and x."""
    if two_pixel_sizes(file, page):
        return None, None
    for source in _SOURCES:
        sizes: Sizes = source(file, page)
        if any(size is not None and size > 0 for size in sizes):
            return sizes
    return None, None


def _ome(file: tifffile.TiffFile, page: Any) -> Sizes:
    if not file.is_ome or not file.ome_metadata:
        return None, None
    try:
        root = ElementTree.fromstring(file.ome_metadata)
    except ElementTree.ParseError:
        return None, None
    for element in root.iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            sizes = []
            for axis in "YX":
                value = _float(element.get(f"PhysicalSize{axis}"))
                unit = nm_per_unit(element.get(f"PhysicalSize{axis}Unit", "µm"))
                sizes.append(None if value is None or unit is None else value * unit)
            return sizes[0], sizes[1]
    return None, None


def _imagej(file: tifffile.TiffFile, page: Any) -> Sizes:
    if not file.is_imagej or not file.imagej_metadata:
        return None, None
    units = file.imagej_metadata.get("yunit"), file.imagej_metadata.get("unit")
    x_unit = nm_per_unit(str(units[1]))
    y_unit = x_unit if units[0] is None else nm_per_unit(str(units[0]))
    y, x = _per_unit(page)
    if y_unit is None or x_unit is None or y is None or x is None:
        return None, None
    return y_unit / y, x_unit / x


def _fei(file: tifffile.TiffFile, page: Any) -> Sizes:
    """Read FEI's and Thermo Fisher's, in metres; of the beam that made the image."""
    for scan in (file.fei_metadata or {}).values():
        if isinstance(scan, dict) and "PixelWidth" in scan:
            y, x = _float(scan.get("PixelHeight")), _float(scan["PixelWidth"])
            return _times(y, 1e9), _times(x, 1e9)
    sizes = []
    for name in ("pixelHeight", "pixelWidth"):
        element = next((e for e in _xml(page) if _name(e) == name), None)
        unit = None if element is None else nm_per_unit(element.get("unit"))
        sizes.append(_times(None if element is None else _float(element.text), unit))
    return sizes[0], sizes[1]


def _zeiss(file: tifffile.TiffFile, page: Any) -> Sizes:
    about = file.sem_metadata or {}
    # First the width: a pixel size may be that of the scan where fewer are stored.
    for name, parts in (
        ("ap_width", page.imagewidth),
        ("ap_image_pixel_size", 1),
        ("ap_pixel_size", 1),
    ):
        entry = about.get(name, ())
        if len(entry) >= 3:
            size = _times(_float(entry[1]), nm_per_unit(str(entry[2])))
            if size:
                return size / parts, size / parts
    return None, None


def _tvips(file: tifffile.TiffFile, page: Any) -> Sizes:
    about = file.tvips_metadata or {}
    return _float(about.get("PixelSizeY")), _float(about.get("PixelSizeX"))


def _olympus(file: tifffile.TiffFile, page: Any) -> Sizes:
    about = getattr(page.tags.get(33560), "value", None)
    if not isinstance(about, dict):
        return None, None
    y, x = _float(about.get("pixelsizey")), _float(about.get("pixelsizex"))
    return _times(y, 1e9), _times(x, 1e9)


def _jeol(file: tifffile.TiffFile, page: Any) -> Sizes:
    """Divide pixels on the camera, which the plain tags tell, by the magnification."""
    maker = getattr(page.tags.get("Make"), "value", "")
    if not str(maker).startswith("JEOL"):
        return None, None
    values = {_name(element): (element.text or "").strip() for element in _xml(page)}
    zoom = _float(values.get("SelectorValue"))
    unit, (y, x) = _unit_of_tags(page), _per_unit(page)
    if values.get("ModeString") != "MAG" or not zoom or unit is None:
        return None, None
    return _times(y and 1 / y, unit / zoom), _times(x and 1 / x, unit / zoom)


def _gatan(file: tifffile.TiffFile, page: Any) -> Sizes:
    """Read Gatan's export: size and unit along x, then along y."""
    tags = [page.tags.get(code) for code in (65010, 65004, 65009, 65003)]
    y_size, y_unit, x_size, x_unit = (None if t is None else t.value for t in tags)
    return (
        _times(_float(y_size), nm_per_unit(str(y_unit))),
        _times(_float(x_size), nm_per_unit(str(x_unit))),
    )


def _light_microscopes(file: tifffile.TiffFile, page: Any) -> Sizes:
    """Read Zeiss LSM, in metres, and Micro-Manager, in µm."""
    if file.is_lsm:
        about = file.lsm_metadata or {}
        y, x = _float(about.get("VoxelSizeY")), _float(about.get("VoxelSizeX"))
        return _times(y, 1e9), _times(x, 1e9)
    about = file.micromanager_metadata or {} if file.is_micromanager else {}
    size = _float(about.get("Summary", {}).get("PixelSize_um"))
    return _times(size, 1e3), _times(size, 1e3)


def two_pixel_sizes(file: tifffile.TiffFile, page: Any) -> str:
    """Return what a slide says that has more than one pixel size, empty if it has one.

    Parameters
    ----------
    file, page
        The slide and its largest image.
    """
    sizes = _microns(file, page)
    if not sizes or max(sizes) <= SAME * min(sizes):
        return ""
    return " and ".join(f"MPP = {size:g}" for size in dict.fromkeys(sizes))


def _aperio(file: tifffile.TiffFile, page: Any) -> Sizes:
    size = next((size * 1e3 for size in _microns(file, page)), None)
    return size, size


def _microns(file: tifffile.TiffFile, page: Any) -> list[float]:
    """All that the description of an Aperio slide says of µm per pixel."""
    if not file.is_svs:
        return []
    found = re.findall(r"\bMPP\s*=\s*([\d.,]+)", page.description or "")
    # Programs write a decimal comma where their country does.
    sizes = (_float(said.replace(",", ".")) for said in found)
    return [size for size in sizes if size]


def _resolution(file: tifffile.TiffFile, page: Any) -> Sizes:
    """Read the plain resolution tags, if they can mean a microscope's pixels."""
    unit, (y, x) = _unit_of_tags(page), _per_unit(page)
    if unit is None or y is None or x is None or file.is_imagej:
        return None, None
    sizes = unit / y, unit / x
    return (None, None) if max(sizes) > _COARSEST_NM else sizes


def _unit_of_tags(page: Any) -> float | None:
    """Nm in the unit of the resolution tags."""
    tag = page.tags.get("ResolutionUnit")
    return {2: 2.54e7, 3: 1e7}.get(int(tag.value) if tag else 2)


def _xml(page: Any) -> Iterator[ElementTree.Element]:
    """Elements of a description that is XML."""
    text = str(page.description or "").strip(" \r\n\t\0\x01")
    if not text.startswith("<"):
        return
    try:
        yield from ElementTree.fromstring(text).iter()
    except (ElementTree.ParseError, ValueError):
        return


def _name(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _per_unit(page: Any) -> Sizes:
    """Pixels per unit from the resolution tags."""
    values: list[float | None] = []
    for name in ("YResolution", "XResolution"):
        tag = page.tags.get(name)
        value = tag.value if tag is not None else None
        if isinstance(value, tuple) and len(value) == 2 and value[1]:
            value = value[0] / value[1]
        number = _float(value)
        values.append(number if number and number > 0 else None)
    return values[0], values[1]


def _times(value: float | None, unit: float | None) -> float | None:
    return None if value is None or unit is None else value * unit


def _float(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


_SOURCES = (
    _ome, _imagej, _fei, _zeiss, _tvips, _olympus, _jeol, _gatan, _light_microscopes,
    _aperio, _resolution,
)  # fmt: skip
"""Where a pixel size may be, the most certain first."""
