"""Quality in the same time: here, and by the tools that people would use otherwise.

    python benchmarks/peers.py [--data DATASET] [--seconds 60 300] [--tolerance-px 10]
        [--network unet nuclei] [--peer PYTHON]

Particles: against Spotiflow from scratch. Nuclei: against StarDist from scratch. Each
peer runs in a process of its own, by the interpreter `--peer`, in which it is installed
(`pip install spotiflow`, or `stardist tensorflow`); they take turns.

All learn from the part `train`, of which a fifth is held back to choose weights and
thresholds, as each tool does by itself, and are judged on the part `val` by the same
lines of code: F1 at so many pixels of the image, or panoptic quality. Peers get what
somebody who knows them would set: images scaled so that a particle has a radius of 6
pixels (which is what Topiary chooses too), spots as wide as half of that, crops of 256
pixels around spots, a threshold tuned on what is held back, a rate of learning for a
short time (1e-3; their own is for hundreds of epochs).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_topiary.io.dataset import Dataset

RADIUS_PX = 6
HELD = 0.2
RATE = 1e-3


def main() -> int:
    """Let both learn for the same time, judge both, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("--seconds", type=float, nargs="+", default=[60, 300])
    parser.add_argument("--tolerance-px", type=float, default=10)
    parser.add_argument("--network", nargs="+", default=["unet"])
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--learn", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.learn is not None:
        folder = Path(options.learn[1])
        learn = {"detect": spotiflow, "instances": stardist}[options.learn[0]]
        learn(folder, options.seconds[0])
        return 0

    from napari_topiary.io.dataset import read_dataset, sample_folder

    dataset = read_dataset(options.data or sample_folder() / "apoferritin")
    kind = dataset.task.kind
    peer = {"detect": "Spotiflow", "instances": "StarDist"}.get(kind)
    if peer is None:
        parser.error(f"{dataset.name}: particles or nuclei are compared, not {kind}.")
    print("seconds | by | learned for | weights | figure")
    for seconds in options.seconds:
        tolerance = options.tolerance_px
        turns = [
            partial(_here, dataset, seconds, network, options.preset, tolerance)
            for network in options.network
        ]
        turns.append(partial(_there, peer, dataset, seconds, options.peer, tolerance))
        for turn in turns:
            name, took, weights, figure = turn()
            print(
                f"{seconds:.0f} | {name} | {took:.0f} s | {weights:,} | {figure:.3f}",
                flush=True,
            )
    return 0


def _here(
    dataset: Dataset, seconds: float, network: str, preset: str, tolerance: float
) -> tuple[str, float, int, float]:
    from napari_topiary.config import PredictConfig, TrainConfig
    from napari_topiary.inference.predict import predict
    from napari_topiary.training import fit
    from napari_topiary.types import run

    config = TrainConfig(
        network=network, preset=preset, minutes=seconds / 60, validation_share=HELD
    )
    begun = time.perf_counter()
    made = run(fit(dataset.part("train"), config, task=dataset.task))
    took = time.perf_counter() - begun
    particles, found = dataset.task.kind == "detect", []
    for sample in dataset.part("val"):
        one = run(predict(sample.image, made, PredictConfig(), scale=sample.scale))
        found.append(one.detections.coordinates if particles else one.labels)
    figure = _figure(dataset, found, tolerance)
    return f"Topiary, {network} {preset}", took, made.parameters, figure


def _there(
    peer: str, dataset: Dataset, seconds: float, python: str, tolerance: float
) -> tuple[str, float, int, float]:
    """Hand the same images to the peer, as arrays, and take its answer back."""
    factor = _factor(dataset)
    with TemporaryDirectory() as home:
        folder = Path(home)
        for part in ("train", "val"):
            for number, sample in enumerate(dataset.part(part)):
                np.savez(
                    folder / f"{part}-{number:03d}.npz",
                    image=_smaller(sample.image, factor),
                    truth=_scaled(_truth(dataset, sample), 1 / factor),
                )
        command = [python, __file__, "--learn", dataset.task.kind, home]
        subprocess.run([*command, "--seconds", str(seconds)], check=True)
        answer = np.load(folder / "answer.npz")
        found = [
            _scaled(answer[f"found-{number}"], factor)
            for number in range(len(dataset.part("val")))
        ]
        figure = _figure(dataset, found, tolerance)
        return peer, float(answer["took"]), int(answer["weights"]), figure


def _factor(dataset: Dataset) -> int:
    """By how much the images are made smaller: particles of 6 pixels radius."""
    radii = [*dataset.task.radius_nm.values()]
    scale = dataset.part("train")[0].scale
    return max(1, round(radii[0] / scale / RADIUS_PX)) if radii and scale else 1


