"""A dataset folder: images and what a person drew on them.

    dataset.json  images/  points/  centerlines/  labels/  regions/

What the workbench saves has the same form, so a project that was made by clicking
trains from the command line unchanged.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import annotation_problem
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_files import (
    Drawn,
    over_stack,
    read_annotations,
    read_stack_annotations,
)
from napari_topiary.io.dataset_description import (
    KNOWN,
    Description,
    Split,
    parse_description,
    parts_of,
    resolved_split,
    split_problem,
)
from napari_topiary.io.excerpts import Excerpt, cut_marked, cut_out
from napari_topiary.io.folder_changes import complete_changes
from napari_topiary.io.image_area import image_area
from napari_topiary.io.images import (
    LoadedImage,
    read_image,
    read_slices,
    readable_suffixes,
)
from napari_topiary.io.large_images import AnyImage, LargeImage
from napari_topiary.io.overlap import shown_by, sketch_of
from napari_topiary.io.pairing import Pairing, pair_files
from napari_topiary.io.stacks import Slice
from napari_topiary.types import Image, Task, Window
from napari_topiary.words import listed

_SAME_SCALE = 1.02
_PACKAGE = Path(__file__).resolve().parents[1]

Axis = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and what is drawn on it."""

    #: `(c, y, x)`, any numeric type; a project has a `LargeImage` here until it is
    #: `read_marked`
    image: Image
    #: Points, Centerlines, Labels, Regions; empty = nothing is known
    annotations: tuple[Any, ...] = ()
    scale: float | None = None  #: nm per pixel, None if unknown
    name: str = "image"  #: Name of the image, which is the stem of its files
    path: Path | None = None  #: Where the image comes from
    notes: tuple[str, ...] = ()  #: Sentences for the user about its file
    #: Of a large image only marked parts are in `image`: where they come from
    excerpt: Excerpt | None = None

    @cached_property
    def area(self) -> NDArray[np.bool_]:
        """Pixels `(y, x)` that carry an image."""
        if self.excerpt is not None:
            return self.excerpt.area(self.image)
        return image_area(self.image)

    @cached_property
    def fingerprint(self) -> str:
        """Of the pixels: the same under another name, or in another data set."""
        excerpt = self.excerpt
        # What is marked of a large image may be more the next time.
        image = np.ascontiguousarray(self.image if excerpt is None else excerpt.thin)
        return hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest()

    @cached_property
    def sketch(self) -> tuple[int, ...]:
        """Some of its rows of pixels: a part of the image has some of them too."""
        return sketch_of(self.image)

    def shown_by(self, sketches: Sequence[Sequence[int]]) -> list[bool]:
        """Of each of some other images, whether half of this, or more, is in it."""
        return shown_by(self.image, sketches, own=self.sketch)

    @property
    def whole(self) -> tuple[int, int]:
        """`(y, x)` of the image in its file, in pixels."""
        if self.excerpt is not None:
            return self.excerpt.whole
        return self.image.shape[1], self.image.shape[2]

    def origins(self, shape: tuple[int, ...]) -> tuple[Axis, Axis]:
        """Return where in the image of its file the pixels of a grid lie.

        Parameters
        ----------
        shape
            `(h, w)` of a grid over `image`.

        Returns
        -------
        tuple
            y and x of each pixel's middle, counted from the corner of the first pixel:
            they can be broadcast to `(h, w)`, and are not a number between parts.
        """
        if self.excerpt is not None:
            return self.excerpt.origins(shape)
        y, x = (
            ((np.arange(n) + 0.5) * side / n).astype(np.float32)
            for n, side in zip(shape, self.whole, strict=True)
        )
        return y[:, None], x[None]

    def inside(self, window: Window) -> NDArray[np.bool_]:
        """Pixels `(y, x)` of `image` that lie in a part of the image of its file."""
        y, x = self.origins(self.image.shape[1:])
        top, bottom, left, right = window
        return (y >= top) & (y < bottom) & (x >= left) & (x < right)

    def read_marked(self, task: Task) -> Sample:
        """Return the sample itself, or of a large image the marked parts, read now."""
        image: AnyImage = self.image
        if not isinstance(image, LargeImage):
            return self
        try:
            cut = cut_marked(image, self.annotations, task=task, scale=self.scale)
        except TopiaryError as reason:
            raise TopiaryError(f"{self.name}: {reason}") from reason
        return replace(
            self,
            image=cut.image,
            annotations=cut.annotations,
            excerpt=cut.excerpt,
            notes=(*self.notes, *cut.notes),
        )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with annotations, and which of them are for what."""

    name: str
    task: Task  #: Kind of answer, classes and radii
    #: Samples by name; those of a folder are read when asked for, each time anew
    samples: Mapping[str, Sample]
    #: Names of the samples in each part (``"train"``, ``"val"``, ``"test"``...)
    split: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    root: Path | None = None  #: The folder, None if it was never one
    #: nm per pixel of all images, None if unknown or not the same
    scale: float | None = None
    #: Sentences for the user: what lies in the folder and is not used
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Names of the samples of each part; what is in no part is for training."""
        return parts_of(self.split, self.samples)

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

    def __init__(self, about: Description, pairing: Pairing) -> None:
        self._about, self._pairing, self._files = about, pairing, pairing.images
        self._stack: tuple[str, tuple[Drawn, ...], tuple[LoadedImage, ...]] | None = (
            None
        )

    def __getitem__(self, name: str) -> Sample:
        path, about = self._files[name], self._about
        place = self._pairing.slices.get(name)
        excerpt, drawn = None, self._pairing.of(name)
        if place is not None:
            loaded, annotations = self._slice(name, place)
        elif (cut := cut_out(path, drawn, about.task)) is not None:
            loaded = LoadedImage(cut.image, cut.scale, cut.notes)
            annotations, excerpt = cut.annotations, cut.excerpt
        else:
            loaded = read_image(path)
            annotations = read_annotations(drawn, task=about.task)
        scale, notes = about.scale_of(
            name, loaded.scale, stack=None if place is None else place.stack
        )
        sentence = annotation_problem(
            annotations,
            loaded.data.shape[1:],
            task=about.task,
            scale=scale,
            radii=False,
        )
        if sentence is not None:
            raise TopiaryError(f"{name}: {sentence}")
        notes = (*loaded.notes, *notes)
        # A slice is not all that is in its file.
        source = path if place is None else None
        return Sample(loaded.data, annotations, scale, name, source, notes, excerpt)

    def _slice(self, name: str, place: Slice) -> tuple[LoadedImage, tuple[Any, ...]]:
        """Return a slice; all of the stack that was asked for last stay in memory."""
        task = self._about.task
        if self._stack is None or self._stack[0] != place.stack:
            self._stack = None
            images = tuple(read_slices(place.path))
            files = self._pairing.of(place.stack)
            each = read_stack_annotations(files, task=task, count=place.count)
            self._stack = place.stack, each, images
        _, each, images = self._stack
        drawn = each[place.index]
        if drawn.faults:
            raise TopiaryError(drawn.faults[0])
        own = read_annotations(self._pairing.of(name), task=task)
        return images[place.index], over_stack(own, drawn.annotations)

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
    complete_changes(root)
    about = parse_description(root)
    pairing = pair_files(root)
    if pairing.problems:
        raise TopiaryError(f"{root.name}/{pairing.problems[0]}")
    if not pairing.images:
        for note in pairing.notes:
            if note.startswith("images/"):
                raise TopiaryError(f"{root.name} holds no images: {note}")
        raise TopiaryError(
            f"{root.name} holds no images: put them into {root.name}/images "
            f"({', '.join(readable_suffixes())})."
        )
    split = resolved_split(about.split, pairing.images, pairing.stacks)
    problem = split_problem(split, pairing.images)
    if problem:
        raise TopiaryError(f"{root.name}: {problem}")
    return Dataset(
        name=about.name,
        task=about.task,
        samples=_Folder(about, pairing),
        split=split,
        root=root,
        scale=about.scale,
        notes=(*pairing.notes, *_elsewhere(split, pairing), *_unused(split, pairing)),
    )


