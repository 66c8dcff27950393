"""Probability -> labels and detections in pixels of the image; live, no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.data.learned import smallest_learned
from napari_topiary.data.working_grid import to_original, working_to_original_coords
from napari_topiary.postprocessing import (
    Seeds,
    class_labels,
    find_detections,
    grow_objects,
    label_objects,
    threshold_of,
)
from napari_topiary.postprocessing.labels import tidied
from napari_topiary.types import Detections, LabelImage, Prediction, Task

AS_LEARNED = DetectConfig()
"""Thresholds from the checkpoint, spacing of one radius, nothing dropped."""
SPECK = 20
"""Objects grown from seeds are at least so large, in pixels of the image: a nucleus of
5 px across cannot be told from noise."""


@dataclass(frozen=True, kw_only=True)
class PostProcessing:
    """How a probability becomes labels and detections."""

    #: Class name -> lowest probability that counts; 0.5 where missing
    thresholds: Mapping[str, float] = field(default_factory=dict)
    #: Class name -> radius in *working* pixels, where known
    radius_px: Mapping[str, float] = field(default_factory=dict)
    line_classes: frozenset[str] = frozenset()  #: Classes that are filaments
    spacing: float = 1.0  #: Smallest distance of two particles, in radii
    #: Smaller labelled areas are dropped, in pixels of the image; 0 = objects that are
    #: smaller than what was learned from, and no areas of classes
    min_size_px: int = 0
    smallest_learned: float = 0.0  #: Size of small objects, in *working* pixels
    #: Holes of up to so many pixels are filled, in pixels of the image
    largest_hole_px: int = 0
    #: How objects are separated where there is a distance map, in *working* pixels
    seeds: Seeds = field(default_factory=Seeds)

    @classmethod
    def of(cls, checkpoint: Checkpoint, config: DetectConfig = AS_LEARNED) -> Self:
        """Return how a checkpoint's probability is meant, under a form.

        Parameters
        ----------
        checkpoint
            Knows radii, thresholds and which classes are filaments.
        config
            Its threshold, where given, wins over the checkpoint's.
        """
        task = checkpoint.task
        given = config.threshold
        limits = checkpoint.thresholds if given is None else given
        names = checkpoint.annotations_summary.get("line_classes", ())
        return cls(
            thresholds={name: threshold_of(name, limits) for name in task.classes[1:]},
            radius_px={
                name: radius / checkpoint.working_factor
                for name in task.classes[1:]
                if (radius := task.radius(name, checkpoint.pixel_size_nm)) is not None
            },
            line_classes=frozenset(str(name) for name in names),
            spacing=config.spacing,
            min_size_px=config.min_size_px,
            smallest_learned=smallest_learned(checkpoint.annotations_summary),
            largest_hole_px=config.largest_hole_px,
            seeds=Seeds(
                smoothing_px=config.seed_smoothing_px,
                spacing_px=config.seed_spacing_px,
                height=config.seed_height,
                fill_holes=config.fill_holes,
            ),
        )

    def at(self, thresholds: Mapping[str, float]) -> Self:
        """Return the same with other thresholds for these classes."""
        return replace(self, thresholds={**self.thresholds, **thresholds})

    def interpret(
        self,
        probability: NDArray[np.floating],
        shape: tuple[int, int],
        task: Task,
        regression: NDArray[np.floating] | None = None,
    ) -> tuple[LabelImage, Detections]:
        """Labels and detections of `probability` `(k, y, x)` in pixels of the image."""
        return (
            self.labels(probability, shape, task, regression),
            self.detections(probability, shape, task),
        )

    def read(self, prediction: Prediction) -> Prediction:
        """Return a prediction with labels and detections read anew; no network runs."""
        labels, detections = self.interpret(
            prediction.probability,
            prediction.shape,
            prediction.task,
            prediction.regression,
        )
        return replace(prediction, labels=labels, detections=detections)

    def detections(
        self, probability: NDArray[np.floating], shape: tuple[int, int], task: Task
    ) -> Detections:
        """Particles and lines of `probability` `(k, y, x)` in pixels of the image."""
        if task.kind != "detect":
            return Detections.empty()
        working = (probability.shape[1], probability.shape[2])
        found = find_detections(
            probability,
            task=task,
            radius_px=self.radius_px,
            threshold=self.thresholds,
            spacing=self.spacing,
            line_classes=self.line_classes,
        )
        return replace(
            found,
            coordinates=working_to_original_coords(found.coordinates, shape, working),
            lines=tuple(
                working_to_original_coords(line, shape, working) for line in found.lines
            ),
        )

    def labels(
        self,
        probability: NDArray[np.floating],
        shape: tuple[int, int],
        task: Task,
        regression: NDArray[np.floating] | None = None,
    ) -> LabelImage:
        """Class index or object numbers `(y, x)` on the image's own pixels.

        Objects are separated by `regression` `(r, y, x)`, whose first map is the
        distance, where the network has one.
        """
        if task.kind == "instances":
            smaller = probability[0].size / (shape[0] * shape[1])
            smallest = self.smallest_object(smaller, regression is not None)
            objects = self.objects(probability, task, regression, smallest)
            return self.filled(_stretched(objects, shape))
        return self.painted(to_original(probability, shape), task)

    def painted(self, probability: NDArray[np.floating], task: Task) -> LabelImage:
        """Class index `(y, x)` from `probability` `(k, y, x)` on the same grid."""
        labels = class_labels(probability, task=task, threshold=self.thresholds)
        if self.min_size_px > 1:
            labels = _without_specks(labels, self.min_size_px)
        return self.filled(labels)

    def filled(self, labels: LabelImage) -> LabelImage:
        """Labels `(y, x)` without the holes that are to be filled."""
        return tidied(labels, largest_hole_px=self.largest_hole_px).labels

    def objects(
        self,
        probability: NDArray[np.floating],
        task: Task,
        regression: NDArray[np.floating] | None,
        smallest: int,
    ) -> LabelImage:
        """Object numbers on the working grid; `smallest` in its pixels."""
        threshold = self.thresholds.get(task.classes[1], 0.5)
        if regression is None:
            return label_objects(probability[1], threshold=threshold, min_size=smallest)
        return grow_objects(
            probability[1],
            regression[0],
            threshold=threshold,
            seeds=self.seeds,
            min_size=smallest,
        )

    def smallest_object(self, smaller: float, has_distance: bool) -> int:
        """Size of the smallest object that is kept, in working pixels.

        Parameters
        ----------
        smaller
            Working pixels per pixel of the image.
        has_distance
            Whether objects are grown from seeds of a distance map.
        """
        if self.min_size_px:
            return round(self.min_size_px * smaller)
        return round(max(self.smallest_learned, SPECK * smaller * has_distance))


def usual_smallest_px(checkpoint: Checkpoint, *, has_distance: bool) -> int:
    """Size of the smallest object that is kept where no other is asked for.

    In pixels of an image of the size that the checkpoint has learned from; 0 for all
    but objects.
    """
    if checkpoint.task.kind != "instances":
        return 0
    larger = checkpoint.working_factor**2
    how = PostProcessing.of(checkpoint)
    return round(larger * how.smallest_object(1 / larger, has_distance))


def interpret(
    probability: NDArray[np.floating],
    shape: tuple[int, int],
    *,
    checkpoint: Checkpoint,
    config: DetectConfig = AS_LEARNED,
    regression: NDArray[np.floating] | None = None,
) -> tuple[LabelImage, Detections]:
    """Read labels and detections from a probability; no network runs.

    Parameters
    ----------
    probability
        `(k, y, x)` on the working grid.
    shape
        `(y, x)` of the image in pixels.
    checkpoint
        Task, radii, and thresholds where the form leaves them open.
    config
        Threshold, spacing and smallest size (in pixels of the image; for labels).
    regression
        `(r, y, x)` on the working grid, where the network has such maps.

    Returns
    -------
    tuple
        Labels `(y, x)` and detections, both in pixels of the image.
    """
    how = PostProcessing.of(checkpoint, config)
    return how.interpret(probability, shape, checkpoint.task, regression)


def _stretched(labels: LabelImage, shape: tuple[int, int]) -> LabelImage:
    """Labels `(h, w)` on a grid of `shape`, every pixel from the one it lies in.

    On a coarser grid small objects may vanish; the others are numbered 1..n again.
    """
    if labels.shape == shape:
        return labels
    rows, columns = (
        ((np.arange(n) + 0.5) * own / n).astype(np.intp)
        for n, own in zip(shape, labels.shape, strict=True)
    )
    stretched: LabelImage = labels[rows[:, None], columns]
    there = np.bincount(stretched.ravel()) > 0
    there[0] = False
    if there[1:].all() and len(there) == int(labels.max(initial=0)) + 1:
        return stretched
    numbers: LabelImage = np.where(there, there.cumsum(), 0).astype(labels.dtype)
    renumbered: LabelImage = numbers[stretched]
    return renumbered


def _without_specks(labels: NDArray[np.uint8], smallest: int) -> NDArray[np.uint8]:
    """Set connected areas of a class with fewer pixels to background."""
    result = labels.copy()
    for index in range(1, int(labels.max(initial=0)) + 1):
        areas, count = ndi.label(labels == index)
        small = np.bincount(areas.ravel(), minlength=count + 1) < smallest
        small[0] = False
        result[small[areas]] = 0
    return result
