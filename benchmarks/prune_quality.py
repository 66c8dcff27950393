"""What pruning costs in quality and gains in time, after fine-tuning.

    python benchmarks/prune_quality.py [DATASET] [--train-seconds 120]
        [--finetune-seconds 60] [--only filters/global/0.9 ...] [--preset 2m]

Trains once on the training split, then for every case removes gradually along the plan
while fine-tuning, and judges on the validation split: Dice at each network's own best
threshold, Dice at the threshold that is best for the unpruned one, and the speed
against the unpruned network measured in the same rounds. The best weights of a run are
chosen on a hold-out of the training split; training never sees the validation split.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_topiary.annotations import build_target
from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.data.working_grid import to_original
from napari_topiary.evaluation.thresholds import best_pixel_threshold
from napari_topiary.inference.devices import device_label, pick_device
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Dataset, Sample, read_dataset, sample_folder
from napari_topiary.networks import tuning_config
from napari_topiary.pruning import GradualPruning, make_plan, measure_speed
from napari_topiary.training import fit
from napari_topiary.types import run

CASES = (
    "filters/global/0.75",
    "filters/global/0.9",
    "filters/layer/0.75",
    "filters/layer/0.9",
    "weights/layer/0.9375",
    "weights/global/0.95",
)
COLUMNS = (
    "case",
    "weights left",
    "steps",
    "seconds",
    "own best",
    "Dice",
    "drop",
    "common",
    "drop",
    "ms/Mpx",
    "speed-up",
)
MEASUREMENTS = 5


@dataclass(frozen=True)
class Seen:
    """A class' truth and probability in all known pixels of some images.

    `truth` `(n,)` bool and `probability` `(n,)` float, pixels of all images in a row.
    """

    truth: NDArray[np.bool_]
    probability: NDArray[np.float32]

    def dice(self, threshold: float) -> float:
        """Dice of the pixels whose probability reaches a threshold."""
        found = self.probability >= threshold
        hits = np.count_nonzero(found & self.truth)
        return 2 * hits / (np.count_nonzero(found) + np.count_nonzero(self.truth))


def look(checkpoint: Checkpoint, samples: Sequence[Sample]) -> Seen:
    """Predict images and collect the first class beside its truth."""
    network = checkpoint.build()
    truths, probabilities = [], []
    for sample in samples:
        found = run(
            predict(sample.image, checkpoint, scale=sample.scale, network=network)
        )
        probability = to_original(found.probability, found.shape)[1]
        classes = build_target(
            sample.annotations, found.shape, task=checkpoint.task, scale=sample.scale
        ).classes
        known = classes >= 0
        truths.append(classes[known] == 1)
        probabilities.append(probability[known])
    return Seen(np.concatenate(truths), np.concatenate(probabilities))


def prune_and_tune(
    checkpoint: Checkpoint, case: str, dataset: Dataset, seconds: float
) -> Checkpoint:
    """Walk a plan to a case's position while fine-tuning for some seconds."""
    kind, scope, share = case.split("/")
    criterion = "l1" if kind == "filters" else "magnitude"
    plan = make_plan(
        checkpoint, PruneConfig(kind=kind, criterion=criterion, scope=scope)
    )
    pruning = GradualPruning(plan, float(share))
    return run(
        fit(
            dataset.part("train"),
            tuning_config(checkpoint.network, kind, {"minutes": seconds / 60}),
            task=dataset.task,
            start=checkpoint,
            pruning=pruning,
        )
    )


def speeds(whole: Checkpoint, pruned: Checkpoint) -> tuple[float, float]:
    """Milliseconds per megapixel of both, measured in turns.

    A machine that is busy for a second changes one measurement by a half, so the one
    with the middle ratio of several counts.
    """
    networks = {"whole": whole.build(), "pruned": pruned.build()}
    found = []
    for _ in range(MEASUREMENTS):
        milliseconds = run(
            measure_speed(
                networks,
                in_channels=whole.in_channels,
                device=pick_device("auto"),
                rounds=9,
            )
        )
        found.append((milliseconds["whole"], milliseconds["pruned"]))
    return sorted(found, key=lambda pair: pair[0] / pair[1])[MEASUREMENTS // 2]


def main() -> int:
    """Train, prune, fine-tune, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", nargs="?", default=None)
    parser.add_argument("--train-seconds", type=float, default=120.0)
    parser.add_argument("--finetune-seconds", type=float, default=60.0)
    parser.add_argument("--only", nargs="*", default=CASES, metavar="KIND/SCOPE/SHARE")
    parser.add_argument("--preset", default="2m")
    parser.add_argument("--start", type=Path, help="a trained checkpoint to use")
    options = parser.parse_args()

    folder = options.dataset or sample_folder() / "membrane_fibsem"
    dataset = read_dataset(folder)
    val = dataset.part("val")
    begun = time.perf_counter()
    if options.start:
        whole = load_checkpoint(options.start)
    else:
        config = TrainConfig(preset=options.preset, minutes=options.train_seconds / 60)
        whole = run(fit(dataset.part("train"), config, task=dataset.task))
    took = time.perf_counter() - begun
    seen = look(whole, val)
    common, best = best_pixel_threshold(seen.truth, seen.probability)
    print(f"{dataset.name}, {options.preset}, {device_label()}")
    print(" | ".join(COLUMNS))
    steps = whole.provenance.get("steps", 0)
    print(
        f"unpruned | {whole.parameters_nonzero:,} | {steps} | {took:.1f} | "
        f"{common:.3f} | {best:.4f} | | {best:.4f} | | | ",
        flush=True,
    )
    for case in options.only:
        begun = time.perf_counter()
        pruned = prune_and_tune(whole, case, dataset, options.finetune_seconds)
        took = time.perf_counter() - begun
        seen = look(pruned, val)
        own, dice = best_pixel_threshold(seen.truth, seen.probability)
        at_common = seen.dice(common)
        slow, fast = speeds(whole, pruned)
        cells = (
            case,
            f"{pruned.parameters_nonzero:,}",
            f"{pruned.provenance['steps']}",
            f"{took:.1f}",
            f"{own:.3f}",
            f"{dice:.4f}",
            f"{best - dice:+.4f}",
            f"{at_common:.4f}",
            f"{best - at_common:+.4f}",
            f"{fast:.0f}",
            f"{slow / fast:.2f}x",
        )
        print(" | ".join(cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
