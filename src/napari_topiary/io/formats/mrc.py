"""MRC, the format of electron microscopy and tomography (also CCP4 maps)."""

from __future__ import annotations

import bz2
import gzip
import math
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats.base import (
    MOST_PER_BYTE,
    RawImage,
    check_size,
    elsewhere,
    image_formats,
    square_pixels,
)
from napari_topiary.io.formats.pieces import Mapped
from napari_topiary.io.pixel_size import pixel_size_doubt

TYPES: dict[int, Any] = {
    0: np.int8, 1: np.int16, 2: np.float32, 6: np.uint16, 12: np.float16
}  # fmt: skip
"""Number type by mode."""
_PACKED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
"""What opens a file with this ending."""
HIGHEST_MODE = 101
"""Of all kinds of MRC files there are."""
HEADER_BYTES = 1024
IMOD_STAMP, IMOD_SIGNED = 1146047817, 1
"""Written by IMOD and SerialEM into spare words of the header, and its first flag."""
_FEI_SIZES_AT = 156
_MODE_AT, _EXTENDED_AT, _STAMP_AT, _FLAGS_AT = 12, 92, 152, 156


@image_formats.register("mrc")
class Mrc:
    """MRC images, stacks and volumes, packed by gzip or bzip2 or not."""

    title: ClassVar[str] = "MRC, CCP4"
    suffixes: ClassVar[tuple[str, ...]] = (
        ".mrc",
        ".mrcs",
        ".map",
        ".ccp4",
        ".rec",
        ".st",
        ".ali",
        ".preali",
        ".gz",
        ".bz2",
    )
    folders: ClassVar[bool] = False

    @staticmethod
    def read(path: Path) -> RawImage:
        """Read an image, or a stack as `(z, y, x)`."""
        packed = path.suffix.lower() in _PACKED
        inner = Path(path.stem).suffix.lower()
        if packed and inner not in ("", *Mrc.suffixes) and (said := elsewhere(path)):
            raise TopiaryError(said)
        try:
            header = _header(path)
            offset, shape, dtype = _checked(path, header)
            # No more than that, however much there is packed in the file.
            count = math.prod(shape)
            with _PACKED.get(path.suffix.lower(), open)(path, "rb") as file:
                file.seek(offset)
                content = file.read(count * dtype.itemsize)
        except TopiaryError:
            raise
        except (ValueError, OSError, EOFError, TypeError) as error:
            raise TopiaryError(
                f"{path.name} cannot be read as an MRC file ({error}): it is "
                "incomplete, damaged, or of another kind than its name says."
            ) from error
        if len(content) < count * dtype.itemsize:
            raise TopiaryError(_CUT_SHORT.format(path.name))
        array = np.frombuffer(content, dtype).reshape(shape)
        # A map that was written on the other kind of processor.
        array = np.ascontiguousarray(array, dtype=dtype.newbyteorder("="))
        scale, notes = _scale(path, header)
        return RawImage(array, "zyx", scale, notes)

    @staticmethod
    def open(path: Path) -> RawImage | None:
        """Open a file that is not packed, slices as `(z, y, x)`."""
        if path.suffix.lower() in _PACKED:
            return None
        header = _header(path)
        offset, shape, dtype = _checked(path, header)
        array: Any = Mapped(path, offset, shape, dtype)
        scale, notes = _scale(path, header)
        return RawImage(array, "zyx", scale, notes)

    @staticmethod
    def layout(path: Path) -> tuple[tuple[int, ...], str]:
        """Return slices, height and width as the header says them."""
        return _shape(_header(path)), "zyx"


_CUT_SHORT = (
    "{} is cut short: it holds fewer values than it says that it does. Copy it again "
    "from where it came from."
)


def _check_extended(path: Path) -> None:
    """Refuse an extended header that the file cannot hold; it would be made first."""
    packed = path.suffix.lower() in _PACKED
    with _PACKED.get(path.suffix.lower(), open)(path, "rb") as file:
        head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        raise TopiaryError(_CUT_SHORT.format(path.name))
    lengths = {
        order: int.from_bytes(head[_EXTENDED_AT : _EXTENDED_AT + 4], order)
        for order in ("little", "big")
        if int.from_bytes(head[_MODE_AT : _MODE_AT + 4], order) in range(102)
    }
    most = path.stat().st_size * (MOST_PER_BYTE if packed else 1)
    if any(length > most for length in lengths.values()):
        raise TopiaryError(_CUT_SHORT.format(path.name))


