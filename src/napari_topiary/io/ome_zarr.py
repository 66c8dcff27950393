"""OME-Zarr that is written part by part, with smaller copies to look at.

Apart from TIFF, which everything writes: zarr takes its time to be loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

VERSION = "0.5"
"""Of OME-Zarr."""
CHUNK = 512
"""Side of the pieces that arrays are stored in, in pixels."""
SMALLEST = 1024
"""Copies get smaller by half until no side is longer than this, in pixels."""
PACKING = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")
"""Fast, and known to every reader of zarr."""
Kind = Literal["mean", "nearest"]


class OmeZarr:
    """An image or labels on disk, at several resolutions.

    Parameters
    ----------
    path
        A folder that is not there yet.
    shape
        `(c, y, x)` or `(y, x)`.
    dtype
        Of its numbers.
    scale
        nm per pixel, None if unknown.
    about
        Words beside it.
    kind
        How copies are made smaller; labels keep their numbers (`nearest`).
    """

    def __init__(
        self,
        path: Path,
        *,
        shape: tuple[int, ...],
        dtype: Any,
        scale: float | None,
        about: Mapping[str, Any],
        kind: Kind = "mean",
    ) -> None:
        self.kind, self._path, self._scale = kind, path, scale
        self._group = zarr.create_group(str(path), attributes=dict(about))
        self._levels: list[zarr.Array[Any]] = []
        size = shape[-2:]
        while True:
            number, sides = len(self._levels), (*shape[:-2], *size)
            self._levels.append(
                self._group.create_array(
                    str(number),
                    shape=sides,
                    dtype=dtype,
                    chunks=(*shape[:-2], *(min(CHUNK, n) for n in size)),
                    compressors=PACKING,
                    dimension_names=tuple("cyx"[-len(sides) :]),
                )
            )
            if max(size) <= SMALLEST:
                break
            size = tuple(-(-n // 2) for n in size)
        self.about(ome=_about(path.stem, len(self._levels), len(shape), scale, kind))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers."""
        own: np.dtype[Any] = np.dtype(self._levels[0].dtype)
        return own

    def labels(self, name: str, dtype: Any) -> OmeZarr:
        """Return labels of the image, to be written beside it: its label group."""
        listed = {"version": VERSION, "labels": [name]}
        self._group.create_group("labels", attributes={"ome": listed})
        shape = self._levels[0].shape[-2:]
        made = OmeZarr(
            self._path / "labels" / name,
            shape=shape,
            dtype=dtype,
            scale=self._scale,
            about={},
            kind="nearest",
        )
        own = dict(made._group.attrs["ome"])
        own["image-label"] = {"source": {"image": "../../"}}
        made.about(ome=own)
        return made

    def about(self, **words: Any) -> None:
        """Add words beside it."""
        self._group.attrs.update(words)

    def write(self, part: NDArray[Any], corner: tuple[int, int]) -> None:
        """Write a part `(..., y, x)`.

        Parameters
        ----------
        part
            As stored.
        corner
            y, x of its first pixel, even multiples of the smallest copy's pixels.
        """
        top, left = corner
        for level in self._levels:
            height, width = part.shape[-2:]
            place = np.s_[..., top : top + height, left : left + width]
            if part.any():  # what is empty needs no file
                level[place] = part
            part = _halved(part, self.kind)
            top, left = top // 2, left // 2


def _halved(part: NDArray[Any], kind: Kind) -> NDArray[Any]:
    """Every second pixel, or the means of two by two; the border is repeated."""
    if kind == "nearest":
        return part[..., ::2, ::2]
    height, width = part.shape[-2:]
    beyond = [(0, 0)] * (part.ndim - 2) + [(0, height % 2), (0, width % 2)]
    even = np.pad(part, beyond, mode="edge").astype(np.float32)
    means = (
        even[..., ::2, ::2]
        + even[..., 1::2, ::2]
        + even[..., ::2, 1::2]
        + even[..., 1::2, 1::2]
    ) / 4
    return (np.rint(means) if part.dtype.kind in "iu" else means).astype(part.dtype)


def _about(
    name: str, levels: int, ndim: int, scale: float | None, kind: Kind
) -> dict[str, Any]:
    """What OME-Zarr 0.5 says of an image; without a pixel size there is no unit."""
    space = {} if scale is None else {"unit": "nanometer"}
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] * (ndim - 2)
    axes += [{"name": name, "type": "space", **space} for name in "yx"]
    first = 1.0 if scale is None else scale
    datasets = []
    for level in range(levels):
        changes = [
            {"type": "scale", "scale": [1.0] * (ndim - 2) + [first * 2**level] * 2}
        ]
        if kind == "mean" and level:  # the middle of what was averaged
            middle = first * (2**level - 1) / 2
            shift = [0.0] * (ndim - 2) + [middle] * 2
            changes.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": changes})
    image = {"name": name, "axes": axes, "datasets": datasets}
    about: dict[str, Any] = {"version": VERSION, "multiscales": [image]}
    return about | ({"image-label": {}} if kind == "nearest" else {})
