"""Write beside first, then rename: a file is either the old one or the new one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes `path`'s place at the end.

    Whatever goes wrong in between leaves the old file untouched and nothing new behind.

    Parameters
    ----------
    path
        File, or folder (the yielded path may be made a folder). Missing parent folders
        are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The whole name stays at the end: writers choose the format by the ending.
    beside = path.with_name(f".part-{secrets.token_hex(4)}-{path.name}")
    try:
        yield beside
        if beside.is_dir() and path.is_dir():
            old = path.with_name(f".old-{secrets.token_hex(4)}-{path.name}")
            path.rename(old)
            beside.rename(path)
            shutil.rmtree(old)
        else:
            beside.replace(path)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
