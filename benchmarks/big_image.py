"""Images of any size: seconds per megapixel and peak memory, by side.

    python benchmarks/big_image.py [--sides 8 16] [--kind detect|segment|instances]
        [--seconds 30] [--folder DIR]

Trains for some seconds on discs, writes images of discs of 8,192, 16,384 (and, asked
for with `--sides 32 64`, more) pixels a side as zarr, and predicts each with the
command line in a process of its own. Printed are the seconds per megapixel, the peak
memory of that process, and how many discs were found of those that there are.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_topiary.annotations import Labels, Points
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.io.dataset import Sample
from napari_topiary.training import fit
from napari_topiary.types import Task, run

RADIUS = 8
TILE = 512
SCALE_NM = 4.0
KINDS = {
    "detect": Task("detect", ("background", "disc"), radius_px={"disc": RADIUS}),
    "segment": Task("segment", ("background", "disc")),
    "instances": Task("instances", ("background", "disc")),
}


def main() -> int:
    """Train once, predict every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--kind", choices=list(KINDS), default="detect")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    print("side | seconds per megapixel | peak memory | found of")
    with tempfile.TemporaryDirectory(dir=options.folder) as home:
        checkpoint = Path(home) / "discs.safetensors"
        trained(options.kind, options.seconds).save(checkpoint)
        for side in options.sides:
            image = Path(home) / f"discs{side}k.zarr"
            truth = write_discs(image, side * 1024)
            measured(checkpoint, image, side * 1024, truth)
    return 0


def trained(kind: str, seconds: float) -> Checkpoint:
    """Train on four pictures of discs."""
    task, samples = KINDS[kind], []
    for seed in range(4):
        image, centres = discs(np.random.default_rng(seed))
        if kind == "detect":
            drawn = Points(centres, ("disc",) * len(centres))
        else:
            labels = numbered(centres)
            drawn = Labels(labels if kind == "instances" else (labels > 0).astype(int))
        samples.append(Sample(image[None], (drawn,), SCALE_NM, f"discs {seed}"))
    config = TrainConfig(minutes=seconds / 60)
    return run(fit(samples, config, task=task))


def discs(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """One tile of noise with discs that keep off its border, and their centres."""
    cells = np.mgrid[24 : TILE - 23 : 48, 24 : TILE - 23 : 48].reshape(2, -1).T
    chosen = cells[rng.random(len(cells)) < 0.6]
    centres = chosen + rng.uniform(-8, 8, chosen.shape)
    image = rng.normal(110, 20, (TILE, TILE))
    image[numbered(centres) > 0] += 60
    return image.clip(0, 255).astype(np.uint8), centres


def numbered(centres: NDArray[np.float64]) -> NDArray[np.int32]:
    """Label image of the discs of a tile."""
    labels = np.zeros((TILE, TILE), np.int32)
    yy, xx = np.mgrid[:TILE, :TILE]
    for number, (y, x) in enumerate(centres, start=1):
        labels[np.hypot(yy - y, xx - x) <= RADIUS] = number
    return labels


def write_discs(path: Path, side: int) -> int:
    """Write an image of `side` × `side` pixels; return how many discs are on it."""
    array = zarr.create_array(
        str(path), shape=(side, side), chunks=(TILE, TILE), dtype=np.uint8
    )
    tiles = [discs(np.random.default_rng(100 + seed)) for seed in range(16)]
    rng, count = np.random.default_rng(0), 0
    # Shifted by half a tile, so that what a tile's border cuts is a disc's business.
    half = TILE // 2
    for top in range(0, side, TILE):
        row = [tiles[rng.integers(16)] for _ in range(0, side, TILE)]
        strip = np.roll(np.concatenate([image for image, _ in row], axis=1), half, 1)
        array[top : top + TILE] = strip
        count += sum(len(centres) for _, centres in row)
    return count


def measured(checkpoint: Path, image: Path, side: int, truth: int) -> None:
    """Predict an image in a process of its own and print what it took."""
    report = image.with_suffix(".json")
    command = [
        sys.executable, "-m", "napari_topiary", "predict", str(checkpoint), str(image),
        "--out", str(image.parent / "out"), "--json", str(report),
        "--pixel-size", str(SCALE_NM),
    ]  # fmt: skip
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = wait(process.pid)
    spent = time.perf_counter() - begun
    if status:
        raise SystemExit(f"predict ended with {status}")
    entry = json.loads(report.read_text(encoding="utf-8"))["images"][0]
    found = entry.get("n_objects", sum(entry.get("n_detections", {}).values()))
    print(
        f"{side:,} | {spent / (side * side / 1e6):.3f} | "
        f"{used.ru_maxrss / 1e6:.2f} GB | {found:,} of {truth:,}",
        flush=True,
    )


def wait(pid: int) -> tuple[int, int, resource.struct_rusage]:
    """Wait for a process to end; return its status and what it used."""
    return os.wait4(pid, 0)


if __name__ == "__main__":
    sys.exit(main())
