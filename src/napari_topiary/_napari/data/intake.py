"""What comes in from files and layers: read off the main thread, checked, named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_topiary._napari.canvas.shown_image import visible_window
from napari_topiary._napari.state import unwrap
from napari_topiary.errors import TopiaryError
from napari_topiary.io.image_area import image_problem, rows_without_banner
from napari_topiary.io.images import read_slices, to_grey
from napari_topiary.io.large_images import (
    WHOLE_PIXELS,
    AnyImage,
    LargeImage,
    open_lazily,
)
from napari_topiary.io.pairing import image_name, whole_images
from napari_topiary.io.stacks import slice_names
from napari_topiary.types import Image, Window

if TYPE_CHECKING:
    import napari.layers

_ROWS_APART, _ALIKE = 16, 0.8
"""Of pixels in some rows of labels, so many are as the next; of a micrograph fewer."""


@dataclass(frozen=True, eq=False)
class Incoming:
    """An image that may become part of the project."""

    name: str  #: What it is to be called
    image: AnyImage  #: `(c, y, x)`
    scale: float | None  #: nm per pixel, None if unknown
    #: File that it came from, None if that holds more than this image
    path: Path | None = None
    notes: tuple[str, ...] = ()  #: Sentences for the user
    #: First row and one after the last without an information banner; None = there is
    #: none
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class Refused:
    """Something that cannot be used, and why."""

    name: str
    sentence: str


@dataclass(frozen=True)
class Stack:
    """Several images from one file or layer."""

    name: str
    slices: tuple[Incoming | Refused, ...]

    def picked(self, step: int) -> tuple[Incoming | Refused, ...]:
        """Every `step`-th slice; 0 = the middle one alone."""
        if step == 0:
            return (self.slices[len(self.slices) // 2],)
        return self.slices[::step]


def read_files(paths: Sequence[Path]) -> list[Incoming | Stack | Refused]:
    """Read image files; nothing is raised, everything has its sentence."""
    return [_read_file(path) for path in whole_images(map(Path, paths))[0]]


def _read_file(path: Path) -> Incoming | Stack | Refused:
    name = image_name(path)
    try:
        if (large := open_lazily(path)) is not None:
            return Incoming(name, large, large.scale, path, large.notes)
        found = list(read_slices(path))
    except TopiaryError as reason:
        return Refused(path.name, str(reason))
    if len(found) == 1:
        one = found[0]
        rows = rows_without_banner(one.data)
        return checked(Incoming(name, one.data, one.scale, path, one.notes, rows))
    slices = tuple(
        checked(Incoming(of_slice, one.data, one.scale))
        for of_slice, one in zip(slice_names(name, len(found)), found, strict=True)
    )
    return Stack(path.name, slices)


def checked(incoming: Incoming) -> Incoming | Refused:
    """Return the image, or why nothing can be learned from it."""
    image = incoming.image
    sentence = None if isinstance(image, LargeImage) else image_problem(image)
    if sentence is None:
        return incoming
    return Refused(incoming.name, f"{incoming.name}: {sentence}")


def without_banner(incoming: Incoming) -> Incoming:
    """Cut the information banner off an image that has one."""
    image = incoming.image
    if incoming.rows is None or isinstance(image, LargeImage):
        return incoming
    image = image[:, slice(*incoming.rows)]
    # The file still has it: it is not the source any more.
    return replace(incoming, image=image, path=None, rows=None)


def with_channels(incoming: Incoming, channels: int) -> Incoming | None:
    """Convert an image to as many channels as the project's images have."""
    image = incoming.image
    if image.shape[0] == channels:
        return incoming
    if isinstance(image, LargeImage):
        return None
    # The file still has the other number of channels: it is not the source any more.
    if channels == 1:
        return replace(incoming, image=to_grey(image), path=None)
    if image.shape[0] == 1:
        image = np.repeat(image, channels, axis=0)
        return replace(incoming, image=image, path=None)
    return None


