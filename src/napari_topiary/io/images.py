"""Images as `(c, y, x)` with their pixel size, from and to any known format."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.atomic import writing
from napari_topiary.io.formats import (
    ImageFormat,
    RawImage,
    elsewhere,
    image_formats,
    stepped_axes,
)
from napari_topiary.io.formats.base import number_type_problem
from napari_topiary.io.image_area import is_grey
from napari_topiary.io.pixel_size import pixel_size_problem
from napari_topiary.io.plain_files import (
    check_ending,
    check_plain_file,
    refusing_damage,
)
from napari_topiary.io.tiff_writing import write_tiff
from napari_topiary.types import Image, LabelImage

_LOSSY = (".jpg", ".jpeg")
_PICTURES = {
    ("uint8", False): (".png", ".bmp", *_LOSSY),
    ("uint8", True): (".png", ".bmp", *_LOSSY),
    ("uint16", False): (".png",),
}
"""Which picture files hold a number type, in colour or not."""
IN_FILE = "The pixel size that stands in the file is not believed."
_ZARR = (".zgroup", ".zarray", "zarr.json")


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image from a file."""

    #: `(c, y, x)` in the file's own number type: one channel for grey, three for
    #: colour; transparency is dropped
    data: Image
    scale: float | None  #: nm per pixel, None if the file does not say
    notes: tuple[str, ...] = ()  #: Sentences for the user


def readable_suffixes() -> tuple[str, ...]:
    """File name endings that can be read, with the dot."""
    return tuple(
        sorted({s for name in image_formats for s in image_formats[name].suffixes})
    )


def is_image(path: Path) -> bool:
    """Whether a file, or a folder that is a zarr image, may be an image by its name.

    Parameters
    ----------
    path
        The file or folder; a folder in a zarr folder may be one as well.
    """
    if not path.is_dir():
        # What is packed may be of another kind, such as .nii.gz.
        return path.suffix.lower() in readable_suffixes() and not elsewhere(path)
    homes = {place.suffix.lower() for place in (path, *path.parents)}
    folders = (image_formats[name] for name in image_formats)
    known = {s for kind in folders if kind.folders for s in kind.suffixes}
    return bool(homes & known) and any((path / name).exists() for name in _ZARR)


def read_image(path: str | os.PathLike[str]) -> LoadedImage:
    """Read a 2-D image.

    Parameters
    ----------
    path
        An image file, or a folder that is a zarr array.

    Raises
    ------
    TopiaryError
        With a sentence if it is missing, unreadable, empty, or a stack.
    """
    return _single(_read(Path(path)).as_seen(), Path(path))


def read_slices(path: str | os.PathLike[str]) -> Iterator[LoadedImage]:
    """Read a stack slice by slice, in the order of the file; a 2-D image is one slice.

    Parameters
    ----------
    path
        As for `read_image`.
    """
    raw = _read(Path(path)).as_seen()
    data, _ = _channels_first(raw)
    for image in data.reshape(-1, *data.shape[-3:]):
        yield LoadedImage(_without_copies(image), raw.scale, raw.notes)


def count_slices(path: str | os.PathLike[str]) -> int:
    """Return how many 2-D images a file holds, without reading their pixels.

    Parameters
    ----------
    path
        As for `read_image`; 1 too if it cannot be read, which reading it then says.
    """
    path = Path(path)
    try:
        stamp = path.stat()
        return _count_slices(path, stamp.st_mtime_ns, stamp.st_size)
    except Exception:  # a damaged file, whatever the library calls it
        return 1


@lru_cache(maxsize=4096)
def _count_slices(path: Path, *_: int) -> int:
    """Count once for as long as the file is the same."""
    if not path.is_dir():
        check_plain_file(path)
    shape, given = reader_of(path).layout(path)
    axes = stepped_axes(given, shape)
    channel = "s" if "s" in axes else "c"
    steps = zip(axes, shape, strict=True)
    return max(1, math.prod(n for name, n in steps if name not in "yx" + channel))


def read_labels(path: str | os.PathLike[str]) -> LabelImage:
    """Read a label image.

    Parameters
    ----------
    path
        A 2-D image file of whole numbers; those of a palette count, not its colours.

    Returns
    -------
    LabelImage
        `(y, x)`.
    """
    return _single_labels(read_label_slices(path), Path(path))


