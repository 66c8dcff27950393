"""How good a checkpoint is on annotated images."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.data.learned import Learned
from napari_topiary.data.working_grid import size_notes
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.score import Score, Scorer
from napari_topiary.inference.cluster import engine_for
from napari_topiary.inference.devices import device_label
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Sample
from napari_topiary.io.gate import with_truth
from napari_topiary.postprocessing import COMMON_THRESHOLD
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Job, Prediction, Progress, Stop, relay, seconds_left

HEADLINE = ("f1", "precision", "recall", "n_true", "n_found", "dice", "aji", "pq")
"""Metrics that are listed image by image."""
DEFAULTS = PredictConfig()


def evaluate(
    checkpoint: Checkpoint,
    samples: Sequence[Sample],
    *,
    config: PredictConfig = DEFAULTS,
    tolerance_nm: float | None = None,
) -> Job[dict[str, Any]]:
    """Predict annotated images and hold the answers against the annotations.

    Parameters
    ----------
    checkpoint
        What is validated.
    samples
        Images; those without any annotation are left out. Where regions are finished,
        only what lies inside them counts.
    config
        A threshold in it counts instead of the checkpoint's own.
    tolerance_nm
        How far off a particle may be found; None = half of its class's radius.

    Yields
    ------
    Progress
        In images; a report is a sentence about what is validated on. `Stop` may be sent
        in; then the images so far count.

    Returns
    -------
    dict
        Ready for JSON. Overall metrics at the top: `dice, iou, accuracy, sensitivity,
        specificity, precision, cross_entropy`; for instances also `aji, pq, dq, sq`;
        for detections `precision, recall, f1` of the particles and filaments (the
        pixels' metrics again in `pixels`), `tolerance_nm` and `tolerance_px` (the
        largest of the classes, None where unknown). The same by class name in
        `per_class`, by image in `images`, and at a threshold of 0.5 in
        `at_common_threshold`. Always `n_images, seconds, device, backend, precision`,
        and `problems`: sentences about a network that does not work.

    Raises
    ------
    TopiaryError
        With a sentence if an image does not suit, or none is annotated.
    """
    known, notes = with_truth(
        samples, task=checkpoint.task, scale=checkpoint.pixel_size_nm
    )
    for note in (*notes, *size_notes(checkpoint, samples)):
        yield Progress(0, len(known), "Evaluating", report=note)
    begun = time.perf_counter()
    results: list[tuple[str, Score, Score]] = []
    tolerance: dict[str, float | None] = {}
    problems: dict[str, None] = {}
    with engine_for(checkpoint, config) as engine:
        for index, sample in enumerate(known):
            scorer = Scorer.of(checkpoint, sample, tolerance_nm)
            tolerance = tolerance or scorer.report()
            prediction, stopped = yield from predicted(
                predict(
                    sample.image,
                    checkpoint,
                    config,
                    scale=sample.scale,
                    network=engine,
                    excerpt=sample.excerpt,
                ),
                sample.name,
                done=index,
                total=len(known),
            )
            if prediction is not None:
                problems |= dict.fromkeys(prediction.problems)
                scores = own_and_common(scorer, prediction, checkpoint, config)
                results.append((sample.name, *scores))
            if stopped:
                break
    return {
        "checkpoint": checkpoint.name or checkpoint.hash[:12],
        "task": checkpoint.task.kind,
        "seconds": time.perf_counter() - begun,
        "device": device_label(engine.device),
        "backend": engine.backend,
        "precision": engine.precision,
        "thresholds": dict(PostProcessing.of(checkpoint, config.detect).thresholds),
        "problems": list(problems),
        **tolerance,
        **_report(results),
    }


def _report(results: Sequence[tuple[str, Score, Score]]) -> dict[str, Any]:
    """Figures of all images and of each, at the own and at the common threshold."""
    return {
        "n_images": len(results),
        **_pooled([own for _, own, _ in results]),
        "at_common_threshold": {
            "threshold": COMMON_THRESHOLD,
            **_pooled([at_common for _, _, at_common in results]),
        },
        "images": [{"name": name, **_headline(own)} for name, own, _ in results],
    }


def known_from_training(checkpoint: Checkpoint, samples: Sequence[Sample]) -> str:
    """Say which of some images training has seen; empty where it has seen none."""
    about = checkpoint.annotations_summary
    learned, here = Learned.of(about), [sample.fingerprint for sample in samples]
    held = {area["pixels"] for area in about.get("held_out", ())} - learned.pixels
    chosen = sum(pixels in held for pixels in here)
    known = sum(
        pixels not in held and sample in learned
        for pixels, sample in zip(here, samples, strict=True)
    )
    said = []
    if known:
        said.append(
            f"{_which(known, len(here))} learned from, in whole or in part: a figure "
            f"on {'it' if len(here) == 1 else 'them'} says little about other images."
        )
    if chosen:
        said.append(
            f"{_which(chosen, len(here))} held back in training, where weights and "
            "thresholds are chosen: expect a little less on other images."
        )
    if learned.note and known + chosen < len(here):
        said.append(learned.note)
    return " ".join(said)


def known_to_each(
    checkpoints: Mapping[str, Checkpoint], samples: Sequence[Sample]
) -> list[str]:
    """Say it of several networks: once where it is the same of all of them."""
    said = {name: known_from_training(c, samples) for name, c in checkpoints.items()}
    if len(set(said.values())) == 1:
        return [one for one in list(said.values())[:1] if one]
    return [f"{name}: {one}" for name, one in said.items() if one]


def _which(some: int, total: int) -> str:
    if total == 1:
        return "This image was"
    return f"{some} of the {total} images judged on {'was' if some == 1 else 'were'}"


def own_and_common(
    scorer: Scorer,
    prediction: Prediction,
    checkpoint: Checkpoint,
    config: PredictConfig,
) -> tuple[Score, Score]:
    """Score a prediction as it was read, and at a threshold of 0.5."""
    own = scorer.score(prediction)
    thresholds = PostProcessing.of(checkpoint, config.detect).thresholds
    if set(thresholds.values()) == {COMMON_THRESHOLD}:
        return own, own
    common = replace(config.detect, threshold=COMMON_THRESHOLD)
    again = PostProcessing.of(checkpoint, common).read(prediction)
    return own, scorer.score(again)


def predicted(
    job: Job[Prediction], name: str, *, done: int, total: int
) -> Job[tuple[Prediction | None, bool]]:
    """Predict one of several images.

    Returns
    -------
    tuple
        The prediction, None if stopped before it was whole; and whether to stop.
    """
    heard: list[object] = []
    begun = time.perf_counter()

    def told(progress: Progress) -> Progress:
        part, said = progress.fraction, progress.report
        return Progress(
            done + part,
            total,
            f"Evaluating {name}",
            # A prediction begins with a word about the image before any part is done.
            eta_s=seconds_left(begun, part, total - done),
            report=f"{name}: {said}" if isinstance(said, str) else None,
        )

    try:
        prediction = yield from relay(job, told=told, heard=heard.append)
    except TopiaryError as error:
        raise TopiaryError(f"{name}: {error}") from error
    stopped = Stop in heard
    return (None if stopped and prediction.done is not None else prediction), stopped


def _pooled(scores: list[Score]) -> dict[str, Any]:
    return reduce(add, scores).report() if scores else {}


def _headline(own: Score) -> dict[str, Any]:
    """Metrics of one image without those of each class."""
    report = own.report()
    return {name: report[name] for name in HEADLINE if name in report}
