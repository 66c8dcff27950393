"""Running a verb, once its arguments are understood, and writing what came of it.

Apart from the arguments: whoever asks for help does not wait for this to be loaded.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_topiary.cli import INTERRUPTED
from napari_topiary.cli.driving import ProgressBar, Runner
from napari_topiary.cli.parsing import DONE, PARTLY
from napari_topiary.config import LAST_SEED
from napari_topiary.errors import NotWritten, TopiaryError
from napari_topiary.forms import number_problem
from napari_topiary.io.atomic import writing
from napari_topiary.io.own_files import WRITER, signed
from napari_topiary.io.run_crate import Run, write_crate, written_since
from napari_topiary.io.targets import REPORT, Files, OutputFile, check_targets
from napari_topiary.registry import program_version


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
            beside.write_text(text + "\n", encoding="utf-8")
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
