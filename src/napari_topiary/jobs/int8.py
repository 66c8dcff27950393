"""Preparing a network for whole numbers of eight bits: what it gains, what it costs.

What the layers read is measured on parts of images that it may learn from. It is taken
only where it makes the network faster here, and its quality is said before and after.
"""

from __future__ import annotations

from typing import Any

import torch

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.quality import Quality
from napari_topiary.evaluation.validate import HoldOut, ValidationResult
from napari_topiary.inference.backends import backends
from napari_topiary.inference.backends.pytorch import folded
from napari_topiary.inference.devices import pick_device
from napari_topiary.inference.engine import FASTER, INT8, Engine
from napari_topiary.inference.int8 import input_ranges
from napari_topiary.networks.base import Network
from napari_topiary.pruning import learned_part, measure_speed
from napari_topiary.types import Job, Progress

PARTS = 12
"""Parts of images that are looked at."""


def int8_problem(device: str = "auto", network: Network | None = None) -> str | None:
    """Return why nothing can be computed with whole numbers here, as a sentence."""
    try:
        is_processor = pick_device(device).type == "cpu"
    except TopiaryError as error:
        return str(error)
    if not is_processor:
        return (
            "int8 is for processors; a graphics card is as fast without it: leave it "
            "out, or choose the device cpu."
        )
    if network is not None and network.patch is not None:
        return (
            "Networks that classify the middle of a patch cannot be computed in int8: "
            "leave it out."
        )
    kinds = [kind for kind in map(backends.__getitem__, backends) if kind.packages]
    if not any(kind.processor_only and kind.installed for kind in kinds):
        return (
            "int8 needs OpenVINO or ONNX Runtime: pip install 'napari-topiary[fast]'."
        )
    return None


def prepared_for_int8(checkpoint: Checkpoint, hold_out: HoldOut) -> Job[Checkpoint]:
    """Prepare a checkpoint for int8, where that makes it faster.

    Parameters
    ----------
    checkpoint
        Its weights do not change.
    hold_out
        Images that it may learn from, and what it is judged on.

    Yields
    ------
    Progress
        After every part of an image and every measurement. `Stop` leaves it as it was.

    Returns
    -------
    Checkpoint
        With a note on what came of it; prepared if `int8` is not empty.

    Raises
    ------
    TopiaryError
        With a sentence if it cannot be done here.
    """
    yield Progress(0, 0, "Measuring for int8")
    ranges = _ranges(checkpoint, hold_out)
    about: dict[str, Any] = {"weights": checkpoint.weights_hash, "ranges": ranges}
    prepared = _about(checkpoint, int8=about)
    engines = {"float": Engine.of(checkpoint, "cpu"), INT8: Engine.of(prepared, "cpu")}
    speeds = yield from measure_speed(
        engines, in_channels=checkpoint.in_channels, device=torch.device("cpu")
    )
    if len(speeds) < len(engines):
        return checkpoint
    ms = {name: round(speed, 1) for name, speed in speeds.items()}
    if engines[INT8].precision != INT8 or ms[INT8] > FASTER * ms["float"]:
        return _noted(
            checkpoint,
            "int8 was left out: on this machine it is not faster for this network.",
        )
    before = yield from hold_out.validate(checkpoint, engines["float"])
    after = yield from hold_out.validate(prepared, engines[INT8])
    if before.stopped or after.stopped:
        return checkpoint
    about |= {
        "ms_per_megapixel": ms[INT8],
        "ms_per_megapixel_before": ms["float"],
        "quality": _value(after.quality),
        "quality_before": _value(before.quality),
    }
    words = f"int8: {ms['float']:.0f} -> {ms[INT8]:.0f} ms per megapixel here"
    words += _cost(before, after)
    return _noted(_about(prepared, int8=about), words)


def _ranges(checkpoint: Checkpoint, hold_out: HoldOut) -> dict[str, Any]:
    """Between what the inputs of each layer lie, on parts of what is learned from."""
    network = checkpoint.build()
    sentence = int8_problem(hold_out.device, network)
    if sentence is not None:
        raise TopiaryError(sentence)
    hold_out.read(checkpoint.task)
    samples = hold_out.samples or hold_out.validation
    if not samples:
        raise TopiaryError(
            "int8 needs images like those that were learned from, to measure what the "
            "layers read: give a data set, or annotate an image."
        )
    generator = torch.Generator().manual_seed(0)
    parts = [
        learned_part(checkpoint, samples[index % len(samples)], network, generator)
        for index in range(PARTS)
    ]
    return dict(input_ranges(folded(network), parts))


def _cost(before: ValidationResult, after: ValidationResult) -> str:
    """Say what rounding has cost, at the end of a sentence."""
    if before.quality is None or after.quality is None:
        return "; nothing is held back to say what it costs."
    return (
        f", {after.quality.name} {before.quality.value:.3f} -> "
        f"{after.quality.value:.3f} on {after.held_out}."
    )


def on_int8(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what was said about int8 when a checkpoint was prepared for it."""
    notes = checkpoint.provenance.get("notes", ())
    return tuple(note for note in notes if str(note).startswith(INT8))


def _value(quality: Quality | None) -> float | None:
    return None if quality is None else float(quality.value)


def _about(checkpoint: Checkpoint, **known: Any) -> Checkpoint:
    return checkpoint.replaced(provenance={**checkpoint.provenance, **known})


def _noted(checkpoint: Checkpoint, sentence: str) -> Checkpoint:
    notes = [*checkpoint.provenance.get("notes", ()), sentence]
    return _about(checkpoint, notes=notes)
