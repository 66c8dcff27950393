"""TIFF, with the pixel sizes of ImageJ, OME and microscope makers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import imageio.v3 as iio
import numpy as np
import tifffile

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats.base import RawImage, image_formats, square_pixels
from napari_topiary.io.formats.tiff_scale import pixel_size


@image_formats.register("tiff")
class Tiff:
    """TIFF files: the largest image in the file, at full resolution."""

    suffixes: ClassVar[tuple[str, ...]] = (".tif", ".tiff", ".svs", ".lsm")

    @staticmethod
    def read(path: Path) -> RawImage:
        """Read the largest image of a TIFF file."""
        with tifffile.TiffFile(path) as file:
            if not file.series:
                raise TopiaryError(f"{path.name} holds no image.")
            series = max(file.series, key=_importance)
            scale, notes = square_pixels(*pixel_size(file, series.keyframe))
            array = _pixels(path, file, series)
            axes = series.axes.lower()
        if axes.endswith("yx") and len(axes) == 3 and _is_planar_colour(series):
            axes = "syx"
        return RawImage(array, axes, scale, notes)


def _importance(series: Any) -> tuple[int, int]:
    """Rank images by pixels, then by depth: a thumbnail is not what is meant."""
    samples = series.shape[-1] if series.axes.endswith("S") else 1
    return int(series.size) // max(1, samples), int(series.dtype.itemsize)


def _is_planar_colour(series: Any) -> bool:
    colour = series.keyframe.photometric == tifffile.PHOTOMETRIC.RGB
    return bool(colour and series.shape[0] in (3, 4))


def _pixels(path: Path, file: tifffile.TiffFile, series: Any) -> Any:
    try:
        return series.asarray()
    except (ValueError, ImportError, RuntimeError) as error:
        # Rare compressions need a large extra library; Pillow knows some of them.
        if len(series.pages) > 1:
            raise
        try:
            array = np.asarray(iio.imread(path, plugin="pillow", index=0))
        except Exception:
            raise error from None
        if array.shape != series.shape:
            raise
        return array