def _elsewhere(split: Split, pairing: Pairing) -> tuple[str, ...]:
    """Tell which images are in parts whose marks nobody looks at unless asked to."""
    others = [part for part, names in split.items() if names and part not in KNOWN]
    left = set(pairing.images).difference(*split.values())
    if not others or (len(others) == len(split) and not left):
        return ()  # none, or folds: nothing is learned from unless it is asked for
    usual = {name for part in KNOWN for name in split.get(part, ())}
    names = {name for part in others for name in split[part]} - usual
    if not names:
        return ()
    many = "1 image is" if len(names) == 1 else f"{len(names)} images are"
    return (
        f"{many} in {' and '.join(map(repr, others))}: what is marked there is not "
        f"learned from, and only evaluate --split {' or '.join(map(repr, others))} "
        f"judges on it. The usual parts are {', '.join(KNOWN)}.",
    )


def _unused(split: Split, pairing: Pairing) -> tuple[str, ...]:
    """Tell which images a split has forgotten."""
    used = {name for names in split.values() for name in names}
    unused = [name for name in pairing.images if name not in used]
    if not split.get("train"):
        return ()  # "train" is all the rest
    if not unused:
        return ()
    many = "1 image is" if len(unused) == 1 else f"{len(unused)} images are"
    return (f"{many} in no part of the split: taken as 'train' ({listed(unused)}).",)


def sample_folder() -> Path:
    """Return the folder `sample_data`: in an installed package, or in a checkout."""
    for folder in (_PACKAGE / "sample_data", _PACKAGE.parents[1] / "sample_data"):
        if folder.is_dir():
            return folder
    raise TopiaryError(
        "The sample images are not installed: install napari-topiary again from its "
        "wheel, or run it from a complete checkout."
    )


def sample_names() -> tuple[str, ...]:
    """Names of the sample datasets."""
    return tuple(sorted(f.parent.name for f in sample_folder().glob("*/dataset.json")))


def sample_dataset(name: str) -> Dataset:
    """Return a sample dataset.

    Parameters
    ----------
    name
        One of `sample_names`.

    Raises
    ------
    TopiaryError
        With a sentence that names the known ones.
    """
    if name not in sample_names():
        raise TopiaryError(
            f"There is no sample called {name!r}: the samples are "
            f"{', '.join(sample_names())}."
        )
    return read_dataset(sample_folder() / name)


def scale_notes(samples: Sequence[Sample]) -> list[str]:
    """Say where images of one set differ in pixel size, or have none.

    Parameters
    ----------
    samples
        What is learned from or judged on together.
    """
    notes = []
    scales = {sample.name: sample.scale for sample in samples}
    known = {name: scale for name, scale in scales.items() if scale}
    if known and max(known.values()) > _SAME_SCALE * min(known.values()):
        notes.append(
            f"The pixel sizes differ, from {min(known.values()):.4g} to "
            f"{max(known.values()):.4g} nm: images are brought to the same size."
        )
    if known and len(known) < len(scales):
        unknown = [name for name in scales if name not in known]
        notes.append(
            f"The pixel size of {listed(unknown)} is unknown: taken to be that of the "
            "first image."
        )
    return notes
