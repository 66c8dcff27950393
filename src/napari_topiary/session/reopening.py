"""Reading a project folder back, as much of it as is sound.

Opening never gives up at the first fault: what can be read is read, the rest is named
in a sentence. A plain dataset folder is a project too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.annotations import annotation_problem
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_files import read_annotations
from napari_topiary.io.dataset import Dataset, Sample
from napari_topiary.io.description import Description, parse_description
from napari_topiary.io.images import read_image
from napari_topiary.io.pairing import pair_files
from napari_topiary.io.plain_files import read_json
from napari_topiary.io.split import resolved_split
from napari_topiary.session.project import CHECKPOINTS, Read, Record
from napari_topiary.session.recovery import STATE_FILE
from napari_topiary.types import BACKGROUND, Task

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

_log = logging.getLogger(__name__)


def read(folder: Path) -> Read:
    """Read a project or a dataset folder.

    Parameters
    ----------
    folder
        Holds `dataset.json`, `session.json` or both.

    Raises
    ------
    TopiaryError
        Only if there is nothing at all to open.
    """
    notes: list[str] = []
    state = _read_state(folder, notes)
    about = _description(folder, state, notes)
    record = Record()
    samples = _samples(folder, about, _mapping(state.get("scales")), notes)
    for name, sample in samples.items():
        record.images[name] = sample.image
        record.annotations[name] = sample.annotations
    checkpoints = _checkpoints(folder / CHECKPOINTS, state, record, notes)
    split = {
        part: tuple(name for name in names if name in samples)
        for part, names in resolved_split(about.split, samples).items()
    }
    active = state.get("active")
    for note in notes:
        _log.warning("%s", note)
    return Read(
        dataset=Dataset(about.name, about.task, samples, split, folder, about.scale),
        colours={k: str(v) for k, v in _mapping(state.get("colours")).items()},
        checkpoints=checkpoints,
        active=active if active in checkpoints else next(reversed(checkpoints), None),
        notes=tuple(notes),
        record=record,
    )


def _read_state(folder: Path, notes: list[str]) -> dict[str, Any]:
    file = folder / STATE_FILE
    if not file.is_file():
        return {}
    try:
        state = read_json(file)
    except TopiaryError:
        state = None
    if not isinstance(state, dict):
        notes.append(
            f"{STATE_FILE} is damaged: colours, pixel sizes of single images and names "
            "of checkpoints start anew."
        )
        return {}
    return state


def _description(folder: Path, state: dict[str, Any], notes: list[str]) -> Description:
    """Return what the project is about; the copy in `session.json` where needed."""
    try:
        return parse_description(folder)
    except TopiaryError as reason:
        classes, kind = state.get("classes"), state.get("task")
        names = isinstance(classes, list) and all(isinstance(c, str) for c in classes)
        if not names or not classes or classes[0] != BACKGROUND:
            raise
        if kind not in ("detect", "segment", "instances"):
            raise
        notes.append(f"{reason} The classes were taken from {STATE_FILE}.")
    radii = [
        {
            str(name): float(radius)
            for name, radius in _mapping(state.get(key)).items()
            if isinstance(radius, int | float)
        }
        for key in ("radius_nm", "radius_px")
    ]
    task = Task(kind, tuple(classes), *radii)
    return Description(str(state.get("name") or folder.name), task, {}, None)


def _samples(
    folder: Path, about: Description, scales: dict[str, Any], notes: list[str]
) -> dict[str, Sample]:
    """Read every image, and what was drawn on it where that fits."""
    pairing = pair_files(folder)
    notes += (*pairing.problems, *pairing.notes)
    samples: dict[str, Sample] = {}
    for name, file in pairing.images.items():
        try:
            loaded = read_image(file)
        except TopiaryError as reason:
            notes.append(str(reason))
            continue
        scale = about.scales.get(name, about.scale)
        scale = loaded.scale if scale is None else scale
        if name in scales:
            own = scales[name]
            good = isinstance(own, int | float) and own > 0
            scale = float(own) if good else None
        sample = Sample(loaded.data, (), scale, name, file)
        drawn = pairing.of(name)
        samples[name] = _with_annotations(sample, drawn, about.task, notes)
    return samples


def _with_annotations(
    sample: Sample, files: Mapping[str, Path], task: Task, notes: list[str]
) -> Sample:
    try:
        drawn = read_annotations(files, task=task)
        sentence = annotation_problem(
            drawn, sample.image.shape[1:], task=task, scale=sample.scale, radii=False
        )
        if sentence is not None:
            raise TopiaryError(f"{sample.name}: {sentence}")
    except TopiaryError as reason:
        notes.append(str(reason))
        return sample
    return Sample(sample.image, drawn, sample.scale, sample.name, sample.path)


def _checkpoints(
    home: Path, state: dict[str, Any], record: Record, notes: list[str]
) -> dict[str, Checkpoint]:
    """Read every checkpoint file: those with a name first, in their order."""
    found = sorted(home.glob("*.safetensors")) if home.is_dir() else []
    files: dict[str, Path] = {}
    for name, file in _mapping(state.get("checkpoints")).items():
        path = home / Path(str(file)).name
        if path in found:
            files[name] = path
        else:
            notes.append(f"The checkpoint {name!r} is missing: {path.name} is gone.")
    for path in found:
        if path not in files.values():
            files.setdefault(path.stem, path)
    checkpoints: dict[str, Checkpoint] = {}
    if files:
        from napari_topiary.checkpoint import load_checkpoint  # brings torch with it

        for name, path in files.items():
            try:
                checkpoints[name] = load_checkpoint(path)
            except TopiaryError as reason:
                notes.append(str(reason))
                continue
            record.checkpoints[name] = (path, checkpoints[name])
    return checkpoints


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
