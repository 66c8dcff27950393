"""How well a graphics card is used: running a network over an image, and training it.

    python benchmarks/gpu.py [--presets tiny 2m original] [--side 4096] [--steps 50]

For each network, of the tile loop and of the training step: megapixels or steps a
second, the share of the card's rate (multiplications a second, against those of a large
matrix product in the same precision, measured here), and the share of the time in which
the card computes, by torch's profiler. Says so and ends where there is no CUDA device.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from napari_topiary.config import TrainConfig
from napari_topiary.data.prepared import prepare
from napari_topiary.inference.devices import autocast_dtype, device_label
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.tiles import infer
from napari_topiary.io.dataset import read_dataset, sample_folder
from napari_topiary.networks import (
    build_network,
    count_macs_per_pixel,
    resolve_sizes,
)
from napari_topiary.networks.pruning_schedule import FixedShape, PrunedShape
from napari_topiary.training.trainer import Trainer
from napari_topiary.types import run

MATRIX, PRODUCTS = 8192, 10
BACKWARD = 3
"""Multiplications of a training step, in those of its forward pass."""
WARM_UP = 10


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["tiny", "2m", "original"])
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no CUDA device here: nothing was measured.")
        return 0
    peaks = {"float32": _peak(torch.float32)}
    reduced = autocast_dtype("cuda")
    if reduced is not None:
        peaks[str(reduced).removeprefix("torch.")] = _peak(reduced)
    rates = ", ".join(f"{name} {rate / 1e12:.1f}" for name, rate in peaks.items())
    print(f"{device_label('cuda')}, matrix products of {rates} TMAC/s")
    print("network | what | in a second | share of the rate | card computes")
    for preset in options.presets:
        _tile_loop(preset, options.side, peaks)
        _training(preset, options.steps, options.batch, peaks)
    return 0


def _peak(dtype: torch.dtype) -> float:
    """Multiplications a second of a large matrix product."""
    one = torch.randn(MATRIX, MATRIX, device="cuda").to(dtype)
    seconds = _seconds(lambda: [one @ one for _ in range(PRODUCTS)])
    return PRODUCTS * MATRIX**3 / seconds


def _tile_loop(preset: str, side: int, peaks: dict[str, float]) -> None:
    network = build_network("unet", resolve_sizes("unet", preset), 1, 2).eval()
    image = np.random.default_rng(0).normal(size=(1, side, side)).astype(np.float32)
    engine = Engine(network, "cuda")
    work = count_macs_per_pixel(network) * side**2

    def once() -> None:
        run(infer(engine, image))

    seconds, busy = _seconds(once), _busy(once)
    share = work / seconds / peaks[engine.precision]
    print(
        f"{preset} | tiles, {engine.precision} | {side**2 / seconds / 1e6:.1f} MP | "
        f"{share:.0%} | {busy:.0%}",
        flush=True,
    )


def _training(preset: str, steps: int, batch: int, peaks: dict[str, float]) -> None:
    config = replace(
        TrainConfig(preset=preset, device="cuda"), minutes=None, epochs=1, batch=batch
    )
    dataset = read_dataset(sample_folder() / "membrane_fibsem")
    prepared = prepare(dataset.part("train"), (), config, task=dataset.task)
    trainer = Trainer(
        config,
        prepared,
        sizes=dict(resolve_sizes("unet", preset)),
        start=None,
        pruning=FixedShape(PrunedShape()),
    )
    for _ in range(WARM_UP):
        trainer.step(1e-3)

    def several() -> None:
        for _ in range(steps):
            trainer.step(1e-3)

    seconds, busy = _seconds(several), _busy(several)
    pixels = batch * trainer.batches.draw().image.shape[-1] ** 2
    work = BACKWARD * count_macs_per_pixel(trainer.plain()) * pixels * steps
    precision = str(autocast_dtype("cuda") or torch.float32).removeprefix("torch.")
    share = work / seconds / peaks[precision]
    print(
        f"{preset} | step of {batch} patches, {precision} | {steps / seconds:.1f} | "
        f"{share:.0%} | {busy:.0%}",
        flush=True,
    )


def _seconds(work: Callable[[], object]) -> float:
    """Seconds of a work, the first time not counted."""
    work()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def _busy(work: Callable[[], object]) -> float:
    """Share of the time in which the card computes."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        begun = time.perf_counter()
        work()
        torch.cuda.synchronize()
        spent = time.perf_counter() - begun
    computing = sum(event.self_device_time_total for event in seen.key_averages())
    return float(computing / 1e6 / spent)


if __name__ == "__main__":
    sys.exit(main())
