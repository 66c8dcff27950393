"""Which projects were open last, and what was looked at in them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from napari_topiary.io.dataset_writing import write_json
from napari_topiary.io.user_folder import user_folder

_FILE = "recent.json"
_MOST = 8


@dataclass(frozen=True)
class Recent:
    """A project in a folder that was open.

    Parameters
    ----------
    folder
        Where it is.
    shown
        Name of the image that was worked on last; empty if none was.
    """

    folder: str
    shown: str = ""


def recent_projects() -> tuple[Recent, ...]:
    """List the projects that were open last and are still there, the newest first."""
    return tuple(one for one in _known() if Path(one.folder).is_dir())


def shown_last(folder: Path) -> str:
    """Return the name of the image that was worked on last in a project, or ""."""
    wanted = str(folder.resolve())
    return next((one.shown for one in _known() if one.folder == wanted), "")


def remember_project(folder: Path, shown: str = "") -> None:
    """Note that a project is open, the newest; where that cannot be, it is not noted.

    Parameters
    ----------
    folder
        The project.
    shown
        Name of the image that is worked on.
    """
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