def _header(path: Path) -> Any:
    """Read what stands before the pixels."""
    # Needed by few, and not worth loading for the others.
    import mrcfile

    with warnings.catch_warnings():
        # It doubts every header that is not by the book; most are not.
        warnings.simplefilter("ignore")
        _check_extended(path)
        with mrcfile.open(path, permissive=True, header_only=True) as file:
            return file.header.copy()


def _shape(header: Any) -> tuple[int, ...]:
    return tuple(int(header[name]) for name in ("nz", "ny", "nx"))


def _checked(path: Path, header: Any) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Return where the pixels begin, their shape and number type, or refuse them."""
    shape = _shape(header)
    mode = int(header.mode)
    if min(shape) < 1:
        raise TopiaryError(
            f"{path.name} says that it has {' x '.join(map(str, shape))} values: its "
            "header is damaged, or it is no MRC file."
        )
    if not 0 <= mode <= HIGHEST_MODE:
        raise TopiaryError(
            f"{path.name} cannot be read as an MRC file: there is none of mode {mode}; "
            "it is damaged, or of another kind than its name says."
        )
    if mode not in TYPES:
        what = "complex numbers" if mode in (3, 4) else f"values of mode {mode}"
        raise TopiaryError(
            f"{path.name} holds {what}, which are not grey levels: save it as 8 bit, "
            "16 bit or float (mode 0, 1, 2, 6 or 12)."
        )
    dtype = np.dtype(TYPES[mode]).newbyteorder(header.dtype["nx"].byteorder)
    if mode == 0 and not _is_signed(header):
        dtype = np.dtype(np.uint8)
    stored, offset = path.stat().st_size, HEADER_BYTES + max(0, int(header.nsymbt))
    expected = offset + math.prod(shape) * dtype.itemsize
    if path.suffix.lower() not in _PACKED and stored < expected:
        raise TopiaryError(_CUT_SHORT.format(path.name))
    check_size(path, shape, dtype.itemsize, stored=stored)
    return offset, shape, dtype


def _scale(path: Path, header: Any) -> tuple[float | None, tuple[str, ...]]:
    """Nm per pixel and notes, as the header says them."""
    across, along = _nm(header, "mapr", "y"), _nm(header, "mapc", "x")
    scale, notes = square_pixels(across, along)
    if scale is None or pixel_size_doubt(path.name, scale):
        own, own_notes = square_pixels(*_fei_nm(path, header))
        scale, notes = (scale, notes) if own is None else (own, own_notes)
    return scale, (*notes, *pixel_size_doubt(path.name, scale))


def _nm(header: Any, direction: str, usual: str) -> float | None:
    """Pixel size of columns or rows; a cell of zero, or no sampling, is unknown."""
    axis = "xyz"[n - 1] if (n := int(header[direction])) in (1, 2, 3) else usual
    cell, samples = float(header.cella[axis]), int(header[f"m{axis}"])
    unknown = samples <= 0 or not np.isfinite(cell) or cell <= 0
    return None if unknown else 0.1 * cell / samples


def _fei_nm(path: Path, header: Any) -> tuple[float | None, float | None]:
    """Pixel size along y and x in the header that FEI and Thermo Fisher add."""
    extended = bytes(header.exttyp).strip(b"\0") in (b"FEI1", b"FEI2")
    if not extended or path.suffix.lower() in (".gz", ".bz2"):
        return None, None
    with path.open("rb") as file:
        file.seek(HEADER_BYTES + _FEI_SIZES_AT)
        metres = np.frombuffer(file.read(16).ljust(16, b"\0"), "<f8")
    x, y = (float(m) * 1e9 if np.isfinite(m) and m > 0 else None for m in metres)
    return y, x


def _is_signed(header: Any) -> bool:
    """Whether bytes mean -128..127; the standard says so, many programs do not."""
    extra = header.tobytes()
    order = header.dtype["nx"].byteorder
    order = "<" if order in "<=|" else ">"
    stamp, flags = (
        int(np.frombuffer(extra, order + "i4", 1, at)[0])
        for at in (_STAMP_AT, _FLAGS_AT)
    )
    if stamp == IMOD_STAMP:
        return bool(flags & IMOD_SIGNED)
    # The range that the header names can only be one of the two.
    return not (float(header.dmax) > 127 and float(header.dmin) >= 0)
