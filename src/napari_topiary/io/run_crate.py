"""How results came about, beside them: a Process Run Crate (RO-Crate 1.1).

Every run adds one action to `ro-crate-metadata.json` in the folder of its results: the
command, the version, what was read and what was written, with SHA-256 of all but very
large files. The newest action that made a file is the one that names it.

Until a run has ended its tables are noted in a file beside: where it was killed they
are known as its own all the same, and the same command goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from napari_topiary.io.atomic import is_protected, noting, writing
from napari_topiary.io.memory import in_words
from napari_topiary.io.own_files import WRITER, written_by_topiary
from napari_topiary.io.plain_files import read_json

CRATE = "ro-crate-metadata.json"
RUNNING = ".ro-crate-running"
"""Hashes and names of tables of a run that has not ended, one a line."""
LARGEST_HASHED = 2_000_000_000
"""Bytes of files of a run that are hashed; more would take too long."""
MOST_FILES = 2000
"""Files of a folder that are listed one by one."""
EDITED = (".csv", ".star", ".cbox", ".geojson")
"""Endings of results that people correct by hand."""
HASHED_AT_A_TIME = 1 << 22
CONTEXT = (
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
)
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of the program."""

    command: str  #: As it can be typed again
    version: str
    #: `inputs`, `outputs`: files and folders
    inputs: Sequence[Path]
    outputs: Sequence[Path]
    #: `begun`, `ended`: when, in seconds since 1970
    begun: float
    ended: float
    complete: bool = True  #: Whether it was done to its end


def write_crate(folder: Path, run: Run) -> Path | None:
    """Add a run to the crate of a folder.

    Returns
    -------
    Path or None
        The crate; None where there is one of another program, or a write-protected one,
        which stays.
    """
    path = folder / CRATE
    graph: list[Mapping[str, Any]] = []
    if os.path.lexists(path):
        if not written_by_topiary(path) or is_protected(path):
            return None
        graph = _entities(json.loads(path.read_text(encoding="utf-8")))
    budget = _Budget(LARGEST_HASHED)
    read = [
        _entity(one, folder, budget)
        for one in run.inputs
        if one.is_file() or one.is_dir()
    ]
    parts = [part for one in read for part in one.get("hasPart", ())]
    used = [_referring(one) for one in read]
    made = [
        _referring(_entity(one, folder, budget)) for one in run.outputs if one.exists()
    ]
    program = {
        "@id": f"#{WRITER}-{run.version}",
        "@type": "SoftwareApplication",
        "name": WRITER,
        "softwareVersion": run.version,
    }
    number = 1 + sum(one.get("@type") == "CreateAction" for one in graph)
    action = {
        "@id": f"#run-{number}",
        "@type": "CreateAction",
        "name": " ".join(run.command.split()[:2]),
        "description": run.command,
        "instrument": {"@id": program["@id"]},
        "object": _references(used),
        "result": _references(made),
        "startTime": _time(run.begun),
        "endTime": _time(run.ended),
        "actionStatus": {
            "@id": "http://schema.org/CompletedActionStatus"
            if run.complete
            else "http://schema.org/FailedActionStatus"
        },
    }
    kept = {str(one["@id"]): one for one in graph if one["@id"] not in (CRATE, "./")}
    kept |= {str(one["@id"]): one for one in (program, *parts, *used, *made, action)}
    kept[PROFILE] = {
        "@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate"
    }  # fmt: skip
    text = json.dumps(
        {"@context": list(CONTEXT), "@graph": [*_heads(kept, run), *kept.values()]},
        indent=1,
        ensure_ascii=False,
    )
    with writing(path) as beside:
        # Bytes that are no letters, of names on old disks, become escapes of JSON.
        beside.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    (folder / RUNNING).unlink(missing_ok=True)
    return path


@contextmanager
def noting_tables(out: Path) -> Iterator[None]:
    """Note the tables that a run writes, before each takes its place.

    Parameters
    ----------
    out
        Of the run: a file, or a folder of results, which need not be there yet.
    """
    folders = {out.resolve(), out.resolve().parent}

    def note(path: Path, content: Path) -> None:
        folder = path.parent.resolve()
        if path.suffix.lower() in EDITED and folder in folders:
            with (folder / RUNNING).open("a", encoding="utf-8") as file:
                file.write(f"{_hash(content)} {_quoted(path.name)}\n")

    with noting(note):
        yield


def is_edited(path: Path) -> bool:
    """Whether a table is not what the runs that wrote it say that it was.

    Tables of results are known by their columns, which stay when a person corrects
    what is in them.
    """
    return path.suffix.lower() in EDITED and is_as_written(path) is False


def is_as_written(path: Path) -> bool | None:
    """Whether a file is what the runs that wrote it say; None where none says it."""
    noted = set(_noted(path)) if path.is_file() else set[str]()
    return _hash(path) in noted if noted else None


