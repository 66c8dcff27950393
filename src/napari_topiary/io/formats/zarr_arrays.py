"""Zarr arrays and OME-Zarr images (the full-resolution level)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats.base import RawImage, image_formats, square_pixels
from napari_topiary.io.formats.tiff_scale import nm_per_unit


@image_formats.register("zarr")
class Zarr:
    """A zarr array, an OME-Zarr image, or a group with a single array."""

    suffixes: ClassVar[tuple[str, ...]] = (".zarr",)

    @staticmethod
    def read(path: Path) -> RawImage:
        """Read an array."""
        # zarr takes a while to load, and most people never need it.
        import zarr

        node = zarr.open(str(path), mode="r")
        if isinstance(node, zarr.Array):
            return _plain(node)
        attributes: Mapping[str, Any] = dict(node.attrs)
        attributes = attributes.get("ome", attributes)
        if attributes.get("multiscales"):
            return _ome(node, attributes["multiscales"][0])
        arrays = dict(node.arrays())
        if len(arrays) != 1:
            raise TopiaryError(
                f"{path.name} holds {len(arrays)} arrays: point to the one to open "
                f"({', '.join(sorted(arrays)) or 'there is none'})."
            )
        return _plain(next(iter(arrays.values())))


def _plain(array: Any) -> RawImage:
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
    return RawImage(np.asarray(array[...]), axes)


def _ome(group: Any, image: Mapping[str, Any]) -> RawImage:
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
    return RawImage(np.asarray(array[...]), axes, scale, notes)
