"""How good a network gets in one minute: quality on images it has not seen.

    python benchmarks/train_quality.py [--data DATASET] [--seconds 60] [--preset tiny]
        [--optimizer muon]

Prints one table row per run. `--against SECONDS` trains a second time for longer in the
same run and prints how much the short training falls short of it.
"""

from __future__ import annotations

import argparse
import sys
import time

from napari_topiary.config import PredictConfig, TrainConfig
from napari_topiary.evaluation import evaluate
from napari_topiary.io.dataset import read_dataset, sample_folder
from napari_topiary.training import fit
from napari_topiary.types import run


def main() -> int:
    """Train, evaluate on the validation split, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(sample_folder() / "apoferritin"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--against", type=float, default=0.0)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--tolerance-nm", type=float, default=None)
    parser.add_argument("--optimizer", default=TrainConfig().optimizer)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    dataset = read_dataset(options.data)
    train, val = dataset.part("train"), dataset.part("val")
    columns = (
        "data",
        "preset",
        "optimizer",
        "asked s",
        "took s",
        "steps",
        "figure",
        "value",
    )
    print(" | ".join(columns))
    values = []
    for seconds in (options.seconds, options.against):
        if seconds <= 0:
            continue
        config = TrainConfig(
            preset=options.preset,
            minutes=seconds / 60,
            optimizer=options.optimizer,
            seed=options.seed,
        )
        begun = time.perf_counter()
        # The validation split stays unseen: the best weights are chosen on a hold-out
        # of the training split.
        checkpoint = run(fit(train, config, task=dataset.task))
        took = time.perf_counter() - begun
        result = run(
            evaluate(
                checkpoint,
                val,
                config=PredictConfig(),
                tolerance_nm=options.tolerance_nm,
            )
        )
        figure = "f1" if dataset.task.kind == "detect" else "dice"
        values.append(float(result[figure]))
        row = (
            dataset.name,
            options.preset,
            options.optimizer,
            f"{seconds:.0f}",
            f"{took:.1f}",
            str(checkpoint.provenance["steps"]),
            figure,
            f"{values[-1]:.4f}",
        )
        print(" | ".join(row), flush=True)
    if len(values) == 2:
        print(f"the short training falls short by {values[1] - values[0]:+.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
