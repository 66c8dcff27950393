"""Whether something fits into the memory that is free: asked before it is made."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

import psutil

from napari_topiary.errors import TopiaryError

_NO_LIMIT = sys.maxsize
_GROUP_FILES = (
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Where Linux keeps the limit of a container or a job, in its two versions."""


def free_memory() -> int:
    """Return how many bytes this process can still take.

    The least of what the computer has free, what a container or a job of a cluster is
    granted, and what the shell allows (``ulimit -v``).
    """
    free = int(psutil.virtual_memory().available)
    return max(0, min(free, _left_in_group(), _left_in_shell()))


def check_fits(nbytes: float, what: str, cure: str) -> None:
    """Refuse what would not fit into the free memory.

    Raises
    ------
    TopiaryError
        With a sentence that says how much is needed and how much is free.
    """
    free = free_memory()
    if nbytes > free:
        raise TopiaryError(
            f"{what} needs {in_words(nbytes)} of memory, but only {in_words(free)} are "
            f"free: {cure}."
        )


def give_back() -> None:
    """Return to the system what was freed but is kept by the C library.

    After the tiles of a large image that is hundreds of MB. Only on Linux with its
    usual library; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def in_words(nbytes: float) -> str:
    """Return bytes as people read them: ``"3.6 GB"``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= size:
            return f"{nbytes / size:,.1f} {unit}"
    return f"{nbytes:.0f} bytes"


def _left_in_group() -> int:
    for home, limit_file, used_file in _GROUP_FILES:
        try:
            limit = (Path(home) / limit_file).read_text().strip()
            used = (Path(home) / used_file).read_text().strip()
            details = (Path(home) / "memory.stat").read_text()
        except OSError:
            continue
        if limit.isdigit() and used.isdigit():
            # Files that were read stay in memory for as long as nobody needs it.
            cached = re.findall(r"^(?:in)?active_file (\d+)$", details, re.MULTILINE)
            return int(limit) - int(used) + sum(map(int, cached))
    return _NO_LIMIT


def _left_in_shell() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _NO_LIMIT
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return _NO_LIMIT
    return int(limit) - int(psutil.Process().memory_info().vms)
