"""TIFF, with the pixel sizes of ImageJ, OME and microscope makers."""

from __future__ import annotations

import logging
import math
import re
import struct
import weakref
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats.base import (
    MOST_CHANNELS,
    RawImage,
    check_size,
    image_formats,
    slices_not_channels,
    square_pixels,
    without_inks,
)
from napari_topiary.io.formats.pictures import page_by_pillow
from napari_topiary.io.formats.pieces import Mapped, TiffPieces
from napari_topiary.io.memory import in_words, inflates_beyond
from napari_topiary.io.pixel_size import (
    pixel_size,
    pixel_size_doubt,
    two_pixel_sizes,
)

# What tifffile finds odd in a file is its own affair; real faults it raises.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_CHANGED = (tifffile.PHOTOMETRIC.SEPARATED, tifffile.PHOTOMETRIC.PALETTE)
"""Pixels that are turned into others, which is done on whole images only."""
LOSSY = (
    tifffile.COMPRESSION.OJPEG,
    tifffile.COMPRESSION.JPEG,
    tifffile.COMPRESSION.JPEG_LOSSY,
    tifffile.COMPRESSION.APERIO_JP2000_YCBC,
    tifffile.COMPRESSION.JPEG_2000_LOSSY,
    tifffile.COMPRESSION.ALT_JPEG,
)
"""Compressions that change the numbers a little."""
_DEFLATE = (tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE)
MOST_PLANES = 1_000_000
"""The library goes through as many as a file says that it has."""
LOOKED_AT = 64
"""The sizes of so many pages are looked at before a library is."""
LARGEST_PIECE = 32_000_000
"""Larger pieces would be unpacked again and again: such files are read whole."""


@image_formats.register("tiff")
class Tiff:
    """TIFF files: the largest image in the file, at full resolution."""

    title: ClassVar[str] = (
        "TIFF, OME-TIFF, ImageJ, microscopes' own tags; "
        "whole slides that are TIFF inside"
    )
    suffixes: ClassVar[tuple[str, ...]] = (
        *(".tif", ".tiff", ".lsm"),
        # Whole slides of Aperio, Hamamatsu, Leica, Akoya and Roche are TIFF inside.
        *(".svs", ".ndpi", ".scn", ".qptiff", ".bif"),
    )
    folders: ClassVar[bool] = False

    @staticmethod
    def read(path: Path) -> RawImage:
        """Read the largest image of a TIFF file."""
        with tifffile.TiffFile(path) as file:
            series = _largest(path, file)
            stored = path.stat().st_size
            check_size(path, series.shape, series.dtype.itemsize, stored=stored)
            _check_pieces(path, series, stored)
            _check_whole(path, file, series)
            scale, notes = square_pixels(*pixel_size(file, series.keyframe))
            notes += _doubts(path, series, scale)
            array, axes = _pixels(path, series), _axes(series)
            photometric = series.keyframe.photometric
            exact = series.keyframe.compression not in LOSSY
        if photometric == tifffile.PHOTOMETRIC.SEPARATED:
            if axes.endswith("s") and array.shape[-1] == 4:
                array = without_inks(array)
        is_negative = photometric == tifffile.PHOTOMETRIC.MINISWHITE
        return RawImage(array, axes, scale, notes, is_negative=is_negative, exact=exact)

    @staticmethod
    def open(path: Path) -> RawImage | None:
        """Open the largest image of a file whose pixels lie in pieces, or plain."""
        file = tifffile.TiffFile(path)
        try:
            opened, lasting = _opened(path, file)
        except BaseException:
            file.close()
            raise
        if lasting:
            weakref.finalize(lasting, file.close)
        else:
            file.close()
        return opened

    @staticmethod
    def layout(path: Path) -> tuple[tuple[int, ...], str]:
        """Return the shape and the axes of the largest image."""
        with tifffile.TiffFile(path) as file:
            series = _largest(path, file)
            return tuple(series.shape), _axes(series)


