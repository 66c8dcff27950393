"""What was found, drawn on the image as a picture that can be shown to others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw
from PIL.Image import Image as PillowImage
from PIL.Image import Resampling
from PIL.PngImagePlugin import PngInfo
from scipy import ndimage as ndi

from napari_topiary.io.atomic import writing
from napari_topiary.io.image_area import rows_without_banner
from napari_topiary.io.large_images import BAND_PIXELS, LargeImage
from napari_topiary.io.own_files import WRITER
from napari_topiary.types import Detections, Image, LabelImage, Prediction, Task

if TYPE_CHECKING:
    from napari_topiary.inference.large.writing import LargePrediction

FOUND_COLOURS = ("#00d5ff", "#ff5cd0", "#b8f400", "#b58bff", "#ff7a4d")
"""Colours of what networks found, class after class; none is that of a mark."""
MARK, PAPER = "#ffd700", "#ffffff"
OBJECT_COLOURS = (MARK, "#40b0ff", "#00d090", "#ff3070", "#c080ff", "#ff8040")
"""Colours of objects, number after number, so that neighbours differ."""
LONGEST = 4096
"""Overlays are not longer than this, in pixels: more is slow to open elsewhere."""
THIN = 1200
"""Lines are a screen pixel wide for each so many of the picture's longest side."""
STRETCH = (0.5, 99.5)
"""Percentiles of the brightness that become black and white."""
FILLING = 0.35
"""Opacity of painted classes: the image stays visible below."""


