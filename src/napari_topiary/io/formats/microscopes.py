"""Files of electron microscopes' own programs: Gatan DM3 and DM4, TIA SER, EMD."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import subprocess
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats.base import (
    RawImage,
    check_size,
    check_stored,
    image_formats,
    square_pixels,
)
from napari_topiary.io.pixel_size import nm_per_unit

# What the library finds odd in a file is its own affair; real faults it raises.
logging.getLogger("rsciio").addHandler(logging.NullHandler())
logging.getLogger("rsciio").propagate = False

_READERS = {
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".ser": "tia",
    ".emd": "emd",
}

HEAD_BYTES = 4096
"""So much of a series of TIA is its head."""
LONG_OFFSETS = 0x220
"""From this version on places in a series are written with 8 bytes."""
MOST_DIMENSIONS = 8
PATIENCE_S = 15.0
"""What an HDF5 file says about itself is read within this time, in seconds."""
_GO_THROUGH = """
import math, sys, h5py
def look(name, one):
    for key in one.attrs: one.attrs.get(key)
    if isinstance(one, h5py.Dataset):
        one.chunks
        told = [one.dtype.itemsize, *(one.shape or ())]
        largest[:] = max(largest, told, key=math.prod)
largest = [0]
with h5py.File(sys.argv[1], "r") as file:
    look("/", file)
    file.visititems(look)
print(*largest)
"""
IMAGES = 0x4122
SIZES_OF_IMAGE = slice(42, 50)
"""Where an image of a series says how wide and high it is."""


@image_formats.register("microscopes")
class Microscopes:
    """Images and stacks; spectra and diffraction stacks are refused."""

    title: ClassVar[str] = "Gatan DM3/DM4, FEI SER, Velox and NCEM EMD (`[formats]`)"
    suffixes: ClassVar[tuple[str, ...]] = tuple(_READERS)
    folders: ClassVar[bool] = False

    @staticmethod
    def read(path: Path) -> RawImage:
        """Read the largest image of a file, a series of them as `(t, y, x)`."""
        signal = _largest_image(path)
        data = signal["data"]
        check_size(path, data.shape, data.dtype.itemsize, stored=path.stat().st_size)
        array, samples = _samples(np.asarray(data))
        axes, order = signal["axes"], _order(path, signal)
        array = array.transpose([*order, *range(len(order), array.ndim)])
        scale, notes = square_pixels(*(_nm(axes[i]) for i in order[-2:]))
        return RawImage(array, "wtzyx"[-len(axes) :] + samples, scale, notes)

    @staticmethod
    def open(path: Path) -> RawImage | None:
        """Open an image of Gatan, of which only what is asked for is read."""
        if _READERS[path.suffix.lower()] != "digitalmicrograph":
            return None
        signal = _largest_image(path)
        data, axes = signal["data"], signal["axes"]
        if data.dtype.names is not None:
            return None
        check_size(path, data.shape, data.dtype.itemsize, stored=path.stat().st_size)
        scale, notes = square_pixels(*(_nm(axis) for axis in axes[-2:]))
        pixels: Any = _Computed(data)
        return RawImage(pixels, "wtzyx"[-len(axes) :], scale, notes)

    @staticmethod
    def layout(path: Path) -> tuple[tuple[int, ...], str]:
        """Return the shape and the axes of the largest image."""
        signal = _largest_image(path)
        shape = [signal["data"].shape[i] for i in _order(path, signal)]
        return tuple(shape), "wtzyx"[-len(shape) :]


class _Computed:
    """Pixels that the library reads when they are asked for."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self.shape, self.dtype = tuple(data.shape), np.dtype(data.dtype)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return np.asarray(self._data[index])


def _order(path: Path, signal: dict[str, Any]) -> list[int]:
    """Which axis of what the library gives is the first, the second, ... here.

    It turns round all axes of an EMD file of NCEM, whether its first one is x or not.
    """
    names = [str(axis.get("name")).lower() for axis in signal["axes"]]
    turned = path.suffix.lower() == ".emd" and names[-2:] in (["x", "y"], ["y", "z"])
    order = list(range(len(names)))
    return order[::-1] if turned else order


def _largest_image(path: Path) -> dict[str, Any]:
    images = [signal for signal in _open(path) if _is_image(signal)]
    if not images:
        raise TopiaryError(
            f"{path.name} holds no image, only curves such as spectra: export the "
            "image that belongs to it."
        )
    return max(images, key=lambda one: int(one["data"].size))


