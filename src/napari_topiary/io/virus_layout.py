"""Where the public set of virus images keeps what: parts, classes, side files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from napari_topiary.errors import TopiaryError
from napari_topiary.io.virus_files import POSITIONS, TAGS

PARTS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
"""Name of a folder -> part of the split."""


@dataclass(frozen=True, kw_only=True)
class VirusImage:
    """One image with its side files.

    Parameters
    ----------
    image, positions, tags
        Its files; the tags may be missing.
    part
        Of the split.
    label
        Name of its class.
    """

    image: Path
    part: str
    label: str
    positions: Path
    tags: Path | None


def virus_images(root: Path) -> tuple[list[VirusImage], int]:
    """Find all images that have a file of positions, and count those without.

    Parameters
    ----------
    root
        Folder of all parts, of one part, or of one class.
    """
    if not root.is_dir():
        raise TopiaryError(f"There is no folder {root}: check the name.")
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
        if name.lower() in PARTS:
            part, folders = PARTS[name.lower()], folders[place + 1 :]
            break
    else:
        folders = folders[-1:]
    if not folders:
        raise TopiaryError(
            f"{image.name} lies in no class folder: put it into a folder that is named "
            "after its virus."
        )
    return part, folders[0]
