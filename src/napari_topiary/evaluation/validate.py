"""Thresholds for a network that was changed without being trained.

Pruning shifts calibration before it costs quality: a pruned network read at the
threshold of its parent looks worse than it is.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.data.prepared import Material, prepare
from napari_topiary.evaluation.figures import with_figures
from napari_topiary.evaluation.quality import Quality
from napari_topiary.evaluation.validator import Validator
from napari_topiary.inference.devices import autocast_dtype, pick_device
from napari_topiary.io.dataset import Sample
from napari_topiary.networks.base import Network
from napari_topiary.types import Job, Progress, Stop


def rejudge(
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
        same part of them as in training is used.
    validation
        Annotated images that it was not trained on.
    device
        Where to compute.

    Yields
    ------
    Progress
        After every image; a `Stop` sent in leaves the checkpoint as it was.
    """
    material = judging_material(checkpoint, samples, validation)
    if material.notes:
        notes = [*checkpoint.provenance.get("notes", ()), *material.notes]
        about = {**checkpoint.provenance, "notes": notes}
        checkpoint = replace(checkpoint, provenance=about)
    found = yield from validate(checkpoint, material, device=device)
    return checkpoint if found is None else found[0]


def validate(
    checkpoint: Checkpoint,
    material: Material,
    *,
    device: str = "auto",
    network: Network | None = None,
    find: bool = True,
) -> Job[tuple[Checkpoint, Quality] | None]:
    """Find a network's best thresholds on prepared areas, and its quality at them.

    Parameters
    ----------
    checkpoint
        Task, normalisation, and thresholds where none can be found.
    material
        What it may be judged on.
    device
        Where to compute.
    network
        What is judged; None builds the checkpoint's own.
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
        after a `Stop`, and where there is nothing to judge on.
    """
    where = pick_device(device)
    lines = checkpoint.annotations_summary.get("line_classes", ())
    judge = Validator(
        material.held,
        checkpoint.task,
        frozenset(str(name) for name in lines),
        where,
        autocast_dtype(where) is not None,
        material.learned,
        material.figure_only,
    )
    network = (network or checkpoint.build()).to(where)
    total = len(material.held) + len(material.learned) + len(checkpoint.task.classes)
    quality = yield from _heard(judge.judge(network), total)
    if quality is None or quality.name == "none":
        return None
    known = dict(quality.thresholds)
    if not find or (material.few and checkpoint.task.kind != "detect"):
        known = dict(checkpoint.thresholds)
    judged = replace(checkpoint, thresholds=known, metrics=_metrics(quality, material))
    judged = yield from with_figures(judged, material, device=device, network=network)
    if not quality.known:
        return judged, quality
    figure = replace(
        quality,
        value=float(judged.metrics["quality"]),
        name=str(judged.metrics["quality_name"]),
        thresholds=known,
        per_class=judged.metrics["per_class"],
    )
    return judged, figure


def judging_material(
    checkpoint: Checkpoint, samples: Sequence[Sample], validation: Sequence[Sample]
) -> Material:
    """Return the areas on which a checkpoint may be judged: none that it learned from.

    Parameters
    ----------
    checkpoint
        Knows what it, and those that it comes from, learned from.
    samples, validation
        Annotated images; the latter, where there are any, are those to judge on.
    """
    scale = next((s.scale for s in (*samples, *validation)), None)
    return prepare(
        () if validation else samples,
        validation,
        TrainConfig(seed=int(checkpoint.provenance.get("seed") or 0)),
        task=checkpoint.task,
        normalisation=checkpoint.normalisation,
        factor=checkpoint.factor_for(scale),
        before=checkpoint.annotations_summary,
        learning=False,
    )


def _metrics(quality: Quality, material: Material) -> dict[str, Any]:
    return {
        "quality": quality.value,
        "quality_name": quality.name,
        "per_class": dict(quality.per_class),
        "validation_loss": quality.loss,
        "beside": dict(quality.beside),
        "held_out": material.held_names,
    }


def _heard(judging: Generator[None, None, Quality], total: int) -> Job[Quality | None]:
    """Validator, listening for Stop; None if it came."""
    done = 0
    while True:
        try:
            next(judging)
        except StopIteration as end:
            quality: Quality = end.value
            return quality
        done += 1
        message = yield Progress(
            min(done, total), total, "Looking for the best threshold"
        )
        if message is Stop:
            judging.close()
            return None