@dataclass(frozen=True)
class LayerSource:
    """What is needed of a layer to read it in another thread."""

    name: str
    data: Any  #: Its array (finest level), perhaps lazy
    rgb: bool  #: Whether the last axis is colour
    scale: float | None  #: nm per pixel, None if unknown
    #: Index along each axis before the last two, of what is shown now
    position: tuple[int, ...]
    window: Window | None = None  #: Only this part of the image; None = all of it

    @property
    def n_slices(self) -> int:
        """How many 2-D images it holds."""
        return int(np.prod(self._axes_before or (1,)))

    @property
    def _axes_before(self) -> tuple[int, ...]:
        shape = tuple(self.data.shape)
        return shape[:-3] if self.rgb else shape[:-2]

    def read(self, *, every: bool = False) -> Incoming | Stack | Refused:
        """Read what is shown, or every slice as a stack; slow, for another thread."""
        if not every:
            image = self._image(self.position)
            rows = None if self.window else rows_without_banner(image)
            one = Incoming(self.name, image, self.scale, notes=self._part(), rows=rows)
            return checked(one)
        places = np.ndindex(*self._axes_before)
        slices = tuple(
            checked(Incoming(name, self._image(at), self.scale))
            for name, at in zip(
                slice_names(self.name, self.n_slices), places, strict=True
            )
        )
        return Stack(self.name, slices)

    def _part(self) -> tuple[str, ...]:
        """Say that the rest of the layer is not taken, where that is so."""
        if self.window is None:
            return ()
        top, bottom, left, right = self.window
        height, width = self.data.shape[len(self.position) :][:2]
        return (
            f"It is what was on the screen: {right - left:,} × {bottom - top:,} of "
            f"{width:,} × {height:,} pixels. All of it: Add images…, by its file.",
        )

    def _image(self, at: tuple[int, ...]) -> Image:
        rows, columns = slice(None), slice(None)
        if self.window is not None:
            rows, columns = slice(*self.window[:2]), slice(*self.window[2:])
        data = np.asarray(self.data[(*at, rows, columns)])
        if not self.rgb:
            return np.ascontiguousarray(data)[None]
        return np.ascontiguousarray(np.moveaxis(data[..., :3], -1, 0))


def is_painted(layer: napari.layers.Image) -> bool:
    """Whether an image layer looks as labels do: whole numbers, alike over areas."""
    if layer.multiscale or layer.rgb or layer.ndim != 2:
        return False
    some = np.asarray(layer.data[::_ROWS_APART])
    if some.dtype.kind not in "bui" or some.shape[1] < 2:
        return False
    return bool((some[:, 1:] == some[:, :-1]).mean() > _ALIKE)


def layer_source(layer: napari.layers.Image, step: Sequence[int]) -> LayerSource:
    """Describe an image layer of the user for reading."""
    layer = unwrap(layer)
    data = layer.data[0] if layer.multiscale else layer.data
    before = layer.ndim - 2
    offset = len(step) - layer.ndim
    position = tuple(
        int(np.clip(step[offset + axis], 0, data.shape[axis] - 1))
        for axis in range(before)
    )
    name, window = layer.name, None
    height, width = data.shape[before : before + 2]
    if height * width > WHOLE_PIXELS:
        window = _on_screen(layer, (height, width))
        name = f"{name} y{window[0]} x{window[2]}"
    return LayerSource(
        name, data, bool(layer.rgb), nm_per_pixel(layer), position, window
    )


def _on_screen(layer: napari.layers.Image, shape: tuple[int, int]) -> Window:
    """Return the part of a very large image that the person looks at."""
    window = visible_window(layer, shape)
    side = math.isqrt(WHOLE_PIXELS)
    if window[1] - window[0] > side or window[3] - window[2] > side:
        raise TopiaryError(
            f"{layer.name} has {shape[0]:,} x {shape[1]:,} pixels, and too many of "
            "them are on the screen: move closer to what you want to mark. What is on "
            "the screen is added."
        )
    return window


def nm_per_pixel(layer: Any) -> float | None:
    """Return the pixel size of a layer in nm, None if it says nothing about it."""
    pixels = np.abs(np.asarray(layer.scale, dtype=float)[-2:])  # negative: flipped
    units = layer.units[-2:]
    known = all(unit.dimensionality == {"[length]": 1} for unit in units)
    if known:
        pixels = np.array(
            [
                float((size * unit).to("nm").magnitude)
                for size, unit in zip(pixels, units, strict=True)
            ]
        )
    if not np.isclose(pixels[0], pixels[1], rtol=1e-3):
        raise TopiaryError(
            f"The pixels of {layer.name} are {pixels[0]:g} x {pixels[1]:g}"
            f"{' nm' if known else ''}; they have to be square: resample the image "
            "first."
        )
    return float(pixels[1]) if known else None
