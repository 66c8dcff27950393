"""Where results may be written: nobody's file is ever replaced.

Every verb names beforehand what it reads and what it will write. Refused are an input,
another target of the same run, what is no ordinary file, what is write-protected, and
a file that is there already and was not written by Topiary.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from napari_topiary.annotations import annotation_kinds
from napari_topiary.errors import TopiaryError
from napari_topiary.io.atomic import is_protected
from napari_topiary.io.own_files import written_by_topiary
from napari_topiary.io.pairing import images_elsewhere, safe_name, unused_name
from napari_topiary.io.plain_files import DESCRIPTION
from napari_topiary.io.run_crate import CRATE, is_edited

REPORT = ".json"
"""Ending of what says what came of a run."""
COMPARISON, COMPARISON_PAGE = "comparison.csv", "report.html"
"""Table and report of networks on the same images, beside the pictures."""


@dataclass(frozen=True)
class OutputFile:
    """A file that a run will write."""

    path: Path
    option: str = "--out"  #: What the person chose it by, for sentences
    #: Ending that says what is written, where that of the path need not: only a result
    #: of the same kind makes room for it
    kind: str = ""


@dataclass(frozen=True)
class Files:
    """What a run reads and writes."""

    #: Everything that it will write, as far as that is known beforehand
    writes: tuple[OutputFile, ...] = ()
    reads: tuple[Path, ...] = ()  #: Files and folders that it reads: never replaced
    #: Files that it reads and may replace by what is made of them, if the person says
    #: so
    parents: tuple[Path, ...] = ()
    #: Where results go of which not all names are known beforehand
    folder: Path | None = None


def check_targets(files: Files, *, overwrite: bool = False) -> None:
    """Refuse, before any work, to write where something would be lost.

    Parameters
    ----------
    files
        Of a run.
    overwrite
        Whether the person has said that existing files may be replaced.

    Raises
    ------
    TopiaryError
        With a sentence about the first target that is not possible.
    """
    taken: dict[str, OutputFile] = {}
    described = (one.path for one in files.writes if one.path.name == DESCRIPTION)
    made = [Path(os.path.realpath(path.parent)) for path in described]
    for target in files.writes:
        path, option = target.path, target.option
        check_file_target(path, made=made)
        if option != "--out" and path.suffix.lower() != REPORT:
            _check_beside(path, files.folder, option)
        # Some systems know no difference between A.tif and a.tif.
        key = os.path.realpath(path).casefold()
        if key in taken:
            names = " and ".join(dict.fromkeys((taken[key].option, option)))
            raise TopiaryError(
                f"{names} would be written to the same file, {path}: give different "
                "names."
            )
        taken[key] = target
        if not path.exists():
            continue
        own = written_by_topiary(path, kind=target.kind)
        if any(_is_read(path, read, own=own) for read in files.reads):
            raise TopiaryError(
                f"{path} is what this command reads, and is never written over: give "
                f"{option} another name."
            )
        if overwrite:
            continue
        if any(_same(path, parent) for parent in files.parents):
            raise TopiaryError(
                f"{path} is the network that this one starts from: give {option} "
                "another name, or --overwrite to replace it."
            )
        what = "was not written by Topiary"
        if not own and written_by_topiary(path):
            what = "is another kind of file"
        elif own and is_edited(path):
            own, what = False, "was changed since Topiary wrote it"
        if not own:
            raise TopiaryError(
                f"{path} is there already and {what}: give {option} another name, or "
                "--overwrite to replace it."
            )


def check_replaced(paths: Iterable[Path], *, overwrite: bool = False) -> None:
    """Refuse to write results from Python where a person's file would be lost.

    Parameters
    ----------
    paths
        Files that will be written.
    overwrite
        Whether whoever calls has said that existing files may be replaced.
    """
    for path in paths:
        check_file_target(path)
        if not overwrite and path.exists() and not written_by_topiary(path):
            raise TopiaryError(
                f"{path} is there already and was not written by Topiary: give another "
                "name, or overwrite=True to replace it."
            )


def check_file_target(path: Path, *, made: Sequence[Path] = ()) -> None:
    """Refuse, before any work, a place where no file can be written."""
    if path.name == "-":
        raise TopiaryError("Results go into files: give the name of one instead of -.")
    if path.name == CRATE:
        raise TopiaryError(
            f"{path} is where Topiary notes how results came about: give another name."
        )
    if path.is_symlink() and not path.exists():
        raise TopiaryError(
            f"{path} is a link to {os.readlink(path)}, which is not there: make it, or "
            "give another name."
        )
    real = Path(os.path.realpath(path))
    folders = path.suffix.lower() == ".zarr"
    if real.is_dir() and not folders:
        raise TopiaryError(f"{path} is a folder: give the name of a file.")
    if real.exists() and not (real.is_file() or real.is_dir()):
        raise TopiaryError(
            f"{path} is a pipe or a device, not a file: give the name of a file."
        )
    if real.exists() and is_protected(real):
        raise TopiaryError(
            f"{path} is write-protected: give another name, or allow writing to it."
        )
    check_folder_target(real.parent)
    home, is_new = real.parent.parent, not real.exists()
    among = is_new and real.parent.name in ("images", *annotation_kinds)
    if among and (home in made or (home / DESCRIPTION).is_file()):
        raise TopiaryError(
            f"{path} would lie among the {real.parent.name} of a data set and be taken "
            "for one of them: choose another folder."
        )


def _check_beside(path: Path, folder: Path | None, option: str) -> None:
    """Refuse a report that could have the name of a result in the same folder."""
    if folder is None:
        return
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise TopiaryError(
            f"{path} would lie among the results in {folder} and could replace one of "
            f"them: let {option} end in {REPORT}, or choose another folder."
        )


def check_folder_target(folder: Path) -> None:
    """Refuse, before any work, a folder that is not there and cannot be made."""
    if folder.name == "-":
        raise TopiaryError("Results go into a folder: give its name instead of -.")
    there = folder.absolute()
    if there.is_symlink() and not there.exists():
        raise TopiaryError(f"{there} is a link to a folder that is not there: make it.")
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise TopiaryError(f"{there} is a file, so nothing can be written below it.")
    if is_protected(there):
        raise TopiaryError(f"{there} cannot be written to: choose another folder.")


def targets_in(
    folder: Path,
    patterns: Sequence[str],
    *,
    names: Sequence[str] = (),
    marks: Sequence[str] = (),
) -> tuple[OutputFile, ...]:
    """Return the files in a folder that results of many names may replace.

    Parameters
    ----------
    folder
        Where the results go; need not exist.
    patterns
        What their names look like, below the folder.
    names
        Those that are known beforehand.
    marks
        Such names that show, where one is there and Topiary's, that the whole folder
        holds results of the same kind.
    """
    check_folder_target(folder)
    known = tuple(OutputFile(folder / n) for n in dict.fromkeys((*marks, *names)))
    if any(map(written_by_topiary, (folder / name for name in marks))):
        return known
    there = {path for pattern in patterns for path in folder.glob(pattern)}
    there -= {target.path for target in known}
    # What is not to be found by a pattern: links to nowhere.
    there |= {folder / name for name in patterns if os.path.lexists(folder / name)}
    # A folder with the name of a file is in the way; others hold results.
    return known + tuple(
        OutputFile(path)
        for path in sorted(there)
        if not path.is_dir() or path.suffix not in ("", ".zarr")
    )


def study_targets(folder: Path) -> tuple[OutputFile, ...]:
    """Return what a study would replace in a folder that is not that of a study."""
    return targets_in(
        folder,
        ("*.md", "*.csv", "*.png", "*.json", "*.jsonl"),
        names=("table.md",),
        marks=("study.json", "results.jsonl"),
    )


def comparison_targets(folder: Path, names: Sequence[str]) -> tuple[OutputFile, ...]:
    """Return what a report of networks would replace.

    Parameters
    ----------
    folder
        Where it goes; need not exist.
    names
        Of all networks but the first, which the others are held against.
    """
    pictures = tuple(f"*{escape(safe_name(name))}*.png" for name in names)
    return targets_in(folder, pictures, names=(COMPARISON, COMPARISON_PAGE))


def free_name(path: Path) -> Path:
    """Return a name that no file has: the one given, or with a number."""

    def place(stem: str) -> Path:
        return path.with_name(f"{stem}{path.suffix}")

    return place(unused_name(path.stem, lambda stem: os.path.lexists(place(stem))))


def _is_read(path: Path, read: Path, *, own: bool) -> bool:
    """Whether writing `path` would change what is read from `read`."""
    if read.is_dir() and not path.is_dir():
        inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(read))
        return not own and (inside or any(_same(path, one) for one in _linked(read)))
    return _same(path, read)


def _linked(folder: Path) -> Iterator[Path]:
    """What a data set is made of that does not lie in its folder."""
    yield from (path for path in folder.rglob("*") if path.is_symlink())
    yield from (folder / place for place in images_elsewhere(folder).values())


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)
