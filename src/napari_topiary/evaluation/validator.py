"""How good a network is on the areas that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.data.annotated_area import AnnotatedArea
from napari_topiary.data.learned import smallest_learned
from napari_topiary.data.losses import masked_cross_entropy
from napari_topiary.data.prepared import PreparedData
from napari_topiary.evaluation.detection_metrics import match_points
from napari_topiary.evaluation.object_metrics import instance_metrics
from napari_topiary.evaluation.quality import VALIDATING, Quality
from napari_topiary.evaluation.thresholds import (
    BINS,
    best_detection_threshold,
    best_of_histogram,
    dice_of_histogram,
    probability_histogram,
    steady_detection_threshold,
)
from napari_topiary.evaluation.validator_pixels import PixelValidator, suits_pixels
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.tiles import InferResult, infer
from napari_topiary.networks.base import Network
from napari_topiary.postprocessing import COMMON_THRESHOLD, find_detections
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Detections, Job, LabelImage, Task, run

MOST_VALIDATED, LEAST_VALIDATED = 4_000_000, 256**2
"""Pixels that are validated while training: of all areas together, and of each."""
LOWEST_SCORE = 0.1
"""Detections are collected down to this score, then the best threshold is swept."""
TILE = 512
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Candidates; objects hardly change from one to the next."""
COMMON = THRESHOLDS.index(0.5)
SLACK = 0.005
"""Mean PQ that a steadier threshold may cost: the middle of all that are as good."""
MOST_PIXELS = 4_000_000
"""Areas are looked at until they have that many pixels, but at least one is."""


