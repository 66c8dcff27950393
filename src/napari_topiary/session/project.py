"""A project on disk: a dataset folder, `checkpoints/` and `session.json`.

The dataset part is what the command line trains from. `session.json` holds what a
dataset has no place for (colours, pixel size of each image, which checkpoint is
active), and a second copy of the task, so that a damaged `dataset.json` costs nothing.
Opening never gives up at the first fault: what can be read is read, the rest is named.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.errors import TopiaryError
from napari_topiary.io.atomic import writing
from napari_topiary.io.dataset import Dataset, Sample, read_dataset, write_dataset
from napari_topiary.session.recovery import STATE_FILE, recovery_home

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.session.session import Session

FORMAT = 1
CHECKPOINTS = "checkpoints"
_log = logging.getLogger(__name__)


@dataclass
class Record:
    """What a session has written to its folder, so that only changes are written.

    Parameters
    ----------
    files
        Checkpoint name -> (file, the checkpoint that is in it).
    """

    files: dict[str, tuple[Path, Checkpoint]] = field(default_factory=dict)


@dataclass(frozen=True)
class Read:
    """What was found in a project folder.

    Parameters
    ----------
    dataset, samples
        The dataset and those of its samples that could be read.
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
    samples: tuple[Sample, ...]
    colours: dict[str, str]
    checkpoints: dict[str, Checkpoint]
    active: str | None
    notes: tuple[str, ...]
    record: Record


def is_recovery(folder: Path) -> bool:
    """Whether a folder is one that an unsaved project was kept in."""
    return folder.resolve().parent == recovery_home().resolve()


def write(session: Session, folder: Path, record: Record) -> None:
    """Write a session to a folder; every file is written beside first, then renamed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_dataset(folder, _dataset(session, folder))
        _write_checkpoints(session, folder, record)
        with writing(folder / STATE_FILE) as temporary:
            text = json.dumps(_state(session, record), indent=1)
            Path(temporary).write_text(text, encoding="utf-8")
    except OSError as reason:
        raise TopiaryError(
            f"The project could not be written to {folder} "
            f"({reason.strerror or reason}): choose another folder."
        ) from reason


def read(folder: Path) -> Read:
    """Read a project or a dataset folder, as much of it as is sound."""
    state, notes = _read_state(folder)
    dataset = read_dataset(folder)
    samples: list[Sample] = []
    scales = _mapping(state.get("scales"))
    for name in dataset.samples:
        try:
            sample = dataset.samples[name]
        except TopiaryError as reason:
            notes.append(str(reason))
            continue
        scale = scales.get(name, sample.scale)
        good = isinstance(scale, int | float) and scale > 0
        samples.append(replace(sample, scale=float(scale) if good else None))
    checkpoints, record = _read_checkpoints(folder, state, notes)
    active = state.get("active")
    if active not in checkpoints:
        active = next(reversed(checkpoints), None)
    for note in notes:
        _log.warning("%s", note)
    return Read(
        dataset=dataset,
        samples=tuple(samples),
        colours={k: str(v) for k, v in _mapping(state.get("colours")).items()},
        checkpoints=checkpoints,
        active=active,
        notes=tuple(notes),
        record=record,
    )


def _dataset(session: Session, folder: Path) -> Dataset:
    return Dataset(
        name=session.name,
        task=session.task,
        samples={name: session.sample(name) for name in session.images},
        split=dict(session.split),
        root=folder,
    )


def _state(session: Session, record: Record) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": session.name,
        "colours": session.colours,
        "scales": {name: entry.scale for name, entry in session.images.items()},
        "checkpoints": {name: file.name for name, (file, _) in record.files.items()},
        "active": session.active_checkpoint,
    }


def _write_checkpoints(session: Session, folder: Path, record: Record) -> None:
    home = folder / CHECKPOINTS
    for name, (file, _) in list(record.files.items()):
        if name not in session.checkpoints:
            file.unlink(missing_ok=True)
            del record.files[name]
    if session.checkpoints:
        home.mkdir(exist_ok=True)
    for name, checkpoint in session.checkpoints.items():
        file, written = record.files.get(name, (None, None))
        if written is checkpoint:
            continue
        if file is None:
            file = _free_file(home, name, record)
        checkpoint.save(file)
        record.files[name] = (file, checkpoint)
    # In the order of the session, which is the order that they come back in.
    record.files = {name: record.files[name] for name in session.checkpoints}


def _free_file(home: Path, name: str, record: Record) -> Path:
    """Return a file for a checkpoint of this name that no other one uses."""
    base = re.sub(r"[^\w\-.+]+", "_", name).strip("._") or "checkpoint"
    used = {file.name.lower() for file, _ in record.files.values()}
    number, file = 1, f"{base}.safetensors"
    while file.lower() in used or (home / file).exists():
        number += 1
        file = f"{base}-{number}.safetensors"
    return home / file


def _read_state(folder: Path) -> tuple[dict[str, Any], list[str]]:
    file = folder / STATE_FILE
    if not file.is_file():
        return {}, []
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        state = None
    if not isinstance(state, dict):
        return {}, [
            f"{STATE_FILE} is damaged: colours and names of the checkpoints start anew."
        ]
    return state, []


def _read_checkpoints(
    folder: Path, state: Mapping[str, Any], notes: list[str]
) -> tuple[dict[str, Checkpoint], Record]:
    """Read every checkpoint file: those with a name first, in their order."""
    from napari_topiary.checkpoint import load_checkpoint

    home = folder / CHECKPOINTS
    found = sorted(home.glob("*.safetensors")) if home.is_dir() else []
    listed = {
        str(name): home / Path(str(file)).name
        for name, file in _mapping(state.get("checkpoints")).items()
    }
    for name, file in listed.items():
        if file not in found:
            notes.append(f"The checkpoint {name!r} is missing: {file.name} is gone.")
    files = {name: file for name, file in listed.items() if file in found}
    for file in found:
        if file not in files.values():
            files.setdefault(file.stem, file)
    checkpoints: dict[str, Checkpoint] = {}
    record = Record()
    for name, file in files.items():
        try:
            checkpoints[name] = load_checkpoint(file)
        except TopiaryError as reason:
            notes.append(str(reason))
            continue
        record.files[name] = (file, checkpoints[name])
    return checkpoints, record


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
