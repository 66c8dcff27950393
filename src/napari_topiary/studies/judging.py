"""What a trained network comes to on images that it has not learned from."""

from __future__ import annotations

from typing import Any

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.evaluation import evaluate
from napari_topiary.networks import count_macs_per_pixel
from napari_topiary.studies.base import Measured
from napari_topiary.studies.bench import Bench
from napari_topiary.types import Job, Task

QUALITIES = (
    "accuracy", "accuracy_foreground", "accuracy_particles", "dice", "iou",
    "sensitivity", "specificity", "cross_entropy", "f1", "aji", "pq", "dq", "sq",
)  # fmt: skip
"""Overall figures of an evaluation that are kept with a cell."""
HEADLINE = {"detect": "f1", "segment": "dice", "instances": "pq"}
"""The figure that a kind of task is usually judged by."""
WORDS = {
    "accuracy": "accuracy, background included",
    "accuracy_foreground": "accuracy of the classes' own pixels",
    "accuracy_particles": "accuracy by particle",
    "dice": "Dice",
    "f1": "F1",
    "pq": "PQ",
    "aji": "AJI",
}


def judged(checkpoint: Checkpoint, bench: Bench) -> Job[Measured]:
    """Return the sizes of a network and its quality on the images kept for judging.

    Parameters
    ----------
    checkpoint
        Of any network.
    bench
        Images and device.
    """
    config = PredictConfig(device=bench.budget.device)  # type: ignore[arg-type]
    report = yield from bench.heard(evaluate(checkpoint, bench.judged, config=config))
    return sizes_of(checkpoint) | qualities_of(report)


def sizes_of(checkpoint: Checkpoint) -> Measured:
    """Return how large a network is, and how long it learned."""
    return {
        "parameters": checkpoint.parameters,
        "parameters_nonzero": checkpoint.parameters_nonzero,
        "macs_per_pixel": count_macs_per_pixel(checkpoint.build()),
        "file_bytes": checkpoint.file_bytes(),
        "steps": checkpoint.provenance.get("steps"),
        "train_seconds": checkpoint.provenance.get("seconds"),
    }


def qualities_of(report: dict[str, Any]) -> Measured:
    """Return the overall figures of an evaluation."""
    return {name: report[name] for name in QUALITIES if report.get(name) is not None}


def accuracy_for(task: Task) -> str:
    """Return which accuracy tells networks apart for a task.

    With several classes that of the classes' own pixels: background is most of a
    micrograph and easily right.
    """
    return "accuracy_foreground" if len(task.classes) > 2 else "accuracy"
