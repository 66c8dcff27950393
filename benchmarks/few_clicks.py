"""How far a few clicks go: a network after one minute against a template of the clicks.

    python benchmarks/few_clicks.py [--data DATASET] [--clicks 5 15 50 all] [--seeds 3]
        [--seconds 60 | --steps 1000] [--corner 0.4]

The clicks are all particles inside one finished rectangle of one image; whatever else
the data set holds is left unannotated, but for the images that judge. For `all`, the
part `train` is learned from as it is and the part `val` judges. Of an image that is the
only one of its kind, one half is clicked in and the other judges.

Prints F1 of every run and the mean over the seeds, at a tolerance of half a radius
unless another is given. The template is the mean of the clicked particles,
cross-correlated with the images, its threshold between the two heaps of scores.

Where areas or objects are painted, one corner of one image of the part `train` is: a
finished rectangle of `--corner` of its height and width. The part `val` judges, by Dice
or panoptic quality, with and without what a network teaches itself.

`--steps` trains for so many steps instead of a time, for a machine that does other
things meanwhile: 1000 is about what two quiet cores do in a minute.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from skimage.feature import match_template, peak_local_max
from skimage.filters import threshold_otsu

from napari_topiary.annotations import Labels, Points, Regions
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.evaluation import evaluate
from napari_topiary.evaluation.detection_metrics import match_points
from napari_topiary.io.dataset import Dataset, Sample, read_dataset, sample_folder
from napari_topiary.training import fit
from napari_topiary.types import BACKGROUND, Detections, run


@dataclass(frozen=True)
class Setting:
    """What is learned from and what judges."""

    learn: tuple[Sample, ...]
    judge: tuple[Sample, ...]
    clicks: int


def main() -> int:
    """Train, evaluate on images that were not seen, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(sample_folder() / "apoferritin"))
    parser.add_argument("--clicks", nargs="+", default=["5", "15", "50", "all"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--steps", type=int, help="train for so many steps instead")
    parser.add_argument("--judged", type=int, default=7, help="images that judge")
    parser.add_argument("--tolerance-nm", type=float)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--corner", type=float, default=0.4, help="share of a side")
    parser.add_argument("--template-only", action="store_true")
    parser.add_argument(
        "--marks-only", action="store_true", help="without --self-teaching"
    )
    options = parser.parse_args()

    dataset = read_dataset(options.data)
    if dataset.task.kind != "detect":
        return painted(dataset, options)
    print("clicks | seed | steps | F1 | precision | recall | F1 of the template")
    for clicks in options.clicks:
        rows = []
        for seed in range(options.seeds):
            setting = settings(dataset, clicks, seed, judged=options.judged)
            by_template = template_f1(setting, dataset, options.tolerance_nm)
            row = [str(setting.clicks), str(seed), "-", "-", "-", "-"]
            values = [float("nan"), by_template]
            if not options.template_only:
                made = trained(setting, dataset, options, seed)
                result = run(
                    evaluate(made, setting.judge, tolerance_nm=options.tolerance_nm)
                )
                values[0] = float(result["f1"])
                row[2] = str(made.provenance["steps"])
                row[3:] = [f"{result[k]:.3f}" for k in ("f1", "precision", "recall")]
            rows.append(values)
            print(" | ".join([*row, f"{by_template:.3f}"]), flush=True)
        network, template = np.mean(rows, axis=0)
        print(f"{clicks} | mean | | {network:.3f} | | | {template:.3f}", flush=True)
    return 0


def painted(dataset: Dataset, options: argparse.Namespace) -> int:
    """Train on one painted corner, with and without self-teaching; print."""
    figure = "dice" if dataset.task.kind == "segment" else "pq"
    print(f"self-teaching | seed | steps | {figure}")
    for teaching in (True, False):
        values = []
        for seed in range(options.seeds):
            setting = one_corner(dataset, options.corner, seed)
            own = argparse.Namespace(**{**vars(options), "marks_only": not teaching})
            made = trained(setting, dataset, own, seed)
            values.append(float(run(evaluate(made, setting.judge))[figure]))
            steps = made.provenance["steps"]
            print(f"{teaching} | {seed} | {steps} | {values[-1]:.3f}", flush=True)
        print(f"{teaching} | mean | | {np.mean(values):.3f}", flush=True)
    return 0


def one_corner(dataset: Dataset, share: float, seed: int) -> Setting:
    """Finish one corner of one image; of the others nothing is known."""
    random = np.random.default_rng(seed)
    every = list(dataset.part("train"))
    order = random.permutation(len(every)).tolist()
    corners = random.permutation(4).tolist()
    for chosen, corner in ((i, c) for i in order for c in corners):
        shape = np.array(every[chosen].image.shape[1:])
        side = np.rint(share * shape).astype(int)
        low = np.array(divmod(corner, 2)) * (shape - side)
        labels = [a.labels for a in every[chosen].annotations if isinstance(a, Labels)]
        place = tuple(slice(a, a + n) for a, n in zip(low, side, strict=True))
        if labels and (labels[0][place] > 0).any():
            break
    else:
        raise SystemExit(f"Nothing is painted in the part train of {dataset.name}.")
    rectangle = Regions((np.stack([low, low + side - 1]),), ("rectangle",))
    drawn = (*every[chosen].annotations, rectangle)
    every[chosen] = replace(every[chosen], annotations=drawn)
    learn = [
        s if i == chosen else replace(s, annotations=()) for i, s in enumerate(every)
    ]
    return Setting(tuple(learn), dataset.part("val"), 0)


def settings(dataset: Dataset, clicks: str, seed: int, *, judged: int) -> Setting:
    """Keep the marks of one rectangle, or all of the part `train`."""
    if clicks == "all":
        learn = tuple(s for s in dataset.part("train") if _places(s).size)
        judge = tuple(s for s in dataset.part("val") if _places(s).size)
        return Setting(learn, judge, sum(len(_places(s)) for s in learn))
    random = np.random.default_rng(seed)
    every = [sample for sample in dataset.part("all") if sample.image.size]
    fit_to_click = [i for i, s in enumerate(every) if len(_places(s)) >= int(clicks)]
    if not fit_to_click:
        raise SystemExit(f"No image of {dataset.name} has {clicks} particles.")
    chosen = int(random.choice(fit_to_click))
    names = _names(every[chosen])
    others = [i for i, s in enumerate(every) if i != chosen and _names(s) & names]
    if not others:
        # The only image of its kind: one half is clicked in, the other judges.
        clicked, other = halves(every[chosen], swap=bool(seed % 2))
        if len(_places(clicked)) < int(clicks):
            clicked, other = other, clicked
        if len(_places(clicked)) < int(clicks):
            raise SystemExit(f"No half of {clicked.name} has {clicks} particles.")
        clicked = one_rectangle(clicked, int(clicks), random)
        return Setting((clicked,), (other,), len(_places(clicked)))
    judging = set(random.permutation(others)[:judged].tolist())
    clicked = one_rectangle(every[chosen], int(clicks), random)
    rest = [
        replace(sample, annotations=())
        for i, sample in enumerate(every)
        if i != chosen and i not in judging
    ]
    return Setting(
        (clicked, *rest),
        tuple(every[i] for i in sorted(judging)),
        len(_places(clicked)),
    )


def halves(sample: Sample, *, swap: bool) -> tuple[Sample, Sample]:
    """Cut an image in two across its longer side."""
    shape = sample.image.shape[1:]
    axis = int(shape[1] > shape[0])
    middle = shape[axis] // 2
    points = next(a for a in sample.annotations if isinstance(a, Points))
    parts = []
    for low, high in ((0, middle), (middle, shape[axis])):
        at = points.coordinates[:, axis]
        inside = (at >= low) & (at < high)
        moved = points.coordinates[inside] - low * (np.arange(2) == axis)
        names = np.array(points.classes, dtype=object)[inside]
        parts.append(
            replace(
                sample,
                image=sample.image.take(np.arange(low, high), axis=axis + 1),
                annotations=(Points(moved, tuple(names)),),
            )
        )
    return (parts[1], parts[0]) if swap else (parts[0], parts[1])


def one_rectangle(sample: Sample, clicks: int, random: np.random.Generator) -> Sample:
    """Finish the smallest square around some place that holds so many particles."""
    places = _places(sample)
    limit = np.array(sample.image.shape[1:]) - 1
    middle = places[random.integers(len(places))]
    reach = np.sort(np.abs(places - middle).max(axis=1))
    side = reach[clicks - 1] + 0.5 * (
        reach[clicks] - reach[clicks - 1] if clicks < len(reach) else 2.0
    )
    low, high = np.clip(middle - side, 0, limit), np.clip(middle + side, 0, limit)
    inside = ((places >= low) & (places <= high)).all(axis=1)
    points = next(a for a in sample.annotations if isinstance(a, Points))
    mine = np.array([name != BACKGROUND for name in points.classes])
    names = np.array(points.classes, dtype=object)[mine][inside]
    return replace(
        sample,
        annotations=(
            Points(places[inside], tuple(names)),
            Regions((np.stack([low, high]),), ("rectangle",)),
        ),
    )


def trained(
    setting: Setting, dataset: Dataset, options: argparse.Namespace, seed: int
) -> Checkpoint:
    """Train for the time, or for the number of steps, that was asked for."""
    config = TrainConfig(
        preset=options.preset,
        minutes=options.seconds / 60,
        seed=seed,
        self_teaching=not options.marks_only,
    )
    if options.steps is not None:
        # How many steps a pass takes is known after one.
        config = replace(config, minutes=None, epochs=1)
        once = run(fit(setting.learn, config, task=dataset.task))
        passes = round(options.steps / int(once.provenance["steps"]))
        config = replace(config, epochs=max(1, passes))
    return run(fit(setting.learn, config, task=dataset.task))


def template_f1(
    setting: Setting, dataset: Dataset, tolerance_nm: float | None
) -> float:
    """F1 of the mean of the clicked particles, cross-correlated with the images."""
    names = dataset.task.classes[1:]
    scale = setting.learn[0].scale
    radius = max(dataset.task.radius(name, scale) or 10.0 for name in names)
    reach = round(1.3 * radius)
    tolerance = 0.5 * radius
    if tolerance_nm is not None and scale is not None:
        tolerance = tolerance_nm / scale
    cuts = [
        cut
        for sample in setting.learn
        for place in _places(sample)
        if (cut := _cut(_grey(sample), place, reach)) is not None
    ]
    if not cuts:
        return float("nan")
    template = np.mean(cuts, axis=0)
    # Scores of particles and of everything else are two heaps; a rectangle with five
    # particles in it says less about where to part them than all images do.
    threshold = threshold_otsu(
        np.concatenate([_matches(s, template, radius).score for s in setting.learn])
    )
    hits = there = 0
    for sample in setting.judge:
        found = _matches(sample, template, radius)
        mine = found.coordinates[found.score >= threshold]
        hits += len(match_points(mine, _places(sample), tolerance))
        there += len(mine) + len(_places(sample))
    return 2 * hits / max(there, 1)


def _places(sample: Sample) -> NDArray[np.float64]:
    """Marked particles `(n, 2)`."""
    places = [np.zeros((0, 2))]
    for item in sample.annotations:
        if isinstance(item, Points):
            real = [name != BACKGROUND for name in item.classes]
            places.append(np.asarray(item.coordinates)[np.array(real, dtype=bool)])
    return np.concatenate(places)


def _names(sample: Sample) -> set[str]:
    """Classes of the marked particles."""
    points = [item for item in sample.annotations if isinstance(item, Points)]
    return {name for item in points for name in item.classes} - {BACKGROUND}


def _grey(sample: Sample) -> NDArray[np.float64]:
    image: NDArray[np.float64] = sample.image.astype(np.float64).mean(axis=0)
    return image


def _cut(
    image: NDArray[np.float64], place: NDArray[np.float64], reach: int
) -> NDArray[np.float64] | None:
    y, x = np.rint(place).astype(int)
    cut = image[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
    whole = cut.shape == (2 * reach + 1, 2 * reach + 1)
    return (cut - cut.mean()) / max(cut.std(), 1e-9) if whole else None


def _matches(
    sample: Sample, template: NDArray[np.float64], radius: float
) -> Detections:
    score = match_template(_grey(sample), template, pad_input=True, mode="reflect")
    peaks = peak_local_max(score, min_distance=round(radius), exclude_border=False)
    values = score[tuple(peaks.T)]
    return Detections(
        peaks.astype(float), np.ones(len(peaks), dtype=np.int64), np.clip(values, 0, 1)
    )


if __name__ == "__main__":
    sys.exit(main())
