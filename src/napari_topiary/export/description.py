"""What is said of a network to whoever uses it elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from napari_topiary.io.own_files import WRITER, signed
from napari_topiary.registry import program_version
from napari_topiary.words import figure, percent, plural

if TYPE_CHECKING:
    from napari_topiary.export.base import Exportable


def description(model: Exportable) -> dict[str, Any]:
    """Return what another program has to know, ready for JSON."""
    checkpoint, network = model.checkpoint, model.network
    return signed(
        {
            "version": program_version(),
            "name": checkpoint.name,
            "network": checkpoint.network,
            "sizes": dict(checkpoint.sizes),
            "task": checkpoint.task.kind,
            "classes": list(checkpoint.task.classes),
            "maps": model.maps,
            "radius_nm": dict(checkpoint.task.radius_nm),
            "radius_px": dict(checkpoint.task.radius_px),
            "pixel_size_nm": checkpoint.pixel_size_nm,
            "working_factor": checkpoint.working_factor,
            "working_pixel_size_nm": model.pixel_size_nm,
            "normalisation": asdict(checkpoint.normalisation),
            "thresholds": dict(checkpoint.thresholds),
            "stride": model.stride,
            "halo": network.halo,
            "parameters": checkpoint.parameters,
            "parameters_nonzero": checkpoint.parameters_nonzero,
            "hash": checkpoint.hash,
            "before": before(model),
            "after": after(model),
        }
    )


def before(model: Exportable) -> list[str]:
    """Say what is done with an image before the network sees it."""
    seen, factor = model.pixel_size_nm, model.checkpoint.working_factor
    channels = model.checkpoint.in_channels
    size = (
        f"Scale the image down by {factor:g}: its pixel size is not known."
        if seen is None
        else f"Scale the image to {seen:.4g} nm per pixel."
    )
    stride = model.stride
    return [
        f"Take {'one grey channel' if channels == 1 else f'{channels} channels'}.",
        _normalising(model),
        size,
        f"Continue it, mirrored, until its sides are multiples of {stride} pixels.",
    ]


def _normalising(model: Exportable) -> str:
    how = model.checkpoint.normalisation
    if how.kind == "none":
        return "Leave the intensities as they are."
    if how.kind == "percentile":
        if how.per_image:
            return "Bring the 1st percentile of the image to 0, the 99th to 1."
        return f"Bring the intensity {how.low:.6g} to 0 and {how.high:.6g} to 1."
    if how.kind == "zscore":
        if how.per_image:
            return "Bring the image to mean 0 and standard deviation 1."
        return f"Subtract {how.mean:.6g} and divide by {how.std:.6g}."
    tails = (
        "Cut off the tails of the image (farther beyond its 1st and 99th "
        "percentile than half their distance), then bring "
    )
    if how.shared is None:
        return f"{tails}it to mean 0 and standard deviation 1."
    low, high = how.shared.brought_percentiles
    return f"{tails}its 1st percentile to {low:.6g} and its 99th to {high:.6g}."


def after(model: Exportable) -> list[str]:
    """Say what is done with the answer."""
    checkpoint = model.checkpoint
    common = checkpoint.thresholds.get("common", 0.5)
    things = [
        f"{name} is where its probability is at least "
        f"{checkpoint.thresholds.get(name, common):.2f}."
        for name in checkpoint.task.classes[1:]
    ]
    said = [
        "The maps are: " + ", ".join(model.maps) + ".",
        f"Within {model.network.halo} pixels of a border that is not one of the "
        "image, answers are incomplete: let tiles overlap by as much.",
        *things,
    ]
    if model.network.regressions:
        said.append(
            "The distance map, high in the middle of an object, separates objects "
            "that touch (watershed)."
        )
    if checkpoint.task.kind == "detect":
        said.append("Each connected area, or its centre, is one particle.")
    return said


def differences(model: Exportable) -> tuple[str, ...]:
    """Say where other programs treat an image otherwise than Topiary does."""
    checkpoint, said = model.checkpoint, list[str]()
    how = checkpoint.normalisation
    if how.kind == "robust":
        areas = ", and areas of very different brightness" if how.regions else ""
        said.append(
            "Topiary levels uneven light, and measures fields that were stitched"
            f"{areas} each by itself; other programs measure the whole image."
        )
    measured = how.per_image or how.kind == "robust"
    if how.kind != "none" and measured and checkpoint.working_factor >= 1.2:
        said.append(
            "Other programs normalise an image after it has been scaled down, Topiary "
            "before: noisy images then have more contrast than those the network "
            "learned from. Look at the first results, or normalise before scaling."
        )
    return tuple(said)


def summary(model: Exportable) -> str:
    """Return in a line what a network is and does."""
    checkpoint = model.checkpoint
    doing = {
        "detect": "finds",
        "segment": "segments",
        "instances": "separates objects of the class",
    }[checkpoint.task.kind]
    seen = model.pixel_size_nm
    at = "" if seen is None else f" at {seen:.4g} nm per pixel"
    gone = f" ({percent(checkpoint.sparsity)} pruned)" if checkpoint.pruning else ""
    return (
        f"A {checkpoint.network} with {checkpoint.parameters_nonzero:,} weights{gone} "
        f"that {doing} {', '.join(checkpoint.task.classes[1:])}{at}. Trained with "
        f"{WRITER}."
    )


def readme(model: Exportable) -> str:
    """Return what a person should know before using the network, as Markdown."""
    checkpoint, made = model.checkpoint, model.checkpoint.provenance
    annotated = checkpoint.annotations_summary
    quality = figure(checkpoint.metrics)
    held = checkpoint.metrics.get("held_out") or "images that were held back"
    sizes = ", ".join(f"{name} {value}" for name, value in checkpoint.sizes.items())
    training = [f"Network: {checkpoint.network} ({sizes})."]
    if "images" in annotated:
        training.append(f"{plural(int(annotated['images']), 'annotated image')}.")
    for name, number in dict(annotated.get("points") or {}).items():
        training.append(f"{plural(int(number), 'mark')} of {name}.")
    if "steps" in made and "seconds" in made:
        training.append(f"{made['steps']} steps in {made['seconds']:g} s.")
    for step in checkpoint.pruning:
        share = percent(float(step.get("share", 0)))
        training.append(
            f"Pruned: {share} of the {step.get('kind', 'weights')} removed."
        )
    lines = [
        f"# {checkpoint.name or checkpoint.network}",
        summary(model),
        "## Before",
        *(f"- {one}" for one in before(model)),
        "The preprocessing in `rdf.yaml` is the nearest that other programs know: all "
        "pixels count, while Topiary leaves out bars, margins and foreign bodies.",
        *differences(model),
        "## After",
        *(f"- {one}" for one in after(model)),
        "## How it was trained",
        *(f"- {one}" for one in training),
        "## Validation",
        f"{quality}, on {held}." if quality else "Nobody has measured how good it is.",
        "Check it on images of your own before you rely on it. The test image in the "
        "archive is drawn, so what is found in it means nothing.",
        f"Written by {WRITER} {program_version()}.",
    ]
    text = ""
    for last, line in zip(["", *lines], lines, strict=False):
        gap = "\n" if last.startswith("-") and line.startswith("-") else "\n\n"
        text += (gap if text else "") + line
    return text + "\n"
