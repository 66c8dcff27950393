"""Running a verb in a terminal: progress, Ctrl-C that keeps results, the record.

The first Ctrl-C sends `Stop` into the running job, which returns what it has; the
second gives up at once. Before the first job there is nothing to keep, and one is
enough. A request of the system to end (SIGTERM) and a closed terminal are heard in
the same way.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TextIO, TypeVar

from napari_topiary.cli.ending import ENDING, HANG_UP, INTERRUPTED, Interrupted, Nobody
from napari_topiary.cli.parsing import DONE, PARTLY
from napari_topiary.config import LAST_SEED
from napari_topiary.errors import NotWritten, TopiaryError
from napari_topiary.forms import number_problem
from napari_topiary.io.atomic import writing
from napari_topiary.io.output_files import REPORT, Files, OutputFile, check_targets
from napari_topiary.io.own_files import WRITER, signed
from napari_topiary.io.run_crate import Run, noting_tables, write_crate, written_since
from napari_topiary.registry import program_version
from napari_topiary.types import Job, Progress, run
from napari_topiary.words import THIN

T = TypeVar("T")

REDRAW_S = 0.1
BLOCKS = "█░"
PLAIN_BLOCKS = "#."


class ProgressBar:
    """A line at the bottom of a terminal; nothing at all where there is none.

    Parameters
    ----------
    stream
        Where to write; standard error by default, so that results can be piped.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream: Any = sys.stderr if stream is None else stream
        self._on = self._stream.isatty()
        self._drawn = 0.0
        self._begun = time.monotonic()
        encoding = (getattr(self._stream, "encoding", None) or "ascii").lower()
        self._blocks = BLOCKS if encoding.startswith("utf") else PLAIN_BLOCKS

    def begin(self) -> None:
        """Start anew with the next job."""
        self._drawn, self._begun = 0.0, time.monotonic()

    def show(self, progress: Progress) -> None:
        """Draw, at most ten times a second."""
        now = time.monotonic()
        if not self._on or now - self._drawn < REDRAW_S:
            return
        self._drawn = now
        width = max(20, shutil.get_terminal_size().columns - 1)
        line = self._line(progress, now - self._begun)
        self._write("\r" + line[:width].ljust(width))

    def note(self, sentence: str) -> None:
        """Write a sentence that stays."""
        self.clear()
        self._write(sentence + "\n")

    def clear(self) -> None:
        """Take the bar away."""
        if self._on:
            width = max(20, shutil.get_terminal_size().columns - 1)
            self._write("\r" + " " * width + "\r")

    def _write(self, text: str) -> None:
        """Write; the terminal may have been closed, and the work goes on."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._stream, self._on = Nobody(), False

    def _line(self, progress: Progress, spent: float) -> str:
        left, fraction = progress.eta_s, progress.fraction
        if left is None and fraction > 0.02:
            left = spent * (1 - fraction) / fraction
        if progress.total <= 0:
            return f"{progress.message} …"
        full = round(20 * fraction)
        blocks = self._blocks[0] * full + self._blocks[1] * (20 - full)
        rest = "" if left is None else f"  {_clock(left)} left"
        return f"{blocks} {fraction:4.0%}{rest}  {progress.message}"


class Runner:
    """Runs jobs one after the other; a context that Ctrl-C is heard in."""

    def __init__(self, bar: ProgressBar) -> None:
        self.bar = bar
        self.interrupted = False
        self._driving = False
        self._worked = False
        self._before: dict[int, Any] = {}
        self.notes: dict[str, None] = {}

    def __enter__(self) -> Runner:
        """Start listening."""
        try:
            for number in ENDING:
                ignored = signal.getsignal(number) is signal.SIG_IGN
                if not ignored or number != HANG_UP:  # as nohup wants it
                    self._before[number] = signal.signal(number, self._hear)
        except ValueError:  # not in the main thread: somebody else listens
            pass
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave Ctrl-C as it was."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(
        self,
        job: Job[T],
        heed: Callable[[object], None] | None = None,
        *,
        about: str = "",
    ) -> T:
        """Run a job to its end, or to what it has when interrupted.

        What it says on the way is told, with the name of what it is about in front;
        `heed` gets everything that it reports.
        """

        def show(progress: Progress) -> None:
            self._show(progress, f"{about}: " if about else "")
            if heed is not None and progress.report is not None:
                heed(progress.report)

        self.bar.begin()
        self._driving = True
        try:
            return run(job, show, lambda: self.interrupted)
        finally:
            self._driving, self._worked = False, True
            self.bar.clear()

    def note(self, sentence: str) -> None:
        """Tell the user something, once."""
        if sentence and sentence not in self.notes:
            self.notes[sentence] = None
            self.bar.note(sentence)

    def say(self, text: str) -> None:
        """Write a result to standard output; whoever read it may have gone."""
        try:
            sys.stdout.write(text.replace(THIN, " ") + "\n")
            sys.stdout.flush()
        except OSError:  # the terminal is closed, or a pipe
            sys.stdout = Nobody()

    def _show(self, progress: Progress, about: str) -> None:
        said = progress.report
        said = said if isinstance(said, str) else str(getattr(said, "note", ""))
        self.note(said and f"{about}{said}")
        self.bar.show(progress)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # After a job there is something to keep: it is written before all ends.
        if self.interrupted or not (self._driving or self._worked):
            self.interrupted = True
            raise Interrupted
        self.interrupted = True
        self.bar.note("Stopping and keeping what there is (Ctrl-C again gives up).")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def perform(arguments: Sequence[str], options: argparse.Namespace) -> int:
    """Run a verb; returns the exit status."""
    bar = ProgressBar()
    try:
        with Runner(bar) as runner:
            return _perform(arguments, options, runner)
    finally:
        bar.clear()


def _perform(
    arguments: Sequence[str], options: argparse.Namespace, runner: Runner
) -> int:
    problem = number_problem("Seed", options.seed, low=0, high=LAST_SEED, whole=True)
    if problem is not None:
        raise TopiaryError(problem)
    files: Files = options.files(options)
    if options.json is not None:
        report = OutputFile(options.json, "--json", kind=REPORT)
        files = replace(files, writes=(*files.writes, report))
    check_targets(files, overwrite=options.overwrite)
    begun = time.time()
    out = getattr(options, "out", None)
    with nullcontext() if out is None else noting_tables(out):
        result = options.run(options, runner)
    if result is None:
        return DONE
    # Whoever presses Ctrl-C later finds everything done.
    interrupted = runner.interrupted
    if interrupted:
        result["interrupted"] = True
    for problem in result.setdefault("problems", []):
        runner.note(problem)
    result.setdefault("notes", list(runner.notes))
    _record(arguments, options, files, begun=begun, complete=not interrupted)
    if options.json is not None:
        with writing(options.json) as beside:
            text = json.dumps(_plain(signed(result)), indent=1, ensure_ascii=False)
            # Bytes that are no letters, of names on old disks, become escapes.
            beside.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    if interrupted:
        return INTERRUPTED
    return PARTLY if result["problems"] or result.get("failed") else DONE


def _record(
    arguments: Sequence[str],
    options: argparse.Namespace,
    files: Files,
    *,
    begun: float,
    complete: bool,
) -> None:
    """Say beside the results how they came about."""
    out = getattr(options, "out", None)
    if out is None:
        return
    folder = out if out.is_dir() else out.parent
    places = [out] if out.is_dir() else [target.path for target in files.writes]
    outputs = written_since(places, begun)
    if not outputs:
        return
    run = Run(
        command=shlex.join([WRITER, *arguments]),
        version=program_version(),
        inputs=[*files.reads, *files.parents],
        outputs=outputs,
        begun=begun,
        ended=time.time(),
        complete=complete,
    )
    try:
        write_crate(folder, run)
    except (OSError, NotWritten):
        return  # a full disk: the results themselves are what matters


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; what is not a number becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):  # a number of numpy's
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