def read_label_slices(path: str | os.PathLike[str]) -> tuple[LabelImage, ...]:
    """Read a stack of label images slice by slice; a 2-D one is one slice.

    Parameters
    ----------
    path
        As for `read_labels`.
    """
    path = Path(path)
    if path.suffix.lower() in _LOSSY:
        raise TopiaryError(
            f"{path.name} is a JPEG, which changes the numbers of labels along every "
            "edge: save them as PNG or TIFF, from the program that they come from."
        )
    raw = _read(path)
    if not raw.exact:
        raise TopiaryError(
            f"{path.name} holds numbers that are not quite those that were saved (by "
            "JPEG, or by colours of 16 bit): save the labels as PNG or TIFF without "
            "loss and in one channel, from the program that they come from."
        )
    samples = raw.axes.find("s")
    if samples >= 0 and raw.array.shape[samples] == 2:
        # What says which pixels are to be seen is the same everywhere, or no label.
        veil = raw.array.take(1, axis=samples)
        if (veil != veil.flat[0]).any():
            raise TopiaryError(
                f"{path.name} has two channels: save the numbers of the labels (0, 1, "
                "2, ...) in one."
            )
    data, _ = _channels_first(raw)
    slices = [_without_copies(one) for one in data.reshape(-1, *data.shape[-3:])]
    if any(one.shape[0] != 1 for one in slices):
        raise TopiaryError(
            f"{path.name} is a colour picture, not a label image: save the numbers of "
            "the labels (0, 1, 2, ...) in one channel."
        )
    return tuple(one[0] for one in slices)


def _single_labels(slices: Sequence[LabelImage], path: Path) -> LabelImage:
    if len(slices) > 1:
        raise TopiaryError(
            f"{path.name} is a stack of {len(slices)} label images, and the image that "
            "it is for is a single one: save the one that belongs to it."
        )
    return slices[0]


def to_grey(image: Image) -> Image:
    """Turn colour into grey by brightness; grey stays as it is.

    Parameters
    ----------
    image
        `(c, y, x)`; three channels are red, green and blue.

    Returns
    -------
    Image
        `(1, y, x)` of the same number type.
    """
    if image.shape[0] == 1:
        return image
    weights = np.array([0.2125, 0.7154, 0.0721])
    if image.shape[0] != 3:
        weights = np.full(image.shape[0], 1 / image.shape[0])
    grey = np.tensordot(weights, image.astype(np.float64), axes=1)[None]
    whole = np.issubdtype(image.dtype, np.integer)
    converted: Image = (np.rint(grey) if whole else grey).astype(image.dtype)
    return converted


def write_image(
    path: str | os.PathLike[str], image: NDArray[Any], *, scale: float | None = None
) -> None:
    """Write an image or labels; the format follows the ending of `path`.

    Parameters
    ----------
    path
        ``.tif`` keeps every number type and the pixel size (in the way of ImageJ where
        ImageJ knows the number type); ``.png`` takes 8 and 16 bit.
    image
        `(c, y, x)`, or `(y, x)`.
    scale
        nm per pixel, None if unknown.
    """
    path = Path(path)
    image = np.asarray(image)
    if image.dtype == bool:
        image = image.astype(np.uint8)
    if image.ndim == 3 and image.shape[0] == 1:
        image = image[0]
    colour = image.ndim == 3 and image.shape[0] == 3
    with writing(path) as beside:
        if path.suffix.lower() in (".tif", ".tiff"):
            write_tiff(beside, image, scale=scale, colour=colour)
        elif path.suffix.lower() in _PICTURES.get((str(image.dtype), colour), ()) and (
            image.ndim == 2 or colour
        ):
            picture = np.moveaxis(image, 0, -1) if colour else image
            PIL.Image.fromarray(np.ascontiguousarray(picture)).save(beside)
        else:
            raise TopiaryError(
                f"A {path.suffix or 'nameless'} file cannot hold this image "
                f"({image.dtype}, {image.shape}): write it as .tif."
            )


def holds_image(
    path: str | os.PathLike[str], image: Image, *, scale: float | None = None
) -> bool:
    """Whether a file holds just this image, so that it need not be written again.

    Parameters
    ----------
    path
        The file, which need not exist.
    image
        `(c, y, x)`.
    scale
        nm per pixel, None if unknown.
    """
    try:
        there = read_image(path)
    except TopiaryError:
        return False
    same_scale = scale is None or (
        there.scale is not None and math.isclose(scale, there.scale, rel_tol=1e-6)
    )
    same_kind = there.data.dtype == image.dtype
    return same_scale and same_kind and np.array_equal(there.data, image)