def _noted(path: Path) -> Iterator[str]:
    """Hashes that the crate, and a run that was killed, give to a table."""
    name, crate = _quoted(path.name), path.with_name(CRATE)
    if crate.is_file() and written_by_topiary(crate):
        for one in _entities(read_json(crate)):
            if one["@id"] == name and isinstance(one.get("sha256"), str):
                yield one["sha256"]
    running = path.with_name(RUNNING)
    if running.is_file():
        text = running.read_text(encoding="utf-8", errors="replace")
        lines = [line.split() for line in text.splitlines()]
        yield from (line[0] for line in lines if line[1:] == [name])


def _heads(
    kept: Mapping[str, Mapping[str, Any]], run: Run
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the crate says of itself, and of the folder with all that is in it."""
    actions = [i for i, one in kept.items() if one.get("@type") == "CreateAction"]
    inside = [
        name
        for name, one in kept.items()
        if one.get("@type") in ("File", "Dataset") and "://" not in name
    ]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Results of {WRITER}",
        "description": f"What {WRITER} has written into this folder, and from what.",
        "datePublished": _time(run.ended),
        "license": "not stated",
        "conformsTo": {"@id": PROFILE},
        "hasPart": [{"@id": name} for name in inside],
        "mentions": [{"@id": name} for name in actions],
    }
    about = {
        "@id": CRATE,
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    return about, root


def _entities(crate: Any) -> list[Mapping[str, Any]]:
    """What a crate describes, as far as it is sound."""
    found = crate.get("@graph") if isinstance(crate, Mapping) else None
    return [
        one
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, Mapping) and isinstance(one.get("@id"), str)
    ]


def written_since(targets: Iterable[Path], begun: float) -> list[Path]:
    """Return what a run has written: files, and folders that are zarr images.

    Parameters
    ----------
    targets
        Files, and folders that results go into.
    begun
        When it began, in seconds since 1970.
    """
    found = dict[Path, None]()
    for target in targets:
        for path in _files(target):
            if path.name != CRATE and path.stat().st_mtime >= begun - 1:
                found[path] = None
    return list(found)


def _files(place: Path) -> list[Path]:
    """Return a file, or those in a folder; a zarr image counts as a file."""
    if not place.is_dir():
        return [place] if place.is_file() else []
    if place.suffix == ".zarr":
        return [place]
    found: list[Path] = []
    for home, folders, names in os.walk(place):
        images = [name for name in folders if name.endswith(".zarr")]
        folders[:] = [n for n in folders if n not in images and n[0] != "."]
        found += [Path(home) / n for n in sorted((*names, *images)) if n[0] != "."]
        if len(found) > MOST_FILES:
            break
    # Not pipes, whose readers wait for ever.
    return [path for path in found if path.is_file() or path.is_dir()]


class _Budget:
    """Bytes that may still be hashed."""

    def __init__(self, left: int) -> None:
        self.left = left

    def takes(self, size: int) -> bool:
        """Whether a file may be hashed; it then is."""
        if size > self.left:
            return False
        self.left -= size
        return True


def _entity(path: Path, folder: Path, budget: _Budget) -> dict[str, Any]:
    """Describe a file or folder; one within the crate by its place in it."""
    whole = path.resolve()
    is_folder = whole.is_dir()
    try:
        inside = _quoted(whole.relative_to(folder.resolve()).as_posix())
        name = (f"{inside}/" if is_folder else inside) if inside != "." else ""
        name = name or whole.as_uri()
    except ValueError:
        name = whole.as_uri()
    entity: dict[str, Any] = {"@id": name, "name": path.name}
    if is_folder:
        if whole.suffix == ".zarr":
            return entity | {"@type": "Dataset"}
        files = _files(whole)[:MOST_FILES]
        parts = [_entity(one, folder, budget) for one in files]
        # By place: an image and its labels have one name.
        places = [one.relative_to(whole).as_posix() for one in files]
        hashes = {
            place: part.get("sha256") for place, part in zip(places, parts, strict=True)
        }
        if hashes and None not in hashes.values():
            text = json.dumps(hashes, sort_keys=True)
            entity["sha256"] = hashlib.sha256(text.encode()).hexdigest()
            entity["description"] = "SHA-256 of the places and SHA-256 of its files"
        # Of what lies beside the crate, the run that made it says what it was.
        entity["hasPart"] = [one for one in parts if "://" in one["@id"]]
        return entity | {"@type": "Dataset"}
    size = whole.stat().st_size
    entity |= {"@type": "File", "contentSize": str(size)}
    if budget.takes(size):
        try:
            return entity | {"sha256": _hash(whole)}
        except OSError as error:  # of somebody else's, in a folder that was given
            return entity | {"description": f"not hashed: {error.strerror}"}
    return entity | {"description": f"not hashed: {in_words(size)} are too many"}


def _quoted(name: str) -> str:
    return quote(os.fsencode(name))


def _hash(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(HASHED_AT_A_TIME):
            found.update(part)
    return found.hexdigest()


def _referring(entity: Mapping[str, Any]) -> dict[str, Any]:
    """A folder with references to its files in their place."""
    parts = entity.get("hasPart")
    return {**entity, "hasPart": _references(parts)} if parts else dict(entity)


def _references(entities: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [{"@id": str(one["@id"])} for one in entities]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
