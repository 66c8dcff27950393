"""One file per family of image formats; every module in this folder is loaded."""

from importlib import import_module
from pkgutil import iter_modules

from napari_topiary.io.formats.base import (
    ImageFormat,
    LazyFormat,
    RawImage,
    elsewhere,
    image_formats,
    square_pixels,
    stepped_axes,
)

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "ImageFormat",
    "LazyFormat",
    "RawImage",
    "elsewhere",
    "image_formats",
    "square_pixels",
    "stepped_axes",
]
