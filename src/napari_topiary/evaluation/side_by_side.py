"""Several checkpoints side by side on the same annotated images."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.entry import Entry
from napari_topiary.evaluation.evaluate import DEFAULTS, predicted
from napari_topiary.evaluation.score import without_nan
from napari_topiary.inference.devices import device_label
from napari_topiary.io.dataset import Sample
from napari_topiary.io.gate import judged_by
from napari_topiary.postprocessing import COMMON_THRESHOLD
from napari_topiary.types import Job, Prediction, Progress, Stop


@dataclass(frozen=True)
class SideBySide:
    """One image as all checkpoints see it; the report of the job's progress.

    Parameters
    ----------
    sample
        The image and its annotations.
    predictions
        Name of the checkpoint -> prediction, in the order of the checkpoints.
    """

    sample: Sample
    predictions: Mapping[str, Prediction]


@dataclass(frozen=True)
class ComparisonTable:
    """One row per checkpoint; everything is held against the first one.

    Parameters
    ----------
    rows
        Per checkpoint: `name`, `parameters`, `parameters_nonzero`, `sparsity`,
        `compression_ratio`, `file_bytes`, `ms_per_megapixel` (of the middle image;
        the checkpoints take turns in being first); the metrics of
        `Score.report` at its own thresholds (`own`) and at 0.5
        (`at_common_threshold`); `own_best` with its best `thresholds` on these images
        and the `quality` there (mean over classes of F1, or Dice where a class has no
        particles, and `per_class`); `agreement` with the first, 0..1, and how many
        things were `kept`, `changed`, `lost`, `gained`.
    n_images
        Images that count.
    seconds, device
        How long it took, and where.
    """

    rows: tuple[dict[str, Any], ...]
    n_images: int
    seconds: float
    device: str

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        result: dict[str, Any] = without_nan(
            {
                "n_images": self.n_images,
                "seconds": self.seconds,
                "device": self.device,
                "common_threshold": COMMON_THRESHOLD,
                "checkpoints": list(self.rows),
            }
        )
        return result


def compare_checkpoints(
    checkpoints: Mapping[str, Checkpoint],
    samples: Sequence[Sample],
    *,
    config: PredictConfig = DEFAULTS,
    tolerance_nm: float | None = None,
) -> Job[ComparisonTable]:
    """Judge checkpoints on the same images, each at its best and all at 0.5.

    Parameters
    ----------
    checkpoints
        By name; the first one is what the others are held against.
    samples
        Images; those without any annotation are left out.
    config
        As for `evaluate`.
    tolerance_nm
        As for `evaluate`.

    Yields
    ------
    Progress
        In predictions; after each image the report is a `SideBySide`. `Stop` may be
        sent in; then the images so far count.

    Returns
    -------
    ComparisonTable
        With a row per checkpoint, in their order.

    Raises
    ------
    TopiaryError
        With a sentence if an image does not suit, or none is annotated.
    """
    if not checkpoints:
        raise TopiaryError("To compare takes at least one checkpoint.")
    first = next(iter(checkpoints.values()))
    known = judged_by(samples, task=first.task, scale=first.pixel_size_nm)
    begun = time.perf_counter()
    entries = [Entry(name, own, config) for name, own in checkpoints.items()]
    total, done = len(known) * len(entries), 0
    n_images = 0
    for entry in entries:
        if (yield from _stopped(entry.warm_up(known[0]))):
            return _table(entries, n_images, begun, config)
    for sample in known:
        predictions: dict[str, Prediction] = {}
        # Whoever comes first finds the image out of the cache: they take turns.
        for entry in entries if n_images % 2 == 0 else entries[::-1]:
            start = time.perf_counter()
            prediction, stopped = yield from predicted(
                entry.job(sample), sample.name, done=done, total=total
            )
            if prediction is None or (stopped and len(predictions) + 1 < len(entries)):
                return _table(entries, n_images, begun, config)
            entry.seconds.append(time.perf_counter() - start)
            predictions[entry.name] = prediction
            done += 1
        n_images += 1
        predictions = {entry.name: predictions[entry.name] for entry in entries}
        for entry in entries:
            entry.add(sample, predictions, tolerance_nm)
        message = yield Progress(
            done,
            total,
            f"Compared {sample.name}",
            report=SideBySide(sample, predictions),
        )
        if stopped or message is Stop:
            break
    return _table(entries, n_images, begun, config)


def _stopped(warming: Job[Prediction]) -> Job[bool]:
    """Warm up; whether it was to stop."""
    stopped = False
    for _ in warming:
        message = yield Progress(0, 0, "Getting ready to measure the speed")
        stopped = stopped or message is Stop
    return stopped


def _table(
    entries: Sequence[Entry], n_images: int, begun: float, config: PredictConfig
) -> ComparisonTable:
    return ComparisonTable(
        tuple(entry.row() for entry in entries),
        n_images,
        time.perf_counter() - begun,
        device_label(config.device),
    )
