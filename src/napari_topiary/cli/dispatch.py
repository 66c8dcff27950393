"""From arguments to a verb, and from whatever happens to an exit status.

0 done · 1 done in part, the result says what not · 2 bad arguments or input, one
sentence on stderr · 130 interrupted, what there was is kept.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from napari_topiary.cli import (
    compare,
    demo,
    evaluate,
    importing,
    info,
    predict,
    prune,
    study,
    train,
)
from napari_topiary.cli.driving import Bar, Runner
from napari_topiary.cli.parsing import Parser, common_options
from napari_topiary.cli.window import open_window
from napari_topiary.errors import NotWritten, TopiaryError
from napari_topiary.io.atomic import writing
from napari_topiary.io.run_crate import Run, write_crate, written_since
from napari_topiary.io.targets import WRITER, Files, Target, check_targets, signed

VERBS = (demo, importing, train, prune, predict, evaluate, compare, info, study)
DONE, PARTLY, REFUSED, INTERRUPTED = 0, 1, 2, 130
ABOUT = (
    "Train, prune and compare small networks for microscopy images. Without a command "
    "the workbench opens in napari."
)


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(prog="napari-topiary", description=ABOUT, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=_version())
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    for verb in VERBS:
        verb.add(verbs, [common_options()])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        Arguments without the program's name; None = those of the process.

    Returns
    -------
    int
        The exit status.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # old terminals know few letters
    bar = Bar()
    try:
        if not arguments:
            return open_window(None)
        with Runner(bar) as runner:
            return _run(arguments, runner)
    except SystemExit as end:  # --help and --version
        return int(end.code or DONE)
    except KeyboardInterrupt:
        return _end(bar, "Interrupted.", INTERRUPTED)
    except TopiaryError as error:
        return _end(bar, str(error), REFUSED)
    except MemoryError:
        sentence = "The memory is not enough: close other programs, or use less."
        return _end(bar, sentence, REFUSED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _end(bar, f"{where}{error.strerror or error}.", REFUSED)


def _run(arguments: Sequence[str], runner: Runner) -> int:
    options = build_parser().parse_args(arguments)
    files: Files = options.files(options)
    if options.json is not None:
        report = Target(options.json, "--json")
        files = replace(files, writes=(*files.writes, report))
    check_targets(files, overwrite=options.overwrite)
    begun = time.time()
    result = options.run(options, runner)
    if result is None:
        return DONE
    if runner.interrupted:
        result["interrupted"] = True
    for problem in result.setdefault("problems", []):
        runner.note(problem)
    result.setdefault("notes", list(runner.notes))
    _record(arguments, options, files, begun=begun, complete=not runner.interrupted)
    if options.json is not None:
        with writing(options.json) as beside:
            text = json.dumps(_plain(signed(result)), indent=1, ensure_ascii=False)
            beside.write_text(text + "\n", encoding="utf-8")
    if runner.interrupted:
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
        shlex.join([WRITER, *arguments]),
        _version().removeprefix(WRITER).strip() or "unknown",
        [*files.reads, *files.parents],
        outputs,
        begun,
        time.time(),
        complete,
    )
    try:
        write_crate(folder, run)
    except (OSError, NotWritten):
        return  # a full disk: the results themselves are what matters


def _end(bar: Bar, sentence: str, status: int) -> int:
    bar.clear()
    sys.stderr.write(" ".join(sentence.split()) + "\n")
    return status


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


def _version() -> str:
    try:
        return f"napari-topiary {version('napari-topiary')}"
    except PackageNotFoundError:  # run from a bare checkout
        return "napari-topiary"
