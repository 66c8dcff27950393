"""The one door from the command line to the window."""

from __future__ import annotations

import os
import signal
import sys
import threading
from importlib import import_module

from napari_topiary.errors import TopiaryError

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
"""Environment variables of which one is set where Linux has a screen."""


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
    # The window has a way of its own to close.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # By name: arrows only point down, and no verb is built on the window.
    window = import_module("napari_topiary._napari.launch")
    status: int = window.launch(sample)
    return status


def _has_screen() -> bool:
    """Whether a window can open; without a screen Qt would end the process."""
    linux = sys.platform.startswith("linux")
    return not linux or any(os.environ.get(name) for name in SCREENS)
