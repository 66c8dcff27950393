"""Images as microscopes and stitching leave them: what each costs one network.

    python benchmarks/odd_images.py [--data DATASET] [--steps 300] [--seeds 1]
        [--tolerance-nm NM] [--against-zscore]

Trains on the part `train` as it is, then judges the part `val` again and again, each
time with something done to its images that changes nothing for a person: margins, hot
pixels, uneven light, other bit depths, the negative, the middle as a file of its own.
Prints F1 or Dice, the difference to the images as they are, and for changes that leave
every pixel in its place how far a probability moves at most. Margins are judged as
well: what is found there is wrong.

`--against-zscore` trains a second network from the same first weights, which sees
images as earlier versions did (mean and deviation of all pixels), and prints what it
reaches on the images as they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.annotations import Labels, Regions
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig, TrainConfig
from napari_topiary.evaluation import evaluate
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Dataset, Sample, read_dataset, sample_folder
from napari_topiary.networks import build_network
from napari_topiary.normalisation import Normalisation
from napari_topiary.training import fit
from napari_topiary.types import run

Picture = NDArray[Any]
Change = Callable[[Picture], Picture]
MARGINS = (0.10, 0.25, 0.50)
"""Of the width of the whole picture."""


def main() -> int:
    """Train once, judge every change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(sample_folder() / "membrane_fibsem"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--tolerance-nm", type=float)
    parser.add_argument("--against-zscore", action="store_true")
    options = parser.parse_args()

    dataset = read_dataset(options.data)
    for seed in range(options.seeds):
        made = trained(dataset, options.steps, seed)
        rows(made, dataset.part("val"), options.tolerance_nm)
        apertures(made, dataset.part("val"), options.tolerance_nm)
        crops(made, dataset.part("val"), options.tolerance_nm)
        if options.against_zscore:
            older = trained(dataset, options.steps, seed, like=made)
            name, value = judged(older, dataset.part("val"), options.tolerance_nm)
            print(f"`zscore`, as it is | {name} {value:.3f} | | | seed {seed}")
    return 0


def trained(
    dataset: Dataset, steps: int, seed: int, *, like: Checkpoint | None = None
) -> Checkpoint:
    """Train for so many steps; `like`: as that one, but seeing images by `zscore`."""
    learn = dataset.part("train")
    once = TrainConfig(minutes=None, epochs=1, seed=seed)
    if like is None:
        # How many steps a pass takes is known after one.
        passes = run(fit(learn, once, task=dataset.task)).provenance["steps"]
        config = replace(once, epochs=max(1, round(steps / int(passes))))
        return run(fit(learn, config, task=dataset.task))
    config = replace(once, epochs=like.provenance["epochs_asked"])
    torch.manual_seed(seed)
    first = build_network(
        like.network, like.sizes, like.in_channels, len(dataset.task.classes)
    )
    start = replace(
        like, state=first.state_dict(), normalisation=Normalisation(kind="zscore")
    )
    return run(fit(learn, config, task=dataset.task, start=start))


def rows(
    made: Checkpoint, samples: tuple[Sample, ...], tolerance: float | None
) -> None:
    """Print what every change costs."""
    print("what was done | figure | difference | largest change of a probability")
    name, clean = judged(made, samples, tolerance)
    print(f"as it is | {name} {clean:.3f} | | ")
    network = made.build()
    for words, change, invert in changes():
        config = PredictConfig(invert=invert)
        changed = tuple(altered(sample, change) for sample in samples)
        _, value = judged(made, changed, tolerance, config)
        moved = "-"
        if changed[0].image.shape == samples[0].image.shape:
            pair = [
                run(predict(s.image, made, c, scale=s.scale, network=network))
                for s, c in ((samples[0], PredictConfig()), (changed[0], config))
            ]
            moved = f"{np.abs(pair[0].probability - pair[1].probability).max():.3f}"
        print(f"{words} | {value:.3f} | {value - clean:+.3f} | {moved}", flush=True)


def apertures(
    made: Checkpoint, samples: tuple[Sample, ...], tolerance: float | None
) -> None:
    """Print what a round aperture costs, held against the same circle of all of it."""
    for share, within in ((1.0, 1.0), (0.8, 0.8), (0.8, 0.6)):
        cut = tuple(altered(sample, _aperture(share)) for sample in samples)
        clean, value = (
            judged(made, tuple(_finished(s, within) for s in every), tolerance)[1]
            for every in (samples, cut)
        )
        where = f"{share:.0%} as wide as the image, judged in {within:.0%}"
        print(f"round aperture {where} | {value:.3f} | {value - clean:+.3f} | -")


def crops(
    made: Checkpoint, samples: tuple[Sample, ...], tolerance: float | None
) -> None:
    """Print what a file costs that is only the middle, judged in a circle of it."""
    if not all(isinstance(one, Labels) for s in samples for one in s.annotations):
        return
    for share in (1 / 2, 1 / 3):
        clean, value = (
            judged(made, tuple(_finished(s, within) for s in every), tolerance)[1]
            for every, within in (
                (samples, 0.8 * share),
                (tuple(_cropped(s, share) for s in samples), 0.8),
            )
        )
        words = f"a file of the middle alone, {share:.0%} of the side"
        print(f"{words} | {value:.3f} | {value - clean:+.3f} | -", flush=True)


def _cropped(sample: Sample, share: float) -> Sample:
    """The middle of an image, as a file of its own."""
    cut = tuple(
        slice(round(side * (1 - share) / 2), round(side * (1 + share) / 2))
        for side in sample.image.shape[1:]
    )
    annotations = tuple(
        replace(item, labels=item.labels[cut])
        for item in sample.annotations
        if isinstance(item, Labels)
    )
    image = sample.image[:, cut[0], cut[1]]
    return replace(sample, image=image, annotations=annotations)


def _finished(sample: Sample, share: float) -> Sample:
    """The same, finished only in a circle around the middle."""
    height, width = sample.image.shape[1:]
    angle = np.linspace(0, 2 * np.pi, 90)
    middle = np.array([height - 1, width - 1]) / 2
    rim = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    circle = middle + share * min(height, width) / 2 * rim
    region = Regions((circle,), ("polygon",))
    return replace(sample, annotations=(*sample.annotations, region))


def judged(
    made: Checkpoint,
    samples: tuple[Sample, ...],
    tolerance: float | None,
    config: PredictConfig | None = None,
) -> tuple[str, float]:
    """Name and value of the figure."""
    known = config or PredictConfig()
    found = run(evaluate(made, samples, config=known, tolerance_nm=tolerance))
    key = {"detect": "f1", "segment": "dice", "instances": "pq"}[made.task.kind]
    return key, float(found[key])


def changes() -> list[tuple[str, Change, bool]]:
    """What is done to an image, in words, and whether it is looked at inverted."""
    found: list[tuple[str, Change, bool]] = [
        (f"black margin, {share:.0%} of the width", _margin(share), False)
        for share in MARGINS
    ]
    found += [
        ("one hot pixel of 65,535", _hot(1), False),
        ("100 hot pixels", _hot(100), False),
        ("one half brighter by 4 deviations", _step(4.0), False),
        ("brighter to one side by 2.5 deviations", _slope(2.5), False),
        ("brighter to one side by 4 deviations", _slope(4.0), False),
        ("corners darker by 2.5 deviations", _vignette(2.5), False),
        ("corners darker by 4 deviations", _vignette(4.0), False),
    ]
    for where, area in AREAS.items():
        found.append((f"brighter by 6 deviations {where}", _area(area, 6.0), False))
        found.append((f"a quarter as bright {where}", _darker(area), False))
    for dtype in ("uint16", "int16", "uint32", "int32", "float16", "float64"):
        found.append((f"as {dtype}", _depth(dtype), False))
    found += [
        ("12 bits in 16", lambda image: _whole(image, 4095.0, np.uint16), False),
        ("negative", _negative, False),
        ("negative, looked at with --invert", _negative, True),
    ]
    return found


def altered(sample: Sample, change: Change) -> Sample:
    """Change the image; labels grow with it, nothing being drawn on what is new."""
    image = change(sample.image)
    grown = image.shape[2] - sample.image.shape[2]
    annotations = tuple(
        replace(item, labels=np.pad(item.labels, ((0, 0), (0, grown))))
        if isinstance(item, Labels)
        else item
        for item in sample.annotations
    )
    return replace(sample, image=image, annotations=annotations)


def _margin(share: float) -> Change:
    def margin(image: Picture) -> Picture:
        grown = round(image.shape[2] / (1 - share)) - image.shape[2]
        return np.pad(image, ((0, 0), (0, 0), (0, grown)))

    return margin


def _hot(count: int) -> Change:
    def hot(image: Picture) -> Picture:
        made = _whole(image, 100.0, np.uint16)
        pixels = np.random.default_rng(0).permutation(made[0].size)[:count]
        made.reshape(len(made), -1)[:, pixels] = 65535
        return made

    return hot


def _step(deviations: float) -> Change:
    def step(image: Picture) -> Picture:
        made = image.astype(np.float32)
        made[:, :, made.shape[2] // 2 :] += deviations * made.std()
        return made

    return step


def _area(area: Change, deviations: float) -> Change:
    def brighter(image: Picture) -> Picture:
        made = image.astype(np.float32)
        return made + deviations * made.std() * area(image)

    return brighter


def _darker(area: Change) -> Change:
    return lambda image: image.astype(np.float32) * np.where(area(image), 0.25, 1)


def _diagonal(image: Picture) -> Picture:
    y, x = np.indices(image.shape[1:])
    return np.asarray(y / image.shape[1] + x / image.shape[2] >= 1)


def _curve(image: Picture) -> Picture:
    y, x = np.indices(image.shape[1:])
    height, width = image.shape[1:]
    return np.asarray(x >= width * (0.5 + 0.13 * np.sin(6 * y / height)))


def _holes(image: Picture) -> Picture:
    y, x = np.indices(image.shape[1:])
    apart = min(image.shape[1:]) / 2
    own = np.hypot(y % apart - apart / 2, x % apart - apart / 2)
    return np.asarray(own < 0.3 * apart)


def _slope(deviations: float) -> Change:
    def slope(image: Picture) -> Picture:
        made = image.astype(np.float32)
        return made + np.linspace(0, deviations * made.std(), made.shape[2])

    return slope


def _outwards(image: Picture) -> Picture:
    """Squared distance from the middle, 1 where the nearer edges are."""
    height, width = image.shape[1:]
    y = np.arange(height)[:, None] - (height - 1) / 2
    x = np.arange(width)[None] - (width - 1) / 2
    return (y**2 + x**2) / (min(height, width) / 2) ** 2


AREAS: dict[str, Change] = {
    "beyond a diagonal": _diagonal,
    "beyond a curve": _curve,
    "around a circle": lambda image: _outwards(image) > 0.85**2,
    "in round holes": _holes,
}


def _vignette(deviations: float) -> Change:
    def vignette(image: Picture) -> Picture:
        made = image.astype(np.float32)
        out = _outwards(image)
        return made - (deviations * made.std() * out / out.max()).astype(np.float32)

    return vignette


def _aperture(share: float) -> Change:
    return lambda image: image * (_outwards(image) <= share**2)


def _depth(dtype: str) -> Change:
    kind = np.dtype(dtype)

    def depth(image: Picture) -> Picture:
        if kind.kind == "f":
            return (image / np.float64(255)).astype(kind)
        if kind.kind == "i":  # around 0, as some cameras write
            return (image.astype(np.int64) * 100 - 12_800).astype(kind)
        return (image.astype(np.int64) * (np.iinfo(kind).max // 255)).astype(kind)

    return depth


def _whole(image: Picture, highest: float, dtype: type) -> Picture:
    """Scale to whole numbers up to the highest."""
    values = image.astype(np.float64) - image.min()
    return np.rint(values * highest / max(values.max(), 1e-9)).astype(dtype)


def _negative(image: Picture) -> Picture:
    return image.max() - image


if __name__ == "__main__":
    sys.exit(main())
