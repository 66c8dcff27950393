"""A project on disk: a dataset folder, `checkpoints/` and `session.json`.

The dataset part is what the command line trains from. `session.json` holds what a
dataset has no place for (colours, pixel size of each image, which checkpoint is
active). Only what has changed is written, each file beside first and then renamed.
Images that were taken out of the project are moved to `removed/`, never deleted.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.annotations import annotation_kinds
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_files import write_annotations
from napari_topiary.io.atomic import writing
from napari_topiary.io.dataset import (
    Dataset,
    check_name,
    write_description,
    write_sample_image,
)
from napari_topiary.session.recovery import STATE_FILE, recovery_home
from napari_topiary.types import Image

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.session.session import Session

FORMAT = 1
CHECKPOINTS = "checkpoints"
REMOVED = "removed"


@dataclass
class Record:
    """What is in a session's folder already, so that only changes are written.

    Parameters
    ----------
    images, annotations
        By image name: what the files hold, compared by identity.
    checkpoints
        Checkpoint name -> (file, the checkpoint that is in it).
    """

    images: dict[str, Image] = field(default_factory=dict)
    annotations: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    checkpoints: dict[str, tuple[Path, Checkpoint]] = field(default_factory=dict)

    def copy(self) -> Record:
        """Return a record that can be changed on its own."""
        return Record(dict(self.images), dict(self.annotations), dict(self.checkpoints))


@dataclass(frozen=True)
class Read:
    """What was found in a project folder.

    Parameters
    ----------
    dataset
        With those of its samples that could be read.
    colours
        Class name -> ``"#rrggbb"``.
    checkpoints, active
        By name, and which one pages start from.
    notes
        A sentence for everything that could not be read.
    record
        What is in the folder already.
    """

    dataset: Dataset
    colours: dict[str, str]
    checkpoints: dict[str, Checkpoint]
    active: str | None
    notes: tuple[str, ...]
    record: Record


def is_recovery(folder: Path) -> bool:
    """Whether a folder is one that an unsaved project was kept in."""
    return folder.resolve().parent == recovery_home().resolve()


def write(session: Session, folder: Path, record: Record) -> None:
    """Write what changed to a folder.

    Parameters
    ----------
    session
        What to write.
    folder
        Made if it is not there.
    record
        Of the same folder; brought up to date file by file, so that a write that
        fails half-way is taken up where it stopped.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_images(session, folder, record)
        _write_checkpoints(session, folder / CHECKPOINTS, record)
        with writing(folder / STATE_FILE) as beside:
            text = json.dumps(_state(session, record), indent=1, ensure_ascii=False)
            beside.write_text(text + "\n", encoding="utf-8")
    except OSError as reason:
        raise TopiaryError(
            f"The project could not be written to {folder} "
            f"({reason.strerror or reason}): choose another folder."
        ) from reason


def _write_images(session: Session, folder: Path, record: Record) -> None:
    for name in session.images:
        check_name(name)
    for name in [name for name in record.images if name not in session.images]:
        _set_aside(folder, name)
        del record.images[name]
        record.annotations.pop(name, None)
    for name, entry in session.images.items():
        sample = session.sample(name)
        if record.images.get(name) is not entry.image:
            write_sample_image(folder, sample)
            record.images[name] = entry.image
        drawn = sample.annotations
        if record.annotations.get(name, ()) != drawn:
            write_annotations(folder, name, drawn)
            record.annotations[name] = drawn
    scales = {name: entry.scale for name, entry in session.images.items()}
    dataset = Dataset(session.name, session.task, {}, dict(session.split))
    write_description(folder, dataset, scales=scales)


def _set_aside(folder: Path, name: str) -> None:
    """Move the files of an image that was taken out of the project to `removed/`."""
    for kind in ("images", *annotation_kinds):
        home = folder / kind
        files = sorted(home.iterdir()) if home.is_dir() else []
        for file in files:
            if file.stem == name:
                aside = folder / REMOVED / kind / file.name
                aside.parent.mkdir(parents=True, exist_ok=True)
                file.replace(aside)


def _state(session: Session, record: Record) -> dict[str, Any]:
    files = {name: file.name for name, (file, _) in record.checkpoints.items()}
    task = session.task
    return {
        "format": FORMAT,
        "name": session.name,
        "task": task.kind,
        "classes": list(task.classes),
        "radius_nm": dict(task.radius_nm),
        "radius_px": dict(task.radius_px),
        "colours": session.colours,
        "scales": {name: entry.scale for name, entry in session.images.items()},
        "checkpoints": files,
        "active": session.active_checkpoint,
    }


def _write_checkpoints(session: Session, home: Path, record: Record) -> None:
    for name, (file, _) in list(record.checkpoints.items()):
        if name not in session.checkpoints:
            file.unlink(missing_ok=True)
            del record.checkpoints[name]
    for name, checkpoint in session.checkpoints.items():
        there = record.checkpoints.get(name)
        if there is not None and there[1] is checkpoint:
            continue
        file = _free_file(home, name, record) if there is None else there[0]
        home.mkdir(exist_ok=True)
        checkpoint.save(file)
        record.checkpoints[name] = (file, checkpoint)
    # In the order of the session, which is the order that they come back in.
    ordered = {name: record.checkpoints[name] for name in session.checkpoints}
    record.checkpoints = ordered


def _free_file(home: Path, name: str, record: Record) -> Path:
    """Return a file for a checkpoint of this name that no other one uses."""
    base = re.sub(r"[^\w\-.+]+", "_", name).strip("._") or "checkpoint"
    used = {file.name.lower() for file, _ in record.checkpoints.values()}
    number, file = 1, f"{base}.safetensors"
    while file.lower() in used or (home / file).exists():
        number += 1
        file = f"{base}-{number}.safetensors"
    return home / file
