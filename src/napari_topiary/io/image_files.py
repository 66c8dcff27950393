"""The image files of a dataset folder."""

from __future__ import annotations

from pathlib import Path

from napari_topiary.errors import TopiaryError
from napari_topiary.io.folder_changes import FolderChange
from napari_topiary.io.images import holds_image, write_image
from napari_topiary.io.pairing import Pairing, safe_name
from napari_topiary.types import Image


def write_image_file(
    change: FolderChange,
    name: str,
    image: Image,
    *,
    scale: float | None,
    source: Path | None = None,
    there: Pairing,
) -> None:
    """Write an image of a dataset as TIFF, unless it is there already.

    Parameters
    ----------
    change
        To the dataset folder.
    name
        Name of the image.
    image
        `(c, y, x)`.
    scale
        nm per pixel, None if unknown.
    source
        Where the image comes from; if that is the dataset's own file, it stays as it
        is, whatever its format.
    there
        What is in the folder now.
    """
    path = change.root / "images" / f"{name}.tif"
    for old in there.all_of("images", name):
        if change.is_leaving(f"images/{old.name}"):
            continue
        if source is not None and source.resolve() == old.resolve():
            return
        if old != path:
            raise TopiaryError(
                f"{old.name} is in {old.parent} already and would get a twin of "
                "the same name: save to another folder, or rename the image."
            )
        if holds_image(path, image, scale=scale):
            return
    write_image(change.new(f"images/{name}.tif"), image, scale=scale)


def check_name(name: str) -> None:
    """Refuse a name that cannot be a file's on every system."""
    if name != safe_name(name):
        raise TopiaryError(
            f"The image name {name!r} cannot be a file name: rename it, for instance "
            f"to {safe_name(name)!r}."
        )