@dataclass
class Picture:
    """An image as it is shown, drawn on in pixels of the image."""

    picture: PillowImage  #: In screen pixels
    zoom: float  #: Screen pixels per pixel of the image
    width: int = 2  #: Of lines, in screen pixels

    @classmethod
    def of(cls, image: NDArray[Any], side: int | None = None) -> Self:
        """Show an image.

        Parameters
        ----------
        image
            `(c, y, x)`: one channel is grey, three are colours. Brightness is stretched
            between `STRETCH`; what is not a number is black.
        side
            Longest side in screen pixels; None = as large as the image, up to
            `LONGEST`.
        """
        values = np.asarray(image[:3], dtype=np.float32)
        known = values[np.isfinite(values)]
        low, high = np.percentile(known, STRETCH) if known.size else (0.0, 1.0)
        del known  # of a large image, each copy counts
        values = np.nan_to_num(values, nan=float(low)).clip(low, high)
        values -= np.float32(low)
        values *= np.float32(255 / max(high - low, 1e-9))
        grey = values.clip(0, 255).astype(np.uint8)
        rgb = np.repeat(grey[:1], 3, axis=0) if len(grey) < 3 else grey
        return cls.coloured(np.moveaxis(rgb, 0, -1), side)

    @classmethod
    def coloured(cls, rgb: NDArray[Any], side: int | None = None) -> Self:
        """Show colours `(y, x, 3)`, 0 to 255; `side` as for `of`."""
        if rgb.dtype != np.uint8:
            rgb = np.clip(rgb, 0, 255).astype(np.uint8)
        picture = Pictures.fromarray(rgb)
        longest = max(picture.size)
        zoom = (side or min(longest, LONGEST)) / longest
        if zoom != 1:
            size = (round(picture.width * zoom), round(picture.height * zoom))
            size = (max(1, size[0]), max(1, size[1]))
            picture = picture.resize(size, Resampling.BILINEAR)
        return cls(picture, zoom)

    def circles(
        self,
        centres: NDArray[np.floating],
        *,
        radius: float | NDArray[np.floating],
        colour: str = MARK,
    ) -> None:
        """Draw circles around `(n, 2)` y, x; the radius is one or `(n,)`."""
        pen = ImageDraw.Draw(self.picture)
        places = (np.asarray(centres).reshape(-1, 2) + 0.5) * self.zoom
        radii = np.broadcast_to(np.maximum(3.0, radius * self.zoom), len(places))
        for (y, x), reach in zip(places, radii, strict=True):
            box = (x - reach, y - reach, x + reach, y + reach)
            pen.ellipse(box, outline=colour, width=self.width)

    def paths(
        self, lines: Iterable[NDArray[np.floating]], *, colour: str = MARK
    ) -> None:
        """Draw paths, each `(v, 2)` y, x."""
        pen = ImageDraw.Draw(self.picture)
        for line in lines:
            places = [(x, y) for y, x in (np.asarray(line) + 0.5) * self.zoom]
            pen.line(places, fill=colour, width=self.width + 1)

    def borders(self, outlines: Iterable[NDArray[np.floating]]) -> None:
        """Draw closed outlines, each `(v, 2)` y, x."""
        self.paths((np.concatenate([p, p[:1]]) for p in outlines), colour=PAPER)

    def labels(self, labels: NDArray[Any]) -> None:
        """Lay a colour of its own over each label `(y, x)`."""
        for index, colour in enumerate(OBJECT_COLOURS):
            mask = (labels > 0) & ((labels - 1) % len(OBJECT_COLOURS) == index)
            if mask.any():
                self.tint(mask, colour=colour, alpha=0.45)

    def edges(self, labels: NDArray[Any]) -> None:
        """Draw the edge of each label `(y, x)` in a colour of its own."""
        shown = self._at_this_size(labels.astype(np.int32))
        wide = 2 * self.width + 1
        edge = (ndi.maximum_filter(shown, wide) != ndi.minimum_filter(shown, wide)) & (
            shown > 0
        )
        rgb = [tuple(bytes.fromhex(colour[1:])) for colour in OBJECT_COLOURS]
        drawn = np.array(self.picture)
        drawn[edge] = np.array(rgb, np.uint8)[(shown[edge] - 1) % len(rgb)]
        self.picture = Pictures.fromarray(drawn)

    def tint(self, mask: NDArray[np.bool_], *, colour: str, alpha: float) -> None:
        """Lay a colour over the pixels `(y, x)` where the mask is true."""
        shade = Pictures.fromarray(mask * np.uint8(round(255 * alpha)))
        shade = shade.resize(self.picture.size, Resampling.NEAREST)
        self.picture.paste(Pictures.new("RGB", self.picture.size, colour), mask=shade)

    def _at_this_size(self, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        if labels.shape == self.picture.size[::-1]:
            return labels
        resized = Pictures.fromarray(labels).resize(
            self.picture.size, Resampling.NEAREST
        )
        return np.asarray(resized)


def draw_overlay(
    image: Image,
    labels: LabelImage,
    *,
    task: Task,
    scale: float | None,
    detections: Detections,
    step: int = 1,
) -> PillowImage:
    """Draw on an image what was found on it.

    Particles are circles of their class' radius and filaments lines, in the colour of
    their class (`FOUND_COLOURS`); painted classes are tinted; objects have an edge,
    each in another colour than its neighbours where that can be.

    Parameters
    ----------
    image
        `(c, y, x)`.
    labels
        `(y, x)`: class index, or numbers of objects.
    task, scale
        What was looked for, and nm per pixel (None if unknown).
    detections
        Particles and lines, in pixels of the whole image.
    step
        Only every so many-th row and column of a large image is in `image` and
        `labels`.

    Returns
    -------
    PIL.Image.Image
        As large as `image`, or `LONGEST` where it is longer.
    """
    shown = Picture.of(image)
    shown.width = max(1, round(max(shown.picture.size) / THIN))
    if task.kind == "instances":
        shown.edges(labels)
    shown.zoom /= step
    for index, name in enumerate(task.classes[1:], start=1):
        colour = FOUND_COLOURS[(index - 1) % len(FOUND_COLOURS)]
        if task.kind == "segment":
            shown.tint(labels == index, colour=colour, alpha=FILLING)
        mine = detections.class_index == index
        radius = task.radius_or_usual(name, scale)
        shown.circles(detections.coordinates[mine], radius=radius, colour=colour)
        pairs = zip(detections.lines, detections.line_class, strict=True)
        shown.paths([line for line, own in pairs if own == index], colour=colour)
    return shown.picture


def overlay_of(
    prediction: Prediction | LargePrediction, image: Image | LargeImage
) -> PillowImage:
    """Draw a prediction on its image, as `draw_overlay`.

    Parameters
    ----------
    prediction
        Of the whole image.
    image
        `(c, y, x)`; of a large one every so many-th row and column is shown.
    """
    if isinstance(prediction, Prediction):
        return draw_overlay(
            image.read() if isinstance(image, LargeImage) else image,
            prediction.labels,
            task=prediction.task,
            scale=prediction.scale,
            detections=prediction.detections,
        )
    if not isinstance(image, LargeImage):
        raise TypeError("the results of a large image are drawn on a large image")
    import zarr  # takes long to load, and the window needs the colours at once

    found = prediction.found
    thin, step = image.thinned()
    rows = rows_without_banner(thin)
    if rows is not None and found.shape[0] < image.shape[1]:
        thin = thin[:, slice(*rows)]  # it was cut off before the network looked
    labels = zarr.open_array(prediction.files["labels"] / "0", mode="r")
    band = max(1, BAND_PIXELS // found.shape[1] // step) * step
    parts = [
        labels[y : y + band : step, ::step] for y in range(0, found.shape[0], band)
    ]
    return draw_overlay(
        thin,
        np.concatenate(parts),
        task=found.task,
        scale=found.scale,
        detections=found.detections,
        step=step,
    )


def save_picture(path: Path, picture: PillowImage) -> None:
    """Write a PNG, with the mark that it is Topiary's."""
    with writing(path) as beside:
        writer = PngInfo()
        writer.add_text("Software", WRITER)
        picture.save(beside, format="PNG", optimize=True, pnginfo=writer)
