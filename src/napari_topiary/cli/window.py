"""The one door from the command line to the window."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import threading
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from napari_topiary.cli.ending import ENDING
from napari_topiary.errors import TopiaryError

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
"""Environment variables of which one is set where Linux has a screen."""

_XDG = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_CACHE_HOME": ".cache",
    "XDG_DATA_HOME": ".local/share",
}
"""Where programs keep things of the user, and where that is in a home folder."""
_LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
}
"""System libraries of Qt on Linux -> the package of Debian and Ubuntu."""


def open_window(sample: str | None) -> int:
    """Open napari with the workbench, and return when it is closed.

    Parameters
    ----------
    sample
        Name of a sample dataset to show; None = nothing yet.
    """
    if not _has_screen():
        raise TopiaryError(
            "There is no screen here for the window of napari: give a command "
            "(napari-topiary --help lists them), or do the story of the demo without "
            "one by napari-topiary demo --headless."
        )
    missing = _missing_libraries()
    if missing:
        raise TopiaryError(
            "The window needs system libraries that are not installed here. Debian, "
            f"Ubuntu: sudo apt-get install {' '.join(missing)}"
        )
    notice = _home_for_now()
    if notice:
        sys.stderr.write(f"{notice}\n")
    # The window has a way of its own to close.
    if threading.current_thread() is threading.main_thread():
        for number in ENDING[1:]:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
    # By name: arrows only point down, and no verb is built on the window.
    window = import_module("napari_topiary._napari.workbench")
    status: int = window.launch(sample, notice)
    return status


def _home_for_now() -> str:
    """Use another home where nothing can be written to that of the user.

    napari keeps its settings there, and could not even be imported.

    Returns what the user should know; empty mostly.
    """
    if sys.platform == "win32":
        return ""
    home = Path(os.environ.get("HOME") or os.path.expanduser("~"))
    folders = [home, *(Path(os.environ.get(k) or home / v) for k, v in _XDG.items())]
    bad = next((one for one in folders if not _can_write(one)), None)
    if bad is None:
        return ""
    place = tempfile.mkdtemp(prefix="napari-topiary-")
    for variable in ("HOME", *_XDG):
        os.environ[variable] = place
    return (
        f"Nothing can be written to {bad}: settings, and work that is not saved, are "
        f"kept in {place} instead, and may be gone after a restart of the computer. "
        "Save your project in a folder of its own."
    )


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _has_screen() -> bool:
    """Whether a window can open; without a screen Qt would end the process."""
    linux = sys.platform.startswith("linux")
    return not linux or any(os.environ.get(name) for name in SCREENS)


def _missing_libraries() -> list[str]:
    """Packages without which Qt would end the process, as it cannot open a window.

    Asked of Qt's own part for X11, so that nothing is missed that it does not use.
    """
    linux = sys.platform.startswith("linux")
    if not linux or os.environ.get("QT_QPA_PLATFORM", "xcb") != "xcb":
        return []
    plugin = _xcb_plugin()
    if plugin is None or _loads(str(plugin)):
        return []
    return [package for name, package in _LIBRARIES.items() if not _loads(name)]


def _xcb_plugin() -> Path | None:
    """Where the installed Qt binding has its part for X11, if it brings its own."""
    for binding, inside in (("PyQt6", "Qt6/plugins"), ("PySide6", "Qt/plugins")):
        found = find_spec(binding)
        for home in (found.submodule_search_locations or []) if found else []:
            plugin = Path(home) / inside / "platforms" / "libqxcb.so"
            if plugin.is_file():
                return plugin
    return None


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
