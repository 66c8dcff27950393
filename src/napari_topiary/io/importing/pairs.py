"""Which images and annotations of somebody else's folder belong together.

Nothing is guessed in silence: every pair has a reason and how sure it is, and what is
ambiguous is named and never used.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats import (
    Marks,
    format_of,
    read_marks,
    readable_tables,
)
from napari_topiary.io.dataset_description import DESCRIPTION
from napari_topiary.io.formats import elsewhere
from napari_topiary.io.images import is_image
from napari_topiary.io.pairing import (
    LABEL_FOLDERS,
    OF_IMAGES,
    OF_LABELS,
    OF_TABLES,
    image_name,
    visible_files,
    whole_images,
)
from napari_topiary.io.plain_files import check_folder
from napari_topiary.io.stacks import Slice

LABELS = "labels"
"""Format of what is painted: an image file of numbers."""
Confidence = Literal["high", "medium", "ambiguous", "refused"]
_UID = re.compile(r"^\d{12,}_")
_SHARED = (".txt", ".csv", ".tsv", ".json", ".xml", ".zip")
"""Endings of so many things that a file which is no annotation is none to speak of."""
_NOT_ANNOTATIONS = frozenset({DESCRIPTION, "session.json"})


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """An image and what is drawn on it."""

    image: Path
    annotation: Path  #: The file with what is drawn
    format: str  #: ``"labels"``, or the name of an annotation format
    confidence: Confidence  #: How sure it is; only ``"high"`` and ``"medium"`` are used
    reason: str  #: Why they belong together, or why they are not used
    marks: Marks | None = None  #: What a table marks on the image; None for labels
    slice: Slice | None = None  #: Of a stack, which of its images it is

    @property
    def is_used(self) -> bool:
        """Whether it becomes part of the data set."""
        return self.confidence in ("high", "medium")


@dataclass(frozen=True)
class Unused:
    """A file that is not used, and why."""

    path: Path
    reason: str


def pair_folder(
    folder: Path, *, only: str = "", without: Path | None = None
) -> tuple[list[Pair], list[Unused]]:
    """Pair the images of a folder, and of those in it, with annotations.

    Parameters
    ----------
    folder
        Anybody's.
    only
        Pattern of the names of annotation files that are used, such as ``*.star``;
        empty = all.
    without
        A folder inside that is not looked at.

    Returns
    -------
    tuple
        The pairs, ambiguous ones too, and files that are not used.
    """
    check_folder(folder)
    files = list(_walk(folder, without))
    pictures = [path for path in files if is_image(path)]
    whole, _ = whole_images(pictures)
    images, labels = _apart(whole, folder)
    owners = _Owners(images)
    pairs, unused = list[Pair](), list[Unused]()
    for path in labels:
        if only and not fnmatch(path.name.lower(), only.lower()):
            continue
        pairs += _found(owners, path, image_name(path), LABELS, unused)
    for path in files:
        if path in pictures or path.name.lower() in _NOT_ANNOTATIONS:
            continue
        if path.suffix.lower() not in readable_tables():
            reason = "neither an image nor annotations by its name"
            advice = elsewhere(path).removeprefix(f"{path.name} ")
            unused.append(Unused(path, advice or reason))
        elif not only or fnmatch(path.name.lower(), only.lower()):
            pairs += _of_table(owners, path, unused)
    pairs = _one_each(pairs)
    drawn = {pair.image for pair in pairs}
    unused += [Unused(path, "no annotation") for path in images if path not in drawn]
    unused = list(dict.fromkeys(unused))  # once for all slices of a table
    return sorted(pairs, key=lambda pair: (pair.image, pair.annotation)), unused


class _Owners:
    """Images by their names, in several spellings."""

    def __init__(self, images: Sequence[Path]) -> None:
        self.exact: defaultdict[str, list[Path]] = defaultdict(list)
        self.folded: defaultdict[str, list[Path]] = defaultdict(list)
        for path in images:
            name = image_name(path)
            self.exact[name].append(path)
            short = OF_IMAGES.sub("", name)
            for spelling in {name.casefold(), short.casefold()}:
                self.folded[spelling].append(path)

    def of(
        self, name: str, near: Path, endings: re.Pattern[str] | None
    ) -> tuple[list[Path], Confidence, str]:
        """Images that something belongs to by its name, how sure, and why."""
        shorter = _shortened(name, endings) if endings else {}
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
            *(
                (
                    self.folded.get(_UID.sub("", short).casefold(), []),
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
        return [], "refused", ""


def _shortened(name: str, endings: re.Pattern[str]) -> dict[str, str]:
    """Names that may be meant, without what is put behind or before one -> what it is.

    What is before is the less sure: it may be how the name of the image begins.
    """
    behind, before = endings.search(name, 1), endings.match(name)
    last = behind.start() if behind else len(name)
    first = before.end() if before else 0
    ways = (
        (name[first:last], f"{name[:first]} before and {name[last:]} behind the name"),
        (name[first:], f"{name[:first]} before the name"),
        (name[:last], f"{name[last:]} behind the name"),
    )
    found = reversed(dict(ways).items())
    return {short: why for short, why in found if short not in ("", name)}


def _found(
    owners: _Owners,
    path: Path,
    name: str,
    format: str,
    unused: list[Unused],
    marks: Marks | None = None,
) -> list[Pair]:
    """The pair of a file, or of what a table says about one image."""
    named = marks is not None and bool(marks.image)
    # A name in a table is meant as it is.
    endings = None if named else OF_LABELS if marks is None else OF_TABLES
    images, confidence, reason = owners.of(name, path, endings)
    if named:
        reason = f"the table names it, {reason}"
    if not images:
        if not named:
            unused.append(Unused(path, f"belongs to no image ({name})"))
        return []
    if len(images) > 1:
        several = " and ".join(str(_short(image)) for image in images)
        return [
            Pair(
                image=image,
                annotation=path,
                format=format,
                confidence="ambiguous",
                reason=f"could belong to {several}: rename one of them",
                marks=marks,
            )
            for image in images
        ]
    inside = images[0].parent != path.parent
    where = f", in {path.parent.name}" if inside and not named else ""
    return [
        Pair(
            image=images[0],
            annotation=path,
            format=format,
            confidence=confidence,
            reason=reason + where,
            marks=marks,
        )
    ]


def _of_table(owners: _Owners, path: Path, unused: list[Unused]) -> list[Pair]:
    """The pairs of everything that a file of another program is about."""
    try:
        kind = format_of(path)
        found = read_marks(path)
    except TopiaryError as error:
        reason = str(error).removeprefix(f"{path.name}: ")
        images, _, _ = owners.of(image_name(path), path, OF_TABLES)
        if len(images) == 1 and path.suffix.lower() not in _SHARED:
            return [
                Pair(
                    image=images[0],
                    annotation=path,
                    format=path.suffix[1:],
                    confidence="refused",
                    reason=reason,
                )
            ]
        unused.append(Unused(path, reason))
        return []
    pairs, missing = list[Pair](), list[str]()
    for marks in found:
        name = marks.image_stem if marks.image else image_name(path)
        if marks.image_file in owners.exact:  # its dot is no ending's
            name = marks.image_file
        own = _found(owners, path, name, kind, unused, marks)
        pairs += own
        if not own and marks.image:
            missing.append(marks.image_stem)
    if not pairs and len(found) == 1 and found[0].image:
        # A table of one image, under a name that it had elsewhere.
        renamed = replace(found[0], image="")
        own = _found(owners, path, image_name(path), kind, [], renamed)
        if own and own[0].is_used:
            reason = f"{own[0].reason}; the table itself names {missing[0]}"
            return [replace(one, confidence="medium", reason=reason) for one in own]
        if own:
            return own
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        unused.append(
            Unused(path, f"marks {missing[0]}{more}: no such image in the folder")
        )
    return pairs


def _one_each(pairs: list[Pair]) -> list[Pair]:
    """Two files for one image are ambiguous: nobody knows which one is meant."""
    by_image: defaultdict[Path, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_image[pair.image].append(pair)
    result = list[Pair]()
    for same in by_image.values():
        paths = list(dict.fromkeys(pair.annotation for pair in same))
        slices = {pair.marks.slice if pair.marks else None for pair in same}
        if len(same) < 2 or (len(paths) == 1 and len(slices - {None}) == len(same)):
            result += same
            continue
        files = [path.name for path in paths]
        if len(set(files)) < len(files):
            files = [_short(path).as_posix() for path in paths]
        if len(files) > 1:
            reason = (
                f"{' and '.join(files)} are both for this image: keep one of them, or "
                "say which are meant (--only)"
            )
        else:
            reason = (
                f"{files[0]} marks this image twice, under different names or in two "
                "tables: keep one of them"
            )
        result += [
            replace(pair, confidence="ambiguous", reason=reason)
            if pair.is_used
            else pair
            for pair in same
        ]
    return result


def _walk(folder: Path, without: Path | None) -> Iterator[Path]:
    """Files below a folder; images that are folders (zarr) are one each."""
    skipped = None if without is None else without.resolve()
    for path in visible_files(folder):
        if path.is_dir() and not is_image(path):
            is_data_set = (path / DESCRIPTION).is_file()  # of an earlier import
            if path.is_symlink() or is_data_set or path.resolve() == skipped:
                continue
            yield from _walk(path, without)
        else:
            yield path


def _apart(pictures: Sequence[Path], root: Path) -> tuple[list[Path], list[Path]]:
    """Images, and images that are labels of others by their name or folder."""
    in_folder = [path for path in pictures if _is_of_labels(path, root)]
    others = [path for path in pictures if path not in set(in_folder)]
    names = {image_name(path).casefold() for path in others}
    behind = [
        path
        for path in others
        if names
        & {
            f"{base}{more}".casefold()
            for base in _shortened(image_name(path), OF_LABELS)
            for more in ("", "_img", "_image", "_raw")
        }
    ]
    return [p for p in others if p not in set(behind)], in_folder + behind


def _is_of_labels(path: Path, root: Path) -> bool:
    folders = path.relative_to(root).parts[:-1]
    return any(name.lower() in LABEL_FOLDERS for name in folders)


def _nearest(images: Iterable[Path], path: Path) -> list[Path]:
    """Of several images of one name those that share most folders with a file."""

    def shared(image: Path) -> int:
        return len(os.path.commonpath([image.absolute(), path.absolute()]))

    found = list(dict.fromkeys(images))
    most = max(map(shared, found))
    return [image for image in found if shared(image) == most]


def _short(path: Path) -> Path:
    return Path(*path.parts[-2:])
