"""`demo`: the whole story on sample data, in the window or as pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.cli.driving import Runner
from napari_topiary.cli.keeping import Keeping
from napari_topiary.cli.parsing import AddVerb
from napari_topiary.cli.window import open_window
from napari_topiary.errors import TopiaryError
from napari_topiary.io.output_files import Files, targets_in

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

SAMPLE = "apoferritin"


def add(verb: AddVerb) -> None:
    """Add the verb to the command line."""
    parser = verb(
        description="Open napari with a real micrograph and the workbench; with "
        "--headless, do the same story without a screen and leave pictures of it."
    )
    parser.add_argument("--headless", action="store_true", help="without a window")
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("demo_out"))
    parser.add_argument(
        "--minutes",
        metavar="M",
        type=float,
        default=1.0,
        help="time to train, and half of it to fine-tune (default: 1)",
    )
    parser.set_defaults(run=run, files=files)


def files(options: argparse.Namespace) -> Files:
    """What is in the folder, if it is not that of a demo."""
    if not options.headless:
        return Files()
    patterns = ("*.md", "*.json", "*.png", "*.safetensors")
    names = ("README.md", "trained.safetensors", "pruned.safetensors")
    writes = targets_in(options.out, patterns, names=names, marks=("story.json",))
    return Files(writes, folder=options.out)


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Open the window, or leave the report."""
    if not options.headless:
        raise SystemExit(open_window(SAMPLE))
    from napari_topiary.inference.devices import pick_device
    from napari_topiary.report.demo import DemoConfig, demo_report

    config = DemoConfig(
        minutes=options.minutes, seed=options.seed, device=options.device
    )
    problem = config.problem()
    if problem is not None:
        raise TopiaryError(problem)
    pick_device(options.device)
    report = runner(demo_report(options.out, config, save=_save))
    runner.say(report["text"])
    runner.say(f"The pictures are in {options.out}.")
    return report


def _save(made: Checkpoint, path: Path) -> Sequence[str]:
    """Write a network; where there is no room for it elsewhere, as `train` does."""
    _, _, problems = Keeping(path).keep(made, whole=True)
    return problems
