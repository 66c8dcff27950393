"""How fast networks run here, against what users would otherwise write.

    python benchmarks/engine.py [--presets tiny 2m] [--side 1024] [--rounds 5]
        [--seconds 20]
    python benchmarks/engine.py --descendant 0.99 [--data DATASET --seconds 600]
    python benchmarks/engine.py --peak [--presets 2m 7.8m-wide]

Each network is trained for some seconds on sample images, then runs over an image of
them, tiled to the wanted side: by MONAI's sliding window, where MONAI is installed, or
by the same windows in plain PyTorch (512 pixels, a quarter of overlap, float32), and by
the engine with every back end that is installed. The first works in a process of its
own, without anything that Topiary sets for torch. All take turns; printed are medians,
the ratio to the first, and the share of pixels with the same label as by torch in
float32.

With `--descendant SHARE` the original U-Net (31 million weights) by sliding window is
held against what is left of it when SHARE of its weights is pruned, in the engine. The
weights are untrained, so this is about time only; with `--data DATASET` the original is
trained on it, pruned little by little while it is fine-tuned (`--seconds` each), and
both are judged on images that neither saw, each at its own threshold. `--ancestor` is
another size to begin with: a small one tries the whole thing out in a minute.

With `--peak` the share of the processor's rate that the engine reaches is printed: its
multiplications a second, against those of the largest matrix product measured in the
same rounds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation import evaluate
from napari_topiary.inference.backends import backends
from napari_topiary.inference.devices import device_label
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.tiles import infer
from napari_topiary.io.dataset import read_dataset, sample_folder
from napari_topiary.networks import (
    build_network,
    count_macs_per_pixel,
    count_parameters,
    resolve_sizes,
    tuning_config,
)
from napari_topiary.pruning import make_plan, prune, pruning_schedule
from napari_topiary.training import fit
from napari_topiary.types import Task, run

WINDOW, OVERLAP = 512, 0.25
MATRIX = 2048
OURS = ("THP_MEM_ALLOC_ENABLE", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""What Topiary sets before torch is loaded."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["tiny", "2m"])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20, help="of training")
    parser.add_argument("--descendant", type=float, metavar="SHARE")
    parser.add_argument("--data", type=Path, metavar="DATASET")
    parser.add_argument("--ancestor", default="original", metavar="PRESET")
    parser.add_argument("--peak", action="store_true")
    options = parser.parse_args()
    print(f"{options.side} x {options.side} px, {device_label()}")
    if options.peak:
        for preset in options.presets:
            _share_of_peak(preset, options.side, options.rounds)
        return 0
    if options.descendant is not None:
        config = PruneConfig(kind="filters", remove=options.descendant)
        if options.data is None:
            original = _untrained(options.ancestor)
            pruned = run(prune(original, config))
            image = np.random.default_rng(0).normal(size=(1, 512, 512))
        else:
            original, pruned, image = _pair(
                options.data, config, options.seconds, options.ancestor
            )
        print(f"{original.parameters:,} weights against {pruned.parameters:,}")
        pixels = _tiled(image, options.side)
        _compare(options.ancestor, original, pruned, pixels, options.rounds)
        return 0
    for preset in options.presets:
        checkpoint, image = trained(preset, options.seconds, options.side)
        _compare(preset, checkpoint, checkpoint, image, options.rounds)
    return 0


def _compare(
    name: str,
    usual: Checkpoint,
    ours: Checkpoint,
    image: NDArray[np.float32],
    rounds: int,
) -> None:
    """Let one checkpoint by sliding window and one in the engine take turns."""
    with TemporaryDirectory() as home:
        path, pixels = Path(home) / "usual.safetensors", Path(home) / "image.npy"
        usual.save(path)
        np.save(pixels, image)
        with _Elsewhere(path, pixels) as (peer, seconds):
            ways: dict[str, Callable[[], float]] = {peer: seconds}
            for backend in ("auto", *backends):
                try:
                    engine = Engine(ours.build(), backend=backend)
                except TopiaryError:  # not installed, or not for this device
                    continue
                ways[f"engine, {backend}"] = lambda engine=engine: _timed(engine, image)
            times: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(rounds + 2):
                for way, run_once in ways.items():
                    took = run_once()
                    if number >= 2:  # to warm up, and to choose a back end
                        times[way].append(took)
    exactly = Engine(ours.build(), backend="torch", precision="float32")
    exact = run(infer(exactly, image)).probability.argmax(axis=0)
    print(f"\n{name} | s | ratio | same labels")
    first = median(times[peer])
    for way, taken in times.items():
        same = ""
        if way != peer:
            engine = Engine(ours.build(), backend=way.removeprefix("engine, "))
            labels = run(infer(engine, image)).probability.argmax(axis=0)
            same = f"{np.mean(labels == exact):.3%}"
        print(f"{way} | {median(taken):.3f} | {first / median(taken):.2f} | {same}")


def _timed(engine: Engine, image: NDArray[np.float32]) -> float:
    begun = time.perf_counter()
    run(infer(engine, image))
    return time.perf_counter() - begun


class _Elsewhere:
    """The usual way, in a process that Topiary has not prepared."""

    def __init__(self, checkpoint: Path, image: Path) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        kept = {name: os.environ.pop(name, None) for name in OURS}
        # Read at torch's first allocation; the others when it is loaded, which in that
        # process is before Topiary.
        os.environ["THP_MEM_ALLOC_ENABLE"] = "0"
        spawning = multiprocessing.get_context("spawn")
        self._process = spawning.Process(
            target=_usual, args=(theirs, checkpoint, image), daemon=True
        )
        self._process.start()
        os.environ |= {name: value for name, value in kept.items() if value}

    def __enter__(self) -> tuple[str, Callable[[], float]]:
        return self._pipe.recv(), self._once

    def __exit__(self, *_: object) -> None:
        self._pipe.send(False)
        self._process.join()

    def _once(self) -> float:
        self._pipe.send(True)
        return float(self._pipe.recv())


def _usual(pipe: Connection, checkpoint: Path, image: Path) -> None:
    """Run a network over an image whenever asked, and say how long it took."""
    network = load_checkpoint(checkpoint).build()
    pixels = torch.from_numpy(np.load(image))[None]
    try:
        from monai.inferers import sliding_window_inference

        pipe.send("MONAI sliding window")

        def answer() -> torch.Tensor:
            return sliding_window_inference(
                pixels, (WINDOW, WINDOW), 1, network, overlap=OVERLAP
            )
    except ImportError:
        pipe.send("plain sliding window")

        def answer() -> torch.Tensor:
            return _slid(network, pixels)

    while pipe.recv():
        begun = time.perf_counter()
        with torch.no_grad():
            answer()
        pipe.send(time.perf_counter() - begun)


def _slid(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Logits by overlapping windows, averaged where they overlap."""
    total = count = torch.zeros(())
    for rows in _windows(image.shape[2]):
        for columns in _windows(image.shape[3]):
            logits = network(image[:, :, rows, columns])
            if not total.ndim:
                total = torch.zeros(1, logits.shape[1], *image.shape[2:])
                count = torch.zeros(1, 1, *image.shape[2:])
            total[:, :, rows, columns] += logits
            count[:, :, rows, columns] += 1
    return total / count


