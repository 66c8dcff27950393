"""The image files of a dataset folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from napari_topiary.errors import TopiaryError
from napari_topiary.io.images import holds_image, write_image
from napari_topiary.io.pairing import images_in
from napari_topiary.types import Image

_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def image_files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the images of a dataset by name, in alphabetical order.

    Parameters
    ----------
    folder
        The dataset folder.

    Raises
    ------
    TopiaryError
        If two images have the same name.
    """
    images, problems, _ = images_in(Path(folder))
    if problems:
        raise TopiaryError(f"{Path(folder).name}/{problems[0]}")
    return images


def write_image_file(
    folder: str | os.PathLike[str],
    name: str,
    image: Image,
    *,
    scale: float | None,
    source: Path | None = None,
) -> Path:
    """Write an image of a dataset as TIFF, unless it is there already.

    Parameters
    ----------
    folder
        The dataset folder.
    name
        Name of the image.
    image
        `(c, y, x)`.
    scale
        nm per pixel, None if unknown.
    source
        Where the image comes from; if that is the dataset's own file, it stays as it
        is, whatever its format.

    Returns
    -------
    Path
        Where the image is.
    """
    there = image_files(folder).get(name)
    path = Path(folder) / "images" / f"{name}.tif"
    if there is not None:
        if source is not None and source.resolve() == there.resolve():
            return there
        if there != path:
            raise TopiaryError(
                f"{there.name} is in {there.parent} already and would get a twin of "
                "the same name: save to another folder, or rename the image."
            )
    if not holds_image(path, image, scale=scale):
        write_image(path, image, scale=scale)
    return path


def check_name(name: str) -> None:
    """Refuse a name that cannot be a file's on every system."""
    if name != safe_name(name):
        raise TopiaryError(
            f"The image name {name!r} cannot be a file name: rename it, for instance "
            f"to {safe_name(name)!r}."
        )


def safe_name(name: str) -> str:
    """Return the nearest name that can be a file's on every system."""
    return _UNSAFE.sub("_", name).strip().strip(".") or "image"
