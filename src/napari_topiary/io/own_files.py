"""Topiary's own files: how results are known again, and where the user's are kept."""

from __future__ import annotations

import csv
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import tifffile

WRITER = "napari-topiary"
"""Stands under `SOFTWARE` in every file of ours that has words beside its content."""
SOFTWARE = "software"
CHECKPOINT = ".safetensors"
"""Ending of the files that rebuild a network."""
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
HOME = "NAPARI_TOPIARY_HOME"
"""Environment variable that names another folder for everything of the user."""
DAMAGED = (OSError, ValueError, RecursionError, LookupError, TypeError, BadZipFile)


def written_by_topiary(path: Path, *, kind: str = "") -> bool:
    """Say whether a file is one of Topiary's results, by what is in it.

    Parameters
    ----------
    path
        Of a file, or of a folder (a zarr array).
    kind
        Ending of the results that are meant; empty = that of the file.
    """
    looks = {
        CHECKPOINT: _own_checkpoint,
        **dict.fromkeys((".tif", ".tiff"), _own_tiff),
        ".json": _own_json,
        ".jsonl": _own_lines,
        ".csv": _own_table,
        ".png": _own_picture,
        ".zarr": _own_zarr,
        ".star": _own_star,
        ".cbox": _own_star,
        ".zip": _own_archive,
        ".html": _own_page,
        ".md": _own_page,
        ".onnx": _named_first,
    }
    if not (path.is_file() or path.is_dir()):
        return False  # a pipe: who opens it waits without end
    look = looks.get(kind or path.suffix.lower(), _own_json)
    try:
        return look(path)
    except DAMAGED:
        return False  # nothing of ours is damaged like that


def signed(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words beside a result with the mark that it is Topiary's."""
    return {SOFTWARE: WRITER, **about}


def write_page(path: Path, parts: Iterable[str]) -> None:
    """Write Markdown or HTML, at its end a mark that is not seen where it is shown.

    The mark is of what is in the text: whoever edits it makes it their own.
    """
    crc = 0
    with path.open("wb") as file:
        for part in parts:
            content = part.encode()
            crc = zlib.crc32(content, crc)
            file.write(content)
        file.write(_page_mark(crc))


def _page_mark(crc: int) -> bytes:
    return b"<!-- %s %08x -->\n" % (WRITER.encode(), crc)


def _own_page(path: Path) -> bool:
    content = path.read_bytes()
    text = content[: content.rfind(b"<!-- ")]
    return content[len(text) :] == _page_mark(zlib.crc32(text))


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
    """Networks in ONNX say in their beginning what made them."""
    with path.open("rb") as file:
        start, name = file.read(1000), WRITER.encode()
    return b"\x12%c%s" % (len(name), name) in start


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


def user_folder() -> Path:
    """Return the folder for what must not be lost; it may not exist yet."""
    return _folder("XDG_DATA_HOME", Path(".local", "share"), "Application Support")


def cache_folder() -> Path:
    """Return the folder for what can be found out again; it may not exist yet."""
    chosen = os.environ.get(HOME)
    if chosen:
        return Path(chosen) / "cache"
    return _folder("XDG_CACHE_HOME", Path(".cache"), "Caches")


def _folder(variable: str, linux: Path, apple: str) -> Path:
    chosen = os.environ.get(HOME)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base or Path.home() / "AppData" / "Local") / "napari-topiary"
    if sys.platform == "darwin":
        return Path.home() / "Library" / apple / "napari-topiary"
    base = os.environ.get(variable)
    return Path(base or Path.home() / linux) / "napari-topiary"
