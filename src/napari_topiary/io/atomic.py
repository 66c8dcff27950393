"""Write beside first, then rename: a file is either the old one or the new one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_topiary.errors import NotWritten, TopiaryError


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes `path`'s place at the end.

    Whatever goes wrong in between leaves the old file untouched and nothing new behind.

    Parameters
    ----------
    path
        File, or folder (the yielded path may be made a folder). Missing parent folders
        are made. A link is followed.

    Raises
    ------
    NotWritten
        With a sentence if the system refuses: a full disk, a protected folder.
    """
    path = Path(path)
    if path.is_symlink():  # what the link stands for is written, the link stays
        path = Path(os.path.realpath(path))
    # The whole name stays at the end: writers choose the format by the ending.
    beside = path.with_name(f".part-{secrets.token_hex(4)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        if beside.is_dir() and path.is_dir():
            old = path.with_name(f".old-{secrets.token_hex(4)}-{path.name}")
            path.rename(old)
            beside.rename(path)
            shutil.rmtree(old)
        else:
            if path.is_file():
                shutil.copymode(path, beside)
            beside.replace(path)
    except TopiaryError:
        raise
    except OSError as error:
        raise NotWritten(
            f"{path} could not be written ({error.strerror or error}): make room on "
            "the disk, or choose another folder."
        ) from error
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