def _smaller(image: Any, factor: int) -> Any:
    from skimage.transform import downscale_local_mean

    pixels = np.moveaxis(np.asarray(image, np.float32), 0, -1)
    high, wide = (side // factor * factor for side in pixels.shape[:2])
    return downscale_local_mean(pixels[:high, :wide], (factor, factor, 1)).squeeze()


def _scaled(truth: Any, factor: float) -> Any:
    """Places move with the pixels' middles; labels are those of the image as it is."""
    if truth.ndim == 2 and truth.shape[1] == 2:
        return (truth + 0.5) * factor - 0.5
    return truth


def _truth(dataset: Dataset, sample: Any) -> Any:
    """Places `(n, 2)` y, x, or numbered objects `(y, x)`, of one image."""
    from napari_topiary.evaluation.ground_truth import truth_of

    shape = sample.image.shape[-2:]
    known = truth_of(sample.annotations, shape, task=dataset.task, scale=sample.scale)
    return known.particles.coordinates if known.objects is None else known.objects


def _figure(dataset: Dataset, found: list[Any], tolerance: float) -> float:
    """F1 over all images of the part `val`, or the mean panoptic quality."""
    from napari_topiary.evaluation.detection_metrics import match_points
    from napari_topiary.evaluation.object_metrics import instance_metrics

    truths = [_truth(dataset, sample) for sample in dataset.part("val")]
    if dataset.task.kind == "detect":
        hits = sum(
            len(match_points(truth, there, tolerance))
            for truth, there in zip(truths, found, strict=True)
        )
        return 2 * hits / max(1, sum(map(len, truths)) + sum(map(len, found)))
    quality = [
        instance_metrics(truth, there)["pq"]
        for truth, there in zip(truths, found, strict=True)
    ]
    return float(np.mean(quality))


def _read(folder: Path) -> tuple[list[Any], list[Any], list[Any], list[Any], list[Any]]:
    """Images and truth to learn from, the same of what is held back, and to judge."""
    pairs = [np.load(file) for file in sorted(folder.glob("train-*.npz"))]
    judged = [np.load(file)["image"] for file in sorted(folder.glob("val-*.npz"))]
    held = max(1, round(HELD * len(pairs)))
    images, truth = [one["image"] for one in pairs], [one["truth"] for one in pairs]
    return images[:-held], truth[:-held], images[-held:], truth[-held:], judged


def spotiflow(folder: Path, seconds: float) -> None:
    """Train Spotiflow for so long; runs in the peer's own interpreter."""
    import lightning.pytorch as pl
    from spotiflow.model import Spotiflow, SpotiflowModelConfig
    from spotiflow.model.config import SpotiflowTrainingConfig

    class Until(pl.Callback):  # type: ignore[misc]
        """Ends the training in time, and lets every epoch end with a check."""

        def __init__(self) -> None:
            self.end = time.perf_counter() + seconds

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = time.perf_counter() > self.end

    images, spots, held, held_spots, judged = _read(folder)
    model = Spotiflow(SpotiflowModelConfig(sigma=RADIUS_PX / 2))
    begun = time.perf_counter()
    model.fit(
        images,
        spots,
        held,
        held_spots,
        save_dir=folder / "spotiflow",
        default_root_dir=str(folder),
        device="cpu",
        logger=None,
        deterministic=False,
        callbacks=[Until()],
        train_config=SpotiflowTrainingConfig(
            crop_size=256, lr=RATE, num_train_samples=32, num_epochs=10_000
        ),
    )
    model = Spotiflow.from_folder(folder / "spotiflow", map_location="cpu")
    model.optimize_threshold(
        model_data(images=held, spots=held_spots, sigma=RADIUS_PX / 2),
        cutoff_distance=3,
        min_distance=RADIUS_PX,
        threshold_range=(0.1, 0.9),
        device="cpu",
    )
    took = time.perf_counter() - begun
    found = [
        model.predict(image, min_distance=RADIUS_PX, device="cpu", verbose=False)[0]
        for image in judged
    ]
    _answer(folder, took, sum(one.numel() for one in model.parameters()), found)


def model_data(images: list[Any], spots: list[Any], sigma: float) -> Any:
    """What Spotiflow tunes its threshold on."""
    from spotiflow.data import SpotsDataset

    whole = [
        one[: one.shape[0] // 16 * 16, : one.shape[1] // 16 * 16] for one in images
    ]
    inside = [
        one[(one < np.array(image.shape[:2]) - 1).all(axis=1)]
        for one, image in zip(spots, whole, strict=True)
    ]
    return SpotsDataset(
        whole, inside, sigma=sigma, compute_flow=True, downsample_factors=[1, 2, 4, 8]
    )


def stardist(folder: Path, seconds: float) -> None:
    """Train StarDist for so long; runs in the peer's own interpreter."""
    from csbdeep.utils import normalize
    from stardist.models import Config2D, StarDist2D
    from tensorflow.keras.callbacks import Callback

    class Until(Callback):  # type: ignore[misc]
        """Ends the training in time."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if time.perf_counter() > end:
                self.model.stop_training = True

    images, labels, held, held_labels, judged = _read(folder)
    images, held, judged = (
        [normalize(one, 1, 99.8, axis=(0, 1)) for one in some]
        for some in (images, held, judged)
    )
    colours = images[0].shape[2] if images[0].ndim == 3 else 1
    config = Config2D(
        n_rays=32,
        grid=(2, 2),
        n_channel_in=colours,
        train_patch_size=(128, 128),
        train_batch_size=4,
        train_learning_rate=RATE,
        train_steps_per_epoch=10,
        train_epochs=10_000,
        train_tensorboard=False,
    )
    model = StarDist2D(config, name="peer", basedir=str(folder))

    def turned(image: Any, label: Any) -> tuple[Any, Any]:
        turns, mirror = np.random.randint(4), np.random.randint(2)
        image, label = np.rot90(image, turns), np.rot90(label, turns)
        image, label = (one[::-1] if mirror else one for one in (image, label))
        return image * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2), label

    begun = time.perf_counter()
    end = begun + seconds
    model.prepare_for_training()
    model.callbacks.append(Until())
    model.train(images, labels, validation_data=(held, held_labels), augmenter=turned)
    model.load_weights("weights_best.h5")
    model.optimize_thresholds(held, held_labels)
    took = time.perf_counter() - begun
    found = [model.predict_instances(image)[0] for image in judged]
    _answer(folder, took, model.keras_model.count_params(), found)


def _answer(folder: Path, took: float, weights: int, found: list[Any]) -> None:
    answers = {f"found-{number}": one for number, one in enumerate(found)}
    np.savez(folder / "answer.npz", took=took, weights=weights, **answers)


if __name__ == "__main__":
    sys.exit(main())
