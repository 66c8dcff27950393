"""Where a checkpoint that is being made is kept: never in place of a better one."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_topiary.errors import NotWritten, TopiaryError, place_of, sentence_for
from napari_topiary.io.output_files import free_name

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint


@dataclass
class Keeping:
    """Keeps what a verb makes, whatever happens.

    While it grows, a network is written beside one that is there already, and takes
    its place at the end. One that did not come to its end takes it only if it is
    better.
    """

    out: Path  #: What the person asked for
    growing: Path = field(init=False)

    def __post_init__(self) -> None:
        """Choose where it grows."""
        beside = self.out.with_name(f"{self.out.stem}-unfinished{self.out.suffix}")
        self.growing = free_name(beside) if self.out.exists() else self.out

    def keep(
        self, made: Checkpoint, *, whole: bool
    ) -> tuple[Checkpoint, Path, list[str]]:
        """Write the file at the end.

        Returns
        -------
        Checkpoint
            The same, with the name of its file.
        Path
            Where it was written.
        list of str
            What the person should know.
        """
        made = made.named(self.out.stem)
        if not whole and self.growing != self.out and self.out.exists():
            better = _better(self.out, made)
            if better:
                return *self._written(made, self.growing), [
                    f"{self.out} stays as it was: {better} The network of this run is "
                    f"in {self.growing}."
                ]
        try:
            kept, place = self._written(made, self.out)
        except NotWritten as error:
            kept, place = self._elsewhere(made, error)
            return kept, place, [f"{error} The network is in {place}: move it soon."]
        if self.growing != self.out:
            self.growing.unlink(missing_ok=True)
        return kept, place, []

    def _written(self, made: Checkpoint, place: Path) -> tuple[Checkpoint, Path]:
        try:
            made.save(place, overwrite=True)  # it was asked before
        except NotWritten:
            raise
        except Exception as error:  # no memory, whatever a library raises
            said = sentence_for(error, f"Saving {place}", details=place_of(error))
            raise NotWritten(said) from error
        return made, place

    def _elsewhere(
        self, made: Checkpoint, error: NotWritten
    ) -> tuple[Checkpoint, Path]:
        """Write it wherever there is room; wait for room while somebody is there."""
        while True:
            for folder in _folders():
                try:
                    return self._written(made, free_name(folder / self.out.name))
                except NotWritten:
                    continue
            if not self._waits(error):
                tried = ", ".join(map(str, _folders()))
                left = "the network is lost."
                if self.growing.is_file():
                    left = f"what was saved on the way is in {self.growing}."
                raise NotWritten(
                    f"{error} Nor was there room in {tried}: {left}"
                ) from error

    def _waits(self, error: NotWritten) -> bool:
        if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        sys.stderr.write(f"\n{error} The network is still in memory.\n")
        sys.stderr.write("Press Enter to try again, or Ctrl-C to give it up: ")
        sys.stderr.flush()
        return bool(sys.stdin.readline())


def _folders() -> list[Path]:
    """Where else a network is kept: often on other disks, the last one in memory."""
    folders = [Path.cwd(), Path.home(), Path(tempfile.gettempdir()), Path("/dev/shm")]
    return list(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def new_notes(made: Checkpoint, before: Checkpoint | None) -> list[str]:
    """Return notes on a network that the one before, if any, did not have yet."""
    known = () if before is None else before.provenance.get("notes", ())
    return [note for note in made.provenance.get("notes", ()) if note not in known]


def _better(path: Path, made: Checkpoint) -> str:
    """Why the network in a file is to be preferred; empty where it is not."""
    from napari_topiary.checkpoint import load_checkpoint

    try:
        there = load_checkpoint(path).metrics
    except TopiaryError:
        return "what is in it cannot be compared."
    name, mine = str(there.get("quality_name")), made.metrics
    if None in (there.get("quality"), mine.get("quality")) or name != str(
        mine.get("quality_name")
    ):
        return "how good it is cannot be compared."
    if float(there["quality"]) < float(mine["quality"]):
        return ""
    return f"its {name} is {there['quality']:.3f}, against {mine['quality']:.3f}."