def _windows(side: int) -> Iterator[slice]:
    step, start = int(WINDOW * (1 - OVERLAP)), 0
    while start + WINDOW < side:
        yield slice(start, start + WINDOW)
        start += step
    yield slice(max(0, side - WINDOW), side)


def trained(
    preset: str, seconds: float, side: int
) -> tuple[Checkpoint, NDArray[np.float32]]:
    """A network that has learned for a while, and an image as it sees them."""
    dataset = read_dataset(sample_folder() / "membrane_fibsem")
    samples = dataset.part("train")
    config = TrainConfig(preset=preset, minutes=seconds / 60)
    checkpoint = run(fit(samples, config, task=dataset.task))
    return checkpoint, _tiled(checkpoint.normalisation.apply(samples[0].image), side)


def _tiled(image: NDArray[Any], side: int) -> NDArray[np.float32]:
    """Mirrored, so that there are no edges that no image has."""
    times = [-(-side // n) for n in image.shape[1:]]
    tiled = np.concatenate([image, image[:, ::-1]] * times[0], axis=1)
    tiled = np.concatenate([tiled, tiled[:, :, ::-1]] * times[1], axis=2)
    return np.ascontiguousarray(tiled[:, :side, :side], np.float32)


def _pair(
    folder: Path, config: PruneConfig, seconds: float, preset: str
) -> tuple[Checkpoint, Checkpoint, NDArray[Any]]:
    """A U-Net, trained, what is left of it, and an unseen image; both are judged."""
    dataset = read_dataset(folder)
    samples, held, judged = dataset.part("train"), dataset.part("val"), "test"
    if not dataset.parts.get("test"):  # what judges must not choose weights
        held, judged = [], "val"
    usual = TrainConfig(preset=preset, minutes=seconds / 60)
    original = run(fit(samples, usual, task=dataset.task, validation=held))
    plan = make_plan(original, config)
    tuned = fit(
        samples,
        tuning_config("unet", "filters", {"minutes": seconds / 60}),
        task=dataset.task,
        validation=held,
        start=original,
        pruning=pruning_schedule(plan, config.remove),
    )
    pruned, dice = run(tuned), []
    for name, one in ((preset, original), ("pruned", pruned)):
        dice.append(run(evaluate(one, dataset.part(judged)))["dice"])
        steps = one.provenance.get("steps")
        print(f"{name}: {steps} steps, Dice {dice[-1]:.4f} on unseen images")
    print(f"Dice that it costs: {dice[0] - dice[1]:.4f}", flush=True)
    unseen = dataset.part(judged)[0].image
    return original, pruned, original.normalisation.apply(unseen)


def _share_of_peak(preset: str, side: int, rounds: int) -> None:
    """Multiplications a second of the engine, and of a matrix product, in turns."""
    network = _untrained(preset).build()
    work = count_macs_per_pixel(network) * side**2
    image = np.random.default_rng(0).normal(size=(1, side, side)).astype(np.float32)
    engine = Engine(network)
    engine.settle(image[:, :WINDOW, :WINDOW])
    factors = torch.randn(2, MATRIX, MATRIX)
    best, peak = float("inf"), float("inf")
    for _ in range(rounds):
        best = min(best, _timed(engine, image))
        begun = time.perf_counter()
        torch.mm(factors[0], factors[1])
        peak = min(peak, time.perf_counter() - begun)
    rate, most = work / best / 1e9, MATRIX**3 / peak / 1e9
    how = f"{engine.backend}, {engine.precision}"
    print(f"{preset} | {how} | {rate:.0f} of {most:.0f} GMAC/s | {rate / most:.0%}")


def _untrained(preset: str) -> Checkpoint:
    torch.manual_seed(0)
    sizes = resolve_sizes("unet", preset)
    network = build_network("unet", sizes, 1, 2)
    return Checkpoint(
        network="unet",
        sizes=sizes,
        in_channels=1,
        task=Task("segment", ("background", "membrane")),
        state={name: t.detach().clone() for name, t in network.state_dict().items()},
        unpruned_parameters=count_parameters(network),
    )


if __name__ == "__main__":
    sys.exit(main())
