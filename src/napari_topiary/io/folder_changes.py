"""Changes to several files of a folder as one act.

New files are written to a hidden folder inside of it first. A list of all changes then
makes them final: whoever opens the folder next and finds the list carries it out, and
without a list nothing has happened. So a program that is killed at any moment leaves
the files as they were before, or as they were to be.
"""

from __future__ import annotations

import filecmp
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from napari_topiary.errors import NotWritten, TopiaryError
from napari_topiary.io.atomic import clean_leftovers, process_lives, writing
from napari_topiary.io.pairing import unused_name

_STAGE = ".saving-"
_LIST = "changes.json"
KEPT = "kept"
"""Where files of a person go that would be replaced, in a folder that is written."""
_NEW = "new"
_PATIENCE_S = 5.0
"""So long another program may take to carry out its list."""
_at_work: set[Path] = set()
"""Hidden folders that this process is writing to."""


@dataclass(kw_only=True)
class FolderChange:
    """What is to change in a folder; nothing does before the end of `changing`.

    Files are named by their path inside the folder, with slashes.
    """

    root: Path
    stage: Path  #: Hidden folder of what is new
    _new: list[str] = field(default_factory=list)
    _removed: list[str] = field(default_factory=list)
    _moved: dict[str, str] = field(default_factory=dict)
    _kept: dict[str, str] = field(default_factory=dict)

    def new(self, name: str) -> Path:
        """Return where to write the new content of a file."""
        if name not in self._new:
            self._new.append(name)
        path = self.stage / _NEW / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def put(self, name: str, source: Path) -> None:
        """Make a file (or folder) like another one, which stays."""
        place = self.new(name)
        if source.is_dir():
            shutil.copytree(source, place)
        else:
            shutil.copy2(source, place)

    def remove(self, name: str) -> None:
        """Remove a file (or folder)."""
        self._removed.append(name)

    def move(self, name: str, to: str) -> None:
        """Move a file or folder to a place where nothing is."""
        self._moved[name] = to

    def keep(self, name: str, to: str) -> None:
        """Keep what a file is now at another place, where nothing is."""
        self._kept[name] = to

    def is_leaving(self, name: str) -> bool:
        """Whether what a file is now will be gone."""
        return name in self._removed or name in self._moved

    def names(self) -> tuple[str, ...]:
        """Return the files that were written anew, whether they differ or not."""
        return tuple(self._new)

    def moved_to(self, name: str) -> str | None:
        """Return where a file is moved to, None if it is not moved."""
        return self._moved.get(name)

    def differences(self) -> dict[str, bool]:
        """Return the files that will differ, and whether each of them is there now.

        New files that are equal to what is there are dropped.
        """
        for name in list(self._new):
            old, new = self.root / name, self.stage / _NEW / name
            there = old.is_file() and name not in self._moved
            if there and new.is_file() and filecmp.cmp(old, new, shallow=False):
                self._new.remove(name)
                new.unlink()
        gone = [n for n in (*self._removed, *self._moved) if (self.root / n).exists()]
        names = dict.fromkeys((*self._new, *gone))
        return {name: (self.root / name).exists() for name in names}

    def finish(self) -> None:
        """Make the changes final, and carry them out."""
        names = self.differences()
        if not names:
            return
        for name in self._new:
            _to_disk(self.stage / _NEW / name)
        removed = [n for n in self._removed if n in names and n not in self._new]
        content = {
            "keep": {n: to for n, to in self._kept.items() if names.get(n)},
            "move": {n: to for n, to in self._moved.items() if n in names},
            "put": self._new,
            "remove": removed,
        }
        with writing(self.stage / _LIST) as beside:
            beside.write_text(json.dumps(content, indent=1), encoding="ascii")
            _to_disk(beside)
        _carry_out(self.root, self.stage)


@contextmanager
def changing(root: Path) -> Iterator[FolderChange]:
    """Yield a change to a folder; it happens at the end, wholly or not at all.

    Parameters
    ----------
    root
        The folder; made if it is not there. A change that was cut off before is
        completed first.
    """
    complete_changes(root)
    root.mkdir(parents=True, exist_ok=True)
    stage = root / f"{_STAGE}{os.getpid()}-{secrets.token_hex(4)}"
    stage.mkdir()
    _at_work.add(stage)
    try:
        change = FolderChange(root=root, stage=stage)
        yield change
        change.finish()
    except NotWritten as error:
        # By the name that it would have had.
        said = str(error).replace(str(stage / _NEW), str(root))
        raise NotWritten(said) from error
    finally:
        # With a list, what is left is carried out when the folder is opened next.
        if not (stage / _LIST).exists():
            shutil.rmtree(stage, ignore_errors=True)
        _at_work.discard(stage)


