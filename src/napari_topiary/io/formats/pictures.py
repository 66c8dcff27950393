"""PNG, JPEG and BMP."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import PIL.ImageMode
import PIL.TiffImagePlugin  # registers the format
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats.base import (
    SMALL,
    TURNS,
    RawImage,
    check_size,
    image_formats,
    without_inks,
)
from napari_topiary.io.memory import in_words

# Not every format that Pillow knows: some start other programs.
INSIDE = ("PNG", "JPEG", "BMP", "DIB", "GIF")
"""What may be in a file with one of these endings."""
PNG = b"\x89PNG\r\n\x1a\n"
GREY = 0
"""The kind of colours of a PNG without any, and without transparency."""
GREY_OF_NOTHING, FILLED = 128, 4
"""What a JPEG without more data is filled with; so many last pixels are looked at."""
MINISWHITE = 0
"""What TIFF calls grey of which 0 is white."""
ORIENTATION = 0x0112
"""Tag of EXIF."""
ROWS = 256
"""Rows that are copied at a time: a copy of all would take the memory twice."""
_opening = threading.Lock()


@image_formats.register("pictures")
class Pictures:
    """Ordinary pictures; they do not know their pixel size."""

    title: ClassVar[str] = "PNG, JPEG, BMP"
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".jpg", ".jpeg", ".bmp")
    folders: ClassVar[bool] = False

    @staticmethod
    def read(path: Path) -> RawImage:
        """Read a picture."""
        bits, kind = _check_chunks(path)
        try:
            with _any_size():
                picture: PIL.Image.Image = PIL.Image.open(path, formats=INSIDE)
        except PIL.UnidentifiedImageError:
            raise TopiaryError(
                f"{path.name} cannot be read: it is not a PNG, JPEG or BMP inside; it "
                "may be damaged, or of another kind than its name says."
            ) from None
        with picture:
            mode = PIL.ImageMode.getmode(picture.mode)
            samples = 4 if picture.mode == "P" else len(mode.bands)
            check_size(
                path,
                (picture.height, picture.width, samples),
                np.dtype(mode.typestr).itemsize,
                stored=path.stat().st_size,
                # Each block of a JPEG takes two bits, be it blank.
                small=0 if picture.format == "JPEG" else SMALL,
            )
            array, palette = _pixels(picture), _palette(picture)
            if picture.format == "JPEG":
                _check_complete(path, array)
            orientation = _orientation(picture)
            if picture.mode == "CMYK":
                array = without_inks(array)
            lossy = picture.format == "JPEG"
        if kind == GREY and bits in (2, 4):
            array //= 255 // (2**bits - 1)  # which were spread over 0 to 255
        notes = []
        reduced = bits == 16 and kind != GREY
        if reduced:
            notes.append(
                f"{path.name} is a PNG with 16 bit for each colour, of which 8 are "
                "read: if fine differences count, save it as TIFF."
            )
        if orientation in TURNS:
            notes.append(
                f"{path.name} was saved lying on its side or mirrored; it is shown as "
                "its EXIF data say. What was drawn on it without that does not fit."
            )
        return RawImage(
            array,
            "yx" if array.ndim == 2 else "yxs",
            None,
            tuple(notes),
            palette=palette,
            orientation=orientation,
            exact=not (lossy or reduced),
        )

    @staticmethod
    def layout(path: Path) -> tuple[tuple[int, ...], str]:
        """Return the size of one pixel: a picture is never a stack."""
        return (1, 1), "yx"


def _check_chunks(path: Path) -> tuple[int, int]:
    """Refuse a PNG with a part longer than its file: Pillow makes room for it.

    Return the bits of a sample and the kind of colours; zeros if it is no PNG.
    """
    bits = kind = 0
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(PNG)) != PNG:
            return bits, kind
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            length = int.from_bytes(head[:4], "big")
            if file.tell() + length > size:
                raise TopiaryError(
                    f"{path.name} cannot be read: a part of it has {in_words(length)}, "
                    f"but the whole file only {in_words(size)}; it is damaged or "
                    "incomplete, get it again."
                )
            start = file.tell()
            if head[4:] == b"IHDR":
                bits, kind = file.read(10)[8:10].ljust(2, b"\0")
            file.seek(start + length + 4)
    return bits, kind


def _check_complete(path: Path, array: NDArray[Any]) -> None:
    """Refuse a JPEG that ends before its picture does: the rest would come out grey.

    Where the last pixels are of that grey, it is unpacked a second time with something
    put behind its data, which then shows in a picture that lacked some.
    """
    if (
        not array.size
        or not (np.abs(array[-1, -FILLED:].astype(int) - GREY_OF_NOTHING) <= 1).all()
    ):
        return
    packed = path.read_bytes()
    end = packed.rfind(b"\xff\xd9")
    longer = packed[:end] + bytes(range(1, 128)) + packed[end:]
    with _any_size(), PIL.Image.open(io.BytesIO(longer), formats=INSIDE) as picture:
        if not np.array_equal(_pixels(picture), array):
            raise TopiaryError(
                f"{path.name} says that it has {array.shape[1]:,} x "
                f"{array.shape[0]:,} pixels, but its data end before: it is damaged or "
                "incomplete, get it again."
            )


@contextmanager
def _any_size() -> Iterator[None]:
    """Lift Pillow's limit of pixels while a file is opened; ours is the memory."""
    with _opening:
        usual, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = usual


