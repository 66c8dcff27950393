"""Write beside first, then rename: a file is either the old one or the new one."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from napari_topiary.errors import NotWritten, TopiaryError

_LONGEST = 255
"""Bytes of a file name that every system takes."""
_BESIDE = re.compile(r"\.(?P<what>part|old)-(?:(?P<pid>\d+)-)?[0-9a-f]{8}-(?P<name>.+)")

_NOTED = ContextVar[Callable[[Path, Path], None] | None]("noted", default=None)


def process_lives(pid: int) -> bool:
    """Whether a process of this number runs on this computer."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _lives_on_windows(pid)
    try:
        os.kill(pid, 0)
    except PermissionError:  # it runs, for another user
        return True
    except (OSError, OverflowError):
        return False
    return True


def _lives_on_windows(pid: int) -> bool:
    # `os.kill` would end the process there.
    import ctypes

    synchronize, still_running = 0x100000, 258
    kernel: Any = getattr(ctypes, "windll").kernel32  # noqa: B009 (not on every system)
    handle = kernel.OpenProcess(synchronize, False, pid)
    if not handle:
        return False
    try:
        return bool(kernel.WaitForSingleObject(handle, 0) == still_running)
    finally:
        kernel.CloseHandle(handle)


def is_protected(path: Path) -> bool:
    """Whether a file or folder may not be changed.

    Whoever may do everything (root) is held to the mark as well: it was set on purpose.
    """
    marked = path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    return not marked or not os.access(path, os.W_OK)


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes `path`'s place at the end.

    Whatever goes wrong in between leaves the old file untouched and nothing new behind.

    Parameters
    ----------
    path
        File, or folder (the yielded path may be made a folder). Missing parent folders
        are made. A link is followed.

    Raises
    ------
    NotWritten
        With a sentence if the system refuses: a full disk, a protected folder.
    """
    path = Path(path)
    if path.is_symlink():  # what the link stands for is written, the link stays
        path = Path(os.path.realpath(path))
    beside = _beside(path, "part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        if beside.is_dir() and path.is_dir():
            old = _beside(path, "old")
            path.rename(old)
            beside.rename(path)
            shutil.rmtree(old)
        else:
            if path.is_file():
                shutil.copymode(path, beside)
            note = _NOTED.get()
            if note is not None:
                note(path, beside)
            beside.replace(path)
    except TopiaryError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno is None and "requested and" in reason:  # numpy's words
            reason = "the disk took only a part of it"
        raise NotWritten(
            f"{path} could not be written ({reason}): make room on the disk, or choose "
            "another folder."
        ) from error
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)


@contextmanager
def noting(note: Callable[[Path, Path], None]) -> Iterator[None]:
    """Let a function note what is written, before any file takes its place.

    Parameters
    ----------
    note
        Called with the place of each file and where its content lies until then.
    """
    before = _NOTED.set(note)
    try:
        yield
    finally:
        _NOTED.reset(before)


def clean_leftovers(folder: Path) -> None:
    """Remove what programs that were killed while they wrote have left in a folder.

    Parameters
    ----------
    folder
        Need not exist; what cannot be removed stays.
    """
    try:
        found = [(path, _BESIDE.fullmatch(path.name)) for path in folder.iterdir()]
    except OSError:
        return
    for path, parts in found:
        if parts is None or (parts["pid"] and process_lives(int(parts["pid"]))):
            continue
        whole = path.with_name(parts["name"])
        try:
            if parts["what"] == "old" and not whole.exists():
                path.rename(whole)  # killed just before the new one took its place
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError:
            continue


def _beside(path: Path, what: str) -> Path:
    prefix = f".{what}-{os.getpid()}-{secrets.token_hex(4)}-"
    # The end of the name stays: writers choose the format by the ending.
    name = path.name
    while len(os.fsencode(prefix + name)) > _LONGEST:
        name = name[1:]
    return path.with_name(prefix + name)
