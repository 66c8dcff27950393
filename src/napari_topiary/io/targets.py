"""Where results may be written: nobody's file is ever replaced.

Every verb names beforehand what it reads and what it will write. Refused are an input,
another target of the same run, what is no ordinary file, what is write-protected, and
a file that is there already and was not written by Topiary.
"""

from __future__ import annotations

import csv
import json
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import tifffile

from napari_topiary.annotations import annotation_kinds
from napari_topiary.errors import TopiaryError
from napari_topiary.io.plain_files import DESCRIPTION

WRITER = "napari-topiary"
"""Stands under `SOFTWARE` in every file of ours that has words beside its content."""
SOFTWARE = "software"
OWN_CHECKPOINT = b'"napari_topiary"'
OWN_HEADERS = (
    {"axis-0", "axis-1", "class", "score"},
    {"index", "shape-type", "vertex-index", "score", "length_px"},
    {"object", "kind", "class", "score", "area_px", "mean_intensity"},
    {"image", "class", "count", "density_per_um2", "covered_share"},
    {"name", "parameters_nonzero", "compression_ratio", "file_bytes"},
)
"""Columns by which tables of results are known: no other program names them so."""
LONGEST_JSON = 64 << 20
DAMAGED = (OSError, ValueError, RecursionError, LookupError, TypeError, BadZipFile)


@dataclass(frozen=True)
class OutputFile:
    """A file that a run will write.

    Parameters
    ----------
    path
        Where.
    option
        What the person chose it by, for sentences.
    """

    path: Path
    option: str = "--out"


