"""How long a step of training takes, and with how many threads it is fast.

    python benchmarks/training_step.py [--data DATASET] [--rounds 5] [--steps 20]
    python benchmarks/training_step.py --busy 2
    python benchmarks/training_step.py --profile [--presets tiny]

The median of the rounds is printed. With `--busy N` it is compared with how many
threads a step of training, and a tile of a prediction, is fast while N other processes
keep cores busy: with all, with one, and as training and prediction choose by the clock.

With `--profile` training takes turns with what one would write by hand: a `DataLoader`
over random patches, changed one by one as albumentations changes them (which is used
where it is installed; otherwise the same in NumPy and SciPy), AdamW, float32. Training
lends every layer a normalisation, so there are two such loops: one over the network as
it is, and one over the same network with layers that normalise, as most U-Nets have.
Printed are milliseconds of processor time for a step of each, which other programs
disturb least, how many times as fast training is, and the share of a step that is spent
inside the network: forward, loss, backward and update.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage as ndi
from torch.utils.data import DataLoader, IterableDataset

from napari_topiary.config import TrainConfig
from napari_topiary.data.prepared import prepare
from napari_topiary.data.sampling import Batch
from napari_topiary.inference.backends.pytorch import TorchBackend
from napari_topiary.inference.devices import TRIALS, Threads
from napari_topiary.inference.engine import Engine
from napari_topiary.io.dataset import read_dataset, sample_folder
from napari_topiary.networks import build_network, resolve_sizes
from napari_topiary.networks.pruning_schedule import FixedShape, PrunedShape
from napari_topiary.training.trainer import Trainer

WARM_UP_STEPS = 3
BATCH, PATCH = 8, 128
TILE = 512


def main() -> int:
    """Time some sizes of network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(sample_folder() / "apoferritin"))
    parser.add_argument("--presets", nargs="+", default=["tiny", "2m"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--busy", type=int, metavar="N", help="processes beside it")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.busy is not None:
        return _compare_threads(options)
    if options.profile:
        return _profile(options)

    print("preset | ms a step")
    for preset in options.presets:
        trainer = _trainer(options.data, preset)
        measured = [
            _milliseconds(trainer, options.steps) for _ in range(options.rounds)
        ]
        print(f"{preset} | {statistics.median(measured):.0f}", flush=True)
    return 0


def _compare_threads(options: argparse.Namespace) -> int:
    """Time all threads, one thread and the chosen number in turns."""
    others = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(options.busy)
    ]
    usual = torch.get_num_threads()
    print(f"preset | {usual} threads, ms a step | 1 thread | chosen | ratio")
    try:
        for preset in options.presets:
            trainer = _trainer(options.data, preset)
            plain = trainer.threads
            times: dict[str, list[float]] = {"all": [], "one": [], "chosen": []}
            for _ in range(options.rounds):
                for name, measured in times.items():
                    torch.set_num_threads(1 if name == "one" else usual)
                    trainer.threads = plain
                    if name == "chosen":
                        trainer.threads = Threads()
                        _milliseconds(trainer, 1 + 2 * TRIALS)
                    measured.append(_milliseconds(trainer, options.steps))
            every, one, chosen = map(statistics.median, times.values())
            figures = f"{every:.0f} | {one:.0f} | {chosen:.0f} | {every / chosen:.2f}"
            print(f"{preset} | {figures}", flush=True)
            print(f"{preset}, tile | {_tiles(preset, usual, options)}", flush=True)
    finally:
        torch.set_num_threads(usual)
        for other in others:
            other.kill()
            other.wait()
    return 0


def _tiles(preset: str, usual: int, options: argparse.Namespace) -> str:
    """Time a tile of a prediction, as `_compare_threads` does with steps."""
    torch.set_num_threads(usual)  # training may have chosen fewer
    sizes = dict(resolve_sizes("unet", preset))
    network = build_network("unet", sizes, 1, 2).eval()
    tile = np.zeros((1, TILE, TILE), np.float32), slice(0, TILE), slice(0, TILE)
    fixed = TorchBackend(network, torch.device("cpu"))
    chosen = Engine(network, "cpu", backend="torch")
    times: dict[str, list[float]] = {"all": [], "one": [], "chosen": []}
    for _ in range(options.rounds * TRIALS):
        for name, measured in times.items():
            torch.set_num_threads(1 if name == "one" else usual)
            begun = time.perf_counter()
            (chosen if name == "chosen" else fixed)(*tile)
            measured.append((time.perf_counter() - begun) * 1e3)
    torch.set_num_threads(usual)
    every, one = (statistics.median(times[name]) for name in ("all", "one"))
    settled = statistics.median(times["chosen"][1 + 2 * TRIALS :])
    return f"{every:.0f} | {one:.0f} | {settled:.0f} | {every / settled:.2f}"


def _profile(options: argparse.Namespace) -> int:
    """Take turns with a loop written by hand."""
    print("preset | by hand, ms | normalised | here | ratio | ratio | inside")
    for preset in options.presets:
        trainer = _trainer(options.data, preset)
        loops = [
            _by_hand(trainer, options.data, preset, norm) for norm in (False, True)
        ]
        rounds: list[list[float]] = []
        shares: list[float] = []
        for _ in range(options.rounds + 1):
            begun = time.process_time()
            took = []
            for loop in loops:
                for _ in range(options.steps):
                    next(loop)
                took.append(time.process_time() - begun)
                begun = time.process_time()
            step, inside = _step_and_inside(trainer, options.steps)
            rounds.append([one / options.steps for one in took] + [step])
            shares.append(inside / step)
        measured = rounds[1:]  # the first round warms up
        times = [
            f"{1e3 * statistics.median(way):.0f}" for way in zip(*measured, strict=True)
        ]
        ratios = [
            f"{statistics.median(took[way] / took[2] for took in measured):.2f}"
            for way in (0, 1)
        ]
        share = statistics.median(shares[1:])
        print(" | ".join([preset, *times, *ratios, f"{share:.0%}"]), flush=True)
    return 0


def _step_and_inside(trainer: Trainer, steps: int) -> tuple[float, float]:
    """Processor seconds of a step, and of learning once it has its patches."""
    learn, inside = trainer._learn, 0.0

    def timed(batch: Batch) -> torch.Tensor:
        nonlocal inside
        begun = time.process_time()
        loss = learn(batch)
        inside += time.process_time() - begun
        return loss

    trainer._learn = timed  # type: ignore[method-assign]
    try:
        begun = time.process_time()
        for _ in range(steps):
            trainer.step(1e-3)
        whole = time.process_time() - begun
    finally:
        del trainer._learn
    return whole / steps, inside / steps


class _Patches(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Random patches, changed one by one."""

    def __init__(self, images: list[np.ndarray], targets: list[np.ndarray]) -> None:
        self.images, self.targets = images, targets
        self.change = _albumentations() or _by_numpy

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        random = np.random.default_rng(0)
        while True:
            index = random.integers(len(self.images))
            image, target = self.images[index], self.targets[index]
            top, left = (random.integers(0, n - PATCH + 1) for n in target.shape)
            rows, columns = slice(top, top + PATCH), slice(left, left + PATCH)
            image, target = self.change(image[rows, columns], target[rows, columns])
            yield torch.from_numpy(image.copy())[None], torch.from_numpy(target.copy())


Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _albumentations() -> Change | None:
    try:
        import albumentations
    except ImportError:
        return None
    changes = albumentations.Compose(
        [
            albumentations.RandomRotate90(),
            albumentations.HorizontalFlip(),
            albumentations.Affine(rotate=(-45, 45), scale=(0.85, 1.18), p=0.3),
            albumentations.RandomBrightnessContrast(),
            albumentations.GaussNoise(),
            albumentations.GaussianBlur(blur_limit=(3, 3), p=0.15),
        ]
    )

    def change(image: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made = changes(image=image, mask=target)
        return made["image"], made["mask"]

    return change


def _by_numpy(image: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same changes without albumentations."""
    random = np.random.default_rng()
    turns = int(random.integers(4))
    image, target = np.rot90(image, turns), np.rot90(target, turns)
    if random.random() < 0.5:
        image, target = image[:, ::-1], target[:, ::-1]
    if random.random() < 0.3:
        angle = random.uniform(-45, 45)
        image = ndi.rotate(image, angle, reshape=False, order=1)
        target = ndi.rotate(target, angle, reshape=False, order=0, cval=-1)
    if random.random() < 0.5:
        image = image * random.uniform(0.8, 1.2) + random.uniform(-0.2, 0.2)
    if random.random() < 0.5:
        image = image + random.normal(0, 0.1, image.shape)
    if random.random() < 0.15:
        image = ndi.gaussian_filter(image, random.uniform(0.1, 1.0))
    return image.astype(np.float32), target


def _by_hand(
    trainer: Trainer, data: str, preset: str, normalised: bool
) -> Iterator[None]:
    """One step of a plain loop after the other."""
    dataset = read_dataset(data)
    config = TrainConfig(minutes=None, epochs=1)
    prepared = prepare(dataset.part("train"), (), config, task=dataset.task)
    patches = _Patches(
        [field.image[0] for field in prepared.train],
        [field.target.astype(np.int64) for field in prepared.train],
    )
    if normalised:
        sizes = dict(resolve_sizes("unet", preset), batch_norm=True)
        network = build_network("unet", sizes, 1, len(dataset.task.classes)).train()
    else:
        network = trainer.plain().to(memory_format=torch.contiguous_format).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for image, target in DataLoader(patches, batch_size=BATCH):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(image), target, ignore_index=-1)
        loss.backward()
        optimizer.step()
        loss.item()
        yield


def _trainer(data: str, preset: str) -> Trainer:
    config = TrainConfig(preset=preset, batch=8, minutes=None, epochs=1)
    dataset = read_dataset(data)
    prepared = prepare(
        dataset.part("train"),
        (),
        config,
        task=dataset.task,
    )
    trainer = Trainer(
        config,
        prepared,
        sizes=dict(resolve_sizes("unet", preset)),
        start=None,
        pruning=FixedShape(PrunedShape()),
    )
    _milliseconds(trainer, WARM_UP_STEPS)
    return trainer


def _milliseconds(trainer: Trainer, steps: int) -> float:
    begun = time.perf_counter()
    for _ in range(steps):
        trainer.step(1e-3)
    return (time.perf_counter() - begun) / steps * 1e3


if __name__ == "__main__":
    sys.exit(main())
