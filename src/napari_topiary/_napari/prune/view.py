"""A plan, and what a position of its slider looks like on the visible part of an image.

No Qt in here: it runs in a worker thread, one preview at a time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_topiary._napari.canvas.overlay import Overlay, coloured
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import Device, PruneConfig
from napari_topiary.data.working_grid import (
    window_to_working,
    working_factor_for,
    working_to_original_coords,
)
from napari_topiary.evaluation.detection_metrics import match_points
from napari_topiary.inference.devices import pick_device
from napari_topiary.inference.engine import Engine, Precision
from napari_topiary.inference.network_input import NetworkInput, as_network_input
from napari_topiary.inference.predict import infer_window
from napari_topiary.io.excerpts import cut_window
from napari_topiary.io.large_images import AnyImage, LargeImage
from napari_topiary.jobs.training import TrainingData
from napari_topiary.networks.base import Network
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.pruning import PlanStatistics, PruningPlan, plan_job
from napari_topiary.types import (
    Detections,
    Job,
    LabelImage,
    Progress,
    Stop,
    Window,
    grown,
    middle_of,
    run,
)

LARGEST_SIDE = 512
"""At most this many network pixels are looked at, to each side."""
COUNT_EVERY_S = 0.25
"""While the slider is dragged, the numbers follow at least this often."""


@dataclass(frozen=True)
class VisibleArea:
    """What is being looked at."""

    name: str
    image: AnyImage
    window: Window
    scale: float | None


@dataclass(frozen=True)
class PruningPreview:
    """One position of the slider on one area."""

    share: float
    area: VisibleArea
    overlay: Overlay
    agreement: float
    same: tuple[int, int, int] | None
    seconds: float


@dataclass(frozen=True)
class _Part:
    """A part of an image as the network sees it; `window` in working pixels.

    Of a large image only what is around it was read, from `corner` on.
    """

    seen: NetworkInput
    window: Window
    corner: tuple[int, int] = (0, 0)

    @property
    def covers(self) -> tuple[float, float, float, float]:
        """Top, bottom, left and right in image pixels."""
        rows, columns = self._ratio
        top, bottom, left, right = self.window
        y, x = self.corner
        return (
            y + top * rows,
            y + bottom * rows,
            x + left * columns,
            x + right * columns,
        )

    @property
    def _ratio(self) -> tuple[float, float]:
        height, width = self.seen.grid
        return self.seen.shape[0] / height, self.seen.shape[1] / width

    def placed(self, found: Detections) -> Detections:
        """Detections of the part in image pixels."""
        top, _, left, _ = self.window
        return replace(
            found,
            coordinates=working_to_original_coords(
                found.coordinates + np.array([top, left]),
                self.seen.shape,
                self.seen.grid,
            )
            + np.array(self.corner),
        )


@dataclass(frozen=True)
class _Seen:
    """What one network says about a part; `answer` is its class pixel by pixel."""

    probability: NDArray[np.float32]
    answer: LabelImage
    found: Detections | None
    labels: LabelImage | None
    precision: Precision


class PruningView:
    """Looks at positions of one plan; remembers what does not change between looks."""

    def __init__(
        self, plan: PruningPlan, colours: Mapping[str, str], device: Device = "auto"
    ) -> None:
        self.plan = plan
        self.colours = dict(colours)
        self.device = device
        self._seen: tuple[object, NetworkInput] | None = None
        self._before: tuple[object, _Seen] | None = None
        self._counted = 0.0

    def look(
        self,
        area: VisibleArea | None,
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
        area: VisibleArea,
        share: float,
        tuned: Checkpoint | None,
        thresholds: Mapping[str, float],
    ) -> PruningPreview:
        begun = time.perf_counter()
        part = self._part(area)
        key = (id(area.image), area.scale, part.corner, part.window)
        if self._before is None or self._before[0] != key:
            unpruned = self.plan.network_at(0.0, pick_device(self.device))
            self._before = (key, self._see(unpruned, part, {}))
        before = self._before[1]
        after, precision = before, before.precision
        if tuned is not None:
            after = self._see(tuned.build(), part, tuned.thresholds, precision)
        elif self.plan.cursor(share) > 0:
            pruned = self.plan.network_at(share, pick_device(self.device))
            after = self._see(pruned, part, thresholds, precision)
        same = None
        if before.found is not None and after.found is not None:
            same = self._matches(before.found, after.found, area.scale)
        return PruningPreview(
            share=share,
            area=area,
            overlay=self._overlay(after, part.covers),
            agreement=float(np.mean(before.answer == after.answer)),
            same=same,
            seconds=time.perf_counter() - begun,
        )

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that is pruned."""
        return self.plan.checkpoint

    def _part(self, area: VisibleArea) -> _Part:
        """The visible part of an image, on the same grid as Predict looks at it."""
        if isinstance(area.image, LargeImage):
            return self._part_of_large(area, area.image)
        if self._seen is None or self._seen[0] != (id(area.image), area.scale):
            seen = as_network_input(area.image, self.checkpoint, scale=area.scale)
            self._seen = (id(area.image), area.scale), seen
        seen = self._seen[1]
        window = window_to_working(area.window, seen.shape, seen.grid)
        return _Part(seen, middle_of(window, LARGEST_SIDE))

    def _part_of_large(self, area: VisibleArea, image: LargeImage) -> _Part:
        """The middle of what is visible of an image that is not at hand."""
        factor, _ = working_factor_for(self.checkpoint, area.scale)
        height, width = image.shape[1:]
        window = middle_of(area.window, round(LARGEST_SIDE * factor))
        around = round(self.plan.network_at(0.0).halo * factor) + 1
        box = grown(window, around, (height, width))
        if self._seen is None or self._seen[0] != (id(image), area.scale, box):
            part, excerpt = cut_window(image, box)
            seen = as_network_input(
                part, self.checkpoint, scale=area.scale, excerpt=excerpt
            )
            self._seen = (id(image), area.scale, box), seen
        seen = self._seen[1]
        top, bottom, left, right = window
        inside = top - box[0], bottom - box[0], left - box[2], right - box[2]
        working = window_to_working(inside, seen.shape, seen.grid)
        return _Part(seen, working, (box[0], box[2]))

    def _see(
        self,
        network: Network,
        part: _Part,
        thresholds: Mapping[str, float],
        precision: Precision = "checked",
    ) -> _Seen:
        engine = Engine(network, self.device, precision=precision)
        looking = infer_window(part.seen, part.window, engine, tile=LARGEST_SIDE)
        result = run(looking)
        probability, precision = result.probability, engine.checked_precision
        task = self.checkpoint.task
        reading = PostProcessing.of(self.checkpoint).at(thresholds)
        size = (probability.shape[1], probability.shape[2])
        labels = reading.labels(probability, size, task, result.regression)
        if task.kind != "detect":
            answer = labels > 0 if task.kind == "instances" else labels
            return _Seen(probability, answer, None, labels, precision)
        found = reading.detections(probability, size, task)
        return _Seen(probability, labels, part.placed(found), None, precision)

    def _matches(
        self, before: Detections, after: Detections, scale: float | None
    ) -> tuple[int, int, int]:
        """How many particles are found both times, within half a radius."""
        same, task = 0, self.checkpoint.task
        for index, name in enumerate(task.classes):
            first = before.coordinates[before.class_index == index]
            second = after.coordinates[after.class_index == index]
            radius = task.radius_or_usual(name, scale)
            same += len(match_points(first, second, 0.5 * radius))
        return same, len(before), len(after)

    def _overlay(
        self, seen: _Seen, window: tuple[float, float, float, float]
    ) -> Overlay:
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
    training_data: TrainingData,
    colours: dict[str, str],
    *,
    device: Device = "auto",
) -> Job[Ready]:
    """Rank everything once; `Stop` keeps an order that is not finished."""
    plan = yield from plan_job(
        checkpoint, config, samples=training_data.read().samples, device=device
    )
    return Ready(plan, PruningView(plan, colours, device), plan.statistics(plan.start))
