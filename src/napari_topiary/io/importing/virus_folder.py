"""The public set of virus images -> a dataset folder.

Every class has a folder, inside a folder for each part (train, validation, test); the
side files may lie beside the images or further up. Parts and classes are taken from
the folder names, pixel sizes from the tags.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from napari_topiary.annotations import Centerlines, Points
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_files import write_annotations
from napari_topiary.io.dataset import Dataset, Sample, read_dataset
from napari_topiary.io.dataset_description import known_part, radius_names_problem
from napari_topiary.io.dataset_writing import write_description, write_sample_image
from napari_topiary.io.folder_changes import changing
from napari_topiary.io.images import read_image
from napari_topiary.io.importing.virus_files import (
    POSITIONS,
    TAGS,
    read_positions,
    read_tags,
)
from napari_topiary.io.pairing import pair_files, safe_name
from napari_topiary.io.plain_files import check_folder
from napari_topiary.types import BACKGROUND, Image, Job, Progress, Stop, Task

DIAMETER_NM: Final = {
    "adenovirus": 90.0,
    "astrovirus": 30.0,
    "cchf": 100.0,
    "cowpox": 250.0,
    "dengue": 50.0,
    "ebola": 80.0,
    "guanarito": 120.0,
    "influenza": 100.0,
    "lassa": 120.0,
    "lcm": 110.0,
    "machupo": 120.0,
    "marburg": 80.0,
    "nipah": 20.0,
    "norovirus": 35.0,
    "orf": 200.0,
    "papilloma": 55.0,
    "pseudocowpox": 200.0,
    "riftvalley": 95.0,
    "rotavirus": 75.0,
    "sapovirus": 35.0,
    "tbe": 50.0,
    "westnile": 50.0,
}
"""Outer diameter by name in small letters; Ebola and Marburg: width of the filament;
Nipah: free nucleocapsid strands (whole virions are 150 nm and more)."""


def nominal_radius(name: str) -> float | None:
    """Return half the usual diameter of a virus in nm, None where it is not listed.

    Parameters
    ----------
    name
        Of a class or folder; case, blanks and a trailing "virus" do not matter.

    Examples
    --------
    >>> nominal_radius("Rift Valley")
    47.5
    """
    letters = "".join(c for c in name.lower() if c.isalpha())
    short = letters.removesuffix("virus")
    for known in (letters, short, f"{short}virus"):
        if known in DIAMETER_NM:
            return DIAMETER_NM[known] / 2
    return None


NO_RADII: Mapping[str, float] = {}


@dataclass(frozen=True)
class ImportReport:
    """Report of the job's progress."""

    note: str = ""  #: A sentence for the user; empty mostly


@dataclass
class _Outcome:
    """What was written so far."""

    split: dict[str, list[str]] = field(default_factory=dict)
    scales: dict[str, float | None] = field(default_factory=dict)
    outside: int = 0


def import_virus_folder(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    radius_nm: Mapping[str, float] = NO_RADII,
    channel: int = 1,
) -> Job[Dataset]:
    """Turn a folder of the public set into a dataset folder.

    Parameters
    ----------
    folder
        Of all parts, of one part, or of one class.
    out
        The dataset folder, made if it is not there.
    radius_nm
        Class -> radius in nm; for the others the usual size of the virus is taken.
    channel
        Which channel of images that have several, the first is 1.

    Yields
    ------
    Progress
        In images, notes in its `ImportReport`. `Stop` ends it; the images so far make
        a dataset.

    Raises
    ------
    TopiaryError
        With a sentence if a file is damaged or does not belong, or there is nothing.
    """
    root, target = Path(folder), Path(out)
    entries, without = _virus_images(root)
    classes = tuple(sorted({entry.label for entry in entries}))
    task = Task("detect", (BACKGROUND, *classes), _radii(classes, radius_nm))
    taken = Counter(safe_name(entry.image.stem) for entry in entries)
    outcome = _Outcome()
    if without:
        note = f"{without} images have no file of positions: left out."
        yield Progress(0, len(entries), "Taking over", report=ImportReport(note))
    with changing(target) as change:
        there = pair_files(target)
        for index, entry in enumerate(entries):
            name = safe_name(entry.image.stem)
            name = name if taken[name] == 1 else _unique(entry, outcome)
            sample, outside, note = _sample(entry, name, channel)
            write_sample_image(change, sample, there=there)
            write_annotations(change, name, sample.annotations, there=there)
            outcome.split.setdefault(entry.part, []).append(name)
            outcome.scales[name] = sample.scale
            outcome.outside += outside
            report, words = ImportReport(note), f"Taking over {name}"
            step = Progress(index + 1, len(entries), words, report=report)
            if (yield step) is Stop:
                break
        if outcome.outside:
            note = f"{outcome.outside} particles lie outside their image: left out."
            yield Progress(1, 1, "Taking over", report=ImportReport(note))
        split = {part: tuple(names) for part, names in outcome.split.items()}
        about = Dataset(root.name, task, {}, split)
        write_description(change, about, scales=outcome.scales)
    return read_dataset(target)


