"""Reading a project folder back, as much of it as is sound.

Opening never gives up at the first fault: what can be read is read, the rest is named
in a sentence. A plain dataset folder is a project too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from napari_topiary.annotations import (
    annotation_kinds,
    annotation_problem,
    usable_annotations,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_files import (
    Drawn,
    over_stack,
    read_sound_annotations,
    read_stack_annotations,
)
from napari_topiary.io.dataset import Dataset, Sample
from napari_topiary.io.dataset_description import (
    DESCRIPTION,
    Description,
    is_positive,
    parse_description,
    resolved_split,
    split_problem,
)
from napari_topiary.io.folder_changes import complete_changes
from napari_topiary.io.images import LoadedImage, read_image, read_slices
from napari_topiary.io.large_images import open_lazily
from napari_topiary.io.own_files import CHECKPOINT
from napari_topiary.io.pairing import Pairing, pair_files, place_of, visible_files
from napari_topiary.io.plain_files import read_json
from napari_topiary.session.project import CHECKPOINTS, Read, SavedFiles, is_recovery
from napari_topiary.session.recovery import STATE_FILE, adopt_recovery
from napari_topiary.types import BACKGROUND, Image, Task

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

_log = logging.getLogger(__name__)

_USED = " What can be read of it is used."
_KEPT = " The file is kept as it is, in the folder kept once something new is saved."


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
    if is_recovery(folder):
        folder = adopt_recovery(folder)
    complete_changes(folder)
    return _Reader(folder).read()


class _Reader:
    """Reads a folder; remembers what of it is in memory, and what is to be said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self.record = SavedFiles()
        self.state = self._read_state()
        self.about = self._description()
        self.task = self.about.task
        self.pairing = pair_files(folder)

    def read(self) -> Read:
        """Read all that is sound."""
        about, pairing, notes = self.about, self.pairing, self.notes
        notes += (*pairing.problems, *pairing.notes)
        samples = self._samples()
        notes += _missing(self.state, pairing)
        task = _with_classes_of(samples, self.task, notes)
        notes += _problems(samples, task)
        checkpoints = self._checkpoints(self.folder / CHECKPOINTS)
        # Images that could not be read stay in their part.
        split = resolved_split(about.split, pairing.images, pairing.stacks)
        if wrong := split_problem(split, pairing.images):
            notes.append(f"{DESCRIPTION}: {wrong}")
        active = str(self.state.get("active"))
        if active not in checkpoints:
            active = next(reversed(checkpoints), "")
        for note in notes:
            _log.warning("%s", note)
        colours = _mapping(self.state.get("colours"))
        return Read(
            dataset=Dataset(about.name, task, samples, split, self.folder, about.scale),
            colours={name: str(colour) for name, colour in colours.items()},
            checkpoints=checkpoints,
            active=active or None,
            notes=tuple(notes),
            record=self.record,
        )

    def _know(self, file: Path) -> None:
        """Note that the content of a file of the folder is in memory."""
        self.record.known.add(file.parent.parent, place_of(file))

    def _read_state(self) -> dict[str, Any]:
        file = self.folder / STATE_FILE
        if not file.is_file():
            return {}
        try:
            state = read_json(file)
        except TopiaryError:
            state = None
        if not isinstance(state, dict):
            self.notes.append(
                f"{STATE_FILE} is damaged: colours, pixel sizes of single images and "
                "names of checkpoints start anew."
            )
            return {}
        self.record.known.add(self.folder, STATE_FILE)
        return state

    def _description(self) -> Description:
        """Return what the project is about; the copy in `session.json` where needed."""
        try:
            about = parse_description(self.folder)
            self.record.known.add(self.folder, DESCRIPTION)
            return about
        except TopiaryError as reason:
            classes, kind = self.state.get("classes"), self.state.get("task")
            names = isinstance(classes, list) and all(
                isinstance(one, str) for one in classes
            )
            if not names or not classes or classes[0] != BACKGROUND:
                raise
            if kind not in ("detect", "segment", "instances"):
                raise
            self.notes.append(f"{reason} The classes were taken from {STATE_FILE}.")
        radii = [
            {
                str(name): float(radius)
                for name, radius in _mapping(self.state.get(key)).items()
                if is_positive(radius)
            }
            for key in ("radius_nm", "radius_px")
        ]
        task = Task(kind, tuple(classes), *radii)
        name = str(self.state.get("name") or self.folder.name)
        return Description(name=name, task=task, split={}, scale=None)

    def _samples(self) -> dict[str, Sample]:
        """Read images with what is drawn on them; those that are damaged are told."""
        samples, pairing = {}, self.pairing
        slices = self._slices()
        # In the order that they were in; those that came by other ways are the last.
        scales = _mapping(self.state.get("scales"))
        known = {
            name: pairing.images[name] for name in scales if name in pairing.images
        }
        for name, file in (known | pairing.images).items():
            if name in pairing.slices:
                loaded, drawn = slices.get(name, (None, Drawn()))
            else:
                loaded, drawn = self._loaded(file), Drawn()
            if loaded is not None:
                sample = self._sample(name, file, loaded, scales)
                samples[name] = self._with_annotations(sample, drawn)
        return samples

    def _loaded(self, file: Path) -> LoadedImage | None:
        """Read an image, if that is possible."""
        try:
            if (large := open_lazily(file)) is not None:
                return LoadedImage(cast("Image", large), large.scale, large.notes)
            return read_image(file)
        except TopiaryError as reason:
            self.notes.append(str(reason))
            return None

    def _slices(self) -> dict[str, tuple[LoadedImage, Drawn]]:
        """Read every stack: its slices by name, with what the stack's files say."""
        found, pairing = {}, self.pairing
        for stack, names in pairing.stacks.items():
            place, files = pairing.slices[names[0]], pairing.of(stack)
            try:
                images = tuple(read_slices(place.path))
            except TopiaryError as reason:
                self.notes.append(str(reason))
                continue
            each = read_stack_annotations(files, task=self.task, count=place.count)
            self.notes += _faults_of(each[0])
            for file in each[0].whole:
                self._know(file)
            for name in names:
                index = pairing.slices[name].index
                found[name] = images[index], each[index]
        return found

    def _sample(
        self, name: str, file: Path, loaded: LoadedImage, scales: dict[str, Any]
    ) -> Sample:
        """Put an image together with what the project says about it."""
        self.record.images[name] = loaded.data
        if name not in self.pairing.elsewhere:
            self._know(file)
        place = self.pairing.slices.get(name)
        stack = None if place is None else place.stack
        scale, said = self.about.scale_of(name, loaded.scale, stack=stack)
        self.notes += (f"{name}: {note}" for note in (*loaded.notes, *said))
        if name in scales:
            own = scales[name]
            scale = float(own) if is_positive(own) else None
        # A slice is not all that is in its file.
        return Sample(loaded.data, (), scale, name, file if place is None else None)

    def _with_annotations(self, sample: Sample, of_stack: Drawn) -> Sample:
        """Read what was drawn on an image, as far as it is sound."""
        files, shape = self.pairing.of(sample.name), sample.image.shape[1:]
        drawn = read_sound_annotations(files, task=self.task, shape=shape)
        for file in drawn.whole:
            self._know(file)
        self.notes += _faults_of(drawn)
        annotations = over_stack(drawn.annotations, of_stack.annotations)
        self.record.annotations[sample.name] = annotations
        return replace(sample, annotations=annotations)

    def _checkpoints(self, home: Path) -> dict[str, Checkpoint]:
        """Read every checkpoint file: those with a name first, in their order."""
        found = [f for f in visible_files(home) if f.suffix == CHECKPOINT]
        files: dict[str, Path] = {}
        for name, file in _mapping(self.state.get("checkpoints")).items():
            path = home / Path(str(file)).name
            if path in found:
                files[name] = path
            else:
                self.notes.append(
                    f"The checkpoint {name!r} is missing: {path.name} is gone."
                )
        for path in found:
            if path not in files.values():
                files.setdefault(path.stem, path)
        checkpoints: dict[str, Checkpoint] = {}
        if files:
            from napari_topiary.checkpoint import load_checkpoint  # brings torch

            for name, path in files.items():
                try:
                    checkpoints[name] = load_checkpoint(path)
                except TopiaryError as reason:
                    self.notes.append(str(reason))
                    continue
                self.record.checkpoints[name] = (path, checkpoints[name])
                self._know(path)
        return checkpoints


def _faults_of(drawn: Drawn) -> list[str]:
    """Say of each file that was not read wholly what becomes of it."""
    return [
        f"{fault}{'' if fault in drawn.unread else _USED}{_KEPT}"
        for fault in drawn.faults
    ]


def _missing(state: dict[str, Any], pairing: Pairing) -> list[str]:
    """Say which files of the project are not in the folder any more."""
    notes = [
        f"The image {name!r} is missing: there is no file of this name in images. What "
        "is drawn on it stays in its file; copy the image there again."
        for name in _mapping(state.get("scales"))
        if not pairing.all_of("images", name)
        and name not in pairing.images
        and name not in pairing.elsewhere
    ]
    for name, kinds in _mapping(state.get("drawn")).items():
        place = pairing.slices.get(name)
        there = pairing.of(name) | ({} if place is None else pairing.of(place.stack))
        notes += [
            f"{kind}/{name} is missing: what was drawn on this image is not in the "
            "folder; if the project was copied, copy that file too, and open it again."
            for kind in (kinds if isinstance(kinds, list) else ())
            if kind in annotation_kinds
            and name in pairing.images
            and kind not in there
            and not pairing.all_of(kind, name)
        ]
    return notes


def _with_classes_of(
    samples: Mapping[str, Sample], task: Task, notes: list[str]
) -> Task:
    """Add the classes that only what was drawn knows: they are not to be lost."""
    unknown: dict[str, str] = {}
    for name, sample in samples.items():
        for annotation in sample.annotations:
            for own in getattr(annotation, "classes", ()):
                if own not in task.classes:
                    unknown.setdefault(own, f"{annotation.kind} of {name}")
    notes += [
        f"The class {own!r} in the {where} was not among the classes of the project: "
        "it was added."
        for own, where in unknown.items()
    ]
    return replace(task, classes=(*task.classes, *unknown))


def _problems(samples: Mapping[str, Sample], task: Task) -> list[str]:
    """Say what is not learned from, and why; it is kept all the same."""
    notes = []
    for name, sample in samples.items():
        drawn, shape, scale = sample.annotations, sample.image.shape[1:], sample.scale
        problem = annotation_problem(drawn, shape, task=task, scale=scale, radii=False)
        if problem is not None:
            said: tuple[str, ...] = (problem,)
        else:
            _, said = usable_annotations(drawn, shape, task=task, scale=scale)
        notes += [f"{name}: {sentence}" for sentence in said]
    return notes


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
