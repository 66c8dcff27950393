"""How long one waits for the program itself: help, a small image predicted, the window.

    .ci/with-screen python benchmarks/start_up.py [--rounds 5] [--other SRC]

Each command runs in a process of its own, and takes turns with the others; printed are
the medians of wall-clock and processor seconds, then what takes longest to import.
`python` alone and `import torch` are the floor that nothing can go below; for the
window, napari alone is. `--other` takes turns with the code in another `src` folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import tifffile
import torch

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.networks import build_network, count_parameters, resolve_sizes
from napari_topiary.types import Task

SIDE = 512
SHOWN = 12
DRAWN = """
import os
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication

class Eye(QObject):
    def eventFilter(self, seen, event):
        if event.type() == QEvent.Type.Paint and type(seen).__name__ == "{seen}":
            QTimer.singleShot(0, lambda: os._exit(0))
        return False

def run(*_, **__):
    eye = Eye()
    QApplication.instance().installEventFilter(eye)
    QApplication.exec()

import napari
napari.run = run
{opened}
"""
"""Opens a window, and ends once a widget of that class was drawn."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--other", type=Path, help="src folder of another state")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["NAPARI_TOPIARY_HOME"] = home
        commands = _commands(Path(home), options.other)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(options.rounds + 1):
            for name, command in commands.items():
                took = _seconds(command)
                if number:  # the first round reads everything from the disk
                    times[name].append(took)
        print("what | seconds | of the processor")
        for name, taken in times.items():
            wall, processor = (median(part) for part in zip(*taken, strict=True))
            print(f"{name} | {wall:.2f} | {processor:.2f}")
        print("\nloaded for predict | ms with all that it loads")
        for module, spent in _imports(commands["predict, 512 x 512"])[:SHOWN]:
            print(f"{module} | {spent / 1e3:.0f}")
    return 0


def _commands(home: Path, other: Path | None) -> dict[str, list[str]]:
    torch.manual_seed(0)
    sizes = resolve_sizes("unet", "tiny")
    network = build_network("unet", sizes, 1, 2)
    Checkpoint(
        network="unet",
        sizes=sizes,
        in_channels=1,
        task=Task("segment", ("background", "membrane")),
        state={name: t.detach().clone() for name, t in network.state_dict().items()},
        unpruned_parameters=count_parameters(network),
    ).save(home / "tiny.safetensors")
    noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
    tifffile.imwrite(home / "image.tif", noise)
    topiary = [sys.executable, "-m", "napari_topiary"]
    predict = [
        *topiary, "predict", str(home / "tiny.safetensors"), str(home / "image.tif"),
        "--out", str(home / "out"), "--overwrite",
    ]  # fmt: skip
    workbench = DRAWN.format(
        seen="StatusLine",
        opened="from napari_topiary._napari.workbench import launch\nlaunch()",
    )
    napari = DRAWN.format(seen="QtViewer", opened="napari.Viewer()\nrun()")
    windows = {
        "napari alone, drawn": [sys.executable, "-c", napari],
        "the window, drawn": [sys.executable, "-c", workbench],
    }
    if other is not None:
        at = f"import sys; sys.path.insert(0, {str(other)!r})\n"
        windows["the window of the other"] = [sys.executable, "-c", at + workbench]
    return {
        "python": [sys.executable, "-c", "pass"],
        "import torch": [sys.executable, "-c", "import torch"],
        "--help": [*topiary, "--help"],
        "predict --help": [*topiary, "predict", "--help"],
        "predict, 512 x 512": predict,
        **(windows if os.environ.get("DISPLAY") else {}),
    }


def _seconds(command: list[str]) -> tuple[float, float]:
    """Wall-clock and processor seconds of a command."""
    before, begun = _children(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun, _children() - before


def _children() -> float:
    """Processor seconds of all processes that were started and have ended."""
    times = psutil.Process().cpu_times()
    return float(times.children_user + times.children_system)


def _imports(command: list[str]) -> list[tuple[str, int]]:
    """What a command imports, with microseconds, the slowest first."""
    timed = [command[0], "-X", "importtime", *command[1:]]
    said = subprocess.run(timed, check=True, capture_output=True, text=True).stderr
    found: list[tuple[str, int]] = []
    for line in said.splitlines():
        if line.startswith("import time:") and line.count("|") == 2:
            _, spent, name = line.split("|")
            if spent.strip().isdigit() and len(name) - len(name.lstrip()) <= 5:
                found.append((name.strip(), int(spent)))
    return sorted(found, key=lambda one: -one[1])


if __name__ == "__main__":
    sys.exit(main())
