"""Several checkpoints side by side on the same annotated images."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.data.working_grid import size_notes
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.compare import changes_between
from napari_topiary.evaluation.evaluate import DEFAULTS, own_and_common, predicted
from napari_topiary.evaluation.score import Score, Scorer, without_nan
from napari_topiary.evaluation.thresholds import Sweep, sweep
from napari_topiary.inference.devices import device_label
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.network_input import Measured, measured_input
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Sample
from napari_topiary.io.gate import with_truth
from napari_topiary.postprocessing import COMMON_THRESHOLD
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Job, Prediction, Progress, Stop

WARMING = 256
"""Side of the corner that is predicted before the clock starts, in pixels."""


@dataclass(frozen=True)
class _Scored:
    """What one checkpoint found on one image; several are held at once."""

    own: Score
    common: Score
    sweep: Sweep
    prediction: Prediction


class _Entry:
    """What is gathered about one checkpoint; `row` says it."""

    def __init__(
        self, name: str, checkpoint: Checkpoint, config: PredictConfig
    ) -> None:
        self.name, self.checkpoint, self.config = name, checkpoint, config
        self.engine = Engine.of(checkpoint, config.device, backend=config.backend)
        self.own: list[Score] = []
        self.common: list[Score] = []
        self.sweep = Sweep()
        self.seconds: list[float] = []
        self.megapixels: list[float] = []
        self.agreement: list[float] = []
        self.counts = dict.fromkeys(("kept", "changed", "lost", "gained"), 0)

    def warm_up(self, sample: Sample) -> Job[Prediction]:
        """Predict a corner of an image, so that no image pays for beginning."""
        corner = sample.image[:, :WARMING, :WARMING]
        return self.job(replace(sample, image=corner, annotations=(), excerpt=None))

    def measured(self, sample: Sample) -> Measured:
        """Measure an image for the network."""
        try:
            return measured_input(
                sample.image,
                self.checkpoint,
                scale=sample.scale,
                invert=self.config.invert,
                excerpt=sample.excerpt,
            )
        except TopiaryError as error:
            raise TopiaryError(f"{sample.name}: {error}") from error

    def sees_like(self, other: _Entry, sample: Sample) -> bool:
        """Whether both networks see an image in the same way."""
        return _seeing(self.checkpoint, sample) == _seeing(other.checkpoint, sample)

    def job(self, sample: Sample, measured: Measured | None = None) -> Job[Prediction]:
        """Predict an image, which may have been measured."""
        return predict(
            sample.image,
            self.checkpoint,
            self.config,
            scale=sample.scale,
            network=self.engine,
            excerpt=sample.excerpt,
            measured=measured,
        )

    def score(
        self,
        sample: Sample,
        mine: Prediction,
        tolerance_nm: float | None,
        *,
        lean: bool = False,
    ) -> _Scored:
        """Score what is found on one image.

        Parameters
        ----------
        sample
            The image.
        mine
            The prediction.
        tolerance_nm
            How far off a particle may be; None = half of its class's radius.
        lean
            Whether its maps are dropped afterwards.
        """
        scorer = Scorer.of(self.checkpoint, sample, tolerance_nm)
        own, common = own_and_common(scorer, mine, self.checkpoint, self.config)
        swept = sweep(
            mine,
            scorer.truth,
            postprocessing=PostProcessing.of(self.checkpoint, self.config.detect),
            tolerance_px=scorer.tolerance_px,
        )
        return _Scored(own, common, swept, _without_maps(mine) if lean else mine)

    def add(
        self, scored: _Scored, first: Prediction, tolerance_nm: float | None
    ) -> None:
        """Count one image.

        Parameters
        ----------
        scored
            What was found on it.
        first
            Prediction of the first checkpoint, which it is held against.
        tolerance_nm
            As for `score`.
        """
        mine = scored.prediction
        self.own.append(scored.own)
        self.common.append(scored.common)
        self.sweep += scored.sweep
        self.megapixels.append(mine.shape[0] * mine.shape[1] / 1e6)
        tolerance = tolerance_nm if mine.scale is not None else None
        counts, alike = changes_between(first, mine, tolerance=tolerance)
        self.agreement.append(alike)
        for status, count in counts.items():
            self.counts[status] += count

    def row(self) -> dict[str, Any]:
        """Everything about the checkpoint."""
        made = self.checkpoint
        left = max(1, made.parameters_nonzero)
        row: dict[str, Any] = {
            "name": self.name,
            "parameters": made.parameters,
            "parameters_nonzero": made.parameters_nonzero,
            "sparsity": made.sparsity,
            "compression_ratio": made.unpruned_parameters / left,
            "file_bytes": made.file_bytes(),
            "ms_per_megapixel": self._speed(),
            "backend": self.engine.backend,
            "precision": self.engine.precision,
        }
        if not self.own:
            return row
        best = self.sweep.best()
        return {
            **row,
            "thresholds": dict(PostProcessing.of(made, self.config.detect).thresholds),
            "own": sum(self.own[1:], self.own[0]).report(),
            "at_common_threshold": sum(self.common[1:], self.common[0]).report(),
            "own_best": {
                "thresholds": {name: found[0] for name, found in best.items()},
                "per_class": {name: found[1] for name, found in best.items()},
                "quality": _mean([found[1] for found in best.values()]),
                # Objects' thresholds are swept by their pixels.
                "quality_name": "F1" if made.task.kind == "detect" else "Dice",
            },
            "agreement": _mean(self.agreement),
            **self.counts,
        }

    def _speed(self) -> float | None:
        """Of the middle image: one that something else ran beside does not count."""
        each = [
            1e3 * spent / size
            for spent, size in zip(self.seconds, self.megapixels, strict=False)
        ]
        return float(np.median(each)) if each else None


def _seeing(checkpoint: Checkpoint, sample: Sample) -> tuple[object, ...]:
    """What decides how a network sees an image."""
    factor, nm = checkpoint.factor_for(sample.scale), checkpoint.pixel_size_nm
    return checkpoint.normalisation, factor, nm, checkpoint.in_channels


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


@dataclass(frozen=True)
class ComparedImage:
    """One image as all checkpoints see it; the report of the job's progress."""

    sample: Sample  #: The image and its annotations
    #: Name of the checkpoint -> prediction, in the order of the checkpoints
    predictions: Mapping[str, Prediction]

    def problems(self) -> tuple[str, ...]:
        """Say which networks do not work."""
        each = self.predictions.items()
        return tuple(f"{name}: {one}" for name, own in each for one in own.problems)


