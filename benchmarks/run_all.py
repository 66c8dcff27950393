"""Every table, one after the other, in less than 40 minutes.

    python benchmarks/run_all.py [--minutes 40] [--only engine start_up]

Each script runs in a process of its own with settings that suit the time; one that
takes longer than its share is ended, and it is said. What a script prints is passed on.
For the figures in README the scripts were given more time and more data: their own
settings are in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
MEMBRANES = HERE.parent / "sample_data" / "membrane_fibsem"
NUCLEI = HERE.parent / "sample_data" / "nuclei"
TUNED = ("--finetune-seconds", "15")

RUNS: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    ("start_up.py", 2.0, ("--rounds", "2")),
    ("engine.py", 4.0, ("--side", "768", "--rounds", "2", "--seconds", "10")),
    ("engine.py", 1.5, ("--peak", "--presets", "2m", "7.8m-wide", "--side", "768")),
    (
        "engine.py",
        2.0,
        ("--descendant", "0.99", "--side", "512", "--rounds", "3"),
    ),
    ("whole_command.py", 2.0, ("--side", "1024", "--rounds", "1", "--seconds", "5")),
    ("gpu.py", 2.0, ()),
    ("training_step.py", 2.0, ("--rounds", "3")),
    ("slider.py", 2.0, ("--repeats", "3")),
    ("dense.py", 2.5, ("--rounds", "1", "--patches", "256")),
    ("loss_pruning.py", 2.5, ("--batches", "2")),
    ("many_objects.py", 2.5, ("--objects", "5000")),
    ("big_image.py", 3.0, ("--seconds", "5", "--sides", "8")),
    ("odd_images.py", 2.5, ("--steps", "60")),
    ("train_quality.py", 1.5, ("--seconds", "30")),
    ("few_clicks.py", 2.5, ("--clicks", "5", "--seeds", "1", "--seconds", "40")),
    ("nuclei_quality.py", 2.0, (str(NUCLEI), "--seconds", "40", *TUNED)),
    ("prune_quality.py", 4.0, (str(MEMBRANES), "--train-seconds", "40", *TUNED)),
    ("fuzz.py", 2.0, ("--files", "20")),
)
"""Script, minutes of 40, and what it is given."""


def main() -> int:
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[])
    options = parser.parse_args()
    whole = sum(minutes for _, minutes, _ in RUNS)
    begun, failed = time.perf_counter(), 0
    for script, minutes, given in RUNS:
        if options.only and Path(script).stem not in options.only:
            continue
        share = 60 * options.minutes * minutes / whole
        print(f"\n# python benchmarks/{script} {' '.join(given)}", flush=True)
        try:
            command = [sys.executable, str(HERE / script), *given]
            failed += subprocess.run(command, timeout=share).returncode != 0
        except subprocess.TimeoutExpired:
            print(f"(ended after {share:.0f} s: its share of the time)", flush=True)
    spent = (time.perf_counter() - begun) / 60
    print(f"\n{spent:.1f} minutes, {failed} scripts failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