def _is_image(signal: dict[str, Any]) -> bool:
    """Whether there is a picture at each step, not a curve such as a spectrum."""
    steps = sum(bool(axis.get("navigate")) for axis in signal["axes"])
    return int(signal["data"].ndim) - steps >= 2


def _open(path: Path) -> list[dict[str, Any]]:
    """All signals of a file, their values still unread."""
    suffix = path.suffix.lower()
    if suffix == ".emd" and importlib.util.find_spec("h5py") is None:
        raise TopiaryError(
            f"{path.name}: reading .emd files needs h5py, which is not installed: "
            "pip install 'napari-topiary[formats]'."
        )
    if suffix == ".ser":
        _check_series(path)
    if suffix == ".emd":
        _check_hdf5(path)
    # Takes a second to load, which only those wait for who have such files.
    reader = importlib.import_module(f"rsciio.{_READERS[suffix]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            signals: list[dict[str, Any]] = reader.file_reader(str(path), lazy=True)
        except (AttributeError, OSError) as error:
            if suffix != ".emd":
                raise
            raise TopiaryError(
                f"{path.name} is not an EMD file as Velox or NCEM write them (those of "
                "py4DSTEM are other ones) or it is damaged: save the image in it as "
                "TIFF or MRC, from the program that it comes from."
            ) from error
    return signals


def _check_series(path: Path) -> None:
    """Refuse a series that names more images, or words, than the file has bytes for.

    The library makes room for as many as the file says, before it reads any.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)

        def number(at: int, length: int = 4) -> int:
            return int.from_bytes(head[at : at + length], "little")

        long = number(4, 2) >= LONG_OFFSETS
        width = 8 if long else 4
        file.seek(min(number(22, width), size))
        first = int.from_bytes(file.read(width), "little")
        file.seek(min(first, size))
        element = file.read(SIZES_OF_IMAGE.stop)
    sizes = element[SIZES_OF_IMAGE]
    pixels = int.from_bytes(sizes[:4], "little") * int.from_bytes(sizes[4:], "little")
    dimensions, place = number(26 if width == 4 else 30), 26 + width
    fits = 8 * max(number(14), number(18)) <= size and dimensions <= MOST_DIMENSIONS
    fits = fits and (number(6) != IMAGES or pixels <= size)
    for _ in range(dimensions if fits else 0):
        for before in (24, 0):  # numbers, then a description and a unit
            place += before + 4 + number(place + before)
        fits = fits and place <= min(size, HEAD_BYTES)
    if not fits:
        raise TopiaryError(
            f"{path.name} says that it holds more than there is room for in the file: "
            "it is damaged or incomplete, get it again."
        )


def _check_hdf5(path: Path) -> None:
    """Refuse a file in which the library would go round in circles, or crash.

    It reads in C, where nothing can stop it, so another process goes through first.
    """
    about = path.stat()
    largest = _largest_of(path, about.st_size, about.st_mtime_ns)
    if largest is None:
        raise TopiaryError(
            f"{path.name} cannot be gone through to its end: it is damaged or "
            "incomplete, get it again."
        )
    itemsize, *shape = largest
    check_stored(path, shape, itemsize, stored=about.st_size)


@lru_cache(maxsize=64)
def _largest_of(path: Path, size: int, changed: int) -> list[int] | None:
    """Bytes of a number and shape of the largest array in a file of this size and time.

    None if it cannot be gone through to its end, zero where nothing is known.
    """
    if not Path(sys.executable).stem.lower().startswith("python"):
        return [0]  # a program of its own, which cannot be started for this
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-c", _GO_THROUGH, str(path)],
            timeout=PATIENCE_S,
            capture_output=True,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return None
    if ended.returncode < 0:
        return None
    # Other errors are told by who reads it.
    return [int(n) for n in ended.stdout.split()] or [0]


def _nm(axis: Any) -> float | None:
    nm = nm_per_unit(str(axis.get("units")))
    return None if nm is None else abs(float(axis["scale"])) * nm


def _samples(array: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Turn named red, green and blue into an axis of colours."""
    names = array.dtype.names
    if names is None:
        return array, ""
    return np.stack([array[name] for name in names[:3]], axis=-1), "s"