def _only_page(series: Any) -> Any:
    """The page of an image that is in one; without what only zarr knows to heed."""
    page = series.pages[0] if len(series.pages) == 1 else None
    return None if page is None or page.jpegheader is not None else page


def _opened(
    path: Path, file: tifffile.TiffFile
) -> tuple[RawImage | None, TiffPieces | None]:
    """Return the largest image, lazily, and what needs the file to stay open."""
    import zarr

    series = _largest(path, file)
    frame, stored = series.keyframe, path.stat().st_size
    piece = frame.chunks if frame.is_tiled else (frame.rowsperstrip, frame.shape[1])
    _check_pieces(path, series, stored)
    _check_whole(path, file, series)
    is_negative = frame.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    if frame.photometric in _CHANGED or (is_negative and series.dtype.kind == "f"):
        return None, None
    scale, notes = square_pixels(*pixel_size(file, frame))
    notes += _doubts(path, series, scale)
    axes = _axes(series)
    if series.dataoffset is not None and frame.compression == 1:
        dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
        plain: Any = Mapped(path, series.dataoffset, series.shape, dtype)
        return RawImage(plain, axes, scale, notes, is_negative=is_negative), None
    if math.prod(piece) > LARGEST_PIECE:
        return None, None
    if any(
        math.prod(one.chunked) > len(one.dataoffsets) for one in series.pages if one
    ):
        raise TopiaryError(
            f"{path.name} is cut short: it does not say where all of its pixels are. "
            "Copy it again from where it came from."
        )
    array = TiffPieces(zarr.open(series.aszarr(level=0), mode="r"), _only_page(series))
    try:
        array[(slice(0, 1),) * len(array.shape)]
    except (ValueError, ImportError, RuntimeError):
        return None, None  # a packing that is not known here
    pixels: Any = array
    levels = tuple(
        TiffPieces(zarr.open(level.aszarr(), mode="r"), _only_page(level))
        for level in series.levels[1:]
        if len(level.shape) == len(array.shape)
    )
    return (
        RawImage(pixels, axes, scale, notes, is_negative=is_negative, smaller=levels),
        array,
    )


def _check_order(path: Path, file: tifffile.TiffFile) -> None:
    """Refuse pages that follow one another in a circle: nobody would come to an end."""
    tiff, handle = file.tiff, file.filehandle
    first = next(iter(file.pages), None)
    offset, seen = 0 if first is None else first.offset, set[int]()
    while 0 < offset < handle.size - tiff.tagnosize:
        if offset in seen:
            raise TopiaryError(
                f"{path.name} cannot be read: its pages follow one another in a "
                "circle; it is damaged, get it again."
            )
        seen.add(offset)
        handle.seek(offset)
        (tags,) = struct.unpack(tiff.tagnoformat, handle.read(tiff.tagnosize))
        handle.seek(offset + tiff.tagnosize + tags * tiff.tagsize)
        following = handle.read(tiff.offsetsize)
        if len(following) < tiff.offsetsize:
            return
        (offset,) = struct.unpack(tiff.offsetformat, following)


def _check_pieces(path: Path, series: Any, stored: int) -> None:
    """Refuse a file with a piece that is larger than all of it."""
    pages = [page for page in series.pages if page is not None]
    largest = max((n for page in pages for n in page.databytecounts), default=0)
    if largest > stored:
        raise TopiaryError(
            f"{path.name} cannot be read: it should hold a piece of "
            f"{in_words(largest)}, but has only {in_words(stored)}; it is damaged or "
            "incomplete, get it again."
        )
    for page in (page for page in pages if page.compression in _DEFLATE):
        most = math.prod(page.chunks) * series.dtype.itemsize
        for start, length in zip(page.dataoffsets, page.databytecounts, strict=False):
            handle = page.parent.filehandle
            handle.seek(start)
            if inflates_beyond(handle.read(length), most):
                raise TopiaryError(
                    f"{path.name} cannot be read: a piece of it holds far more than "
                    f"the {in_words(most)} that belong there; it is damaged, get it "
                    "again."
                )


