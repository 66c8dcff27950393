"""Trainings that were cut off (power, crash): their best network is still on disk."""

from __future__ import annotations

import itertools
import logging
import os
import time
from pathlib import Path

from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.io.atomic import clean_leftovers
from napari_topiary.io.pairing import visible_files
from napari_topiary.io.processes import process_lives
from napari_topiary.io.user_folder import user_folder

logger = logging.getLogger(__name__)

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
    """The newest network of a training whose program is gone, or None."""
    if not home().is_dir():
        return None
    clean_leftovers(home())
    files = [
        (file.stat().st_mtime, file)
        for file in visible_files(home())
        if file.suffix == ".safetensors" and not process_lives(_process_of(file))
    ]
    return max(files)[1] if files else None


def recover(file: Path) -> Checkpoint:
    """Read what is left of a training, and forget the file.

    Parameters
    ----------
    file
        From `left_behind`.
    """
    checkpoint = load_checkpoint(file)
    forget(file)
    return checkpoint


def _process_of(file: Path) -> int:
    """Number of the program that a file belongs to, 0 if there is none."""
    parts = file.stem.split("-")
    return int(parts[-2]) if len(parts) > 2 and parts[-2].isdigit() else 0


def forget(file: Path) -> None:
    """Delete a network that is not needed any more.

    Parameters
    ----------
    file
        From `left_behind` or `new_file`; need not exist.
    """
    file.unlink(missing_ok=True)