@dataclass(frozen=True)
class ComparisonTable:
    """One row per checkpoint; everything is held against the first one."""

    #: Per checkpoint: `name`, `parameters`, `parameters_nonzero`, `sparsity`,
    #: `compression_ratio`, `file_bytes`, `ms_per_megapixel` (of the middle image; the
    #: checkpoints take turns in being first); the metrics of `Score.report` at its own
    #: thresholds (`own`) and at 0.5 (`at_common_threshold`); `own_best` with its best
    #: `thresholds` on these images and the `quality` there (mean over classes of F1, or
    #: Dice where a class has no particles, and `per_class`); `agreement` with the
    #: first, 0..1, and how many things were `kept`, `changed`, `lost`, `gained`
    rows: tuple[dict[str, Any], ...]
    n_images: int  #: Images that count
    #: `seconds`, `device`: how long it took, and where
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
    maps: bool = True,
) -> Job[ComparisonTable]:
    """Score checkpoints on the same images, each at its best and all at 0.5.

    Parameters
    ----------
    checkpoints
        By name; the first one is what the others are held against.
    samples
        Images; those without any annotation are left out.
    config, tolerance_nm
        As for `evaluate`.
    maps
        Whether the predictions in the reports keep their probability; without it large
        images take half of the memory.

    Yields
    ------
    Progress
        In predictions; after each image the report is a `ComparedImage`, before it may
        be a sentence about it. `Stop` may be sent in; then the images so far count.

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
    known, notes = with_truth(samples, task=first.task, scale=first.pixel_size_nm)
    sizes = [size_notes(own, samples) for own in checkpoints.values()]
    for note in dict.fromkeys(chain(notes, *sizes)):
        yield Progress(0, len(known), "Comparing", report=note)
    begun = time.perf_counter()
    entries = [_Entry(name, own, config) for name, own in checkpoints.items()]
    total, done, n_images = len(known) * len(entries), 0, 0
    for entry in entries:
        if (yield from _stopped(entry.warm_up(known[0]))):
            return _table(entries, n_images, begun, config)
    for sample in known:
        scored: dict[str, _Scored] = {}
        # Whoever comes first finds the image out of the cache: they take turns.
        turns = entries if n_images % 2 == 0 else entries[::-1]
        measured, took = None, 0.0
        for entry, following in zip_longest(turns, turns[1:]):
            start = time.perf_counter()
            if measured is None:
                measured = entry.measured(sample)
                took = time.perf_counter() - start
            else:
                start -= took  # what it would have taken
            job = entry.job(sample, measured)
            if following is None or not entry.sees_like(following, sample):
                measured = None
            prediction, stopped = yield from predicted(
                job, sample.name, done=done, total=total
            )
            if prediction is None or (stopped and len(scored) + 1 < len(entries)):
                return _table(entries, n_images, begun, config)
            entry.seconds.append(time.perf_counter() - start)
            scored[entry.name] = entry.score(
                sample, prediction, tolerance_nm, lean=not maps
            )
            del prediction
            done += 1
        n_images += 1
        predictions = {e.name: scored[e.name].prediction for e in entries}
        for entry in entries:
            entry.add(scored[entry.name], predictions[entries[0].name], tolerance_nm)
        message = yield Progress(
            done,
            total,
            f"Compared {sample.name}",
            report=ComparedImage(sample, predictions),
        )
        if stopped or message is Stop:
            break
    return _table(entries, n_images, begun, config)


def _without_maps(prediction: Prediction) -> Prediction:
    """What was found, without what it was found in, in as few bytes as hold it."""
    labels = prediction.labels
    return replace(
        prediction,
        probability=prediction.probability[:, :0, :0].copy(),
        labels=labels.astype(np.min_scalar_type(int(labels.max(initial=0)))),
        regression=None,
    )


def _stopped(warming: Job[Prediction]) -> Job[bool]:
    """Warm up; whether it was to stop."""
    stopped = False
    for _ in warming:
        message = yield Progress(0, 0, "Getting ready to measure the speed")
        stopped = stopped or message is Stop
    return stopped


def _table(
    entries: Sequence[_Entry], n_images: int, begun: float, config: PredictConfig
) -> ComparisonTable:
    return ComparisonTable(
        tuple(entry.row() for entry in entries),
        n_images,
        time.perf_counter() - begun,
        device_label(config.device),
    )
