"""How fast the pruning slider is: the plan, and each move of it.

    python benchmarks/slider.py [--preset 2m] [--side 512] [--repeats 15] [--seconds 20]

Prints the seconds that a plan takes (tracing included), then for several positions the
median milliseconds from moving the slider to the new probability of the visible area,
split into making the network and running it, and the speed-up against the unpruned
network measured in the same rounds. The network is trained for some seconds on a sample
image: reduced precision is taken only where it does not change the labels.
"""

from __future__ import annotations

import argparse
import sys
import time
from statistics import median

import numpy as np
from engine import trained
from numpy.typing import NDArray

from napari_topiary.config import PruneConfig
from napari_topiary.inference.devices import device_label
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.tiles import infer
from napari_topiary.pruning import PruningPlan, make_plan
from napari_topiary.types import run

SHARES = (0.0, 0.5, 0.75, 0.8, 0.9, 0.9375, 0.95, 0.99)
FORMS = (
    PruneConfig(kind="filters", criterion="l1", scope="global"),
    PruneConfig(kind="filters", criterion="l1", scope="layer"),
    PruneConfig(kind="weights", criterion="magnitude", scope="global"),
    PruneConfig(kind="weights", criterion="magnitude", scope="layer"),
)


def moves(
    plan: PruningPlan, image: NDArray[np.float32], repeats: int
) -> list[tuple[float, float]]:
    """Median seconds for (network, probability) at each of `SHARES`, in turns."""
    side = image.shape[1]
    times: dict[float, list[tuple[float, float]]] = {share: [] for share in SHARES}
    unpruned = Engine(plan.network_at(0.0))
    run(infer(unpruned, image, tile=side))  # as the page looks at it first
    for repeat in range(repeats + 1):
        for share in SHARES:
            begun = time.perf_counter()
            network = plan.network_at(share)
            made = time.perf_counter()
            engine = Engine(network, precision=unpruned.checked_precision)
            run(infer(engine, image, tile=side))
            done = time.perf_counter()
            if repeat:  # the first round warms up
                times[share].append((made - begun, done - made))
    return [
        (median(t[0] for t in times[share]), median(t[1] for t in times[share]))
        for share in SHARES
    ]


def main() -> int:
    """Measure and print one table per kind and scope."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="2m")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=20, help="of training")
    options = parser.parse_args()

    checkpoint, image = trained(options.preset, options.seconds, options.side)
    make_plan(checkpoint)  # imports and first calls are not the plan's
    print(f"{options.preset}, {options.side} x {options.side} px, {device_label()}")
    for config in FORMS:
        begun = time.perf_counter()
        plan = make_plan(checkpoint, config)
        seconds = time.perf_counter() - begun
        print(f"\n{config.kind}, {config.scope}: plan in {seconds:.2f} s")
        print("removed | weights left | network ms | run ms | total ms | speed-up")
        rows = moves(plan, image, options.repeats)
        whole = rows[0][1]
        for share, (made, ran) in zip(SHARES, rows, strict=True):
            statistics = plan.statistics(share)
            cells = (
                f"{share:7.2%}",
                f"{statistics.nonzero:12,}",
                f"{1e3 * made:10.1f}",
                f"{1e3 * ran:6.1f}",
                f"{1e3 * (made + ran):8.1f}",
                f"{whole / ran:7.2f}x",
            )
            print(" | ".join(cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
