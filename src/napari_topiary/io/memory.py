"""Whether something fits into the memory that is free: asked before it is made."""

from __future__ import annotations

import bz2
import ctypes
import lzma
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from napari_topiary.errors import TopiaryError

_NO_LIMIT = sys.maxsize
_DEFLATED, _SLACK, _AT_A_TIME = 1032, 1 << 26, 1 << 24
"""Bytes that one byte may inflate to; bytes too many that do no harm; bytes that are
unpacked at a time."""
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


def inflates_beyond(packed: bytes, most: int) -> bool:
    """Say whether a packed piece holds far more than belongs there.

    Whoever unpacks it keeps all that comes; here nothing is kept, and what is harmless
    is not looked at.

    Parameters
    ----------
    packed
        As zlib, gzip, bz2 or LZMA pack it.
    most
        Bytes that belong there.
    """
    left = 2 * most + _SLACK
    deflated = not packed.startswith((b"BZh", b"\xfd7zXZ", b"]\0\0"))
    if deflated and len(packed) * _DEFLATED <= left:
        return False
    try:
        for count in _inflated(packed) if deflated else _unpacked(packed):
            left -= count
            if left < 0:
                return True
    except (zlib.error, OSError, lzma.LZMAError, EOFError):
        pass  # whoever unpacks it says so
    return False


def _inflated(packed: bytes) -> Iterator[int]:
    while packed:
        inflating = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # of either kind
        while packed and not inflating.eof:
            yield len(inflating.decompress(packed, _AT_A_TIME))
            packed = inflating.unconsumed_tail
        packed = inflating.unused_data


def _unpacked(packed: bytes) -> Iterator[int]:
    while packed:
        is_bz2 = packed.startswith(b"BZh")
        unpacking: Any = bz2.BZ2Decompressor() if is_bz2 else lzma.LZMADecompressor()
        content = unpacking.decompress(packed, _AT_A_TIME)
        while content:
            yield len(content)
            content = b"" if unpacking.eof else unpacking.decompress(b"", _AT_A_TIME)
        packed = unpacking.unused_data


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
