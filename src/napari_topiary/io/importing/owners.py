"""Which images of somebody else's folder a file belongs to, by its name and place."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from napari_topiary.io.images import readable_suffixes
from napari_topiary.io.importing.spellings import (
    is_only,
    shortened,
    without_number,
    without_series,
)
from napari_topiary.io.pairing import OF_IMAGES, image_name

Confidence = Literal["high", "medium", "ambiguous", "refused"]
_OF_FILM = re.compile(r"man_seg_?(\d+)")


class Owners:
    """Images by their names, in several spellings."""

    def __init__(self, images: Sequence[Path]) -> None:
        self.exact: defaultdict[str, list[Path]] = defaultdict(list)
        self.folded: defaultdict[str, list[Path]] = defaultdict(list)
        self.beside: defaultdict[Path, list[Path]] = defaultdict(list)
        for path in images:
            name = image_name(path)
            self.exact[name].append(path)
            short = OF_IMAGES.sub("", name)
            self.beside[path.parent].append(path)
            for spelling in {name.casefold(), short.casefold()}:
                self.folded[spelling].append(path)

    def of(
        self, name: str, near: Path, endings: re.Pattern[str] | None
    ) -> tuple[list[Path], Confidence, str]:
        """Images that something belongs to by its name, how sure, and why."""
        shorter = shortened(name, endings) if endings else {}
        for short, why in list(shorter.items()):  # a.tif_points, a.tif.points
            if Path(short).suffix.lower() in readable_suffixes():
                shorter[image_name(Path(short))] = why
        ways: list[tuple[list[Path], Confidence, str]] = [
            (self.exact.get(name, []), "high", "same name"),
            *(
                (self.exact.get(short, []), "high", where)
                for short, where in shorter.items()
            ),
            (
                self.folded.get(name.casefold(), []),
                "medium",
                "same name, but for case or an ending such as _image",
            ),
            *(
                (
                    self.folded.get(short.casefold(), []),
                    "medium",
                    f"{where}, other case or ending",
                )
                for short, where in shorter.items()
            ),
            (self._of_film(near), "high", "of the same picture of a film"),
            (
                self.folded.get(without_series(name).casefold(), []),
                "medium",
                "same name before the series",
            ),
            *(
                (
                    self.folded.get(without_number(short).casefold(), []),
                    "medium",
                    "same name behind a number",
                )
                for short in (name, *shorter)
            ),
        ]
        for found, confidence, reason in ways:
            if found:
                nearest = _nearest(found, near)
                return nearest, confidence, reason
        beside = self.beside.get(near.parent, []) if endings else []
        if len(beside) == 1 and endings and is_only(name, endings):
            return beside, "medium", "the only image in its folder"
        return [], "refused", ""

    def _of_film(self, labels: Path) -> list[Path]:
        """Images of the Cell Tracking Challenge: `01/t007.tif` of `man_seg007.tif`."""
        numbered = _OF_FILM.fullmatch(image_name(labels))
        film = labels.parent.parent.name.rpartition("_")[0]
        named = self.exact.get(f"t{numbered[1]}", []) if numbered else []
        return [path for path in named if path.parent.name == film]


def in_folders_of(given: str, images: list[Path]) -> list[Path]:
    """Of several images of one name those that lie where a table says, if any do.

    Parameters
    ----------
    given
        Place and name of the image, in a table.
    images
        Those of that name.
    """
    folders = given.replace("\\", "/").casefold().split("/")[:-1]
    for more in range(len(folders)):
        wanted = folders[more:]
        here = [
            path
            for path in images
            if [one.casefold() for one in path.parts[:-1]][-len(wanted) :] == wanted
        ]
        if here:
            return here
    return images


def _nearest(images: Iterable[Path], path: Path) -> list[Path]:
    """Of several images of one name those that share most folders with a file."""

    def shared(image: Path) -> int:
        return len(os.path.commonpath([image.absolute(), path.absolute()]))

    found = list(dict.fromkeys(images))
    most = max(map(shared, found))
    return [image for image in found if shared(image) == most]