def _check_whole(path: Path, file: tifffile.TiffFile, series: Any) -> None:
    """Refuse a file that lacks pages or pixels; tifffile reads what is left of it."""
    handle, size = file.filehandle, file.filehandle.size
    pages = [page for page in series.pages if page is not None]
    ends = (
        start + length
        for page in pages
        for start, length in zip(page.dataoffsets, page.databytecounts, strict=False)
    )
    if None in series.pages and file.is_ome:
        _check_companions(path, file)
    said = int((file.imagej_metadata or {}).get("images", 1))
    lost = said > len(file.pages) and series.kind != "imagej"
    # A page that there is no way to is named where the last one ends.
    handle.seek(file.pages.next_page_offset)
    following = handle.read(file.tiff.offsetsize)
    if lost or any(following) or max(ends, default=0) > size:
        raise TopiaryError(
            f"{path.name} is cut short: pages or pixels that it names are not in it. "
            "Copy it again from where it came from."
        )


def _files_named(file: tifffile.TiffFile) -> list[str]:
    """The files that an image is spread over, the first of them first."""
    said = r"""<(?:UUID[^>]*FileName|BinaryOnly[^>]*MetadataFile)=["']([^"'<>]+)"""
    return list(dict.fromkeys(re.findall(said, file.ome_metadata or "")))


def first_file_of(path: Path) -> Path | None:
    """Return the file that stands for all of an image over several files.

    Parameters
    ----------
    path
        A file; None if it is the first or the only one of its image.
    """
    if ".ome." not in path.name.lower():
        return None
    try:
        with tifffile.TiffFile(path) as file:
            first = path.with_name(next(iter(_files_named(file)), path.name))
    except Exception:  # a damaged file, whatever the library calls it
        return None
    return first if first != path and first.is_file() else None


def _check_companions(path: Path, file: tifffile.TiffFile) -> None:
    """Refuse an image that is spread over files some of which are not there."""
    named = _files_named(file)
    lost = [one for one in named if not (path.parent / one).is_file()]
    lost = [one for one in lost if one != path.name]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise TopiaryError(
            f"{path.name} holds only a part of its image, the rest is in {lost[0]}"
            f"{more}: put all files of the image into one folder."
        )


def _doubts(path: Path, series: Any, scale: float | None) -> tuple[str, ...]:
    """Sentences about what a file says of itself that is often meant otherwise."""
    notes = []
    frame = series.keyframe
    if _axes(series) == "syx":
        count = series.shape[0]
        lost = ", the fourth of them transparency and left out" if count == 4 else ""
        notes.append(
            f"{path.name} calls its {count} planes the colours of one picture{lost}: "
            "if they are slices of a stack, save it again as a stack of grey images."
        )
    planes = series.shape[_said(series).find("c")] if "c" in _said(series) else 1
    named = re.search(
        r"<Channel[^>]* (Name|Color|Fluor)=", frame.parent.ome_metadata or ""
    )
    if planes > 1 and _is_stack(series):
        notes.append(
            f"{path.name} has {planes} planes that it calls channels, but does not say "
            "how they are shown together: they are taken as slices of a stack. If they "
            "are one image, save it as RGB or as composite (Fiji: Image > Color)."
        )
    elif 1 < planes <= MOST_CHANNELS and series.kind == "ome" and not named:
        notes.append(
            f"{path.name} calls its {planes} planes channels: they are looked at "
            "together, as one image. If they are slices of a stack, save it again with "
            "1 channel and as many slices (Fiji: Image > Properties)."
        )
    if said := two_pixel_sizes(frame.parent, frame):
        notes.append(f"{path.name} says {said}: the pixel size is unknown.")
    if series.kind == "ome":
        notes += pixel_size_doubt(path.name, scale)
    if getattr(frame.tags.get("Orientation"), "value", 1) not in (0, 1):
        notes.append(
            f"{path.name} says that it lies on its side or mirrored; it is taken as it "
            "lies, as Fiji and QuPath do."
        )
    empty = sum(page is None for page in series.pages)
    if empty:
        notes.append(
            f"{path.name} holds no pixels of {empty} of its {len(series.pages)} "
            "slices: they are read as black."
        )
    return tuple(notes)


