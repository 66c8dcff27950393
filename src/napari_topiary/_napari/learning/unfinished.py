"""Trainings that were cut off (power, crash): their best network is still on disk.

No Qt in here.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from pathlib import Path

from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.session import user_folder

logger = logging.getLogger(__name__)

IDLE_S = 60.0
"""A file that was written to within this time may belong to a training that runs."""
_numbers = itertools.count(1)


def home() -> Path:
    """Folder of the networks of running trainings."""
    return user_folder() / "training"


def new_file() -> Path | None:
    """A file for a training that begins now; None where nothing can be written."""
    moment = time.strftime("%Y%m%d-%H%M%S")
    try:
        home().mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        logger.warning("trainings cannot be kept in %s (%s)", home(), reason)
        return None
    return home() / f"{moment}-{os.getpid()}-{next(_numbers)}.safetensors"


def left_behind() -> Path | None:
    """The newest network of a training that never ended, or None."""
    if not home().is_dir():
        return None
    files = [
        (file.stat().st_mtime, file)
        for file in home().glob("*.safetensors")
        if f"-{os.getpid()}-" not in file.name
    ]
    old = [pair for pair in files if time.time() - pair[0] >= IDLE_S]
    return max(old)[1] if old else None


def recover(file: Path) -> Checkpoint:
    """Read what is left of a training, and forget the file.

    Parameters
    ----------
    file
        From `left_behind`.
    """
    try:
        return load_checkpoint(file)
    finally:
        forget(file)


def forget(file: Path) -> None:
    """Delete a network that is not needed any more.

    Parameters
    ----------
    file
        From `left_behind` or `new_file`; need not exist.
    """
    file.unlink(missing_ok=True)
