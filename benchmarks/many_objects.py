"""Seconds and memory of `evaluate` and `compare` on an image of many objects.

    python benchmarks/many_objects.py [--objects 20000] [--side 18] [--gap 29]

Square objects on a noisy ground. A small network learns on a corner of them; each verb
then runs as from the command line, in a process of its own, whose peak of memory and
time (imports included; waited for, and of the processor) are printed with the PQ.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from napari_topiary.annotations import Labels
from napari_topiary.config import TrainConfig
from napari_topiary.io.dataset import Sample
from napari_topiary.io.images import write_image
from napari_topiary.training import fit
from napari_topiary.types import Task, run

TASK = Task("instances", ("background", "cell"))
CORNER = 400


def main() -> int:
    """Print a row for each verb."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=18, help="of an object, in pixels")
    parser.add_argument("--gap", type=int, default=29, help="from one to the next")
    options = parser.parse_args()
    labels = _sheet(options.objects, options.side, options.gap)
    noise = np.random.default_rng(0).integers(0, 40, labels.shape)
    image = ((labels > 0) * 200 + noise).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        about = {"name": "many", "task": TASK.kind, "classes": list(TASK.classes)}
        (home / "dataset.json").write_text(json.dumps(about))
        write_image(home / "images" / "a.tif", image)
        write_image(home / "labels" / "a.tif", labels)
        networks = [_learned(image, labels, home, seed) for seed in (0, 1)]
        size = f"{image.shape[0]:,} x {image.shape[1]:,} pixels"
        print(f"{options.objects:,} objects, {size}")
        print("verb | seconds | of the processor | peak of memory in GB | PQ")
        report = home / "report.json"
        for verb, words in (
            ("evaluate", [networks[0], home]),
            ("compare", [*networks, "--data", home]),
        ):
            words = [verb, *map(str, words), "--split", "all", "--json", str(report)]
            seconds, busy, peak = _measured(words)
            found = json.loads(report.read_text())
            row = found if verb == "evaluate" else found["checkpoints"][0]["own"]
            took = f"{seconds:.0f} | {busy:.0f}"
            print(f"{verb} | {took} | {peak / 1e9:.2f} | {row['pq']:.3f}")
    return 0


def _sheet(objects: int, side: int, gap: int) -> np.ndarray:
    wide = int(np.ceil(np.sqrt(objects)))
    labels = np.zeros((wide * gap,) * 2, np.uint32)
    rows, columns = np.divmod(np.arange(objects), wide)
    numbers = np.arange(1, objects + 1)
    for y in range(side):
        for x in range(side):
            labels[rows * gap + y, columns * gap + x] = numbers
    return labels


def _learned(image: np.ndarray, labels: np.ndarray, home: Path, seed: int) -> Path:
    own = Labels(labels[:CORNER, :CORNER].astype(np.int32), instances=True)
    corner = Sample(image[None, :CORNER, :CORNER], (own,), None, "corner")
    config = TrainConfig(minutes=None, epochs=150, seed=seed)
    path = home / f"{seed}.safetensors"
    run(fit([corner], config, task=TASK)).save(path)
    return path


def _measured(words: list[str]) -> tuple[float, float, int]:
    """Seconds, processor seconds, and highest resident memory of a run in bytes."""
    begun, busy, peak = time.perf_counter(), 0.0, 0
    process = psutil.Popen([sys.executable, "-m", "napari_topiary", *words])
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
            busy = sum(process.cpu_times()[:2])
        except psutil.Error:
            break
        time.sleep(0.01)
    if process.wait() not in (0, 1):
        raise SystemExit(f"{words[0]} ended with {process.returncode}")
    return time.perf_counter() - begun, busy, peak


if __name__ == "__main__":
    sys.exit(main())
