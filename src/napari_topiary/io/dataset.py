"""A dataset folder: images and what a person drew on them.

    dataset.json  images/  points/  centerlines/  labels/  regions/

What the workbench saves has the same form, so a project that was made by clicking
trains from the command line unchanged.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_topiary.annotations import annotation_kinds, annotation_problem
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_files import read_annotations, write_annotations
from napari_topiary.io.atomic import writing
from napari_topiary.io.description import (
    DESCRIPTION,
    Description,
    parse_description,
)
from napari_topiary.io.images import read_image, readable_suffixes, write_image
from napari_topiary.types import Image, Task

_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and what is drawn on it.

    Parameters
    ----------
    image
        `(c, y, x)`, any numeric type.
    annotations
        Points, Centerlines, Labels, Regions; empty = nothing is known.
    scale
        nm per pixel, None if unknown.
    name
        Name of the image, which is the stem of its files.
    path
        Where the image comes from.
    """

    image: Image
    annotations: tuple[Any, ...] = ()
    scale: float | None = None
    name: str = "image"
    path: Path | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with annotations, and which of them are for what.

    Parameters
    ----------
    name
        Name of the dataset.
    task
        Kind of answer, classes and radii.
    samples
        Samples by name; those of a folder are read when asked for, each time anew.
    split
        Names of the samples in each part (``"train"``, ``"val"``, ``"test"``...).
    root
        The folder, None if it was never one.
    scale
        nm per pixel of all images, None if unknown or not the same.
    """

    name: str
    task: Task
    samples: Mapping[str, Sample]
    split: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    root: Path | None = None
    scale: float | None = None

    def part(self, name: str) -> tuple[Sample, ...]:
        """Return the samples of one part; ``"all"`` are all of them.

        Parameters
        ----------
        name
            ``"train"``, ``"val"``, ``"test"`` or what else the split names. Without any
            split every sample belongs to ``"train"``.
        """
        return tuple(self.samples[stem] for stem in self.part_names(name))

    def part_names(self, name: str) -> tuple[str, ...]:
        """Return the names of the samples of one part."""
        split = self.split or {"train": tuple(self.samples)}
        if name in split:
            return tuple(split[name])
        if name == "all":
            return tuple(self.samples)
        raise TopiaryError(
            f"The dataset {self.name!r} has no part {name!r}: it has "
            f"{', '.join(split)}."
        )

    def has_part(self, name: str) -> bool:
        """Whether a part is there and not empty."""
        split = self.split or {"train": tuple(self.samples)}
        return bool(split.get(name))


class _Folder(Mapping[str, Sample]):
    """Samples of a dataset folder, read when asked for."""

    def __init__(self, root: Path, about: Description, images: dict[str, Path]) -> None:
        self._root, self._about, self._images = root, about, images

    def __getitem__(self, name: str) -> Sample:
        path = self._images[name]
        loaded = read_image(path)
        task = self._about.task
        annotations = read_annotations(self._root, name, task=task)
        scale = loaded.scale if self._about.scale is None else self._about.scale
        sentence = annotation_problem(
            annotations, loaded.data.shape[1:], task=task, scale=scale, radii=False
        )
        if sentence is not None:
            raise TopiaryError(f"{name}: {sentence}")
        return Sample(loaded.data, annotations, scale, name, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


def read_dataset(folder: str | os.PathLike[str]) -> Dataset:
    """Open a dataset folder; images and annotations are read when asked for.

    Parameters
    ----------
    folder
        The folder that holds `dataset.json`.

    Raises
    ------
    TopiaryError
        With a sentence for whatever is wrong with it.
    """
    root = Path(folder)
    about = parse_description(root)
    images = _images(root)
    for part, stems in about.split.items():
        unknown = [stem for stem in stems if stem not in images]
        if unknown:
            raise TopiaryError(
                f"{root.name}: the split {part!r} names {unknown[0]!r}"
                + (f" and {len(unknown) - 1} more" if len(unknown) > 1 else "")
                + f", but there is no such image in {root.name}/images: add it, or "
                f"remove the name from {DESCRIPTION}."
            )
    for kind in annotation_kinds:
        orphans = sorted({p.stem for p in _files(root / kind)} - set(images))
        if orphans:
            raise TopiaryError(
                f"{root.name}: {kind}/{orphans[0]} belongs to no image in "
                f"{root.name}/images: add the image, or remove the file."
            )
    return Dataset(
        name=about.name,
        task=about.task,
        samples=_Folder(root, about, images),
        split=about.split,
        root=root,
        scale=about.scale,
    )


def write_dataset(folder: str | os.PathLike[str], dataset: Dataset) -> None:
    """Write a dataset folder; each file is replaced only once the new one is complete.

    Images become TIFF with their pixel size; an image that lies in the folder already
    stays as it is.

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
    scales = set()
    for name, sample in dataset.samples.items():
        scales.add(sample.scale)
        write_sample_image(root, sample)
        write_annotations(root, name, sample.annotations)
    scale = scales.pop() if len(scales) == 1 else None
    write_description(root, dataset, scale=scale)


def write_description(
    folder: str | os.PathLike[str], dataset: Dataset, *, scale: float | None
) -> None:
    """Write `dataset.json` alone; keys of others that are in it stay.

    Parameters
    ----------
    folder
        The dataset folder.
    dataset
        Name, task and split are taken from it.
    scale
        nm per pixel of all images, None if unknown or not the same.
    """
    path = Path(folder) / DESCRIPTION
    about = Description(dataset.name, dataset.task, dict(dataset.split), scale)
    content = about.updated(path)
    with writing(path) as beside:
        beside.write_text(
            json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def write_sample_image(folder: str | os.PathLike[str], sample: Sample) -> Path:
    """Write the image of one sample, unless it lies in the folder already.

    Parameters
    ----------
    folder
        The dataset folder.
    sample
        Image, scale and name are taken from it.

    Returns
    -------
    Path
        Where the image is.
    """
    home = Path(folder) / "images"
    there = _images_by_stem(home).get(sample.name, [])
    if sample.path is not None and sample.path.resolve() in [
        p.resolve() for p in there
    ]:
        return sample.path
    others = [path for path in there if path.suffix.lower() != ".tif"]
    if others:
        raise TopiaryError(
            f"{others[0]} is there already and would get a twin of the same name: save "
            "to another folder, or rename one of the images."
        )
    path = home / f"{sample.name}.tif"
    write_image(path, sample.image, scale=sample.scale)
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


def _images(root: Path) -> dict[str, Path]:
    found = _images_by_stem(root / "images")
    if not found:
        raise TopiaryError(
            f"{root.name} holds no images: put them into {root.name}/images "
            f"({', '.join(readable_suffixes())})."
        )
    for stem, paths in found.items():
        if len(paths) > 1:
            raise TopiaryError(
                f"{root.name}: {' and '.join(p.name for p in paths)} have the same "
                f"name {stem!r}: rename or remove one of them."
            )
    return {stem: paths[0] for stem, paths in found.items()}


def _images_by_stem(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    suffixes = readable_suffixes()
    for path in _files(folder):
        if path.suffix.lower() in suffixes:
            found.setdefault(path.stem, []).append(path)
    return found


def _files(folder: Path) -> list[Path]:
    """Files of a folder in alphabetical order, without hidden ones."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
