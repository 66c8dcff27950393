"""How good a checkpoint is on what its training held back, without training it.

Pruning shifts calibration before it costs quality: a pruned network read at the
threshold of its parent looks worse than it is. So its thresholds are chosen anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import Device, TrainConfig
from napari_topiary.data.learned import smallest_learned
from napari_topiary.data.prepared import PreparedData, prepare
from napari_topiary.data.working_grid import size_notes, working_factor_for
from napari_topiary.evaluation.figures import with_figures
from napari_topiary.evaluation.quality import Quality
from napari_topiary.evaluation.validator import Validator
from napari_topiary.inference.devices import pick_device
from napari_topiary.inference.engine import Engine
from napari_topiary.io.dataset import Sample
from napari_topiary.networks.base import Network
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Job, Progress, Stop, Task, relay, unless_stopped


def validate(
    checkpoint: Checkpoint,
    samples: Sequence[Sample],
    *,
    validation: Sequence[Sample] = (),
    device: str = "auto",
) -> Job[Checkpoint]:
    """Find the best thresholds of a checkpoint, and how good it is at them.

    Parameters
    ----------
    checkpoint
        Its weights do not change.
    samples
        Annotated images that it was trained on; where there is no `validation`, the
        same part of them as in training is used. Where there is none, thresholds are
        chosen by all of them, and there is no quality.
    validation
        Annotated images that it was not trained on.
    device
        Where to compute.

    Yields
    ------
    Progress
        After every image; a `Stop` sent in leaves the checkpoint as it was.
    """
    prepared = validation_data(checkpoint, samples, validation)
    said = (*prepared.notes, *size_notes(checkpoint, validation or samples))
    if said:
        before = checkpoint.provenance.get("notes", ())
        notes = list(dict.fromkeys((*before, *said)))
        about = {**checkpoint.provenance, "notes": notes}
        checkpoint = replace(checkpoint, provenance=about)
    if not prepared.held:
        every = (*samples, *validation)
        return (yield from _read_on_learned(checkpoint, every, device=device))
    found = yield from validate_on(prepared, checkpoint, device=device)
    return checkpoint if found is None else found[0]


def _read_on_learned(
    checkpoint: Checkpoint, samples: Sequence[Sample], *, device: str
) -> Job[Checkpoint]:
    """Choose thresholds by images that were learned from; no quality comes of it."""
    about = checkpoint.annotations_summary
    as_unseen = {k: v for k, v in about.items() if k not in ("learned", "held_out")}
    prepared = validation_data(
        replace(checkpoint, annotations_summary=as_unseen), (), samples
    )
    found = yield from validate_on(prepared, checkpoint, device=device)
    if found is None or found[0].thresholds == checkpoint.thresholds:
        return checkpoint
    learned = "has learned" if "learned" in about else "may have learned"
    note = (
        "Nothing is held back to judge on: the threshold was chosen anew on images "
        f"that it {learned} from, and how good it is nobody knows."
    )
    notes = dict.fromkeys((*checkpoint.provenance.get("notes", ()), note))
    provenance = {**checkpoint.provenance, "notes": list(notes)}
    return replace(
        checkpoint, thresholds=dict(found[0].thresholds), provenance=provenance
    )


def validate_on(
    prepared: PreparedData,
    checkpoint: Checkpoint,
    *,
    device: str = "auto",
    network: Network | Engine | None = None,
    find: bool = True,
) -> Job[tuple[Checkpoint, Quality] | None]:
    """Find a network's best thresholds on prepared data, and its quality at them.

    Parameters
    ----------
    prepared
        What it may be validated on.
    checkpoint
        Task, normalisation, and thresholds where none can be found.
    device
        Where to compute.
    network
        What is validated, or an engine of it; None builds the checkpoint's own.
    find
        Whether thresholds are found; else the checkpoint's are taken, as Predict does.

    Yields
    ------
    Progress
        After every area.

    Returns
    -------
    tuple or None
        The checkpoint with its thresholds and metrics, and the same as a quality; None
        after a `Stop`, and where there is nothing to validate on.
    """
    where = pick_device(device)
    engine = network or Engine.of(checkpoint, where)
    if isinstance(engine, Network):
        engine = Engine(engine, where)
    validator = Validator(
        held=prepared.held,
        task=checkpoint.task,
        line_classes=PostProcessing.of(checkpoint).line_classes,
        device=where,
        learned=prepared.learned,
        figure_only=prepared.figure_only,
        usual_thresholds=prepared.usual_thresholds,
        smallest_learned=smallest_learned(checkpoint.annotations_summary),
    )
    total = len(prepared.held) + len(prepared.learned) + len(checkpoint.task.classes)
    words, done = "Looking for the best threshold", count(1)
    quality = yield from unless_stopped(
        validator.validate(engine),
        told=lambda _: Progress(min(next(done), total), total, words),
    )
    if quality is None or quality.name == "none":
        return None
    keep = not find or prepared.usual_thresholds
    known = dict(checkpoint.thresholds if keep else quality.thresholds)
    made = replace(
        checkpoint, thresholds=known, metrics=quality.metrics(prepared.held_names)
    )
    made = yield from with_figures(made, prepared, engine=engine, at_common=True)
    figures = dict(made.metrics)
    common = figures.pop("at_common", quality.at_common)  # on the same areas, then
    made = replace(made, metrics=figures)
    return made, _as_figure(quality, made, common) if quality.known else quality


def _as_figure(quality: Quality, made: Checkpoint, at_common: float | None) -> Quality:
    """Return a quality as the metrics of the checkpoint say it."""
    return replace(
        quality,
        counts=_counts(made.metrics),
        at_common=at_common,
        value=float(made.metrics["quality"]),
        name=str(made.metrics["quality_name"]),
        thresholds=dict(made.thresholds),
        per_class=made.metrics["per_class"],
    )


def _counts(metrics: Mapping[str, Any]) -> tuple[int, int, int] | None:
    if "n_right" not in metrics:
        return None
    return metrics["n_right"], metrics["n_objects"], metrics["n_wrong"]


def validation_data(
    checkpoint: Checkpoint, samples: Sequence[Sample], validation: Sequence[Sample]
) -> PreparedData:
    """Return the areas to validate a checkpoint on: none that it learned from.

    Parameters
    ----------
    checkpoint
        Knows what it, and those that it comes from, learned from.
    samples, validation
        Annotated images; the latter, where there are any, are those to validate on.
    """
    return prepare(
        () if validation else samples,
        validation,
        TrainConfig(seed=int(checkpoint.provenance.get("seed") or 0)),
        task=checkpoint.task,
        start=checkpoint,
        learning=False,
    )


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """A network's quality, or why there is none."""

    #: At the network's own threshold; None where nothing is held back
    quality: Quality | None = None
    held_out: str = ""  #: What the quality was measured on, in words
    stopped: bool = False  #: Whether validating was given up


