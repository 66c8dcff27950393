"""How much faster the dense form of a patch classifier is than patch by patch.

    python benchmarks/dense.py [--side 512] [--patches 1024] [--rounds 3] [--threads N]

Both say the same about every pixel of an image (the largest difference is printed,
taken on the patches that were run). Patch by patch is measured in three ways: one patch
after the other; in batches of 256 as one would write it down; and in such batches with
the layout in memory that the processor likes best, which is as good as it gets without
the dense form. None is run on the whole image: a part of the patches is, in turns with
the dense form, and the seconds are extrapolated.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from statistics import median

import torch

from napari_topiary.inference.devices import autocast_dtype, device_label, pick_device
from napari_topiary.networks import build_network
from napari_topiary.networks.patch_classifier import PatchClassifier

NETWORKS = (("dcnn", 3, 50), ("membrane_cnn", 1, 200))
"""Name, channels of the image, and how many times faster it shall be."""
BATCH = 256
SINGLE = 64
"""Patches that are run one by one."""


class Bench:
    """A network and an image, with the ways to answer it.

    Parameters
    ----------
    name, channels
        Of the network.
    side
        Of the square image, in pixels.
    device
        Where to compute.
    """

    def __init__(
        self, name: str, channels: int, *, side: int, device: torch.device
    ) -> None:
        torch.manual_seed(0)
        network = build_network(name, {}, channels, 2).eval().to(device)
        if not isinstance(network, PatchClassifier):
            raise TypeError(f"{name} does not classify patches.")
        self.plain = copy.deepcopy(network)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.side, self.device = network, side, device
        self.image = torch.randn(1, channels, side, side, device=device)
        half, patch = network.patch // 2, network.patch
        grown = torch.nn.functional.pad(
            self.image, (half, patch - 1 - half) * 2, mode="reflect"
        )
        self.windows = grown[0].unfold(1, patch, 1).unfold(2, patch, 1).movedim(0, 2)
        self.answer = torch.zeros(1, 2, side, side)

    def dense(self) -> int:
        """Answer the whole image in one sweep, in tiles as prediction does."""
        step = self.network.largest_side or self.side
        for top in range(0, self.side, step):
            for left in range(0, self.side, step):
                rows = slice(top, min(top + step, self.side))
                columns = slice(left, min(left + step, self.side))
                tile = self.network.within(self.image, rows, columns)
                self.answer[:, :, rows, columns] = tile.float().cpu()
        return self.side**2

    def reduced(self, dtype: torch.dtype) -> int:
        """Answer it in reduced precision."""
        with torch.autocast(self.device.type, dtype=dtype):
            return self.dense()

    def patches(self, count: int, batch: int, *, plain: bool = False) -> int:
        """Answer the first pixels patch by patch."""
        network = self.plain if plain else self.network
        layout = torch.contiguous_format if plain else torch.channels_last
        self.logits = []
        for first in range(0, count, batch):
            place = torch.arange(first, min(first + batch, count))
            some = self.windows[place // self.side, place % self.side]
            some = some.contiguous(memory_format=layout)
            self.logits.append(network.classify(some))
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return count

    def difference(self) -> float:
        """Largest difference of logits between `dense` and the patches last run."""
        said = torch.cat(self.logits).float().cpu()
        dense = self.answer[0].flatten(1)[:, : len(said)].T
        return float((dense - said).abs().max())


def measured(
    ways: dict[str, Callable[[], int]], side: int, rounds: int
) -> dict[str, list[float]]:
    """Seconds for the whole image each way and round; the ways take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, run in ways.items():
            begun = time.perf_counter()
            pixels = run()
            took = (time.perf_counter() - begun) * side**2 / pixels
            if number:  # the first round warms up
                seconds[name].append(took)
    return seconds


def report(name: str, channels: int, goal: int, options: argparse.Namespace) -> None:
    """Measure one network and print its rows."""
    device = pick_device(options.device)
    bench = Bench(name, channels, side=options.side, device=device)
    part = min(options.patches, options.side**2)
    ways: dict[str, Callable[[], int]] = {
        "one patch after the other": lambda: bench.patches(SINGLE, 1),
        f"batches of {BATCH}": lambda: bench.patches(part, BATCH, plain=True),
        f"batches of {BATCH}, best layout": lambda: bench.patches(part, BATCH),
        "dense": bench.dense,
    }
    reduced = autocast_dtype(device)
    if reduced is not None:
        ways["dense, bfloat16"] = lambda: bench.reduced(reduced)
    with torch.inference_mode():
        seconds = measured(ways, options.side, options.rounds)
        bench.patches(part, BATCH)
        bench.dense()
    print(
        f"\n{name}, {options.side} x {options.side} px; patches extrapolated from "
        f"{SINGLE} and {part} of {options.side**2}"
    )
    print(
        f"{'':28} {'seconds':>9} {'x one by one':>13} {'x batches':>10} {'x best':>8}"
    )
    for way, times in seconds.items():
        cells = [f"{median(times):9.2f}"]
        for rival, width in zip(list(ways)[:3], (13, 10, 8), strict=True):
            pairs = zip(seconds[rival], times, strict=True)
            cells.append(f"{median(a / b for a, b in pairs):{width}.1f}")
        print(f"{way:28} " + " ".join(cells), flush=True)
    print(f"largest difference of a logit: {bench.difference():.1e}; goal {goal}x")


def main() -> int:
    """Measure and print both networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--patches", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(device_label(options.device))
    for name, channels, goal in NETWORKS:
        report(name, channels, goal, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
