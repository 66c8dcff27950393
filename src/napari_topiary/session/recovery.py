"""Where a project that was never saved is kept, so that a crash loses nothing.

Every unsaved session has a folder of its own below the user's data folder, in the
same form as a saved project. It is removed once the project is saved or closed.
"""

from __future__ import annotations

import datetime
import itertools
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from napari_topiary.errors import TopiaryError

HOME = "NAPARI_TOPIARY_HOME"
"""Environment variable that names another folder for everything of the user."""
STATE_FILE = "session.json"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Recovery:
    """A project that was left unsaved.

    Parameters
    ----------
    folder
        Where it is; `Session.open` reads it.
    saved
        When it was last written.
    """

    folder: Path
    saved: datetime.datetime


def user_folder() -> Path:
    """Return the folder for what belongs to the user; it may not exist yet."""
    chosen = os.environ.get(HOME)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base or Path.home() / "AppData" / "Local") / "napari-topiary"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "napari-topiary"
    base = os.environ.get("XDG_DATA_HOME")
    return Path(base or Path.home() / ".local" / "share") / "napari-topiary"


def recovery_home() -> Path:
    """Return the folder that holds all unsaved projects."""
    return user_folder() / "recovery"


def new_recovery_folder() -> Path:
    """Return a folder for one unsaved session, unlike that of any other."""
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return recovery_home() / f"{moment}-{os.getpid()}-{next(_numbers)}"


def recoverable_projects(
    *, idle_s: float = 120.0, but: Path | None = None
) -> tuple[Recovery, ...]:
    """List the unsaved projects that earlier sessions left behind, newest first.

    Parameters
    ----------
    idle_s
        A folder written to within this many seconds may belong to another window
        that is still open, and is not listed.
    but
        The folder of the session that asks.
    """
    home = recovery_home()
    if not home.is_dir():
        return ()
    now = datetime.datetime.now(datetime.UTC)
    found = []
    for folder in home.iterdir():
        state = folder / STATE_FILE
        if folder == but or not state.is_file():
            continue
        saved = datetime.datetime.fromtimestamp(state.stat().st_mtime, datetime.UTC)
        if (now - saved).total_seconds() >= idle_s:
            found.append(Recovery(folder, saved))
    return tuple(sorted(found, key=lambda r: r.saved, reverse=True))


def forget_recovery(folder: Path) -> None:
    """Delete an unsaved project for good; folders elsewhere are refused."""
    if folder.resolve().parent != recovery_home().resolve():
        raise TopiaryError(
            f"{folder.name} is not an unsaved project of Topiary, so it was left alone."
        )
    shutil.rmtree(folder, ignore_errors=True)