def complete_changes(root: Path) -> None:
    """Bring a folder to a whole state after a program was cut off while it saved.

    Parameters
    ----------
    root
        The folder; one that is sound, or is not there, is left alone.

    Raises
    ------
    TopiaryError
        If the folder cannot be written to.
    """
    if not root.is_dir():
        return
    for stage in sorted(root.glob(f"{_STAGE}*")):
        until = time.monotonic() + _PATIENCE_S
        while _is_at_work(stage) and (stage / _LIST).exists():
            if time.monotonic() > until:
                break
            time.sleep(0.02)
        if (stage / _LIST).exists():
            try:
                _carry_out(root, stage)
            except OSError as reason:
                raise TopiaryError(
                    f"{root} was being saved when the program ended, and cannot be "
                    f"completed ({reason.strerror or reason}): copy it to a folder "
                    "that can be written to, and open it there."
                ) from reason
        elif not _is_at_work(stage):
            shutil.rmtree(stage, ignore_errors=True)
    clean_leftovers(root)
    for folder in root.iterdir():
        if folder.is_dir() and folder.name[0] != ".":
            clean_leftovers(folder)


def free_name(root: Path, name: str) -> str:
    """Return the path of a file inside a folder, with a number added if it is taken."""

    def place(stem: str) -> str:
        return Path(name).with_name(f"{stem}{Path(name).suffix}").as_posix()

    def is_taken(stem: str) -> bool:
        return (root / place(stem)).exists()

    return place(unused_name(Path(name).stem, is_taken, joint=" "))


def is_inside(name: str) -> bool:
    """Whether a file that is named by its path in a folder lies in this folder."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not {"..", "/"} & set(parts) and not {"\\", "\0"} & set(name)


def _is_at_work(stage: Path) -> bool:
    number = stage.name.removeprefix(_STAGE).split("-")[0]
    if number == str(os.getpid()):
        return stage in _at_work
    return number.isdigit() and process_lives(int(number))


def _carry_out(root: Path, stage: Path) -> None:
    """Carry out a list; each step may have been done already."""
    try:
        content = _read_list(stage / _LIST)
    except FileNotFoundError:
        return  # its own program has just done so
    for name, to in content["keep"].items():
        if (root / name).exists() and not (root / to).exists():
            (root / to).parent.mkdir(parents=True, exist_ok=True)
            _link(root / name, root / to)
    for name, to in content["move"].items():
        if (root / name).exists() and not (root / to).exists():
            (root / to).parent.mkdir(parents=True, exist_ok=True)
            (root / name).rename(root / to)
    for name in content["put"]:
        new = stage / _NEW / name
        if new.exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            if (root / name).is_file() and new.is_file():
                shutil.copymode(root / name, new)
            new.replace(root / name)
    for name in content["remove"]:
        if (root / name).is_dir() and not (root / name).is_symlink():
            shutil.rmtree(root / name)  # an image in zarr
        (root / name).unlink(missing_ok=True)
    (stage / _LIST).unlink(missing_ok=True)
    shutil.rmtree(stage, ignore_errors=True)


def _read_list(path: Path) -> dict[str, Any]:
    """Read a list, which may have come from anywhere, together with its folder."""
    try:
        content = json.loads(path.read_text(encoding="ascii"))
        pairs = [*content["keep"].items(), *content["move"].items()]
        names = [
            *content["put"],
            *content["remove"],
            *(n for pair in pairs for n in pair),
        ]
        sound = all(isinstance(n, str) and is_inside(n) for n in names)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise TopiaryError(
            f"{path.parent} is the rest of a save that cannot be completed: move it "
            "elsewhere, and open the project again."
        )
    return dict(content)


def _link(source: Path, to: Path) -> None:
    """Give a file a second name; where a disk knows no such thing, copy it."""
    try:
        os.link(os.path.realpath(source), to)
    except OSError:
        with writing(to) as beside:
            if source.is_dir():
                shutil.copytree(source, beside)
            else:
                shutil.copy2(source, beside)


def _to_disk(path: Path) -> None:
    """Make sure that a file survives a power cut."""
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
