"""Where on this computer things are kept that belong to the user and to no project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HOME = "NAPARI_TOPIARY_HOME"
"""Environment variable that names another folder for everything of the user."""


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
