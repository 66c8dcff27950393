"""Whether the program that left something behind is still at work."""

from __future__ import annotations

import os
import sys
from typing import Any


def process_lives(pid: int) -> bool:
    """Whether a process of this number runs on this computer.

    Parameters
    ----------
    pid
        Its number.
    """
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
