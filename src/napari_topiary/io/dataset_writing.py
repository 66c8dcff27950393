"""Writing a dataset folder, whole or in parts, as one act."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_files import write_annotations
from napari_topiary.io.dataset_description import DESCRIPTION, Description
from napari_topiary.io.folder_changes import KEPT, FolderChange, changing, free_name
from napari_topiary.io.images import holds_image, write_image
from napari_topiary.io.pairing import (
    Pairing,
    images_elsewhere,
    pair_files,
    place_of,
    safe_name,
)
from napari_topiary.types import Image

if TYPE_CHECKING:
    from napari_topiary.io.dataset import Dataset, Sample


def write_dataset(folder: str | os.PathLike[str], dataset: Dataset) -> None:
    """Write a dataset folder; all of it is replaced once the whole new one is there.

    Images become TIFF with their pixel size. An image that lies in the folder already
    stays as it is, and what has not changed is not written again. Nothing is deleted
    but annotations that the samples no longer have; in a folder that the data set was
    not read from, images and annotations that would be replaced go to `kept/`.

    Parameters
    ----------
    folder
        Made if it is not there; other files in it stay.
    dataset
        What to write.
    """
    for name in dataset.samples:
        check_name(name)
    scales: dict[str, float | None] = {}
    with changing(Path(folder)) as change:
        there = pair_files(change.root)
        for name, sample in dataset.samples.items():
            scales[name] = sample.scale
            write_sample_image(change, sample, there=there)
            write_annotations(change, name, sample.annotations, there=there)
        write_description(change, dataset, scales=scales)
        root = dataset.root
        if root is None or Path(root).resolve() != change.root.resolve():
            for name, is_there in change.differences().items():
                if is_there and name != DESCRIPTION:
                    change.keep(name, free_name(change.root, f"{KEPT}/{name}"))


def write_sample_image(change: FolderChange, sample: Sample, *, there: Pairing) -> None:
    """Write the image of one sample, unless it lies in the folder already."""
    if sample.excerpt is not None:
        raise TopiaryError(
            f"Only the marked parts of {sample.name} are at hand, for it is large: "
            "copy its files to where it should be."
        )
    _write_image_file(
        change,
        sample.name,
        sample.image,
        scale=sample.scale,
        source=sample.path,
        there=there,
    )


def write_description(
    change: FolderChange,
    dataset: Dataset,
    *,
    scales: Mapping[str, float | None],
    elsewhere: Mapping[str, str] | None = None,
) -> None:
    """Write `dataset.json` alone; keys of others that are in it stay.

    Parameters
    ----------
    change
        To the dataset folder.
    dataset
        Name, task and split are taken from it.
    scales
        nm per pixel of each image by name, None if unknown.
    elsewhere
        Images that do not lie in the folder, and where they do; None = as it was.
    """
    if elsewhere is None:
        elsewhere = images_elsewhere(change.root)
    sizes, scale = dict(scales), None
    if len(set(sizes.values())) == 1:
        scale, sizes = next(iter(sizes.values())), {}
    about = Description(
        name=dataset.name,
        task=dataset.task,
        split=dict(dataset.split),
        scale=scale,
        scales={name: size for name, size in sizes.items() if size is not None},
        elsewhere=dict(elsewhere),
    )
    write_json(change.new(DESCRIPTION), about.updated(change.root / DESCRIPTION))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as text for people; names that are no proper text are escaped."""
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a file name with bytes that mean nothing
        text = json.dumps(content, indent=1).encode()
    path.write_bytes(text + b"\n")


def _write_image_file(
    change: FolderChange,
    name: str,
    image: Image,
    *,
    scale: float | None,
    source: Path | None = None,
    there: Pairing,
) -> None:
    """Write an image `(c, y, x)` as TIFF, unless `source` is the dataset's own file."""
    path = change.root / "images" / f"{name}.tif"
    for old in there.all_of("images", name):
        if change.is_leaving(place_of(old)):
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