@dataclass(frozen=True, kw_only=True)
class Validator:
    """Validates networks on fixed held-out areas."""

    #: The areas; may be empty (then there is no quality, but thresholds of particles
    #: are chosen on what is learned from)
    held: Sequence[AnnotatedArea]
    task: Task  #: Kind and classes
    #: Classes drawn as centerlines only: scored by pixels, not by centres
    line_classes: frozenset[str]
    device: torch.device
    #: Areas that training does learn from. The threshold of particles is chosen on them
    #: as well: a hold-out of one or two images may be an odd one.
    learned: Sequence[AnnotatedArea] = ()
    #: Whether the areas are needed for the figure: thresholds are then chosen on what
    #: is learned from alone, as far as there is any
    figure_only: bool = False
    #: Whether no thresholds are chosen: the quality is that at the usual ones
    usual_thresholds: bool = False
    #: Size of small objects that are learned, in working pixels
    smallest_learned: float = 0.0
    _by_patch: dict[int, PixelValidator] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def often(
        cls,
        prepared: PreparedData,
        network: Network,
        *,
        device: torch.device,
        most: int = MOST_VALIDATED,
    ) -> Validator:
        """Return one that is asked often: it looks at so many pixels in all, about."""

        def cut(areas: Sequence[AnnotatedArea]) -> tuple[AnnotatedArea, ...]:
            if network.patch is not None:
                return tuple(areas)  # single pixels are looked at
            each = max(LEAST_VALIDATED, min(most, MOST_VALIDATED) // max(1, len(areas)))
            return tuple(
                one.cropped(most=each, margin=network.halo, step=network.stride)
                for one in areas
            )

        return cls(
            held=cut(prepared.held),
            task=prepared.task,
            line_classes=frozenset(prepared.line_classes),
            device=device,
            learned=cut(prepared.learned),
            figure_only=prepared.figure_only,
            usual_thresholds=prepared.usual_thresholds,
            smallest_learned=smallest_learned(prepared.summary),
        )

    def validate(self, network: Network | Engine) -> Job[Quality]:
        """Validate a network; yields after every area, so that others can breathe.

        Parameters
        ----------
        network
            An engine of it where it is finished; one that still learns is run as it
            learns, in reduced precision.
        """
        if isinstance(network, Engine):
            engine, network = network, network.network
        else:
            engine = Engine(network, self.device, backend="torch", precision="reduced")
        if not self.held and (network.patch is not None or not self.learned):
            return Quality(value=0.0, name="none", loss=float("nan"))
        if network.patch is not None and suits_pixels(network, self.held, self.task):
            return (yield from self._by_single_pixels(network.patch).validate(engine))
        answers: list[InferResult] = []
        for area in (*self.held, *self.learned):
            answers.append(run(infer(engine, area.field.image, tile=TILE)))
            if not np.isfinite(answers[-1].probability).all():
                return Quality(value=0.0, name="not a number", loss=float("nan"))
            yield VALIDATING
        probabilities = [answer.probability for answer in answers]
        losses = [_loss(*pair) for pair in zip(probabilities, self.held, strict=False)]
        loss = float(np.mean(losses)) if losses else float("nan")
        if self.task.kind == "instances":
            return (
                yield from _validate_objects(
                    answers,
                    self.held,
                    self.learned,
                    self.task,
                    loss,
                    usual_threshold=self.usual_thresholds,
                    smallest_learned=self.smallest_learned,
                )
            )
        return (yield from self._swept(probabilities, loss))

    def _swept(
        self, probabilities: Sequence[NDArray[np.float32]], loss: float
    ) -> Job[Quality]:
        """Find the best threshold of every class, and how good it is there."""
        scores: dict[str, float] = {}
        thresholds, names = {}, set()
        at_common: list[float] = []
        for index, name in enumerate(self.task.classes[1:], start=1):
            by_centre = (
                self.task.kind == "detect"
                and name not in self.line_classes
                and any(
                    (a.point_class == index).any() for a in self.held or self.learned
                )
            )
            sweep = self._by_centre if by_centre else self._by_pixel
            found = sweep(probabilities, index)
            yield VALIDATING
            if found is not None:
                thresholds[name], value, common = found
                if self.usual_thresholds:
                    thresholds[name], value = COMMON_THRESHOLD, common
                if self.held:
                    scores[name] = value
                    at_common.append(common)
                    names.add("F1" if by_centre else "Dice")
        if thresholds:
            thresholds["common"] = float(np.mean(list(thresholds.values())))
        return Quality(
            value=float(np.mean(list(scores.values()))) if scores else 0.0,
            name="F1/Dice" if len(names) > 1 else (names.pop() if names else "none"),
            loss=loss,
            thresholds=thresholds,
            per_class=scores,
            at_common=float(np.mean(at_common)) if at_common else None,
        )

    def _by_single_pixels(self, patch: int) -> PixelValidator:
        if patch not in self._by_patch:
            self._by_patch[patch] = PixelValidator(
                self.held,
                self.task,
                patch=patch,
                usual_thresholds=self.usual_thresholds,
            )
        return self._by_patch[patch]

    def _by_pixel(
        self, probabilities: Sequence[NDArray[np.float32]], index: int
    ) -> tuple[float, float, float] | None:
        n = len(self.held)
        held = _histogram(self.held, probabilities[:n], index)
        if held is None:
            return None
        others = None
        if self.figure_only and self.learned:
            others = _histogram(self.learned, probabilities[n:], index)
        threshold, _ = best_of_histogram(held if others is None else others)
        dice = dice_of_histogram(held)
        at, common = (round(t * len(dice)) for t in (threshold, COMMON_THRESHOLD))
        return threshold, float(dice[at]), float(dice[common])

    def _by_centre(
        self, probabilities: Sequence[NDArray[np.float32]], index: int
    ) -> tuple[float, float, float] | None:
        name = self.task.classes[index]
        pairs = []
        areas = (*self.held, *self.learned)
        for area, probability in zip(areas, probabilities, strict=True):
            found = find_detections(
                probability,
                task=area.task,
                radius_px=area.task.radius_px,
                threshold=LOWEST_SCORE,
                line_classes=self.line_classes,
            )
            mine = found.class_index == index
            mine &= _validated(found.coordinates, area)
            truth = area.points[area.counts & (area.point_class == index)]
            pairs.append(
                (
                    truth,
                    Detections(
                        found.coordinates[mine],
                        found.class_index[mine],
                        found.score[mine],
                    ),
                )
            )
        tolerance = 0.5 * areas[0].task.radius_or_usual(name, None)
        held, learned = pairs[: len(self.held)], pairs[len(self.held) :]
        common = _f1_at(COMMON_THRESHOLD, held, tolerance)
        if self.figure_only and learned:
            steady = steady_detection_threshold(learned, tolerance)
            return steady, _f1_at(steady, held, tolerance), common
        _, best = best_detection_threshold(held, tolerance)
        return steady_detection_threshold(pairs, tolerance), best, common


def _histogram(
    areas: Sequence[AnnotatedArea],
    probabilities: Sequence[NDArray[np.float32]],
    index: int,
) -> NDArray[np.int64] | None:
    """How probable a class is elsewhere, and where it is; None where it is nowhere."""
    counts = [np.zeros((2, BINS), dtype=np.int64)]
    for area, probability in zip(areas, probabilities, strict=True):
        known = area.validated
        there = area.field.target[known] == index
        counts.append(probability_histogram(there, probability[index][known]))
    total: NDArray[np.int64] = np.sum(counts, axis=0)
    return total if total[1].any() else None


def _f1_at(
    threshold: float,
    pairs: Sequence[tuple[NDArray[np.float64], Detections]],
    tolerance: float,
) -> float:
    """F1 over all images at one threshold."""
    hits = there = 0
    for truth, found in pairs:
        places = found.coordinates[found.score >= threshold]
        hits += len(match_points(places, truth, tolerance))
        there += len(places) + len(truth)
    return 2 * hits / there if there else 1.0


def _validated(
    coordinates: NDArray[np.float64], area: AnnotatedArea
) -> NDArray[np.bool_]:
    """Which detections lie where a person has finished (not in the unknown)."""
    if len(coordinates) == 0:
        return np.zeros(0, dtype=bool)
    limit = np.array(area.field.target.shape) - 1
    y, x = np.clip(np.rint(coordinates), 0, limit).astype(int).T
    # A detection on the ignored rim of a particle counts: the rim is unknown only
    # as to which class it has, not as to whether somebody looked there.
    near = [_near_truth(point, area) for point in coordinates]
    validated: NDArray[np.bool_] = area.validated[y, x] | np.array(near)
    return validated


def _near_truth(point: NDArray[np.float64], area: AnnotatedArea) -> bool:
    truth = area.points[area.counts]
    if len(truth) == 0:
        return False
    task = area.task
    reach = 1.5 * max(task.radius_or_usual(name, None) for name in task.classes[1:])
    return bool((np.linalg.norm(truth - point, axis=1) <= reach).any())


def _loss(probability: NDArray[np.float32], area: AnnotatedArea) -> float:
    log = torch.from_numpy(probability).clamp(min=1e-7).log()[None]
    target = torch.from_numpy(area.field.target.astype(np.int64))[None]
    weight = torch.from_numpy(area.field.weight)[None]
    # The logarithm of a softmax is its own log-softmax: no second normalisation.
    return float(masked_cross_entropy(log, target, weight))


def _validate_objects(
    answers: Sequence[InferResult],
    held: Sequence[AnnotatedArea],
    learned: Sequence[AnnotatedArea],
    task: Task,
    loss: float,
    *,
    usual_threshold: bool = False,
    smallest_learned: float = 0.0,
) -> Job[Quality]:
    """Validate answers by panoptic quality; yields after every area.

    Which pixels are foreground says little about whether touching nuclei are two. So
    the objects themselves are counted, at a few thresholds, of which the best on the
    areas `learned` (empty = `held`) is kept. `answers` are of the held ones first;
    `smallest_learned` is in working pixels.
    """
    how = PostProcessing(smallest_learned=smallest_learned)
    scores = yield from _all_swept(answers[: len(held)], held, task, how)
    if not scores:
        return Quality(value=0.0, name="none", loss=loss)
    pq, aji = np.mean(scores, axis=0).T
    others = yield from _all_swept(answers[len(held) :], learned, task, how)
    own = np.mean(others, axis=0)[:, 0] if others else pq
    good = np.flatnonzero(own >= own.max() - SLACK)
    best = COMMON if usual_threshold else int(good[len(good) // 2])
    name, threshold = task.classes[1], THRESHOLDS[best]
    return Quality(
        value=float(pq[best]),
        name="PQ",
        loss=loss,
        thresholds={name: threshold, "common": threshold},
        per_class={name: float(pq[best])},
        at_common=float(pq[COMMON]),
        beside={"AJI": float(aji[best])},
    )


def _all_swept(
    answers: Sequence[InferResult],
    areas: Sequence[AnnotatedArea],
    task: Task,
    how: PostProcessing,
) -> Job[list[NDArray[np.float64]]]:
    """PQ and AJI `(t, 2)` of each area at every threshold."""
    scores: list[NDArray[np.float64]] = []
    pixels = 0
    for answer, area in zip(answers, areas, strict=True):
        truth = _objects(area)
        if truth is not None and (pixels == 0 or pixels < MOST_PIXELS):
            scores.append(_swept(answer, truth, task, how))
            pixels += truth.size
        yield VALIDATING
    return scores


def _objects(area: AnnotatedArea) -> LabelImage | None:
    """Object numbers, −1 where nothing is known; None if there are none."""
    objects, known = area.field.objects, area.validated
    if objects is None or not (objects[known] > 0).any():
        return None
    validated: LabelImage = np.where(known, objects, -1)
    return validated


def _swept(
    answer: InferResult, truth: LabelImage, task: Task, how: PostProcessing
) -> NDArray[np.float64]:
    """PQ and AJI `(t, 2)` at every threshold."""
    shape = (truth.shape[0], truth.shape[1])
    rows = []
    for threshold in THRESHOLDS:
        found = how.at({task.classes[1]: threshold}).labels(
            answer.probability, shape, task, answer.regression
        )
        scores = instance_metrics(truth, found)
        rows.append((scores["pq"], scores["aji"]))
    return np.array(rows)
