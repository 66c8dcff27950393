"""What a project was before its last saves, and the way back.

    versions/<moment>/version.json   which files a save changed, and where the old are
    versions/<moment>/points/...     the old ones
    kept/points/...                  what was in the way of a save and not of our making

`kept/` is never cleared. Of the versions the oldest go.
"""

from __future__ import annotations

import datetime
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset_writing import write_json
from napari_topiary.io.folder_changes import (
    KEPT,
    FolderChange,
    changing,
    free_name,
    is_inside,
)

REMOVED = "removed"
_VERSIONS = "versions"
_ABOUT = "version.json"
_MOST = 20
"""So many versions stay."""
_TOGETHER_S = 600.0
"""What is saved by itself within this time is one version."""
_PROJECT = ("dataset.json", "session.json")
_ASIDE = (f"{KEPT}/", f"{REMOVED}/", f"{_VERSIONS}/")


@dataclass
class Known:
    """Files of a project that are as they were when last read wholly, or written."""

    #: File, named by its path in the project -> its size and time
    stamps: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: `version`, `since`: the version that saves are put into, and when it began
    version: str = ""
    since: float = 0.0

    def add(self, root: Path, name: str) -> None:
        """Note that the content of a file is in memory."""
        stamp = _stamp(root / name)
        if stamp is not None:
            self.stamps[name] = stamp

    def holds(self, root: Path, name: str) -> bool:
        """Whether a file may be replaced: its content is in memory, or was."""
        return name in self.stamps and self.stamps[name] == _stamp(root / name)

    def copy(self) -> Known:
        """Return one that can be changed on its own."""
        return Known(dict(self.stamps), self.version, self.since)


@dataclass(frozen=True)
class SavedVersion:
    """What a project was before a save."""

    name: str
    saved: datetime.datetime  #: When it was replaced by a newer one


def keep_version(change: FolderChange, known: Known, *, by_itself: bool) -> None:
    """Keep what a change replaces.

    Parameters
    ----------
    change
        All of it; nothing may be added afterwards.
    known
        What may be replaced; the rest goes to `kept/`.
    by_itself
        Whether nobody has asked for this save: it may become one version together
        with those before.
    """
    differences = {
        name: there
        for name, there in change.differences().items()
        if not name.startswith(_ASIDE)
    }
    was_project = any((change.root / name).exists() for name in _PROJECT)
    if not differences:
        return
    if not was_project:  # there is no version to go back to, but files of somebody
        for name, there in differences.items():
            if there and change.moved_to(name) is None:
                change.keep(name, free_name(change.root, f"{KEPT}/{name}"))
        return
    if not (by_itself and known.version and time.time() - known.since < _TOGETHER_S):
        known.version, known.since = _new_name(change.root), time.time()
    home = f"{_VERSIONS}/{known.version}"
    before = _before(change.root, known.version)
    for name, there in differences.items():
        aside = change.moved_to(name)
        if there and aside is None and not known.holds(change.root, name):
            aside = free_name(change.root, f"{KEPT}/{name}")
            change.keep(name, aside)
        elif there and aside is None and name not in before:
            aside = f"{home}/{name}"
            change.keep(name, aside)
        before.setdefault(name, aside)
    write_json(change.new(f"{home}/{_ABOUT}"), {"before": before})


def versions(folder: Path) -> tuple[SavedVersion, ...]:
    """List what a project was before its last saves, the newest first."""
    found = []
    for about in (folder / _VERSIONS).glob(f"*/{_ABOUT}"):
        moment = datetime.datetime.fromtimestamp(about.stat().st_mtime, datetime.UTC)
        found.append(SavedVersion(about.parent.name, moment))
    return tuple(sorted(found, key=lambda version: version.name, reverse=True))


def go_back(folder: Path, version: str) -> None:
    """Make a project what it was before a save; what it is now becomes a version too.

    Parameters
    ----------
    folder
        The project.
    version
        Name of one of its `versions`.
    """
    newer = [v.name for v in versions(folder) if v.name >= version]
    if version not in newer:
        raise TopiaryError(f"{folder.name} has no version {version!r} to go back to.")
    before: dict[str, str | None] = {}
    for name in newer:
        before |= _before(folder, name)
    with changing(folder) as change:
        for name, aside in before.items():
            if aside is None:
                change.remove(name)
            elif (folder / aside).exists():
                change.put(name, folder / aside)
        known = Known()
        for name in before:
            known.add(folder, name)
        keep_version(change, known, by_itself=False)


def drop_old_versions(folder: Path) -> None:
    """Delete all but the newest versions; what cannot be deleted stays."""
    for version in versions(folder)[_MOST:]:
        shutil.rmtree(folder / _VERSIONS / version.name, ignore_errors=True)


def _new_name(root: Path) -> str:
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")
    return free_name(root, f"{_VERSIONS}/{moment}").removeprefix(f"{_VERSIONS}/")


def _before(folder: Path, version: str) -> dict[str, str | None]:
    """Return for each file that a save changed where the old one is, or None."""
    file = folder / _VERSIONS / version / _ABOUT
    try:
        before = json.loads(file.read_text(encoding="utf-8"))["before"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    if not isinstance(before, Mapping):
        return {}
    return {
        name: aside
        for name, aside in before.items()
        if is_inside(name) and (aside is None or is_inside(str(aside)))
    }


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns
