"""A project on disk: a dataset folder, `checkpoints/` and `session.json`.

The dataset part is what the command line trains from. `session.json` holds what a
dataset has no place for (colours, pixel size of each image, which checkpoint is
active). Only what has changed is written, and all of it at once: a program that is
killed while it saves leaves the last whole project. What was there before is kept in
`versions/`; what could not be read is never replaced, but moved to `kept/`, and images
that were taken out of the project to `removed/`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.annotations import annotation_kinds
from napari_topiary.errors import NotWritten
from napari_topiary.io.annotation_files import write_annotations
from napari_topiary.io.dataset import Dataset
from napari_topiary.io.dataset_writing import (
    check_name,
    write_description,
    write_json,
    write_sample_image,
)
from napari_topiary.io.folder_changes import KEPT, FolderChange, changing, free_name
from napari_topiary.io.large_images import AnyImage, LargeImage
from napari_topiary.io.pairing import Pairing, pair_files, place_of, unused_name
from napari_topiary.session.commands import PROGRAM, SCRIPT, parents_of, script_for
from napari_topiary.session.contents import Contents
from napari_topiary.session.recovery import STATE_FILE, recovery_home
from napari_topiary.session.versions import (
    REMOVED,
    Known,
    drop_old_versions,
    keep_version,
)

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

FORMAT = 1
CHECKPOINTS = "checkpoints"


@dataclass(kw_only=True)
class SavedFiles:
    """What is in a session's folder already, so that only changes are written."""

    #: `images`, `annotations`: by image name: what the files hold, compared by identity
    images: dict[str, AnyImage] = field(default_factory=dict)
    annotations: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    #: Checkpoint name -> (file, the checkpoint that is in it)
    checkpoints: dict[str, tuple[Path, Checkpoint]] = field(default_factory=dict)
    #: The files whose content is in memory; others are never replaced
    known: Known = field(default_factory=Known)

    def copy(self) -> SavedFiles:
        """Return a record that can be changed on its own."""
        return SavedFiles(
            images=dict(self.images),
            annotations=dict(self.annotations),
            checkpoints=dict(self.checkpoints),
            known=self.known.copy(),
        )

    def take(self, other: SavedFiles) -> None:
        """Take over everything from another one."""
        self.images, self.annotations = other.images, other.annotations
        self.checkpoints, self.known = other.checkpoints, other.known


@dataclass(frozen=True, kw_only=True)
class Read:
    """What was found in a project folder."""

    dataset: Dataset  #: With those of its samples that could be read
    colours: dict[str, str]  #: Class name -> ``"#rrggbb"``
    #: `checkpoints`, `active`: by name, and which one pages start from
    checkpoints: dict[str, Checkpoint]
    active: str | None
    notes: tuple[str, ...]  #: A sentence for everything that could not be read
    record: SavedFiles  #: What is in the folder already


def is_recovery(folder: Path) -> bool:
    """Whether a folder is one that an unsaved project was kept in."""
    return folder.resolve().parent == recovery_home().resolve()


def write(
    contents: Contents,
    folder: Path,
    record: SavedFiles,
    *,
    by_itself: bool = False,
    moving_from: Path | None = None,
) -> None:
    """Write what changed to a folder, wholly or not at all.

    Parameters
    ----------
    contents
        What to write.
    folder
        Made if it is not there.
    record
        Of the same folder; brought up to date once everything is written.
    by_itself
        Whether nobody has asked for it: such saves make one version together.
    moving_from
        A folder for recovery that will be given up: what was put aside there comes
        along.
    """
    now = record.copy()
    try:
        with changing(folder) as change:
            _write_images(contents, change, now)
            _write_checkpoints(contents, change, now)
            write_json(change.new(STATE_FILE), _state(contents, now))
            _write_script(contents, change)
            if moving_from is not None:
                _bring_along(change, moving_from)
            written = change.names()
            keep_version(change, now.known, by_itself=by_itself)
    except (OSError, UnicodeError) as error:
        reason = error.__cause__ or error
        raise NotWritten(
            f"The project could not be written to {folder} "
            f"({getattr(reason, 'strerror', None) or reason}): choose another folder."
        ) from error
    for name in written:
        now.known.add(folder, name)
    record.take(now)
    drop_old_versions(folder)


def _write_script(contents: Contents, change: FolderChange) -> None:
    """Write how the networks were made, unless a person has a script of that name."""
    if not contents.checkpoints:
        return
    there, before = change.root / SCRIPT, ""
    if there.exists():
        try:
            before = there.read_text(encoding="utf-8")
        except (OSError, UnicodeError):
            return
        if PROGRAM not in before:
            return
    text = script_for(contents.checkpoints, parents_of(contents.checkpoints))
    if text != before:
        change.new(SCRIPT).write_text(text, encoding="utf-8")


