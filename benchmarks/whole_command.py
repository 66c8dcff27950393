"""From an image file to the written answer: the whole command, and a script by hand.

    python benchmarks/whole_command.py [--presets tiny 2m] [--side 4096] [--rounds 3]
        [--seconds 20] [--prune 0.75]

Each network is trained for some seconds on sample images. The script reads the image,
normalises it, runs MONAI's sliding window with its defaults (windows of 512 pixels),
or the same windows in plain PyTorch where MONAI is not installed, and writes the
probabilities uncompressed and the labels. `napari-topiary predict` does the same with
its defaults. With `--prune SHARE` it also runs the network that is left when SHARE of
the weights is gone.

Every command is a process of its own, and they take turns; printed are the medians of
wall-clock seconds, the ratio to the script, seconds of processor time, which other
programs disturb less, with their ratio, and the highest resident memory. (Labels are
compared in `engine.py`: the script knows nothing of uneven light.)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import tifffile

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.io.dataset import read_dataset, sample_folder
from napari_topiary.pruning import prune
from napari_topiary.training import fit
from napari_topiary.types import run

SCRIPT = """
import sys
import numpy as np, tifffile, torch

checkpoint, image, out, mean, deviation = sys.argv[1:]
from napari_topiary.checkpoint import load_checkpoint  # for the network's layers only
network = load_checkpoint(checkpoint).build()
pixels = tifffile.imread(image).astype(np.float32)
pixels = (pixels - float(mean)) / float(deviation)
pixels = torch.from_numpy(pixels)[None, None]

def slid(pixels, size, batch, network, overlap):
    total = count = 0
    step = int(size[0] * (1 - overlap))
    high, wide = pixels.shape[2:]
    total = torch.zeros(1, 2, high, wide)
    count = torch.zeros(1, 1, high, wide)
    def starts(side):
        return [*range(0, max(side - size[0], 0), step), max(side - size[0], 0)]
    for y in starts(high):
        for x in starts(wide):
            part = (..., slice(y, y + size[0]), slice(x, x + size[1]))
            total[part] += network(pixels[part])
            count[part] += 1
    return total / count

try:
    from monai.inferers import sliding_window_inference
    print("MONAI sliding window")
except ImportError:
    sliding_window_inference = slid
    print("plain sliding window")
with torch.no_grad():
    logits = sliding_window_inference(pixels, (512, 512), 1, network, overlap=0.25)
    probability = logits.softmax(dim=1)[0].numpy()
tifffile.imwrite(out + "_probability.tif", probability)
tifffile.imwrite(out + "_labels.tif", probability.argmax(axis=0).astype(np.uint8))
"""
OURS = ("THP_MEM_ALLOC_ENABLE", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""What Topiary may have set for its own processes."""


def main() -> int:
    """Train, run the commands in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["tiny", "2m"])
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20, help="of training")
    parser.add_argument("--prune", type=float, metavar="SHARE")
    options = parser.parse_args()
    dataset = read_dataset(sample_folder() / "membrane_fibsem")
    samples = dataset.part("train")
    with TemporaryDirectory() as folder:
        home = Path(folder)
        image = _tiled(samples[0].image[0], options.side)
        tifffile.imwrite(home / "image.tif", image)
        for preset in options.presets:
            config = TrainConfig(preset=preset, minutes=options.seconds / 60)
            checkpoint = run(fit(samples, config, task=dataset.task))
            networks = {preset: checkpoint}
            if options.prune is not None:
                less = PruneConfig(kind="filters", remove=options.prune)
                pruned = run(prune(checkpoint, less, samples=samples))
                networks[f"{preset}, {options.prune:.0%} pruned"] = pruned
            _compare(networks, home, image, options.rounds)
    return 0


def _compare(
    networks: dict[str, Checkpoint],
    home: Path,
    image: np.ndarray,
    rounds: int,
) -> None:
    """Let the script, with the first network, and the commands take turns."""
    first = next(iter(networks))
    commands: dict[str, list[str]] = {}
    for number, (name, checkpoint) in enumerate(networks.items()):
        path = home / f"{number}.safetensors"
        checkpoint.save(path)
        if name == first:
            given = [str(path), str(home / "image.tif"), str(home / "by_hand")]
            given += [str(image.mean()), str(image.std())]
            commands["script"] = [sys.executable, "-c", SCRIPT, *given]
        command = [sys.executable, "-m", "napari_topiary", "predict", str(path)]
        command += [str(home / "image.tif"), "--out", str(home / str(number))]
        commands[f"predict, {name}"] = [*command, "--overwrite"]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    memory = dict.fromkeys(commands, 0.0)
    for number in range(rounds + 1):
        for name, command in commands.items():
            *took, held = _measured(command)
            memory[name] = max(memory[name], held)
            if number:  # the first round fills caches and chooses a back end
                times[name].append((took[0], took[1]))
    print(f"\n{first}, {image.shape[0]} x {image.shape[1]} px")
    print("command | s | ratio | processor s | ratio | GB")
    usual = [median(one) for one in zip(*times["script"], strict=True)]
    for name, taken in times.items():
        took = [median(one) for one in zip(*taken, strict=True)]
        cells = [f"{t:.1f} | {u / t:.2f}" for t, u in zip(took, usual, strict=True)]
        print(" | ".join([name, *cells, f"{memory[name]:.2f}"]))


def _measured(command: Iterable[str]) -> tuple[float, float, float]:
    """Seconds, processor seconds and gigabytes of a command as a person starts it."""
    plain = {name: value for name, value in os.environ.items() if name not in OURS}
    begun = time.perf_counter()
    process = subprocess.Popen(
        list(command), env=plain, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    with process:
        said = process.stderr.read() if process.stderr else b""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(said.decode())
    computed = used.ru_utime + used.ru_stime
    return time.perf_counter() - begun, computed, used.ru_maxrss * 1024 / 1e9


def _tiled(image: np.ndarray, side: int) -> np.ndarray:
    """Mirror an image until it has the wanted side: no edges that no image has."""
    while min(image.shape) < side:
        image = np.concatenate([image, image[::-1]])
        image = np.concatenate([image, image[:, ::-1]], axis=1)
    return np.ascontiguousarray(image[:side, :side])


if __name__ == "__main__":
    sys.exit(main())