def _largest(path: Path, file: tifffile.TiffFile) -> Any:
    _check_order(path, file)
    # The library would go round in circles over sizes below zero.
    if any(min(page.shape, default=0) < 0 for page in islice(file.pages, LOOKED_AT)):
        raise TopiaryError(
            f"{path.name} cannot be read: it says that it is less than nothing wide or "
            "high; it is damaged, get it again."
        )
    said = re.findall(r"<(?:\w+:)?Pixels\b[^>]*>", file.ome_metadata or "")
    counts = [re.findall(r"\bSize[ZCT]\s*=\s*[\"'](\d+)", one) for one in said]
    planes = max((math.prod(map(int, each)) for each in counts), default=0)
    if planes > MOST_PLANES:
        raise TopiaryError(
            f"{path.name} cannot be read: it says that it has {planes:,} planes; it is "
            "damaged, get it again."
        )
    if not file.series:
        raise TopiaryError(f"{path.name} holds no image.")
    return max(file.series, key=_importance)


def _axes(series: Any) -> str:
    return slices_not_channels(_said(series)) if _is_stack(series) else _said(series)


def _is_stack(series: Any) -> bool:
    """Whether planes are slices, though the file calls them channels.

    Programs that are not told what the axes of a stack are say so in ImageJ's words;
    ImageJ itself says how channels are to be shown together.
    """
    about = series.keyframe.parent.imagej_metadata or {}
    together = about.get("mode") in ("composite", "color")
    alone = set(_said(series)) == set("cyx")
    return series.kind == "imagej" and alone and not together


def _said(series: Any) -> str:
    axes = str(series.axes).lower()
    colour = series.keyframe.photometric == tifffile.PHOTOMETRIC.RGB
    if axes.endswith("yx") and len(axes) == 3 and colour and series.shape[0] in (3, 4):
        return "syx"
    return axes


def _importance(series: Any) -> tuple[int, int]:
    """Rank images by pixels, then by depth: a thumbnail is not what is meant."""
    samples = series.shape[-1] if series.axes.endswith("S") else 1
    return int(series.size) // max(1, samples), int(series.dtype.itemsize)


def _pixels(path: Path, series: Any) -> NDArray[Any]:
    try:
        array: NDArray[Any] = series.asarray()
    except (ValueError, ImportError, RuntimeError) as error:
        # Rare compressions need a large extra library; Pillow knows some of them.
        if series.keyframe.compression in (1, 8, 32946):
            if "imagecodecs" not in str(error):
                raise
            raise TopiaryError(
                f"{path.name} packs {series.keyframe.bitspersample} bit into each "
                "value, which cannot be read here: save it with 8 or 16 bit, or "
                "install imagecodecs (pip install imagecodecs)."
            ) from error
        read = (page_by_pillow(path, page) for page in series.pages)
        pages = list(takewhile(lambda page: page is not None, read))
        if len(pages) < len(series.pages):
            kind = getattr(series.keyframe.compression, "name", "an unusual method")
            raise TopiaryError(
                f"{path.name} is compressed ({kind}) in a way that cannot be read "
                "here: save it without compression, or install imagecodecs "
                "(pip install imagecodecs)."
            ) from error
        array = np.stack([page for page in pages if page is not None]).reshape(
            series.shape
        )
    return array
