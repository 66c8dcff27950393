"""Which images and annotations of somebody else's folder belong together.

Nothing is guessed in silence: every pair has a reason and how sure it is, and what is
ambiguous is named and never used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats import (
    Marks,
    format_of,
    marks_inside,
    read_marks,
    readable_tables,
)
from napari_topiary.io.formats import elsewhere
from napari_topiary.io.images import is_image
from napari_topiary.io.importing.owners import Confidence, Owners, in_folders_of
from napari_topiary.io.importing.pieces import one_for_each_object
from napari_topiary.io.importing.spellings import first_channel, images_and_labels
from napari_topiary.io.pairing import (
    OF_LABELS,
    OF_TABLES,
    image_name,
    visible_files,
    whole_images,
)
from napari_topiary.io.plain_files import (
    DESCRIPTION,
    can_be_listed,
    check_folder,
    read_json,
)
from napari_topiary.io.stacks import Slice

LABELS = "labels"
"""Format of what is painted: an image file of numbers."""
NO_IMAGE = "belongs to no image"
NO_ANNOTATION = "no annotation"
OTHER_CHANNEL = "another channel, as nnU-Net names them: the first alone is taken"
NEITHER = "neither an image nor annotations by its name"
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
    #: Masks of one object each that `annotation`, their folder or the first of them,
    #: stands for
    pieces: tuple[Path, ...] = ()

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
    images, labels = images_and_labels(whole, folder)
    owners = Owners(images)
    pairs, unused = list[Pair](), list[Unused]()
    wanted = [path for path in labels if _is_meant(path, folder, only)]
    named = [path for path in wanted if owners.of(image_name(path), path, OF_LABELS)[0]]
    pieces = one_for_each_object(wanted, images, named)
    for image, masks in pieces.items():
        pairs.append(_in_pieces(image, masks, labels))
    of_pieces = {path for masks in pieces.values() for path in masks}
    for path in wanted:
        if path not in of_pieces:
            pairs += _found(owners, path, image_name(path), LABELS, unused)
    for path in files:
        if path in pictures or path.name.lower() in _NOT_ANNOTATIONS:
            continue
        if path.is_dir():
            unused.append(Unused(path, "cannot be looked into, for lack of rights"))
        elif path.suffix.lower() not in readable_tables():
            advice = elsewhere(path).removeprefix(f"{path.name} ")
            unused.append(Unused(path, advice or NEITHER))
        elif _is_meant(path, folder, only):
            pairs += _of_table(owners, path, unused)
    if not only:
        pairs += _inside(set(images) - {pair.image for pair in pairs}, unused)
    pairs = _one_each(pairs)
    drawn = {pair.image for pair in pairs}
    unused += [
        Unused(path, OTHER_CHANNEL if first_channel(path) in drawn else NO_ANNOTATION)
        for path in images
        if path not in drawn
    ]
    unused = list(dict.fromkeys(unused))  # once for all slices of a table
    return sorted(pairs, key=lambda pair: (pair.image, pair.annotation)), unused


def _is_meant(path: Path, folder: Path, only: str) -> bool:
    """Whether a file is wanted by its name, or by its place in the folder."""
    place = path.relative_to(folder).as_posix().lower()
    return not only or any(
        fnmatch(one, only.lower()) for one in (path.name.lower(), place)
    )


def _found(
    owners: Owners,
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
    if named and marks is not None:
        images = in_folders_of(marks.image, images)
        reason = f"the table names it, {reason}"
    if not images:
        if not named:
            unused.append(Unused(path, f"{NO_IMAGE} ({name})"))
        return []
    if len(images) > 1:
        several = " and ".join(str(_short(image)) for image in images)
        reason = f"could belong to {several}: rename one of them"
        confidence = "ambiguous"
    elif images[0].parent != path.parent and not named:
        reason += f", in {path.parent.name}"
    return [
        Pair(
            image=image,
            annotation=path,
            format=format,
            confidence=confidence,
            reason=reason,
            marks=marks,
        )
        for image in images
    ]


def _in_pieces(image: Path, masks: tuple[Path, ...], labels: Sequence[Path]) -> Pair:
    """The pair of an image and masks of one object each."""
    folder = masks[0].parent
    whole = sum(path.parent == folder for path in labels) == len(masks)
    return Pair(
        image=image,
        annotation=folder if whole else masks[0],
        format=LABELS,
        confidence="medium",
        reason=f"{len(masks)} masks, one for each object",
        pieces=masks,
    )


def _of_table(owners: Owners, path: Path, unused: list[Unused]) -> list[Pair]:
    """The pairs of everything that a file of another program is about."""
    try:
        kind = format_of(path)
        found = read_marks(path)
    except TopiaryError as error:
        reason = str(error).removeprefix(path.name).removeprefix(":").lstrip()
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


def _inside(images: Iterable[Path], unused: list[Unused]) -> Iterator[Pair]:
    """The pairs of what is drawn into the files of images."""
    for path in sorted(images):
        try:
            kind, found = marks_inside(path)
        except TopiaryError as error:
            unused.append(Unused(path, str(error)))
            continue
        reason = "drawn into the file of the image"
        for marks in found:
            yield Pair(
                image=path, annotation=path, format=kind, confidence="high",
                reason=reason, marks=marks,
            )  # fmt: skip


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
            if path.is_symlink() or path.resolve() == skipped or is_data_set(path):
                continue
            if can_be_listed(path):
                yield from _walk(path, without)
            else:
                yield path
        else:
            yield path


def is_data_set(folder: Path) -> bool:
    """Whether a folder is a data set, as an earlier import leaves one."""
    try:
        content = read_json(folder / DESCRIPTION)
    except TopiaryError:
        return False
    # nnU-Net has a file of that name, too.
    return isinstance(content, dict) and "task" in content


def _short(path: Path) -> Path:
    return Path(*path.parts[-2:])