def _pixels(picture: PIL.Image.Image) -> NDArray[Any]:
    """`(y, x)`, numbers of a palette included, or `(y, x, s)`."""
    height, width = picture.height, picture.width
    array: NDArray[Any] | None = None
    for top in range(0, height, ROWS):
        bottom = min(height, top + ROWS)
        rows = picture.crop((0, top, width, bottom))
        if rows.mode == "I" and picture.format == "PNG":
            rows = rows.convert("I;16")
        values = np.asarray(rows)
        if array is None:
            array = np.empty((height, *values.shape[1:]), dtype=values.dtype)
        array[top:bottom] = values
    return np.zeros((0, width)) if array is None else array


def _orientation(picture: PIL.Image.Image) -> int:
    """How it lies by EXIF; 1 (as it is to be seen) where nothing sound is said."""
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # what is beside the pixels may be damaged in any way
        return 1


def _palette(picture: PIL.Image.Image) -> NDArray[np.uint8] | None:
    """`(256, s)` colours of a picture that holds their numbers."""
    if picture.mode != "P" or picture.palette is None:
        return None
    mode = picture.palette.mode
    colours = np.zeros((256, len(mode)), dtype=np.uint8)
    values = picture.getpalette(mode) or []
    colours.reshape(-1)[: len(values)] = values
    return colours


def page_by_pillow(path: Path, page: Any) -> NDArray[Any] | None:
    """Return a page of a TIFF just as it is stored; None where Pillow changes it."""
    try:
        with PIL.Image.open(path, formats=("TIFF",)) as picture:
            picture.seek(page.index)
            array, mode = np.asarray(picture), picture.mode
    except Exception:  # whatever it finds in a damaged or unusual file
        return None
    if page.parent.byteorder == ">" and array.dtype.itemsize > 2:
        return None  # it confuses their bytes
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.ndim == 3 and page.shape == (array.shape[2], *array.shape[:2]):
        array = np.moveaxis(array, -1, 0)
    if array.dtype == bool and page.dtype == np.uint8:
        array = array.astype(np.uint8)
    whole = array.dtype.kind in "iu" and page.dtype.kind in "iu"
    if whole and array.dtype.itemsize == page.dtype.itemsize:
        array = array.view(page.dtype)  # the same bits, read with the other sign
    if array.shape != page.shape or array.dtype != page.dtype:
        return None
    if page.photometric == MINISWHITE and page.bitspersample <= 8:
        array = ~array  # Pillow turns these, and only these, over
    if page.bitspersample in (2, 4) and mode == "L":
        array = array // (255 // (2**page.bitspersample - 1))  # it spread them
    return array
