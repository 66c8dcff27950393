"""Somebody else's images and annotations -> a reviewed table -> a dataset folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_topiary.annotations import annotation_problem, usable_annotations
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_files import write_annotations
from napari_topiary.io.dataset import Dataset, Sample, read_dataset
from napari_topiary.io.dataset_description import DESCRIPTION, known_part
from napari_topiary.io.dataset_writing import write_description, write_sample_image
from napari_topiary.io.folder_changes import changing
from napari_topiary.io.images import is_image
from napari_topiary.io.importing.drawn import (
    annotations_of_labels,
    annotations_of_marks,
    label_stats,
    marks_on,
)
from napari_topiary.io.importing.evidence import Evidence
from napari_topiary.io.importing.meaning import (
    ImportConfig,
    LabelStats,
    Meaning,
    meaning_of,
)
from napari_topiary.io.importing.pairs import (
    LABELS,
    NEITHER,
    NO_ANNOTATION,
    NO_IMAGE,
    Pair,
    Unused,
    is_data_set,
    pair_folder,
)
from napari_topiary.io.importing.slices import PairFiles, slices_of
from napari_topiary.io.pairing import (
    image_name,
    pair_files,
    safe_name,
    unused_name,
    visible_files,
)
from napari_topiary.types import Job, Progress, Stop

DEFAULTS = ImportConfig()


@dataclass(frozen=True, eq=False, kw_only=True)
class Reviewed:
    """One pair, and what is known of it after reading both."""

    pair: Pair
    name: str  #: What the image is called in the data set
    count: int = 0  #: How many things are marked, or how many numbers are painted
    #: `(y, x)` of the image; None if it could not be read
    shape: tuple[int, int] | None = None
    scale: float | None = None  #: nm per pixel, None if unknown
    stats: LabelStats | None = None  #: What numbers are painted; None for tables
    notes: tuple[str, ...] = ()  #: Sentences for the user

    @property
    def which(self) -> str:
        """Which slice of a stack it is, in words; empty where the image is one."""
        place = self.pair.slice
        return "" if place is None else f", slice {place.index}"


@dataclass(frozen=True, eq=False, kw_only=True)
class ImportReview:
    """What a folder holds, and what would be made of it."""

    folder: Path  #: That was looked at
    rows: tuple[Reviewed, ...]  #: Every pair, those too that are ambiguous or refused
    unused: tuple[Unused, ...]  #: Files that are not used, and why
    config: ImportConfig  #: How the annotations were read
    #: Task, classes and numbers that the data set would have; None if there is no pair
    #: that can be used
    meaning: Meaning | None
    #: What has to be said before a data set can be written; empty if nothing
    problem: str = ""
    notes: tuple[str, ...] = ()  #: Sentences for the user

    @property
    def used(self) -> tuple[Reviewed, ...]:
        """The pairs that become part of the data set."""
        return tuple(row for row in self.rows if row.pair.is_used)

    @property
    def left_out(self) -> tuple[Reviewed, ...]:
        """The pairs that do not: ambiguous ones, and those with a fault."""
        return tuple(row for row in self.rows if not row.pair.is_used)

    def table(self) -> list[dict[str, Any]]:
        """Return the pairs as rows for people and programs."""
        return [
            {
                "image": _below(row.pair.image, self.folder) + row.which,
                "annotation": _below(row.pair.annotation, self.folder),
                "format": row.pair.format,
                "confidence": row.pair.confidence,
                "reason": row.pair.reason,
                "count": row.count,
                "pixel_size_nm": row.scale,
                "notes": list(row.notes),
            }
            for row in self.rows
        ]


def review_folder(
    folder: str | os.PathLike[str],
    config: ImportConfig = DEFAULTS,
    *,
    without: Path | None = None,
) -> Job[ImportReview]:
    """Pair the images and annotations of a folder and look at each pair.

    Parameters
    ----------
    folder
        Anybody's.
    config
        How the annotations are to be read.
    without
        A folder inside that is not looked at, such as that of the data set to be.

    Yields
    ------
    Progress
        In pairs. `Stop` ends it with what was looked at.

    Raises
    ------
    TopiaryError
        With a sentence if there is no such folder, or a setting is not possible.
    """
    problem = config.problem()
    if problem:
        raise TopiaryError(problem)
    root = Path(folder)
    _check_apart(root, without)
    pairs, unused = pair_folder(root, only=config.only, without=without)
    names = _names([pair.image for pair in pairs], root)
    rows, evidence, files = list[Reviewed](), Evidence(config), PairFiles()
    together = Counter((pair.image, pair.annotation) for pair in pairs)
    for index, pair in enumerate(pairs):
        alone = together[pair.image, pair.annotation] == 1
        for row in _rows_of(pair, names[pair.image], files, alone=alone):
            is_used = row.pair.is_used
            rows.append(_looked_at(row, config, evidence, files) if is_used else row)
        message = yield Progress(
            index + 1, len(pairs), f"Looking at {pair.annotation.name}"
        )
        if message is Stop:
            break
    used = [row for row in rows if row.pair.is_used]
    meaning, problem, notes = meaning_of(
        [(row.pair.marks, row.stats, row.scale) for row in used], config
    )
    if meaning is not None:
        rows = [_held_against(row, meaning, config, files) for row in rows]
    if not any(row.pair.is_used for row in rows):
        problem = _nothing(root, rows, unused)
    return ImportReview(
        folder=root,
        rows=tuple(rows),
        unused=tuple(unused),
        config=config,
        meaning=meaning,
        problem=problem,
        notes=tuple(note for note in (*notes, evidence.note()) if note),
    )


def import_reviewed(review: ImportReview, out: str | os.PathLike[str]) -> Job[Dataset]:
    """Write what was reviewed as a dataset folder, as one act.

    Yields
    ------
    Progress
        In images. `Stop` ends it; the images so far make a data set.

    Raises
    ------
    TopiaryError
        With a sentence if there is nothing to write, or something has to be said
        first.
    """
    meaning = review.meaning
    if review.problem or meaning is None:
        raise TopiaryError(review.problem or f"{review.folder}: nothing to take over.")
    target, split, files = Path(out), dict[str, list[str]](), PairFiles()
    scales: dict[str, float | None] = {}
    with changing(target) as change:
        there = pair_files(target)
        for index, row in enumerate(review.used):
            image = files.image(row.pair)
            drawn, _ = _annotations(row, meaning, review.config, files)
            sample = Sample(image.data, drawn, row.scale, row.name)
            write_sample_image(change, sample, there=there)
            write_annotations(change, row.name, drawn, there=there)
            scales[row.name] = row.scale
            part = _part(row.pair.image, review.folder)
            if part:
                split.setdefault(part, []).append(row.name)
            message = yield Progress(
                index + 1, len(review.used), f"Taking over {row.name}"
            )
            if message is Stop:
                break
        parts = {part: tuple(names) for part, names in split.items()}
        about = Dataset(review.folder.resolve().name, meaning.task, {}, parts)
        write_description(change, about, scales=scales)
    return read_dataset(target)


def _rows_of(pair: Pair, name: str, files: PairFiles, *, alone: bool) -> list[Reviewed]:
    """A row for a pair, or for each slice of a stack that something is drawn on."""
    row = Reviewed(pair=pair, name=name, count=len(pair.marks or ()))
    if not pair.is_used:
        return [row]
    try:
        each, note = slices_of(pair, name, files, alone=alone)
    except TopiaryError as error:
        return [_refused(row, str(error))]
    names = [one.slice.name if one.slice else name for one in each]
    rows = [replace(row, pair=p, name=n) for p, n in zip(each, names, strict=True)]
    return [replace(rows[0], notes=(note,) if note else ()), *rows[1:]]


def _looked_at(
    row: Reviewed, config: ImportConfig, evidence: Evidence, files: PairFiles
) -> Reviewed:
    """Read both files of a pair; whatever is wrong is its reason."""
    pair = row.pair
    try:
        loaded = files.image(pair)
        shape = (int(loaded.data.shape[1]), int(loaded.data.shape[2]))
        scale = config.pixel_size_nm or loaded.scale
        notes = (*loaded.notes, *row.notes)
        row = replace(row, shape=shape, scale=scale, notes=notes)
        if pair.marks is None:
            labels = files.labels(pair, config)
            stats = label_stats(labels, pair.annotation.name)
            if labels.shape != shape:
                raise TopiaryError(
                    f"{pair.annotation.name} is {labels.shape[0]} x {labels.shape[1]} "
                    f"pixels, but the image is {shape[0]} x {shape[1]} (height x "
                    "width): they must have the same size."
                )
            return replace(row, stats=stats, count=stats.count)
        marks, scale, said = marks_on(
            pair.marks, shape, scale=scale, config=config, file=pair.annotation.name
        )
        evidence.add(loaded.data, marks.places, scale)
        row = replace(row, scale=scale, notes=(*row.notes, *said))
        return replace(row, pair=replace(pair, marks=marks))
    except TopiaryError as error:
        return _refused(row, str(error))


def _held_against(
    row: Reviewed, meaning: Meaning, config: ImportConfig, files: PairFiles
) -> Reviewed:
    """Refuse a pair whose annotations do not fit its image or the task."""
    if not row.pair.is_used or row.shape is None:
        return row
    try:
        drawn, notes = _annotations(row, meaning, config, files)
    except TopiaryError as error:
        return _refused(row, str(error))
    problem = annotation_problem(
        drawn, row.shape, task=meaning.task, scale=row.scale, radii=False
    )
    if problem:
        return _refused(row, problem + config.hint(problem))
    _, said = usable_annotations(drawn, row.shape, task=meaning.task, scale=row.scale)
    said = tuple(note + config.hint(note) for note in said)
    return replace(row, notes=(*row.notes, *notes, *said))


def _annotations(
    row: Reviewed, meaning: Meaning, config: ImportConfig, files: PairFiles
) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """What is drawn on an image, in the words of the data set."""
    if row.pair.format == LABELS:
        return annotations_of_labels(files.labels(row.pair, config), meaning)
    if row.pair.marks is None or row.shape is None:
        return (), ()
    return annotations_of_marks(row.pair.marks, row.shape, meaning, config)


def _refused(row: Reviewed, reason: str) -> Reviewed:
    files = (row.pair.annotation.name, row.pair.image.name)
    for name in files:
        reason = reason.removeprefix(f"{name}: ")
    return replace(row, pair=replace(row.pair, confidence="refused", reason=reason))


def _check_apart(folder: Path, out: Path | None) -> None:
    """Refuse to make a data set where the files lie that it is to be made from."""
    if is_data_set(folder):
        raise TopiaryError(
            f"{folder} is a data set already, as its {DESCRIPTION} says: train, "
            "evaluate and compare take it as it is."
        )
    if out is None or not out.is_dir() or is_data_set(out):
        return
    whole, own = folder.resolve(), out.resolve()
    inside = whole in own.parents and any(map(is_image, visible_files(out)))
    if whole == own or inside:
        raise TopiaryError(
            f"{out} holds files that the data set is to be made from: give --out the "
            "name of a new folder."
        )


def _nothing(root: Path, rows: list[Reviewed], unused: list[Unused]) -> str:
    if rows:
        first = rows[0].pair
        more = f" Nor can {len(rows) - 1} other pairs." if len(rows) > 1 else ""
        return (
            f"{first.annotation.name} cannot be used for {first.image.name}: "
            f"{first.reason}{'' if first.reason.endswith('.') else '.'}{more}"
        )
    of_images = (NO_ANNOTATION, NEITHER)
    telling = [one for one in unused if one.reason not in of_images]
    if not telling:
        why = "no annotation is there" if unused else "it is empty"
    else:
        file = telling[0]
        kind = file.reason.partition("(")[0]
        alike = sum(one.reason.startswith(kind) for one in telling) - 1
        more = f" (and {alike} more)" if alike else ""
        colon = ":" if file.reason[:1].isupper() else ""
        why = f"{file.path.name}{more}{colon} {file.reason}".rstrip(".")
        if not file.reason.startswith(NO_IMAGE):
            return f"{root} holds no image together with annotations: {why}."
    return (
        f"{root} holds no image together with annotations: {why}; an annotation file "
        "has the name of its image, lies in a folder such as masks, or names its "
        "images in a table."
    )


def _names(images: list[Path], root: Path) -> Mapping[Path, str]:
    """A name for each image; those of the same name get that of their folder too."""
    paths = list(dict.fromkeys(images))
    taken = Counter(image_name(path).casefold() for path in paths)
    names, used = dict[Path, str](), set[str]()
    for path in paths:
        name = image_name(path)
        if taken[name.casefold()] > 1:
            folders = path.relative_to(root).parts[:-1]
            name = safe_name("_".join((*folders, name)))
        names[path] = unused_name(name, lambda one: one.casefold() in used)
        used.add(names[path].casefold())
    return names


def _part(image: Path, root: Path) -> str:
    folders = image.relative_to(root).parts[:-1]
    return next(filter(None, map(known_part, folders)), "")


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
