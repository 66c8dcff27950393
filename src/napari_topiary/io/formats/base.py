"""What a reader of one family of image formats gives, and the register of readers.

A new family is one new file in this folder with `@image_formats.register("name")` on a
class; it is found by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.memory import check_fits, in_words
from napari_topiary.registry import Registry

COPIES = 3
"""Memory that reading takes at its peak, in sizes of the image."""
MOST_PER_BYTE = 1100
"""No common compression makes more bytes of one (deflate, LZW, run lengths)."""
SMALL = 400_000_000
"""Bytes of an image that are not worth a doubt: blank ones may be packed closer."""
MOST_CHANNELS = 8
"""More channels than this are slices: no network looks at them all."""

_AS_IS, _BACK = slice(None), slice(None, None, -1)
TURNS = {
    2: (False, _AS_IS, _BACK),
    3: (False, _BACK, _BACK),
    4: (False, _BACK, _AS_IS),
    5: (True, _AS_IS, _AS_IS),
    6: (True, _AS_IS, _BACK),
    7: (True, _BACK, _BACK),
    8: (True, _BACK, _AS_IS),
}
"""EXIF's number of how a picture lies -> whether rows and columns change places first,
then how the rows and the columns are gone through."""


@dataclass(frozen=True)
class RawImage:
    """An array as the file holds it."""

    array: NDArray[Any]  #: Any number of axes
    #: One letter for each: `y`, `x`; `s` colour samples, `c` channels, any other letter
    #: is something to step through (z, time, pages)
    axes: str
    scale: float | None = None  #: nm per pixel, None if the file does not say
    notes: tuple[str, ...] = ()  #: Sentences for the user
    #: `(256, s)`: the colours that `array` has the numbers of; None = it holds values
    palette: NDArray[Any] | None = None
    is_negative: bool = False  #: Whether 0 is white by what the file says
    #: The same image at lower resolutions, where the file has them and is read part by
    #: part
    smaller: tuple[Any, ...] = ()
    #: How the picture is turned, as EXIF counts it; 1 = it lies as it is to be seen
    orientation: int = 1
    #: Whether the numbers are those that were saved: no lossy packing, all bits read
    exact: bool = True

    def as_seen(self) -> RawImage:
        """Return grey levels and colours as they are meant to be looked at.

        That is colours instead of numbers of a palette, bright for dark where the file
        says that 0 is white, and turned as the camera was held. Labels are read
        without this.
        """
        raw = self
        if raw.orientation in TURNS:
            transposed, *reversed_ = TURNS[raw.orientation]
            array = raw.array.swapaxes(0, 1) if transposed else raw.array
            raw = replace(raw, array=array[*reversed_], orientation=1)
        if raw.palette is not None:
            colours = raw.palette[raw.array]
            return RawImage(colours, f"{raw.axes}s", raw.scale, raw.notes)
        return raw.turned_over() if raw.is_negative else raw

    def stepped(self, file: str) -> RawImage:
        """Return the image with more channels than there can be as slices, and say so.

        Parameters
        ----------
        file
            Its name.
        """
        axes, shape = stepped_axes(self.axes, self.array.shape), self.array.shape
        if axes == self.axes:
            return self
        said = (
            f"{file} has {shape[self.axes.index('c')]} channels: they are taken as "
            "slices of a stack."
        )
        return replace(self, axes=axes, notes=(*self.notes, said))

    def turned_over(self) -> RawImage:
        """Return the negative, over all that the number type can say."""
        array = self.array
        if array.dtype == bool or array.dtype.kind in "iu":
            array = ~array
        else:
            known = array[np.isfinite(array)]
            ends = known.min() + known.max() if known.size else array.dtype.type(0)
            array = (ends - array).astype(array.dtype)
        return RawImage(array, self.axes, self.scale, self.notes)


class ImageFormat(Protocol):
    """A family of file formats."""

    title: ClassVar[str]
    """What people call them."""
    suffixes: ClassVar[tuple[str, ...]]
    """File name endings in lower case, with the dot."""
    folders: ClassVar[bool]
    """Whether an image is a folder, not a file."""

    @staticmethod
    def read(path: Path) -> RawImage:
        """Read a file; raise TopiaryError or any error of the library used.

        What the file says about its size is checked with `check_size` first.
        """
        ...

    @staticmethod
    def layout(path: Path) -> tuple[tuple[int, ...], str]:
        """Return the shape of what `read` gives and its axes, without the pixels."""
        ...


@runtime_checkable
class LazyFormat(Protocol):
    """A family of file formats whose images need not be read whole."""

    @staticmethod
    def open(path: Path) -> RawImage | None:
        """Open a file as `read` does, but with an array that is read by slices.

        It has `shape`, `dtype` and, where it is packed in pieces, `chunks`. None where
        only the whole image can be read.
        """
        ...


image_formats: Registry[type[ImageFormat]] = Registry("image format")
"""Every family of image formats by name."""

_FIJI = "open it in Fiji (File > Import > Bio-Formats) and save it as OME-TIFF"
_ELSEWHERE = (
    (
        ".czi .lif .lof .nd2 .oib .oif .vsi .ims .stk .zvi .dv .flex",
        "an image of a light microscope's own program",
        _FIJI,
    ),
    (
        ".mrxs .svslide .vms .vmu .dcm .dicom .isyntax .i2syntax .tmap .mds .kfb",
        "a slide of a scanner's own kind",
        "open it in QuPath and export it (File > Export images > OME TIFF)",
    ),
    (
        ".eer .tvips .frames .gtg .blo .mib .hdr .prz .bcf .spd .raw .dat .sxm .txm",
        "a recording of a microscope's own kind",
        "save the image (of a movie: the sum of its frames) as MRC or TIFF",
    ),
    (
        ".h5 .hdf5 .ilp .hspy .nxs .n5 .npy .npz .mat .pkl",
        "a file of arrays of some program",
        "save the image or the labels in it as TIFF (ilastik: Export Image Settings > "
        "Format > tiff; Python: tifffile.imwrite)",
    ),
    (
        ".nii .nrrd .nhdr .mha .mhd .am .vol",
        "a volume of a medical or tomography program",
        "open it in Fiji and save it as TIFF",
    ),
    (
        ".gif .webp .jp2 .j2k .jpf .jxl .heic .heif .avif .psd .xcf .pdf .svg .eps .ai",
        "a picture of another kind",
        "save it as PNG or TIFF",
    ),
    (
        ".xlsx .xls .ods .numbers",
        "a table of a spreadsheet program, or named like one",
        "save it there as CSV (UTF-8)",
    ),
    (
        ".mod",
        "a model of IMOD",
        "write its points with model2point into a .txt file",
    ),
    (".zip .ozx .tar .7z .rar", "an archive", "unpack it and give what is in it"),
)
"""Endings of common files that are not read, what they are, and what helps."""


def elsewhere(path: Path) -> str:
    """Return what a common file of another kind is and how to bring it here.

    Returns
    -------
    str
        A sentence; empty where the ending is not known either.
    """
    name = path.name.lower().removesuffix(".gz")
    if name.endswith("_seg.npy"):
        return (
            f"{path.name} is a file of Cellpose that can start programs when it is "
            "opened, so it is not read: in Cellpose, save the masks as PNG or TIFF "
            "(File > Save masks)."
        )
    for endings, what, cure in _ELSEWHERE:
        if Path(name).suffix in endings.split():
            return f"{path.name} is {what} and cannot be read here: {cure}."
    return ""


def number_type_problem(dtype: np.dtype[Any], what: str) -> str | None:
    """Return a sentence if numbers of a type cannot be intensities."""
    if dtype.kind in "buif":
        return None
    return (
        f"{what} holds {dtype} values, which are not grey levels: save it as 8, 16 or "
        "32 bit."
    )


def check_size(
    path: Path,
    shape: Sequence[int],
    itemsize: int,
    *,
    stored: int | None = None,
    small: int = SMALL,
) -> None:
    """Refuse an image by what its file says about it, before any pixel is read.

    Parameters
    ----------
    path
        The file, for the sentence.
    shape
        Of the array.
    itemsize
        Bytes of a number in it.
    stored
        Bytes that the pixels are stored in; None if the file may hold less than what
        it means (zarr leaves out what is blank).
    small
        Bytes of an image that are believed whatever the file has: 0 where blank images
        are packed no closer than others.

    Raises
    ------
    TopiaryError
        If the file cannot hold that many pixels, or the memory cannot.
    """
    nbytes = math.prod(shape) * itemsize
    size = " x ".join(f"{n:,}" for n in shape)
    if stored is not None:
        check_stored(path, shape, itemsize, stored=stored, small=small)
    check_fits(
        COPIES * nbytes,
        f"{path.name} ({size} values)",
        "cut it into parts, make it smaller, or close other programs",
    )


def check_stored(
    path: Path, shape: Sequence[int], itemsize: int, *, stored: int, small: int = SMALL
) -> None:
    """Refuse what a file says of itself if it has too few bytes for that.

    Parameters
    ----------
    path, shape, itemsize, stored, small
        As for `check_size`.
    """
    nbytes = math.prod(shape) * itemsize
    if nbytes > max(small, MOST_PER_BYTE * stored):
        size = " x ".join(f"{n:,}" for n in shape)
        raise TopiaryError(
            f"{path.name} says that it holds {size} values ({in_words(nbytes)}), but "
            f"has only {in_words(stored)}: it is damaged or incomplete, get it again."
        )


def stepped_axes(axes: str, shape: Sequence[int]) -> str:
    """Return axes with what cannot be channels as something to step through."""
    at = axes.find("c")
    if at < 0 or shape[at] <= MOST_CHANNELS:
        return axes
    return slices_not_channels(axes)


def slices_not_channels(axes: str) -> str:
    """Return axes with channels as something to step through."""
    return axes.replace("c", next(name for name in "ztip" if name not in axes))


def square_pixels(
    y: float | None, x: float | None
) -> tuple[float | None, tuple[str, ...]]:
    """Return one pixel size for both directions, and a note if they differ.

    Parameters
    ----------
    y, x
        Pixel size in nm, None where unknown.
    """
    sizes = [s for s in (y, x) if s is not None and np.isfinite(s) and s > 0]
    if not sizes:
        return None, ()
    if max(sizes) > 1.01 * min(sizes):
        return _rounded(sizes[-1]), (
            f"The pixels are not square ({sizes[0]:g} nm high, {sizes[-1]:g} nm wide): "
            f"{sizes[-1]:g} nm is used for both.",
        )
    return _rounded(sizes[-1]), ()


def without_inks(array: NDArray[Any]) -> NDArray[Any]:
    """Turn cyan, magenta, yellow and black into red, green and blue.

    Parameters
    ----------
    array
        `(..., 4)`, the most there can be of each ink where its number type ends.

    Returns
    -------
    ndarray
        `(..., 3)` of the same number type.
    """
    most = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    light = 1 - array.astype(np.float64) / most
    colour = light[..., :3] * light[..., 3:] * most
    rounded = np.rint(colour) if array.dtype.kind == "u" else colour
    return np.asarray(rounded.astype(array.dtype))


def _rounded(size: float) -> float:
    """Drop the digits that came from storing a size as a fraction."""
    return float(f"{size:.7g}")