def _write_images(contents: Contents, change: FolderChange, record: SavedFiles) -> None:
    for name in contents.images:
        check_name(name)
    there = pair_files(change.root)
    # What could not be read is kept, so that it is there again where its file is.
    unread = {n: p for n, p in there.elsewhere.items() if n not in record.images}
    elsewhere = unread | {
        name: _place(entry.path, change.root)
        for name, entry in contents.images.items()
        if isinstance(entry.image, LargeImage)
        and entry.path is not None
        and entry.path.resolve().parent.parent != change.root.resolve()
    }
    for name in [name for name in record.images if name not in contents.images]:
        _set_aside(change, name, there)
        del record.images[name]
        record.annotations.pop(name, None)
    for name, entry in contents.images.items():
        sample = contents.sample(name)
        if record.images.get(name) is not entry.image:
            if not isinstance(entry.image, LargeImage):
                write_sample_image(change, sample, there=there)
            record.images[name] = entry.image
        drawn = sample.annotations
        if record.annotations.get(name, ()) != drawn:
            write_annotations(change, name, drawn, there=there)
            record.annotations[name] = drawn
    scales = {name: entry.scale for name, entry in contents.images.items()}
    dataset = Dataset(contents.name, contents.task, {}, dict(contents.split))
    write_description(change, dataset, scales=scales, elsewhere=elsewhere)


def _place(image: Path, root: Path) -> str:
    """Say where an image is: beside the project, so that both can be moved, or not."""
    image, home = image.resolve(), root.resolve().parent
    if image.is_relative_to(home) and not is_recovery(root):
        return (Path("..") / image.relative_to(home)).as_posix()
    return str(image)


def _set_aside(change: FolderChange, name: str, there: Pairing) -> None:
    """Move the files of an image that was taken out of the project to `removed/`."""
    for kind in ("images", *annotation_kinds):
        for file in there.all_of(kind, name):
            own = place_of(file)
            change.move(own, free_name(change.root, f"{REMOVED}/{own}"))


def _bring_along(change: FolderChange, folder: Path) -> None:
    for aside in (KEPT, REMOVED):
        for file in sorted((folder / aside).glob("*/*")):
            name = file.relative_to(folder).as_posix()
            change.put(free_name(change.root, name), file)


def _state(contents: Contents, record: SavedFiles) -> dict[str, Any]:
    files = {name: file.name for name, (file, _) in record.checkpoints.items()}
    task = contents.task
    return {
        "format": FORMAT,
        "name": contents.name,
        "task": task.kind,
        "classes": list(task.classes),
        "radius_nm": dict(task.radius_nm),
        "radius_px": dict(task.radius_px),
        "colours": contents.colours,
        "scales": {name: entry.scale for name, entry in contents.images.items()},
        # Which files there have to be: a copy of the folder may lack some.
        "drawn": {
            name: sorted({one.kind for one in drawn})
            for name, drawn in contents.annotations.items()
            if drawn and name in contents.images
        },
        "checkpoints": files,
        "active": contents.active_checkpoint,
    }


def _write_checkpoints(
    contents: Contents, change: FolderChange, record: SavedFiles
) -> None:
    home = change.root / CHECKPOINTS
    for name, (file, _) in list(record.checkpoints.items()):
        if name not in contents.checkpoints:
            change.remove(f"{CHECKPOINTS}/{file.name}")
            del record.checkpoints[name]
    for name, checkpoint in contents.checkpoints.items():
        there = record.checkpoints.get(name)
        if there is not None and there[1] is checkpoint:
            continue
        file = _free_file(home, name, record) if there is None else there[0]
        checkpoint.save(change.new(f"{CHECKPOINTS}/{file.name}"))
        record.checkpoints[name] = (file, checkpoint)
    # In the order of the session, which is the order that they come back in.
    ordered = {name: record.checkpoints[name] for name in contents.checkpoints}
    record.checkpoints = ordered


def _free_file(home: Path, name: str, record: SavedFiles) -> Path:
    """Return a file for a checkpoint of this name that no other one uses."""
    base = re.sub(r"[^\w\-.+]+", "_", name).strip("._")[:60] or "checkpoint"
    used = {file.name.lower() for file, _ in record.checkpoints.values()}

    def is_taken(stem: str) -> bool:
        file = f"{stem}.safetensors"
        return file.lower() in used or (home / file).exists()

    return home / f"{unused_name(base, is_taken)}.safetensors"