@dataclass(frozen=True)
class Files:
    """What a run reads and writes.

    Parameters
    ----------
    writes
        Everything that it will write, as far as that is known beforehand.
    reads
        Files and folders that it reads: never replaced.
    parents
        Files that it reads and may replace by what is made of them, if the person says
        so.
    """

    writes: tuple[OutputFile, ...] = ()
    reads: tuple[Path, ...] = ()
    parents: tuple[Path, ...] = ()


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
        own = written_by_topiary(path)
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
        if not own:
            raise TopiaryError(
                f"{path} is there already and was not written by Topiary: give "
                f"{option} another name, or --overwrite to replace it."
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
    """Refuse, before any work, a place where no file can be written.

    Parameters
    ----------
    path
        Of the file.
    made
        Data sets that the same run makes: others are not written into.
    """
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
    if real.exists() and not _may_write(real):
        raise TopiaryError(
            f"{path} is write-protected: give another name, or allow writing to it."
        )
    check_folder_target(real.parent)
    home, is_new = real.parent.parent, not real.exists()
    among = is_new and real.parent.name in ("images", *annotation_kinds)
    if among and home not in made and (home / DESCRIPTION).is_file():
        raise TopiaryError(
            f"{path} would lie among the {real.parent.name} of a data set and be taken "
            "for one of them: choose another folder."
        )


def check_folder_target(folder: Path) -> None:
    """Refuse, before any work, a folder that is not there and cannot be made."""
    there = folder.absolute()
    if there.is_symlink() and not there.exists():
        raise TopiaryError(f"{there} is a link to a folder that is not there: make it.")
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise TopiaryError(f"{there} is a file, so nothing can be written below it.")
    if not os.access(there, os.W_OK):
        raise TopiaryError(f"{there} cannot be written to: choose another folder.")


def targets_in(
    folder: Path, patterns: Sequence[str], *, marks: Sequence[str] = ()
) -> tuple[OutputFile, ...]:
    """Return the files in a folder that results of many names may replace.

    Parameters
    ----------
    folder
        Where the results go; need not exist.
    patterns
        What their names look like, below the folder.
    marks
        Names of results that show, where one is there and Topiary's, that the whole
        folder holds results of the same kind.
    """
    check_folder_target(folder)
    own = [folder / name for name in marks if (folder / name).is_file()]
    if any(map(written_by_topiary, own)):
        return tuple(map(OutputFile, own))
    there = {path for pattern in patterns for path in folder.glob(pattern)}
    # What is not to be found by a pattern: links to nowhere.
    there |= {folder / name for name in patterns if os.path.lexists(folder / name)}
    # A folder with the name of a file is in the way; others hold results.
    return tuple(
        OutputFile(path)
        for path in sorted(there)
        if not path.is_dir() or path.suffix not in ("", ".zarr")
    )


def study_targets(folder: Path) -> tuple[OutputFile, ...]:
    """Return what a study would replace in a folder that is not that of a study."""
    return targets_in(
        folder,
        ("*.md", "*.csv", "*.png", "*.json", "*.jsonl"),
        marks=("study.json", "results.jsonl"),
    )


def free_name(path: Path) -> Path:
    """Return a name that no file has: the one given, or with a number."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def written_by_topiary(path: Path) -> bool:
    """Say whether a file is one of Topiary's results, by what is in it.

    Parameters
    ----------
    path
        Of an existing file, or of a folder (a zarr array).
    """
    looks = {
        ".safetensors": _own_checkpoint,
        **dict.fromkeys((".tif", ".tiff"), _own_tiff),
        ".json": _own_json,
        ".jsonl": _own_lines,
        ".csv": _own_table,
        ".png": _own_picture,
        ".zarr": _own_zarr,
        ".star": _own_star,
        ".cbox": _own_star,
        ".zip": _own_archive,
        ".html": _named_first,
        ".onnx": _named_first,
    }
    if not (path.is_file() or path.is_dir()):
        return False  # a pipe: who opens it waits without end
    look = looks.get(path.suffix.lower(), _own_json)
    try:
        return look(path)
    except DAMAGED:
        return False  # nothing of ours is damaged like that


def signed(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words beside a result with the mark that it is Topiary's."""
    return {SOFTWARE: WRITER, **about}


def _own_checkpoint(path: Path) -> bool:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return OWN_CHECKPOINT in file.read(min(length, LONGEST_JSON))


def _own_tiff(path: Path) -> bool:
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
        if str(getattr(page, "software", "")).startswith(WRITER):
            return True
        about = _words(getattr(page, "description", "") or "{}")
    # Files of earlier versions: the mark came later.
    return {"classes", "pixel_size_nm"} <= about.keys()


def _own_zarr(path: Path) -> bool:
    for name in ("zarr.json", ".zattrs"):
        if (path / name).is_file():
            words = _words((path / name).read_text(encoding="utf-8"))
            about = words.get("attributes", words)
            return _is_signed(about) or {"classes", "pixel_size_nm"} <= about.keys()
    return False


def _words(text: str) -> dict[str, Any]:
    words = json.loads(text)
    return words if isinstance(words, dict) else {}


def _own_json(path: Path) -> bool:
    if path.stat().st_size > LONGEST_JSON:
        return False
    about = json.loads(path.read_text(encoding="utf-8"))
    return _is_signed(about) or _is_own_crate(about)


def _is_own_crate(about: Any) -> bool:
    """Whether it is a crate whose first run is one of Topiary's."""
    graph = about.get("@graph") if isinstance(about, dict) else None
    programs = [
        one.get("name")
        for one in graph or ()
        if isinstance(one, dict) and one.get("@type") == "SoftwareApplication"
    ]
    return bool(programs) and set(programs) == {WRITER}


def _own_lines(path: Path) -> bool:
    with path.open(encoding="utf-8") as file:
        first = _words(file.readline())
    return {"study", "cell", "measured", "identity"} <= first.keys()


def _is_signed(about: Any) -> bool:
    return isinstance(about, dict) and str(about.get(SOFTWARE)).startswith(WRITER)


def _own_table(path: Path) -> bool:
    with path.open(newline="", encoding="utf-8") as file:
        header = set(next(csv.reader(file), ()))
    return any(own <= header for own in OWN_HEADERS)


def _own_star(path: Path) -> bool:
    with path.open(encoding="utf-8") as file:
        return file.readline().strip() == f"# {WRITER}"


def _own_archive(path: Path) -> bool:
    with ZipFile(path) as archive:
        return archive.comment == WRITER.encode()


def _named_first(path: Path) -> bool:
    """Pages, and networks in ONNX, say in their beginning what made them."""
    with path.open("rb") as file:
        start, name = file.read(1000), WRITER.encode()
    return b'content="%s"' % name in start or b"\x12%c%s" % (len(name), name) in start


def _own_picture(path: Path) -> bool:
    return any(WRITER in words for words in _picture_words(path))


def _picture_words(path: Path) -> Iterator[str]:
    """The texts in a PNG, before its pixels are decoded."""
    with path.open("rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            return
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"tEXt" and length < 1000:
                content = file.read(length)
                if zlib.crc32(head[4:] + content) == int.from_bytes(file.read(4)):
                    yield content.decode("latin-1")
            else:
                file.seek(length + 4, os.SEEK_CUR)


def _is_read(path: Path, read: Path, *, own: bool) -> bool:
    """Whether writing `path` would change what is read from `read`."""
    if read.is_dir() and not path.is_dir():
        inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(read))
        return inside and not own
    return _same(path, read)


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _may_write(path: Path) -> bool:
    # Whoever may do everything (root) is held to the mark as well: it was set on
    # purpose.
    marked = path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    return bool(marked) and os.access(path, os.W_OK)
