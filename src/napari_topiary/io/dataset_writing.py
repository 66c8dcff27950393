"""Writing a dataset folder, whole or in parts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from napari_topiary.io.annotation_files import write_annotations
from napari_topiary.io.atomic import writing
from napari_topiary.io.description import DESCRIPTION, Description
from napari_topiary.io.image_files import check_name, write_image_file

if TYPE_CHECKING:
    from napari_topiary.io.dataset import Dataset, Sample


def write_dataset(folder: str | os.PathLike[str], dataset: Dataset) -> None:
    """Write a dataset folder; each file is replaced only once the new one is complete.

    Images become TIFF with their pixel size. An image that lies in the folder already
    stays as it is, and what has not changed is not written again. Nothing is deleted
    but annotations that the samples no longer have.

    Parameters
    ----------
    folder
        Made if it is not there; other files in it stay.
    dataset
        What to write.
    """
    root = Path(folder)
    for name in dataset.samples:
        check_name(name)
    scales: dict[str, float | None] = {}
    for name, sample in dataset.samples.items():
        scales[name] = sample.scale
        write_sample_image(root, sample)
        write_annotations(root, name, sample.annotations)
    write_description(root, dataset, scales=scales)


def write_sample_image(folder: str | os.PathLike[str], sample: Sample) -> Path:
    """Write the image of one sample, unless it lies in the folder already.

    Parameters
    ----------
    folder
        The dataset folder.
    sample
        Image, scale, name and path are taken from it.

    Returns
    -------
    Path
        Where the image is.
    """
    return write_image_file(
        folder, sample.name, sample.image, scale=sample.scale, source=sample.path
    )


def write_description(
    folder: str | os.PathLike[str],
    dataset: Dataset,
    *,
    scale: float | None = None,
    scales: Mapping[str, float | None] | None = None,
) -> None:
    """Write `dataset.json` alone; keys of others that are in it stay.

    Parameters
    ----------
    folder
        The dataset folder.
    dataset
        Name, task and split are taken from it.
    scale
        nm per pixel of all images, None if unknown.
    scales
        nm per pixel of each image by name, where they may differ.
    """
    sizes = dict(scales or {})
    if sizes and len(set(sizes.values())) == 1:
        scale, sizes = next(iter(sizes.values())), {}
    about = Description(
        name=dataset.name,
        task=dataset.task,
        split=dict(dataset.split),
        scale=scale,
        scales={name: size for name, size in sizes.items() if size is not None},
    )
    path = Path(folder) / DESCRIPTION
    text = json.dumps(about.updated(path), indent=1, ensure_ascii=False)
    with writing(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")
