"""A prediction held against the truth: counts that add up over images.

Pixels, particles and lines are pooled over the images; instance scores are averaged
over the images, as their published definitions ask for.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DistanceScale
from napari_topiary.data.annotated_area import learned_distance, learned_zones
from napari_topiary.data.working_grid import to_original
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.detection_metrics import (
    DetectionCounts,
    LineCounts,
    count_detections,
    count_lines,
)
from napari_topiary.evaluation.ground_truth import Truth, tolerances, truth_of
from napari_topiary.evaluation.object_metrics import branch_metrics, instance_metrics
from napari_topiary.evaluation.pixel_metrics import (
    PixelCounts,
    count_pixels,
    count_votes,
)
from napari_topiary.evaluation.quality import interval
from napari_topiary.io.dataset import Sample
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Detections, Prediction, Task

INSTANCE_SCORES = ("aji", "pq", "dq", "sq", "segmentation_dice", "distance_rmse")
"""Averaged over the images, where every one of them has it."""


@dataclass(frozen=True)
class Counts:
    """How many particles or objects a figure rests on."""

    #: `right`, `wrong`, `missed`: found and there; found and not there; there and not
    #: found
    right: int
    wrong: int
    missed: int

    @property
    def there(self) -> int:
        """How many there are."""
        return self.right + self.missed


@dataclass(frozen=True, kw_only=True)
class Score:
    """How good predictions are; adds up over images."""

    task: Task  #: Kind and classes
    pixels: PixelCounts  #: Of all tasks
    particles: DetectionCounts | None = None  #: Of detection tasks, else None
    #: Class index -> lengths, for filament classes
    lines: Mapping[int, LineCounts] = field(default_factory=dict)
    objects: tuple[dict[str, Any], ...] = ()  #: Instance scores of each image
    #: `(k, k)` particles by true class and by the class of most of their pixels; None
    #: where there are no particles, or of only one class
    votes: NDArray[np.int64] | None = None

    def __add__(self, other: Score) -> Score:
        """Pool the images of two scores."""
        particles = self.particles
        if particles is not None and other.particles is not None:
            particles = particles + other.particles
        none = LineCounts()
        return Score(
            task=self.task,
            pixels=self.pixels + other.pixels,
            particles=particles,
            lines={
                index: self.lines.get(index, none) + other.lines.get(index, none)
                for index in sorted(self.lines.keys() | other.lines.keys())
            },
            objects=self.objects + other.objects,
            votes=None
            if self.votes is None or other.votes is None
            else self.votes + other.votes,
        )

    def counts(self) -> Counts | None:
        """Count particles or objects; None where areas or lines are compared."""
        if self.objects:
            each = [
                (s["true_positives"], s["false_positives"], s["false_negatives"])
                for s in self.objects
            ]
            return Counts(*np.sum(each, axis=0).tolist())
        if self.particles is None or self.lines:
            return None
        one = self.particles
        return Counts(*(int(n.sum()) for n in (one.hit, one.extra, one.missed)))

    def report(self) -> dict[str, Any]:
        """All metrics, ready for JSON.

        Returns
        -------
        dict
            Overall numbers at the top, the same by class name in `per_class`. Where
            nothing could be counted the value is None. For detection tasks `precision`
            is that of the detections; the pixels' own is in `pixels`. In the overall
            figures of a detection task every line counts as much as a particle, with
            the share of its length that is right. Tasks with several classes have
            `accuracy_foreground` (pixels of all classes but background) and a
            `confusion_matrix`, those with particles also `accuracy_particles` (every
            particle counts once, as what most of its pixels were taken for). Particles
            and objects are counted in `n_true`, `n_right` and `n_wrong`; how sure `f1`
            or `pq` is by so many is their `interval`.
        """
        pixels = self.pixels.metrics()
        each = pixels.pop("per_class")
        names = self.task.classes
        per_class: dict[str, Any] = dict(zip(names, each, strict=True))
        report: dict[str, Any] = dict(pixels)
        if self.particles is not None:
            report["pixels"] = pixels
            report.update(_overall(self.particles, self.lines.values()))
            for index, name in enumerate(names[1:], start=1):
                own = self.lines.get(index)
                counted = self.particles.metrics()["per_class"][index]
                per_class[name] = {
                    **per_class[name],
                    **(counted if own is None else own.metrics()),
                }
        if self.objects:
            for name in INSTANCE_SCORES:
                each_image = [s[name] for s in self.objects if name in s]
                if len(each_image) == len(self.objects):
                    report[name] = float(np.mean(each_image))
        counts = self.counts()
        if counts is not None:
            report |= {
                "n_true": counts.there,
                "n_right": counts.right,
                "n_wrong": counts.wrong,
            }
            figure = report.get("pq" if self.objects else "f1")
            if figure is not None and counts.there:
                report["interval"] = list(interval(figure, counts.there))
        report["per_class"] = per_class
        if len(names) > 2:
            report.update(self._mistaken())
        clean: dict[str, Any] = without_nan(report)
        return clean

    def _mistaken(self) -> dict[str, Any]:
        """Which class is taken for which; rows are the true class."""
        matrix: dict[str, Any] = {
            "classes": list(self.task.classes),
            "pixels": self.pixels.confusion.tolist(),
        }
        own: dict[str, Any] = {"accuracy_foreground": self.pixels.foreground_accuracy()}
        if self.votes is not None:
            matrix["particles"] = self.votes.tolist()
            there = int(self.votes.sum())
            right = int(np.trace(self.votes))
            own["accuracy_particles"] = right / there if there else None
        return {**own, "confusion_matrix": matrix}


def _overall(
    particles: DetectionCounts, lines: Collection[LineCounts]
) -> dict[str, Any]:
    """Particles and lines together."""
    right = seen = float(particles.hit.sum())
    found = right + float(particles.extra.sum())
    there = right + float(particles.missed.sum())
    for counts in lines:
        own = counts.metrics()
        found += counts.n_found
        there += counts.n_drawn
        right += counts.n_found * own["precision"]
        seen += counts.n_drawn * own["recall"]
    perfect = 1.0 if found + there == 0 else 0.0
    precision = right / found if found else perfect
    recall = seen / there if there else perfect
    both = precision + recall
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / both if both else 0.0,
        "n_found": int(found),
        "n_true": int(there),
        "localisation_px": particles.metrics()["localisation_px"],
    }


def _lines_of(found: Detections, index: int) -> list[NDArray[np.float64]]:
    """Lines of one class."""
    pairs = zip(found.lines, found.line_class, strict=True)
    return [line for line, own in pairs if own == index]


def score(
    prediction: Prediction,
    truth: Truth,
    *,
    tolerance_px: NDArray[np.float64],
    line_classes: Collection[str] = (),
    relative_to: DistanceScale = "object",
) -> Score:
    """Hold one image's prediction against its truth.

    Parameters
    ----------
    prediction
        Labels and detections as they are in it count.
    truth
        Of the same image.
    tolerance_px
        `(k,)` from `tolerances`, in pixels of the image.
    line_classes
        Classes that are scored as filaments, by length.
    relative_to
        What is 1 in the prediction's distance map, where it has one.
    """
    task = prediction.task
    n, kind = len(task.classes), task.kind
    labels = prediction.labels
    pixels = count_pixels(
        truth.classes,
        labels > 0 if kind == "instances" else labels,
        n,
        probability=to_original(prediction.probability, prediction.shape),
    )
    if kind == "instances" and truth.objects is not None:
        own = instance_metrics(truth.objects, labels)
        own |= branch_metrics(truth.objects, prediction, relative_to=relative_to)
        return Score(task=task, pixels=pixels, objects=(own,))
    if kind != "detect":
        return Score(task=task, pixels=pixels)
    there, found = truth.particles, prediction.detections
    filaments = [i for i in range(1, n) if task.classes[i] in line_classes]
    particles = _particles(found, truth, tolerance_px, filaments)
    lines = {
        index: count_lines(
            _lines_of(there, index),
            _lines_of(found, index),
            float(tolerance_px[index]),
            area=truth.area,
        )
        for index in filaments
    }
    votes = count_votes(truth.zones, labels, n) if n > 2 else None
    return Score(
        task=task, pixels=pixels, particles=particles, lines=lines, votes=votes
    )


def _particles(
    found: Detections,
    truth: Truth,
    tolerance_px: NDArray[np.float64],
    filaments: Collection[int],
) -> DetectionCounts:
    """Count what was found against the marked particles; filaments are none."""
    there = truth.particles
    round_ = ~np.isin(there.class_index, list(filaments))
    return count_detections(
        (there.coordinates[round_], there.class_index[round_]),
        found,
        tolerance_px.tolist(),
        len(tolerance_px),
        area=truth.area,
    )


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """The truth of one image and how strictly it is taken."""

    truth: Truth  #: Annotations in pixels of the image
    task: Task  #: Kind, classes and radii, the latter in pixels of this image
    #: nm per pixel; that of the training images where it is not known
    scale: float | None
    #: `(k,)` how far off a particle may be, in pixels
    tolerance_px: NDArray[np.float64]
    line_classes: frozenset[str]  #: Classes that are scored by length
    #: What is 1 in distance maps, as it was in training
    relative_to: DistanceScale = "object"

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        sample: Sample,
        tolerance_nm: float | None = None,
        box: tuple[int, int, int, int] | None = None,
        *,
        drawn: bool = True,
    ) -> Scorer:
        """Read the truth of a sample, or of a `box` of it as in `Sample.inside`.

        Not `drawn` it is enough for `score_particles` alone.
        """
        task, trained = checkpoint.task, checkpoint.pixel_size_nm
        # An image of unknown pixel size is taken to be like the training images.
        scale = trained if sample.scale is None else sample.scale
        if trained is not None and scale is not None:
            radii = {name: r * trained / scale for name, r in task.radius_px.items()}
            task = replace(task, radius_px=radii)
        try:
            truth = truth_of(
                sample.annotations,
                (sample.image.shape[1], sample.image.shape[2]),
                task=task,
                scale=scale,
                zones=learned_zones(checkpoint),
                drawn=drawn,
            )
        except TopiaryError as error:
            raise TopiaryError(f"{sample.name}: {error}") from error
        truth = truth.within(None if box is None else sample.inside(box))
        return cls(
            truth=truth.where_seen(sample.area),
            task=task,
            scale=scale,
            tolerance_px=tolerances(task, scale=scale, tolerance_nm=tolerance_nm),
            line_classes=PostProcessing.of(checkpoint).line_classes,
            relative_to=learned_distance(checkpoint) or "object",
        )

    def score(self, prediction: Prediction) -> Score:
        """Hold a prediction of the image against the truth."""
        return score(
            prediction,
            self.truth,
            tolerance_px=self.tolerance_px,
            line_classes=self.line_classes,
            relative_to=self.relative_to,
        )

    def score_particles(self, found: Detections) -> Score:
        """Hold particles, in pixels of the image, against the truth; no pixels."""
        n = len(self.task.classes)
        return Score(
            task=self.task,
            pixels=PixelCounts(np.zeros((n, n), np.int64)),
            particles=_particles(found, self.truth, self.tolerance_px, ()),
        )

    def report(self) -> dict[str, float | None]:
        """Tolerance in nm and pixels; of several classes the largest."""
        if self.task.kind != "detect":
            return {}
        pixels = float(self.tolerance_px[1:].max())
        nm = None if self.scale is None else pixels * self.scale
        return {"tolerance_nm": nm, "tolerance_px": pixels}


def without_nan(value: Any) -> Any:
    """Copy nested dicts and lists with None for what JSON cannot say."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