def _single(raw: RawImage, path: Path) -> LoadedImage:
    data, axes = _channels_first(raw)
    if len(axes) > 3:
        steps = " x ".join(str(n) for n in data.shape[:-3])
        raise TopiaryError(
            f"{path.name} is a stack of {steps} images, and one is wanted here: read "
            "it slice-wise, as single 2-D images. The Data page of the window and the "
            "command line do so by themselves."
        )
    return LoadedImage(_without_copies(data), raw.scale, raw.notes)


def _read(path: Path) -> RawImage:
    raw = check_raw(path, lambda: reader_of(path).read(path))
    if not raw.array.dtype.isnative:  # a file of the other kind of processor
        native = raw.array.astype(raw.array.dtype.newbyteorder("="))
        raw = replace(raw, array=native)
    return raw


def check_raw(path: Path, read: Callable[[], RawImage]) -> RawImage:
    """Read a file, whole or lazily, and refuse with a sentence what is no image."""
    if not path.is_dir():
        check_plain_file(path)
        check_ending(path, reader_of(path).suffixes)
    with refusing_damage(
        path.name,
        f"{path.name} cannot be read ({{reason}}): it may be damaged or of an unusual "
        "kind; save it again as a plain TIFF.",
    ):
        raw = read()
    if 0 in raw.array.shape:
        raise TopiaryError(f"{path.name} is empty: it has no pixels.")
    if problem := number_type_problem(raw.array.dtype, path.name):
        raise TopiaryError(problem)
    if "y" not in raw.axes or "x" not in raw.axes:
        raise TopiaryError(
            f"{path.name} is not an image: it has the axes {raw.axes!r} and the shape "
            f"{raw.array.shape}."
        )
    raw = raw.stepped(path.name)
    doubt = "" if raw.scale is None else pixel_size_problem(raw.scale)
    if doubt:
        notes = (*raw.notes, f"{IN_FILE} {doubt}")
        raw = replace(raw, scale=None, notes=notes)
    return raw


def reader_of(path: Path) -> type[ImageFormat]:
    """Return what reads a file or folder, or raise with a sentence."""
    # An array deep inside a zarr folder has no ending of its own.
    places = (path, *path.parents) if path.is_dir() else (path,)
    suffix = path.suffix.lower()
    for place in places:
        for name in image_formats:
            kind = image_formats[name]
            if place.suffix.lower() in kind.suffixes and (
                kind.folders or not path.is_dir()
            ):
                empty = path.is_file() and not path.stat().st_size
                if empty and not kind.folders and not elsewhere(path):
                    raise TopiaryError(
                        f"{path.name} is empty (0 bytes): copy it again from where it "
                        "came from, or delete it."
                    )
                return kind
    advice = elsewhere(path)
    if advice:
        raise TopiaryError(advice)
    given = "folder" if path.is_dir() else f"{suffix} file" if suffix else "file"
    raise TopiaryError(
        f"{path.name or path} is a {given} that cannot be read as an image: give "
        f"one of {', '.join(readable_suffixes())}."
    )


def _channels_first(raw: RawImage) -> tuple[NDArray[Any], str]:
    """Bring any axes to `(..., c, y, x)`, dropping axes of length 1."""
    axes, array = raw.axes, raw.array
    for name in [name for name in axes if name not in "yxsc"]:
        if array.shape[axes.index(name)] == 1:
            array = array.take(0, axis=axes.index(name))
            axes = axes.replace(name, "", 1)
    channel = "s" if "s" in axes else "c" if "c" in axes else None
    if channel is None:
        array, axes, channel = array[..., None], axes + "s", "s"
    others = "".join(name for name in axes if name not in "yx" + channel)
    order = others + channel + "yx"
    array = array.transpose([axes.index(name) for name in order])
    if channel == "s" and array.shape[-3] in (2, 4):
        array = array[..., :-1, :, :]  # the last sample is transparency
    if array.dtype == bool:
        array = array.astype(np.uint8)
    return np.ascontiguousarray(array), order


def _without_copies(image: Image) -> Image:
    """Return grey for a colour image whose three channels are equal."""
    if is_grey(image):
        return image[:1]
    return image
