"""A plan, and what a position of its slider looks like on the visible part of an image.

No Qt in here: it runs in a worker thread, one look at a time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary._napari.canvas.overlay import Overlay, coloured
from napari_topiary._napari.canvas.visible import Window, middle_of
from napari_topiary._napari.learning.readiness import Lesson
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import Device, PruneConfig
from napari_topiary.data.working_grid import to_working
from napari_topiary.evaluation.particles import match_points
from napari_topiary.inference.devices import pick_device
from napari_topiary.inference.suitability import checked_image, working_factor_for
from napari_topiary.inference.tiles import infer
from napari_topiary.networks.base import Network
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.pruning import PlanStatistics, PruningPlan, plan_job
from napari_topiary.types import Detections, Job, LabelImage, Progress, Stop, run

LARGEST_SIDE = 512
"""At most this many network pixels are looked at, to each side."""
COUNT_EVERY_S = 0.25
"""While the slider is dragged, the numbers follow at least this often."""
UNKNOWN_RADIUS = 10.0
"""Of particles without a known size, in image pixels."""


@dataclass(frozen=True)
class Area:
    """What is being looked at."""

    name: str
    image: NDArray[np.generic]
    window: Window
    scale: float | None


@dataclass(frozen=True)
class Look:
    """One position of the slider on one area."""

    share: float
    area: Area
    overlay: Overlay
    agreement: float
    same: tuple[int, int, int] | None
    seconds: float


@dataclass(frozen=True)
class _Seen:
    """What one network says about the crop; `answer` is its class pixel by pixel."""

    probability: NDArray[np.float32]
    answer: LabelImage
    found: Detections | None
    labels: LabelImage | None


class PruningView:
    """Looks at positions of one plan; remembers what does not change between looks."""

    def __init__(
        self,
        plan: PruningPlan,
        colours: Mapping[str, str],
        device: Device = "auto",
    ) -> None:
        self.plan = plan
        self.colours = dict(colours)
        self.device = pick_device(device)
        self._normalised: tuple[object, NDArray[np.float32]] | None = None
        self._crop: tuple[object, NDArray[np.float32], Window] | None = None
        self._before: tuple[object, _Seen] | None = None
        self._counted = 0.0

    def look(
        self,
        area: Area | None,
        share: float,
        *,
        tuned: Checkpoint | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> Job[PlanStatistics | None]:
        """Run the network of one position, then count what it means."""
        if area is not None:
            seen = self._look(area, share, tuned, thresholds or {})
            message = yield Progress(0, 0, "Looking", report=seen)
            lately = time.perf_counter() - self._counted < COUNT_EVERY_S
            if message is Stop and lately:
                return None
        counted = self.plan.statistics(share)
        self._counted = time.perf_counter()
        return counted

    def _look(
        self,
        area: Area,
        share: float,
        tuned: Checkpoint | None,
        thresholds: Mapping[str, float],
    ) -> Look:
        begun = time.perf_counter()
        crop, window = self._working(area)
        key = (id(area.image), window)
        if self._before is None or self._before[0] != key:
            unpruned = self.plan.network_at(0.0, self.device)
            self._before = (key, self._see(unpruned, crop, window, {}))
        before = self._before[1]
        after = before
        if tuned is not None:
            after = self._see(tuned.build(), crop, window, tuned.thresholds)
        elif self.plan.cursor(share) > 0:
            pruned = self.plan.network_at(share, self.device)
            after = self._see(pruned, crop, window, thresholds)
        same = None
        if before.found is not None and after.found is not None:
            same = self._matches(before.found, after.found, area.scale)
        return Look(
            share=share,
            area=area,
            overlay=self._overlay(after, window),
            agreement=float(np.mean(before.answer == after.answer)),
            same=same,
            seconds=time.perf_counter() - begun,
        )

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that is pruned."""
        return self.plan.checkpoint

    def _working(self, area: Area) -> tuple[NDArray[np.float32], Window]:
        """The visible crop `(c, y, x)` as the network sees it, and where it is."""
        factor, _ = working_factor_for(self.checkpoint, area.scale)
        window = middle_of(area.window, max(1, round(LARGEST_SIDE * factor)))
        key = (id(area.image), window, area.scale)
        if self._crop is None or self._crop[0] != key:
            if self._normalised is None or self._normalised[0] is not area.image:
                image = checked_image(area.image, self.checkpoint)
                applied = self.checkpoint.normalisation.apply(image)
                self._normalised = area.image, applied
            top, bottom, left, right = window
            crop = self._normalised[1][:, top:bottom, left:right]
            self._crop = key, to_working(crop, factor), window
        return self._crop[1], window

    def _see(
        self,
        network: Network,
        crop: NDArray[np.float32],
        window: Window,
        thresholds: Mapping[str, float],
    ) -> _Seen:
        result = run(
            infer(network, crop, tile=LARGEST_SIDE, device=self.device, amp=True)
        )
        probability = result.probability
        task, reading = self.checkpoint.task, PostProcessing.of(self.checkpoint)
        known = {n: thresholds.get(n, t) for n, t in reading.thresholds.items()}
        reading = replace(reading, thresholds=known)
        grid = (probability.shape[1], probability.shape[2])
        labels = reading.labels(probability, grid, task, result.regression)
        if task.kind != "detect":
            answer = labels > 0 if task.kind == "instances" else labels
            return _Seen(probability, answer, None, labels)
        top, bottom, left, right = window
        found = reading.detections(probability, (bottom - top, right - left), task)
        moved = replace(found, coordinates=found.coordinates + np.array([top, left]))
        return _Seen(probability, labels, moved, None)

    def _matches(
        self, before: Detections, after: Detections, scale: float | None
    ) -> tuple[int, int, int]:
        """How many particles are found both times, within half a radius."""
        same, task = 0, self.checkpoint.task
        for index, name in enumerate(task.classes):
            first = before.coordinates[before.class_index == index]
            second = after.coordinates[after.class_index == index]
            radius = task.radius(name, scale) or UNKNOWN_RADIUS
            same += len(match_points(first, second, 0.5 * radius))
        return same, len(before), len(after)

    def _overlay(self, seen: _Seen, window: Window) -> Overlay:
        task = self.checkpoint.task
        colours = coloured(seen.probability, task, self.colours)
        return Overlay(colours, window, seen.found, seen.labels)


@dataclass(frozen=True)
class Ready:
    """A plan, and all that the page needs to begin."""

    plan: PruningPlan
    view: PruningView
    before: PlanStatistics


def planning(
    checkpoint: Checkpoint,
    config: PruneConfig,
    lesson: Lesson,
    colours: dict[str, str],
    *,
    device: Device = "auto",
) -> Job[Ready]:
    """Rank everything once; `Stop` keeps an order that is not finished."""
    plan = yield from plan_job(
        checkpoint, config, samples=lesson.samples, device=device
    )
    return Ready(plan, PruningView(plan, colours, device), plan.statistics(plan.start))
