"""Which files of a dataset folder belong together, by their names.

The name of an image is that of its file without the ending (`cells.ome.tif` is
`cells`); what is drawn on it has the same name, in whatever case. Labels may also end
in `_masks` and the like, as other programs write them. What an operating system leaves
behind is passed over; whatever else lies about and is not used is named.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_topiary.annotations import annotation_kinds
from napari_topiary.io.images import readable_suffixes

_LEFT_BEHIND = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
_OF_LABELS = re.compile(
    r"[ _.-](cp_masks?|masks?|labels?|seg|segmentation|gt|annotations?)$", re.I
)
_OF_IMAGES = re.compile(r"[ _.-](img|image|raw)$", re.I)
_ZARR = (".zgroup", ".zarray", "zarr.json")
TABLE = ".csv"


@dataclass(frozen=True)
class Pairing:
    """The files of a dataset folder.

    Parameters
    ----------
    images
        Image files by the name of the image, in alphabetical order.
    drawn
        For each kind of annotation, its files by the name of the image.
    problems
        Sentences about files of which one cannot know which is meant; none of them is
        in `images` or `drawn`.
    notes
        Sentences about what is not used.
    """

    images: dict[str, Path]
    drawn: dict[str, dict[str, Path]]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, name: str) -> dict[str, Path]:
        """Return what is drawn on an image: a file for each kind that there is.

        Parameters
        ----------
        name
            Of the image.
        """
        return {
            kind: files[name] for kind, files in self.drawn.items() if name in files
        }


def pair_files(folder: str | os.PathLike[str]) -> Pairing:
    """Find the images of a dataset folder and what is drawn on each.

    Parameters
    ----------
    folder
        The dataset folder.
    """
    root = Path(folder)
    images, problems, notes = images_in(root)
    drawn = {}
    for kind in annotation_kinds:
        table = annotation_kinds[kind].storage == "table"
        suffixes = (TABLE,) if table else readable_suffixes()
        files, others = _split(visible_files(root / kind), suffixes)
        what = "table (.csv)" if table else f"label image ({', '.join(suffixes)})"
        notes += _unused(kind, others, f"no {what}")
        pairs = [(_owner(path, images, masks=not table), path) for path in files]
        lost = [path for owner, path in pairs if owner is None]
        if lost:
            notes.append(
                f"{kind}/{_first(lost)} belongs to no image in images: left out; its "
                "name has to be that of an image."
            )
        drawn[kind], twins = _unlike((owner, path) for owner, path in pairs if owner)
        problems += twins
    return Pairing(images, drawn, tuple(problems), tuple(notes))


def images_in(folder: Path) -> tuple[dict[str, Path], list[str], list[str]]:
    """Return the images by name, problems and notes, as `Pairing` has them.

    Parameters
    ----------
    folder
        The dataset folder.
    """
    found, others = _split(visible_files(folder / "images"), readable_suffixes())
    notes = _unused("images", others, f"no image ({', '.join(readable_suffixes())})")
    names = {image_name(path) for path in found}
    masks = [path for path in found if _base(image_name(path), names) is not None]
    if masks:
        notes.append(
            f"images/{_first(masks)} looks like the labels of another image: left out; "
            "move it into labels."
        )
    images, problems = _unlike(
        (image_name(path), path) for path in found if path not in masks
    )
    return images, problems, notes


def image_name(path: Path) -> str:
    """Return the name of the image in a file: without `.tif`, without `.ome.tif`.

    Parameters
    ----------
    path
        The file.
    """
    stem = path.stem
    return stem[:-4] if stem.lower().endswith(".ome") and len(stem) > 4 else stem


def visible_files(folder: Path) -> list[Path]:
    """Return what lies in a folder, in alphabetical order.

    Hidden files and those that operating systems leave behind are not among it.

    Parameters
    ----------
    folder
        Need not exist.
    """
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.name[0] != "." and path.name.lower() not in _LEFT_BEHIND
    )


def is_image(path: Path) -> bool:
    """Whether a file, or a folder that is a zarr array, may be an image by its name.

    Parameters
    ----------
    path
        The file or folder.
    """
    return path.suffix.lower() in readable_suffixes() and (
        not path.is_dir() or any((path / name).exists() for name in _ZARR)
    )


def _split(
    paths: Iterable[Path], suffixes: tuple[str, ...]
) -> tuple[list[Path], list[Path]]:
    """Files with one of the endings, and others."""
    good, others = list[Path](), list[Path]()
    for path in paths:
        fits = path.suffix.lower() in suffixes
        fits = fits and (is_image(path) or not path.is_dir())
        (good if fits else others).append(path)
    return good, others


def _owner(path: Path, images: Mapping[str, Path], *, masks: bool) -> str | None:
    """The image that a file belongs to."""
    name = image_name(path)
    for wanted in (name, _OF_LABELS.sub("", name) if masks else name):
        if wanted in images:
            return wanted
        alike = [
            image
            for image in images
            if wanted.casefold()
            in (image.casefold(), _OF_IMAGES.sub("", image).casefold())
        ]
        if len(alike) == 1:
            return alike[0]
    return None


def _base(name: str, names: set[str]) -> str | None:
    """The image of which `name` are the masks by its name."""
    base = _OF_LABELS.sub("", name)
    return base if base != name and base in names else None


def _unlike(pairs: Iterable[tuple[str, Path]]) -> tuple[dict[str, Path], list[str]]:
    """One file for each name, and sentences about names that have several."""
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for name, path in pairs:
        by_name[name].append(path)
    sentences = [
        f"{paths[0].parent.name}: {' and '.join(path.name for path in paths)} have the "
        f"same name {name!r}: keep one of them here, or rename the other."
        for name, paths in by_name.items()
        if len(paths) > 1
    ]
    return {n: paths[0] for n, paths in by_name.items() if len(paths) == 1}, sentences


def _unused(folder: str, paths: list[Path], why: str) -> list[str]:
    if not paths:
        return []
    if all(path.is_dir() for path in paths):
        why = "a folder" if len(paths) == 1 else "folders"
    return [f"{folder}/{_first(paths)}: left out, {why}."]


def _first(paths: list[Path]) -> str:
    more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
    return f"{paths[0].name}{more}"
