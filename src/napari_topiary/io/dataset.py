"""A dataset folder: images and what a person drew on them.

    dataset.json  images/  points/  centerlines/  labels/  regions/

What the workbench saves has the same form, so a project that was made by clicking
trains from the command line unchanged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_topiary.annotations import annotation_kinds, annotation_problem
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_files import read_annotations
from napari_topiary.io.dataset_writing import (
    write_dataset,
    write_description,
    write_sample_image,
)
from napari_topiary.io.description import (
    DESCRIPTION,
    Description,
    parse_description,
)
from napari_topiary.io.image_files import (
    check_name,
    image_files,
    safe_name,
    visible_files,
)
from napari_topiary.io.images import read_image, readable_suffixes
from napari_topiary.types import Image, Task

__all__ = [
    "Dataset",
    "Sample",
    "check_name",
    "read_dataset",
    "safe_name",
    "write_dataset",
    "write_description",
    "write_sample_image",
]


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

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Names of the samples of each part; without a split all are for training."""
        return dict(self.split) or {"train": tuple(self.samples)}

    def part(self, name: str) -> tuple[Sample, ...]:
        """Return the samples of one part; ``"all"`` are all of them.

        Parameters
        ----------
        name
            ``"train"``, ``"val"``, ``"test"`` or what else the split names.
        """
        parts = self.parts
        if name in parts:
            return tuple(self.samples[stem] for stem in parts[name])
        if name == "all":
            return tuple(self.samples.values())
        raise TopiaryError(
            f"The dataset {self.name!r} has no part {name!r}: it has "
            f"{', '.join(parts)}."
        )


class _Folder(Mapping[str, Sample]):
    """Samples of a dataset folder, read when asked for."""

    def __init__(self, root: Path, about: Description, files: dict[str, Path]) -> None:
        self._root, self._about, self._files = root, about, files

    def __getitem__(self, name: str) -> Sample:
        path, about = self._files[name], self._about
        loaded = read_image(path)
        annotations = read_annotations(self._root, name, task=about.task)
        scale = about.scales.get(name, about.scale)
        scale = loaded.scale if scale is None else scale
        sentence = annotation_problem(
            annotations,
            loaded.data.shape[1:],
            task=about.task,
            scale=scale,
            radii=False,
        )
        if sentence is not None:
            raise TopiaryError(f"{name}: {sentence}")
        return Sample(loaded.data, annotations, scale, name, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


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
    files = image_files(root)
    for kind in annotation_kinds:
        for path in visible_files(root / kind):
            if path.stem not in files:
                raise TopiaryError(
                    f"{root.name}: {kind}/{path.name} belongs to no image in "
                    f"{root.name}/images: add the image, or remove the file."
                )
    _check_split(root, about, files)
    return Dataset(
        name=about.name,
        task=about.task,
        samples=_Folder(root, about, files),
        split=about.split,
        root=root,
        scale=about.scale,
    )


def _check_split(root: Path, about: Description, files: Mapping[str, Path]) -> None:
    if not files:
        raise TopiaryError(
            f"{root.name} holds no images: put them into {root.name}/images "
            f"({', '.join(readable_suffixes())})."
        )
    for part, stems in about.split.items():
        unknown = [stem for stem in stems if stem not in files]
        if unknown:
            raise TopiaryError(
                f"{root.name}: the split {part!r} names {unknown[0]!r}"
                + (f" and {len(unknown) - 1} more" if len(unknown) > 1 else "")
                + f", but there is no such image in {root.name}/images: add it, or "
                f"remove the name from {DESCRIPTION}."
            )