class HoldOut:
    """The areas to validate on, brought to a network's working grid once.

    Parameters
    ----------
    samples
        Annotated images that training learns from; where no others are held back, the
        same part of them is as in training.
    validation
        Annotated images that training does not see.
    device
        Where to compute.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        validation: Sequence[Sample],
        *,
        device: Device = "auto",
    ) -> None:
        self.samples, self.validation = tuple(samples), tuple(validation)
        self.device = device
        self._prepared: dict[str, PreparedData] = {}

    def validate(
        self, checkpoint: Checkpoint, network: Network | Engine | None = None
    ) -> Job[ValidationResult]:
        """Validate a checkpoint, or a network that may become a version of it.

        Parameters
        ----------
        checkpoint
            Task, normalisation and working pixel size.
        network
            Validated at the thresholds that it would be kept with; None = the
            checkpoint's own network, at the checkpoint's own thresholds, or an engine
            of it.

        Yields
        ------
        Progress
            After every area; a `Stop` sent in gives up.
        """
        prepared = self._data_for(checkpoint)
        if prepared is None or not prepared.held:
            return ValidationResult()
        heard: list[object] = []
        found = yield from relay(
            validate_on(
                prepared,
                checkpoint,
                device=self.device,
                network=network,
                find=isinstance(network, Network),
            ),
            heard=heard.append,
        )
        if Stop in heard:
            return ValidationResult(stopped=True)
        if found is None or not found[1].known:
            return ValidationResult(held_out=prepared.held_names)
        made, quality = found
        return ValidationResult(quality=quality, held_out=made.metrics["held_out"])

    def read(self, task: Task) -> None:
        """Read the marked parts of images that are large."""
        self.samples = tuple(one.read_marked(task) for one in self.samples)
        self.validation = tuple(one.read_marked(task) for one in self.validation)

    def _data_for(self, checkpoint: Checkpoint) -> PreparedData | None:
        every = self.validation or self.samples
        if not every:
            return None
        factor, _ = working_factor_for(checkpoint, every[0].scale)
        about = checkpoint.annotations_summary
        own = (about.get("learned"), about.get("held_out"))
        key = repr((round(factor, 6), checkpoint.normalisation, checkpoint.task, own))
        if key not in self._prepared:
            self.read(checkpoint.task)
            self._prepared[key] = validation_data(
                checkpoint, self.samples, self.validation
            )
        return self._prepared[key]