def _radii(classes: tuple[str, ...], given: Mapping[str, float]) -> dict[str, float]:
    if problem := radius_names_problem(given, classes):
        raise TopiaryError(problem)
    radii = {name: given.get(name, nominal_radius(name)) for name in classes}
    missing = [name for name, radius in radii.items() if radius is None]
    if missing:
        raise TopiaryError(
            f"No size is known for {', '.join(missing)}: give its radius in nm "
            f"(--radius {missing[0]}=40)."
        )
    return {name: float(radius) for name, radius in radii.items() if radius is not None}


def _unique(entry: VirusImage, outcome: _Outcome) -> str:
    """Name an image that shares its file name with others."""
    name = safe_name(f"{entry.label}_{entry.image.stem}")
    for candidate in (name, f"{entry.part}_{name}"):
        if candidate not in outcome.scales:
            return candidate
    raise TopiaryError(
        f"Two images are called {entry.image.name} in folders of the same class and "
        "part: rename one of them."
    )


def _sample(entry: VirusImage, name: str, channel: int) -> tuple[Sample, int, str]:
    """Read an image with its particles; count those that lie outside."""
    loaded = read_image(entry.image)
    image, note = _one_channel(loaded.data, channel, entry.image.name)
    shape = np.array(image.shape[1:])
    scale = loaded.scale
    if entry.tags is not None:
        tags = read_tags(entry.tags)
        scale = tags.scale
        if tags.shape != tuple(shape):
            raise TopiaryError(
                f"{entry.tags.name} is about an image of {tags.shape[0]} x "
                f"{tags.shape[1]} pixels (height x width), but {entry.image.name} has "
                f"{shape[0]} x {shape[1]}: they do not belong together."
            )
    elif scale is None:
        note = note or f"{name} has no tags: its pixel size is not known."
    drawn = read_positions(entry.positions)
    inside = ((drawn.centres >= -0.5) & (drawn.centres <= shape - 0.5)).all(axis=1)
    lines = tuple(
        line
        for line in drawn.lines
        if (line.max(axis=0) >= -0.5).all() and (line.min(axis=0) <= shape - 0.5).all()
    )
    outside = int((~inside).sum()) + len(drawn.lines) - len(lines)
    centres = drawn.centres[inside]
    annotations: list[Points | Centerlines] = []
    if len(centres) or not lines:
        annotations.append(Points(centres, (entry.label,) * len(centres)))
    if lines:
        annotations.append(Centerlines(lines, (entry.label,) * len(lines)))
    return Sample(image, tuple(annotations), scale, name), outside, note


def _one_channel(image: Image, channel: int, name: str) -> tuple[Image, str]:
    """Electron micrographs are grey: one channel is the image, others are drawings."""
    count = image.shape[0]
    if count == 1:
        return image, ""
    if not 1 <= channel <= count:
        raise TopiaryError(
            f"{name} has {count} channels, so channel {channel} is not possible: give "
            f"--channel 1 to {count}."
        )
    return image[channel - 1 : channel], f"{name} has {count} channels: {channel} used."


@dataclass(frozen=True, kw_only=True)
class VirusImage:
    """One image with its side files."""

    #: `image`, `positions`, `tags`: its files; the tags may be missing
    image: Path
    part: str
    label: str  #: Name of its class
    positions: Path
    tags: Path | None


def _virus_images(root: Path) -> tuple[list[VirusImage], int]:
    """Find all images that have a file of positions, and count those without."""
    check_folder(root)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    positions = _by_image(files, POSITIONS)
    tags = _by_image(files, TAGS)
    entries, without = list[VirusImage](), 0
    for path in files:
        if path.suffix.lower() not in (".tif", ".tiff") or path.name.startswith("."):
            continue
        mine = _nearest(path, positions.get(path.stem, ()))
        if mine is None:
            without += 1
            continue
        part, label = _part_and_class(path, root)
        own_tags = _nearest(path, tags.get(path.stem, ()))
        entries.append(
            VirusImage(
                image=path, part=part, label=label, positions=mine, tags=own_tags
            )
        )
    if not entries:
        raise TopiaryError(
            f"{root} holds no TIFF image with a file of positions: give the folder "
            f"that holds the class folders and their particle_positions/*{POSITIONS}."
        )
    return entries, without


def _by_image(files: list[Path], ending: str) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in files:
        if path.name.endswith(ending):
            found.setdefault(path.name.removesuffix(ending), []).append(path)
    return found


def _nearest(image: Path, side_files: list[Path] | tuple[()]) -> Path | None:
    """Of several files of the same name the one that shares most folders."""

    def shared(path: Path) -> int:
        return len(os.path.commonpath([path.parent, image.parent]))

    return max(side_files, key=shared, default=None)


def _part_and_class(image: Path, root: Path) -> tuple[str, str]:
    """Read part and class from the names of the folders that an image is in."""
    folders = [root.name, *image.parent.relative_to(root).parts]
    part = "train"
    for place, name in enumerate(folders):
        if known_part(name):
            part, folders = known_part(name), folders[place + 1 :]
            break
    else:
        folders = folders[-1:]
    if not folders:
        raise TopiaryError(
            f"{image.name} lies in no class folder: put it into a folder that is named "
            "after its virus."
        )
    return part, folders[0]
