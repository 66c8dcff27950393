"""How well nuclei are segmented after some minutes, and what is lost at CR 5.

    python benchmarks/nuclei_quality.py DATASET [--seconds 600] [--preset published]
        [--finetune-seconds 300] [--ratio 5] [--scopes layer global]

Trains the two-branch network on the training split, judges objects on the validation
split, then for each scope removes weights gradually from both branches while it
fine-tunes, and judges again. Weights and thresholds are chosen on a hold-out of the
training split; nothing is chosen on the images that it is judged on.
"""

from __future__ import annotations

import argparse
import sys
import time

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig, Scope
from napari_topiary.evaluation import evaluate
from napari_topiary.inference.devices import device_label
from napari_topiary.io.dataset import Dataset, read_dataset
from napari_topiary.networks import recipe_config, tuning_config
from napari_topiary.pruning import GradualPruning, make_plan
from napari_topiary.training import fit
from napari_topiary.types import run

FIGURES = "pq", "aji", "dq", "sq", "segmentation_dice", "distance_rmse"
JUDGED = "pq", "aji", "segmentation_dice"
"""Figures whose relative loss is printed."""


def judged(checkpoint: Checkpoint, dataset: Dataset) -> dict[str, float]:
    """Judge on images that nothing was learned from or chosen by."""
    found = run(evaluate(checkpoint, dataset.part("val")))
    return {name: float(found[name]) for name in FIGURES}


def pruned(
    whole: Checkpoint, dataset: Dataset, scope: Scope, share: float, seconds: float
) -> Checkpoint:
    """Remove weights gradually while fine-tuning."""
    how = PruneConfig(kind="weights", criterion="magnitude", scope=scope)
    pruning = GradualPruning(make_plan(whole, how), share)
    config = tuning_config("nuclei", "weights", {"minutes": seconds / 60})
    train = dataset.part("train")
    return run(fit(train, config, task=dataset.task, start=whole, pruning=pruning))


def row(name: str, made: Checkpoint, took: float, found: dict[str, float]) -> str:
    """Return a line of the table."""
    cells = name, f"{made.parameters_nonzero:,}", str(made.provenance["steps"])
    return " | ".join((*cells, f"{took:.0f}", *(f"{found[n]:.3f}" for n in FIGURES)))


def main() -> int:
    """Train, judge, prune, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--finetune-seconds", type=float, default=300.0)
    parser.add_argument("--preset", default="published")
    parser.add_argument("--ratio", type=float, default=5.0)
    parser.add_argument(
        "--scopes", nargs="*", choices=("layer", "global"), default=("layer", "global")
    )
    options = parser.parse_args()

    dataset = read_dataset(options.dataset)
    print(f"{dataset.name}, nuclei {options.preset}, {device_label()}")
    print(" | ".join(("network", "weights", "steps", "seconds", *FIGURES)), flush=True)
    settings = {"preset": options.preset, "minutes": options.seconds / 60}
    begun = time.perf_counter()
    config = recipe_config("nuclei", settings)
    whole = run(fit(dataset.part("train"), config, task=dataset.task))
    before = judged(whole, dataset)
    print(row("unpruned", whole, time.perf_counter() - begun, before), flush=True)
    for scope in options.scopes:
        begun = time.perf_counter()
        share = 1 - 1 / options.ratio
        made = pruned(whole, dataset, scope, share, options.finetune_seconds)
        after = judged(made, dataset)
        name = f"CR {options.ratio:g}, {scope}"
        print(row(name, made, time.perf_counter() - begun, after))
        lost = ", ".join(f"{n} {1 - after[n] / before[n]:+.1%}" for n in JUDGED)
        print(f"  relative loss: {lost}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
