"""One file per family of image formats; every module in this folder is loaded."""

from napari_topiary.io.formats.base import (
    ImageFormat,
    LazyFormat,
    RawImage,
    elsewhere,
    image_formats,
    square_pixels,
    stepped_axes,
)
from napari_topiary.registry import find_members

find_members(__name__, __path__)

__all__ = [
    "ImageFormat",
    "LazyFormat",
    "RawImage",
    "elsewhere",
    "image_formats",
    "square_pixels",
    "stepped_axes",
]
