"""How fast filters are ordered by loss: the naive procedure against ours.

    python benchmarks/loss_pruning.py [--network membrane_cnn] [--batches 10]
                                      [--layers conv1,fc1] [--threads 1]

The naive procedure runs the whole network, with one more feature masked, for every
candidate of every step: n(n+1)/2 runs for a layer of n features. A few of these runs
are timed, in turns with our search and on the same mini-batches, and the rest is
extrapolated. Ours is run to the end, one feature at a time, and its losses are checked
at several places against runs of the whole network. Weights are random: no map is dead,
which would save us time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Generator
from statistics import median
from typing import TypeVar

import torch

from napari_topiary.inference.devices import device_label
from napari_topiary.networks import build_network, count_parameters, resolve_sizes
from napari_topiary.networks.base import networks
from napari_topiary.pruning.coupling import build_coupling
from napari_topiary.pruning.search.ablation import AblatedNetwork
from napari_topiary.pruning.search.calibration import CENTRES, CalibrationBatches
from napari_topiary.pruning.search.greedy import WorkCounter, rank_layer, tries

T = TypeVar("T")

EVERY_S = 4.0
"""Of our own search, after which one naive run is timed."""
CHECKS = 4


def noise_calibration(patch: int, batches: int) -> CalibrationBatches:
    """Patches of noise, with random classes: values do not change the time."""
    count = batches * CENTRES
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(count, 1, patch, patch, generator=generator)
    classes = torch.randint(0, 2, (count,), generator=generator)
    shares = torch.nn.functional.one_hot(classes, 2)[:, :, None, None] / count
    return CalibrationBatches(
        image.contiguous(memory_format=torch.channels_last), shares
    )


@torch.no_grad()
def naive_loss(ablated: AblatedNetwork) -> float:
    """Loss of the network as it is masked now, all of it run, batch by batch."""
    calibration, total = ablated.calibration, 0.0
    for start in range(0, len(calibration), CENTRES):
        rows = slice(start, start + CENTRES)
        logits = ablated.network.on_patches(calibration.image[rows])
        total += float(calibration.losses(logits, rows, 1)[0])
    return total


class Stopwatch:
    """Times our search, and a naive run every few seconds of it."""

    def __init__(self, ablated: AblatedNetwork) -> None:
        self.ablated = ablated
        self.naive: list[float] = []

    def __call__(self, job: Generator[object, object, T]) -> tuple[T, float]:
        """Result of a job and the seconds that it took itself."""
        spent, due = 0.0, 0.0
        while True:
            begun = time.perf_counter()
            try:
                next(job)
            except StopIteration as end:
                return end.value, spent + time.perf_counter() - begun
            spent += time.perf_counter() - begun
            if spent >= due:
                self.naive.append(seconds(lambda: naive_loss(self.ablated)))
                due = spent + EVERY_S


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def main() -> int:
    """Measure and print one row per layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="membrane_cnn")
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--layers", help="only these, separated by commas")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    torch.manual_seed(0)
    preset = networks[options.network].default_preset
    sizes = resolve_sizes(options.network, preset)
    network = build_network(options.network, sizes, 1, 2).eval()
    assert network.patch is not None, "a classifier of centre pixels, please"
    calibration = noise_calibration(network.patch, options.batches)
    ablated = AblatedNetwork(network, build_coupling(network, 1), calibration)
    wanted = options.layers.split(",") if options.layers else None
    print(
        f"{options.network}, {count_parameters(network):,} weights, "
        f"{options.batches} mini-batches of {CENTRES}, {device_label('cpu')}"
    )
    print("layer | features | runs | s a naive run | naive order s | ours s | ratio")
    naive_loss(ablated)  # warms up
    sums = [0.0, 0.0]
    for _, group in ablated.groups:
        if wanted and group.name not in wanted:
            continue
        ablation = ablated.ablation(group)
        watch = Stopwatch(ablated)
        (layer, _), ours = watch(rank_layer(ablation, WorkCounter(1.0), at_once=0.0))
        runs = tries(group.channels, 0.0)
        naive = runs * median(watch.naive)
        for check in range(CHECKS):
            removed = len(layer.order) * check // (CHECKS - 1)
            ablation.set_gone(layer.order[:removed])
            off = abs(naive_loss(ablated) - layer.curve[removed])
            assert off < 1e-5, f"{group.name}: the loss is off by {off:.1e}"
        ablation.set_gone(())
        sums = [sums[0] + naive, sums[1] + ours]
        cells = (
            f"{group.name:8}",
            f"{group.channels:5}",
            f"{runs:7,}",
            f"{median(watch.naive):7.3f} (of {len(watch.naive)})",
            f"{naive:10,.0f}",
            f"{ours:8.1f}",
            f"{naive / ours:8.1f}x",
        )
        print(" | ".join(cells), flush=True)
    print(
        f"together: naive {sums[0]:,.0f} s (extrapolated), ours {sums[1]:.1f} s: "
        f"{sums[0] / sums[1]:.0f}x"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
