"""Where TIFF files keep the pixel size: many conventions, tried in turn."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree

import tifffile

Sizes = tuple[float | None, float | None]
"""Pixel size in nm along y and x, None where unknown."""

NM_PER_UNIT = {
    "pm": 1e-3,
    "n_m": 1.0,
    "u_m": 1e3,
    "a": 0.1,
    "å": 0.1,
    "angstrom": 0.1,
    "angstroms": 0.1,
    "ångström": 0.1,
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometers": 1.0,
    "nanometre": 1.0,
    "um": 1e3,
    "µm": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "micrometers": 1e3,
    "micrometre": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "cm": 1e7,
    "centimeter": 1e7,
    "m": 1e9,
    "meter": 1e9,
}
_COARSEST_NM = 5000.0
"""Coarser "pixel sizes" are print resolutions (300 dpi = 84,667 nm), not optics."""


def nm_per_unit(unit: str | None) -> float | None:
    """Return nm in one `unit`, None for pixels, inches or anything unknown."""
    if unit is None:
        return None
    # ImageJ writes the micro sign as an escape; there are two micro signs in Unicode.
    name = unit.replace("\\u00B5", "µ").replace("μ", "µ").strip().rstrip(".")
    return NM_PER_UNIT.get(name.lower())


def pixel_size(file: tifffile.TiffFile, page: Any) -> Sizes:
    """Return nm per pixel along y and x.

    Parameters
    ----------
    file
        The open file.
    page
        The page that the image is on.
    """
    for source in (_ome, _imagej, _makers, _aperio, _resolution):
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
    unit = nm_per_unit(str(file.imagej_metadata.get("unit", "")))
    y, x = _per_unit(page)
    if unit is None or y is None or x is None:
        return None, None
    return unit / y, unit / x


def _makers(file: tifffile.TiffFile, page: Any) -> Sizes:
    """Read what FEI, Zeiss, Olympus and Gatan programs write."""
    if file.is_fei and file.fei_metadata:
        scan = file.fei_metadata.get("Scan", {})
        y, x = _float(scan.get("PixelHeight")), _float(scan.get("PixelWidth"))
        return _times(y, 1e9), _times(x, 1e9)
    if file.is_sem and file.sem_metadata:
        # Not its pixel size, which is that of the scan even where fewer are stored.
        entry = file.sem_metadata.get("ap_width", ())
        if len(entry) >= 3:
            width = _times(_float(entry[1]), nm_per_unit(str(entry[2])))
            size = _times(width, 1 / page.imagewidth)
            return size, size
    sis = page.tags.get(33560)
    if sis is not None and isinstance(sis.value, dict):
        y, x = _float(sis.value.get("pixelsizey")), _float(sis.value.get("pixelsizex"))
        return _times(y, 1e9), _times(x, 1e9)
    # Gatan's export: size and unit along x, then along y.
    tags = [page.tags.get(code) for code in (65010, 65004, 65009, 65003)]
    y_size, y_unit, x_size, x_unit = (None if t is None else t.value for t in tags)
    return (
        _times(_float(y_size), nm_per_unit(str(y_unit))),
        _times(_float(x_size), nm_per_unit(str(x_unit))),
    )


def _aperio(file: tifffile.TiffFile, page: Any) -> Sizes:
    if not file.is_svs:
        return None, None
    found = re.search(r"MPP\s*=\s*([\d.,]+)", page.description or "")
    # Programs write a decimal comma where their country does.
    size = _times(_float(found.group(1).replace(",", ".")), 1e3) if found else None
    return size, size


def _resolution(file: tifffile.TiffFile, page: Any) -> Sizes:
    """Read the plain resolution tags, if they can mean a microscope's pixels."""
    unit_tag = page.tags.get("ResolutionUnit")
    unit = {2: 2.54e7, 3: 1e7}.get(int(unit_tag.value) if unit_tag else 2)
    y, x = _per_unit(page)
    if unit is None or y is None or x is None or file.is_imagej:
        return None, None
    sizes = unit / y, unit / x
    return (None, None) if max(sizes) > _COARSEST_NM else sizes


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
