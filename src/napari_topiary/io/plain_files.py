"""What can be opened at all: plain files, and text and JSON in them.

A pipe would make its reader wait for ever, a device never ends, and a folder may have
the name of a file.
"""

from __future__ import annotations

import codecs
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_topiary.errors import TopiaryError
from napari_topiary.io.memory import check_fits

DESCRIPTION = "dataset.json"
"""The file of a dataset folder that says what it is about."""
_INSIDE = {
    b"\x89PNG\r\n\x1a\n": ("PNG", ".png"),
    b"\xff\xd8\xff": ("JPEG", ".jpg"),
    b"II*\0": ("TIFF", ".tif"),
    b"MM\0*": ("TIFF", ".tif"),
    b"II+\0": ("TIFF", ".tif"),
    b"MM\0+": ("TIFF", ".tif"),
}
"""How a file of a kind begins, whatever its name says."""
_BYTES_PER_LETTER = 8
"""Memory per byte of a text, with the objects that it is turned into."""


def check_plain_file(path: Path, what: str = "file") -> None:
    """Refuse whatever is not a file that can be read to its end.

    Raises
    ------
    TopiaryError
        With a sentence.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise TopiaryError(
                f"{path} is a link to something that is not there: give the {what} "
                "itself."
            ) from None
        raise TopiaryError(f"There is no {what} {path}: check the name.") from None
    except (OSError, ValueError) as error:  # circles of links, names that cannot be
        reason = getattr(error, "strerror", None) or error
        raise TopiaryError(
            f"{path} cannot be opened ({reason}): give the {what} itself."
        ) from error
    if stat.S_ISDIR(mode):
        raise TopiaryError(f"{path.name or path} is a folder, not a {what}.")
    if not stat.S_ISREG(mode):
        raise TopiaryError(
            f"{path} is a pipe or a device, not a {what}: save what it gives to a file "
            "first."
        )
    if not os.access(path, os.R_OK):
        raise TopiaryError(
            f"{path.name} cannot be read, for lack of rights: give it the rights to "
            "be read, or copy it."
        )


def check_ending(path: Path, readable: Sequence[str]) -> None:
    """Refuse a picture whose name says that it is of another kind.

    Parameters
    ----------
    path
        A file that can be read.
    readable
        Endings of what is read like this file.
    """
    with path.open("rb") as file:
        begin = file.read(max(map(len, _INSIDE)))
    for magic, (kind, ending) in _INSIDE.items():
        if begin.startswith(magic) and ending not in readable:
            raise TopiaryError(
                f"{path.name} is a {kind} inside, whatever its name says: rename it to "
                f"{path.stem}{ending}."
            )


def check_folder(path: Path) -> None:
    """Refuse what is no folder."""
    if path.exists() and not path.is_dir():
        raise TopiaryError(f"{path} is a file: give the folder that it lies in.")
    if not path.is_dir():
        raise TopiaryError(f"There is no folder {path}: check the name.")


def can_be_listed(folder: Path) -> bool:
    """Whether one has the right to see what lies in a folder."""
    return os.access(folder, os.R_OK | os.X_OK)


@contextmanager
def refusing_damage(name: str, sentence: str) -> Iterator[None]:
    """Turn whatever a library raises over a damaged file into a sentence.

    Parameters
    ----------
    name
        Of the file.
    sentence
        What it says, with `{reason}` in it.
    """
    try:
        yield
    except TopiaryError:
        raise
    except MemoryError:
        raise TopiaryError(
            f"{name} is too large for this computer's memory: cut it into parts."
        ) from None
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise TopiaryError(sentence.replace("{reason}", reason)) from error


def read_text(path: Path, what: str = "file") -> str:
    """Read a text in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Raises
    ------
    TopiaryError
        With a sentence if it cannot be read, or is no text.
    """
    check_plain_file(path, what)
    try:
        check_fits(
            _BYTES_PER_LETTER * path.stat().st_size,
            f"The {what} {path.name}",
            "cut it into parts, or close other programs",
        )
        content = path.read_bytes()
    except OSError as error:
        raise TopiaryError(f"{path.name} cannot be read: {error.strerror}.") from error
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except ValueError:
        text = "\0"
    if "\0" in text:
        raise TopiaryError(f"{path.name} is not a text {what}: save it in UTF-8.")
    return text


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    TopiaryError
        With a sentence if it cannot be read, or is not JSON.
    """
    return parsed_json(read_text(path), f"{path.parent.name}/{path.name}")


def parsed_json(text: str, name: str) -> Any:
    """Read JSON from a text.

    Raises
    ------
    TopiaryError
        With a sentence if it is not JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise TopiaryError(
            f"{name} cannot be read as JSON ({error}): correct it."
        ) from None
    except RecursionError:
        raise TopiaryError(
            f"{name} cannot be read as JSON (brackets within brackets without end): "
            "correct it."
        ) from None
