"""What the program remembers of projects: those open last, and those never saved.

Every unsaved session has a folder of its own below the user's data folder, in the
same form as a saved project. It is removed once the project is saved or closed.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import os
import platform
import re
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from napari_topiary.errors import TopiaryError
from napari_topiary.io.atomic import process_lives
from napari_topiary.io.dataset_writing import write_json
from napari_topiary.io.own_files import user_folder

STATE_FILE = "session.json"
_numbers = itertools.count(1)
_COMPUTER = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
RENEWED_S = 60.0
"""A window on another computer that has not said for so long that it is open is not."""
_FILE = "recent.json"
_MOST = 8


@dataclass(frozen=True)
class Recovery:
    """A project that was left unsaved."""

    folder: Path  #: Where it is; `Session.open` reads it
    saved: datetime.datetime  #: When it was last written
    name: str
    images: tuple[str, ...]


def recovery_home() -> Path:
    """Return the folder that holds all unsaved projects."""
    return user_folder() / "recovery"


def new_recovery_folder() -> Path:
    """Return a folder for one unsaved session, unlike that of any other."""
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return recovery_home() / f"{moment}-{os.getpid()}-{next(_numbers)}"


def recoverable_projects() -> tuple[Recovery, ...]:
    """List the unsaved projects of windows that are gone, newest first.

    What belongs to a program that still runs (its number is in the name of the
    folder) is not listed, nor what has neither images nor networks.
    """
    home = recovery_home()
    if not home.is_dir():
        return ()
    found = []
    for folder in home.iterdir():
        state = folder / STATE_FILE
        if state.is_file() and not process_lives(_process_of(folder)):
            name, images, networks = _contents(state)
            if not images and networks == 0:
                continue
            saved = datetime.datetime.fromtimestamp(state.stat().st_mtime, datetime.UTC)
            found.append(Recovery(folder, saved, name, images))
    return tuple(sorted(found, key=lambda r: r.saved, reverse=True))


def adopt_recovery(folder: Path) -> Path:
    """Make what another program left behind this one's; return where it is now.

    Parameters
    ----------
    folder
        From `recoverable_projects`; this program's own stays where it is.
    """
    if _process_of(folder) == os.getpid():
        return folder
    own = new_recovery_folder()
    try:
        return folder.rename(own)
    except OSError as reason:
        raise TopiaryError(
            f"The unsaved project in {folder} cannot be taken over "
            f"({reason.strerror or reason}): another window may have just done so."
        ) from reason


class OpenMark:
    """Says in a project's folder that a window has it open.

    Each is a hidden file with the number of its program. Those of programs that are
    gone are removed; of another computer, one that was not renewed for a while is.
    """

    def __init__(self) -> None:
        self._name = f".open-{_COMPUTER}-{os.getpid()}-{next(_numbers)}"
        self._path: Path | None = None

    def note(self, folder: Path) -> int:
        """Say it, or that it still is; return how many other windows say the same."""
        if self._path != folder / self._name:
            self.drop()
        try:
            self._path = folder / self._name
            # A copy of the folder is not open, though it holds the same file.
            self._path.write_text(str(folder.resolve()), encoding="utf-8")
            others = [one for one in folder.glob(".open-*") if one != self._path]
            return sum(_is_open(one) for one in others)
        except OSError:  # a folder that cannot be written: nothing is saved there
            return 0

    def drop(self) -> None:
        """Say it no more."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._path = None


def _is_open(mark: Path) -> bool:
    """Whether the window that left a mark is still there; else it is removed."""
    found = re.fullmatch(r"\.open-(\w+)-(\d+)-\d+", mark.name)
    here = mark.read_text(encoding="utf-8") == str(mark.parent.resolve())
    if found is None or not here:
        return False
    lives = process_lives(int(found[2]))
    if found[1] != _COMPUTER:
        lives = time.time() - mark.stat().st_mtime < RENEWED_S
    if not lives:
        mark.unlink(missing_ok=True)
    return lives


def _process_of(folder: Path) -> int:
    """Return the number of the program that a folder belongs to, 0 if there is none."""
    number = re.search(r"-(\d+)-\d+$", folder.name)
    return int(number[1]) if number else 0


def _contents(state: Path) -> tuple[str, tuple[str, ...], int | None]:
    """Return name, images and number of networks that a state file tells of.

    The number is None where the file cannot be read: then anything may be there.
    """
    try:
        content = json.loads(state.read_text(encoding="utf-8"))
        networks = len(content["checkpoints"])
        return str(content["name"]), tuple(content["scales"]), networks
    except (OSError, ValueError, KeyError, TypeError):
        return state.parent.name, (), None


def forget_recovery(folder: Path) -> None:
    """Delete an unsaved project for good; folders elsewhere are refused."""
    if folder.resolve().parent != recovery_home().resolve():
        raise TopiaryError(
            f"{folder.name} is not an unsaved project of Topiary, so it was left alone."
        )
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Recent:
    """A project in a folder that was open."""

    folder: str
    shown: str = ""  #: Name of the image that was worked on last; empty if none was


def recent_projects() -> tuple[Recent, ...]:
    """List the projects that were open last and are still there, the newest first."""
    return tuple(one for one in _known() if Path(one.folder).is_dir())


def shown_last(folder: Path) -> str:
    """Return the name of the image that was worked on last in a project, or ""."""
    wanted = str(folder.resolve())
    return next((one.shown for one in _known() if one.folder == wanted), "")


def remember_project(folder: Path, shown: str = "") -> None:
    """Note that a project is open, the newest; where that cannot be, nothing is."""
    newest = Recent(str(folder.resolve()), shown)
    others = [one for one in _known() if one.folder != newest.folder]
    known = [asdict(one) for one in (newest, *others)][:_MOST]
    try:
        user_folder().mkdir(parents=True, exist_ok=True)
        write_json(user_folder() / _FILE, {"projects": known})
    except OSError:
        return  # only a convenience


def _known() -> list[Recent]:
    try:
        content = json.loads((user_folder() / _FILE).read_text(encoding="utf-8"))
        return [
            Recent(str(one["folder"]), str(one.get("shown", "")))
            for one in content["projects"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
