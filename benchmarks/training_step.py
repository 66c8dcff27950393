"""How long a step of training takes, and with how many threads it is fast.

    python benchmarks/training_step.py [--data DATASET] [--rounds 5] [--steps 20]
    python benchmarks/training_step.py --busy 2

The median of the rounds is printed. With `--busy N` it is compared with how many
threads a step of training, and a tile of a prediction, is fast while N other processes
keep cores busy: with all, with one, and as training and prediction choose by the clock.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

from napari_topiary.config import TrainConfig
from napari_topiary.data.prepared import prepare
from napari_topiary.inference.backends.pytorch import TorchBackend
from napari_topiary.inference.devices import TRIALS, Threads
from napari_topiary.inference.engine import Engine
from napari_topiary.io.dataset import read_dataset, sample_folder
from napari_topiary.networks import build_network, resolve_sizes
from napari_topiary.networks.pruning_schedule import FixedShape, PrunedShape
from napari_topiary.training.trainer import Trainer

WARM_UP_STEPS = 3
TILE = 512


def main() -> int:
    """Time some sizes of network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(sample_folder() / "apoferritin"))
    parser.add_argument("--presets", nargs="+", default=["tiny", "2m"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--busy", type=int, metavar="N", help="processes beside it")
    options = parser.parse_args()
    if options.busy is not None:
        return _compare_threads(options)

    print("preset | ms a step")
    for preset in options.presets:
        trainer = _trainer(options.data, preset)
        measured = [
            _milliseconds(trainer, options.steps) for _ in range(options.rounds)
        ]
        print(f"{preset} | {statistics.median(measured):.0f}", flush=True)
    return 0


def _compare_threads(options: argparse.Namespace) -> int:
    """Time all threads, one thread and the chosen number in turns."""
    others = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(options.busy)
    ]
    usual = torch.get_num_threads()
    print(f"preset | {usual} threads, ms a step | 1 thread | chosen | ratio")
    try:
        for preset in options.presets:
            trainer = _trainer(options.data, preset)
            plain = trainer.threads
            times: dict[str, list[float]] = {"all": [], "one": [], "chosen": []}
            for _ in range(options.rounds):
                for name, measured in times.items():
                    torch.set_num_threads(1 if name == "one" else usual)
                    trainer.threads = plain
                    if name == "chosen":
                        trainer.threads = Threads()
                        _milliseconds(trainer, 1 + 2 * TRIALS)
                    measured.append(_milliseconds(trainer, options.steps))
            every, one, chosen = map(statistics.median, times.values())
            figures = f"{every:.0f} | {one:.0f} | {chosen:.0f} | {every / chosen:.2f}"
            print(f"{preset} | {figures}", flush=True)
            print(f"{preset}, tile | {_tiles(preset, usual, options)}", flush=True)
    finally:
        torch.set_num_threads(usual)
        for other in others:
            other.kill()
            other.wait()
    return 0


def _tiles(preset: str, usual: int, options: argparse.Namespace) -> str:
    """Time a tile of a prediction, as `_compare_threads` does with steps."""
    sizes = dict(resolve_sizes("unet", preset))
    network = build_network("unet", sizes, 1, 2).eval()
    tile = np.zeros((1, TILE, TILE), np.float32), slice(0, TILE), slice(0, TILE)
    fixed = TorchBackend(network, torch.device("cpu"))
    chosen = Engine(network, "cpu", backend="torch")
    times: dict[str, list[float]] = {"all": [], "one": [], "chosen": []}
    for _ in range(options.rounds * TRIALS):
        for name, measured in times.items():
            torch.set_num_threads(1 if name == "one" else usual)
            begun = time.perf_counter()
            (chosen if name == "chosen" else fixed)(*tile)
            measured.append((time.perf_counter() - begun) * 1e3)
    torch.set_num_threads(usual)
    every, one = (statistics.median(times[name]) for name in ("all", "one"))
    settled = statistics.median(times["chosen"][1 + 2 * TRIALS :])
    return f"{every:.0f} | {one:.0f} | {settled:.0f} | {every / settled:.2f}"


def _trainer(data: str, preset: str) -> Trainer:
    config = TrainConfig(preset=preset, batch=8, minutes=None, epochs=1)
    dataset = read_dataset(data)
    prepared = prepare(
        dataset.part("train"),
        (),
        config,
        task=dataset.task,
    )
    trainer = Trainer(
        config,
        prepared,
        sizes=dict(resolve_sizes("unet", preset)),
        start=None,
        pruning=FixedShape(PrunedShape()),
    )
    _milliseconds(trainer, WARM_UP_STEPS)
    return trainer


def _milliseconds(trainer: Trainer, steps: int) -> float:
    begun = time.perf_counter()
    for _ in range(steps):
        trainer.step(1e-3)
    return (time.perf_counter() - begun) / steps * 1e3


if __name__ == "__main__":
    sys.exit(main())
