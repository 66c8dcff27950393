"""Zarr arrays and OME-Zarr images (the full-resolution level)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats.base import (
    SMALL,
    RawImage,
    check_size,
    image_formats,
    square_pixels,
)
from napari_topiary.io.formats.tiff_scale import nm_per_unit
from napari_topiary.io.plain_files import check_plain_file

MANY, FEWEST = 100_000, 1000
"""An array in many pieces needs one in so many: blank ones may be left out."""


@image_formats.register("zarr")
class Zarr:
    """A zarr array, an OME-Zarr image, or a group with a single array."""

    suffixes: ClassVar[tuple[str, ...]] = (".zarr",)
    folders: ClassVar[bool] = True

    @staticmethod
    def read(path: Path) -> RawImage:
        """Read an array."""
        # zarr takes a while to load, and most people never need it.
        import zarr

        if not path.is_dir():
            raise TopiaryError(
                f"{path.name} is not a folder: a zarr image is a folder, unpack or "
                "copy it whole."
            )
        _stored(path)
        node = zarr.open(str(path), mode="r")
        if isinstance(node, zarr.Array):
            return _plain(path, node)
        attributes: Mapping[str, Any] = dict(node.attrs)
        attributes = attributes.get("ome", attributes)
        if attributes.get("multiscales"):
            return _ome(path, node, attributes["multiscales"][0])
        arrays = dict(node.arrays())
        if len(arrays) != 1:
            raise TopiaryError(
                f"{path.name} holds {len(arrays)} arrays: point to the one to open "
                f"({', '.join(sorted(arrays)) or 'there is none'})."
            )
        return _plain(path, next(iter(arrays.values())))


def _plain(path: Path, array: Any) -> RawImage:
    names = getattr(array.metadata, "dimension_names", None)
    if names and all(isinstance(name, str) and len(name) == 1 for name in names):
        axes = "".join(names).lower()
    elif array.ndim == 3 and array.shape[-1] in (3, 4):
        axes = "yxs"
    elif array.ndim == 3 and array.shape[0] <= 4:
        axes = "cyx"
    else:
        axes = "tzcyx"[-array.ndim :] if array.ndim < 3 else "q" * (array.ndim - 2)
        axes = axes if array.ndim < 3 else axes + "yx"
    return RawImage(_pixels(path, array), axes)


def _ome(path: Path, group: Any, image: Mapping[str, Any]) -> RawImage:
    level = image["datasets"][0]
    array = group[level["path"]]
    entries = image.get("axes") or ["tczyx"[i] for i in range(5 - array.ndim, 5)]
    names = [e["name"] if isinstance(e, Mapping) else str(e) for e in entries]
    units = [e.get("unit") if isinstance(e, Mapping) else None for e in entries]
    sizes: dict[str, float] = {}
    for transform in level.get("coordinateTransformations", ()):
        if transform.get("type") == "scale":
            for name, unit, value in zip(names, units, transform["scale"], strict=True):
                nm = nm_per_unit(unit)
                if nm is not None:
                    sizes[name] = float(value) * nm
    scale, notes = square_pixels(sizes.get("y"), sizes.get("x"))
    axes = "".join(name[0].lower() for name in names)
    return RawImage(_pixels(path, array), axes, scale, notes)


def _pixels(path: Path, array: Any) -> NDArray[Any]:
    """Read an array once its size and the files that it is in are known to be sound."""
    if array.dtype.kind not in "buif":
        raise TopiaryError(
            f"{path.name} holds {array.dtype} values, which are not grey levels: save "
            "it as 8, 16 or 32 bit."
        )
    pieces = array.shards or array.chunks
    total = math.prod(
        -(-n // step) for n, step in zip(array.shape, pieces, strict=True)
    )
    inside = path / array.path
    count, nbytes = _stored(inside if inside.is_dir() else path)
    check_size(path, pieces, array.dtype.itemsize, stored=nbytes)
    if (array.nbytes > SMALL or total > MANY) and total > FEWEST * count:
        raise TopiaryError(
            f"{path.name} should be in {total:,} pieces and only {count:,} of them are "
            "there: it is incomplete, copy the whole folder again."
        )
    check_size(path, array.shape, array.dtype.itemsize)
    return np.asarray(array[...])


def _stored(folder: Path) -> tuple[int, int]:
    """Count the files that hold pixels, and their bytes; refuse pipes among them."""
    count = nbytes = 0
    for home, _, names in os.walk(folder):
        for name in names:
            check_plain_file(Path(home) / name)
            if not name.startswith(".z") and name != "zarr.json":
                count += 1
                nbytes += (Path(home) / name).stat().st_size
    return count, nbytes
