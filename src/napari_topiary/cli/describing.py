"""Checkpoints and what they found in numbers and words, for reports and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary import words
from napari_topiary.io.image_files import shown_name

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.inference.large.writing import LargePrediction
    from napari_topiary.types import Detections, Prediction, Task


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what `info` reports, ready for JSON."""
    from napari_topiary.networks import activation_bytes, count_macs_per_pixel

    network = checkpoint.build()
    pixel_size = checkpoint.pixel_size_nm
    working = None if pixel_size is None else pixel_size * checkpoint.working_factor
    return {
        "network": checkpoint.network,
        "parameters": checkpoint.parameters,
        "parameters_nonzero": checkpoint.parameters_nonzero,
        "sparsity": checkpoint.sparsity,
        "macs_per_pixel": count_macs_per_pixel(network),
        "patch": network.patch,
        "dense": network.dense,
        "activation_bytes": activation_bytes(network),
        "file_bytes": checkpoint.file_bytes(),
        "classes": list(checkpoint.task.classes),
        "pixel_size_nm": pixel_size,
        "layers": _layers(checkpoint, network),
        "name": checkpoint.name,
        "sizes": dict(checkpoint.sizes),
        "task": checkpoint.task.kind,
        "radius_nm": dict(checkpoint.task.radius_nm),
        "radius_px": dict(checkpoint.task.radius_px),
        "in_channels": checkpoint.in_channels,
        "unpruned_parameters": checkpoint.unpruned_parameters,
        "compression_ratio": checkpoint.unpruned_parameters
        / max(1, checkpoint.parameters_nonzero),
        "working_factor": checkpoint.working_factor,
        "working_pixel_size_nm": working,
        "thresholds": dict(checkpoint.thresholds),
        "pruning": list(checkpoint.pruning),
        "metrics": dict(checkpoint.metrics),
        "annotations_summary": dict(checkpoint.annotations_summary),
        "provenance": dict(checkpoint.provenance),
        "hash": checkpoint.hash,
    }


def _layers(checkpoint: Checkpoint, network: Any) -> list[dict[str, Any]]:
    """Every layer that has weights, in the order of the network."""
    import torch

    from napari_topiary.networks import build_network

    with torch.device("meta"):  # counted, never computed with
        whole = build_network(
            checkpoint.network,
            checkpoint.sizes,
            checkpoint.in_channels,
            len(checkpoint.task.classes),
        )
    unpruned = dict(whole.named_modules())
    layers = []
    for name, module in network.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if not own:
            continue
        masked = sum(
            int((~checkpoint.masks[full]).sum())
            for leaf in own
            if (full := f"{name}.{leaf}") in checkpoint.masks
        )
        count = sum(p.numel() for p in own.values())
        layers.append(
            {
                "name": name,
                "kind": type(module).__name__,
                "shape": list(own["weight"].shape) if "weight" in own else [],
                "parameters": count,
                "parameters_nonzero": count - masked,
                "unpruned_parameters": sum(
                    p.numel() for p in unpruned[name].parameters(recurse=False)
                ),
            }
        )
    return layers


def quality_in_words(metrics: Any) -> str:
    """Quality on what training held back, as a sentence; empty where unknown."""
    if metrics.get("quality") is None:
        return ""
    held = metrics.get("held_out") or "what was held back"
    figure = words.figure(metrics, digits=3)
    stop = "," if "n_right" in metrics else ""
    return f"{figure}{stop} on {held}{words.certainty(metrics)}"


def found_in_image(prediction: Prediction) -> dict[str, Any]:
    """What was found in one image, ready for JSON."""
    entry: dict[str, Any] = {
        "shape": list(prediction.shape),
        "pixel_size_nm": prediction.scale,
        "complete": prediction.done is None,
        "notes": list(prediction.notes),
        "problems": list(prediction.problems),
    }
    if prediction.task.kind == "detect":
        entry |= _detected(prediction.detections, prediction.task)
    elif prediction.task.kind == "instances":
        entry["n_objects"] = int(prediction.labels.max(initial=0))
    return entry


def found_in_large(prediction: LargePrediction) -> dict[str, Any]:
    """What was found in one image whose maps are on disk, ready for JSON."""
    found = prediction.found
    entry: dict[str, Any] = {
        "shape": list(found.shape),
        "pixel_size_nm": found.scale,
        "complete": prediction.complete,
        "notes": list(prediction.notes),
        "problems": list(prediction.problems),
    }
    if found.task.kind == "instances":
        return entry | {"n_objects": found.counts[1]}
    if found.task.kind == "detect":
        entry |= _detected(found.detections, found.task)
    return entry


def _detected(found: Detections, task: Task) -> dict[str, Any]:
    """Particles and lines of each class."""
    names = list(enumerate(task.classes))[1:]
    return {
        "n_detections": {
            name: int((found.class_index == index).sum()) for index, name in names
        },
        "n_lines": {
            name: int((found.line_class == index).sum()) for index, name in names
        },
    }


def found_in_stack(each: Sequence[Mapping[str, Any]], count: int) -> dict[str, Any]:
    """What was found in a stack, ready for JSON: the sums, and `slices` each alone."""
    first = each[0]
    entry = {
        "shape": [count, *first["shape"]],
        "pixel_size_nm": first["pixel_size_nm"],
        "complete": len(each) == count and all(one["complete"] for one in each),
    } | {
        what: list(dict.fromkeys(said for one in each for said in one[what]))
        for what in ("notes", "problems")
    }
    for what in ("n_detections", "n_lines"):
        if what in first:
            entry[what] = {
                name: sum(one[what][name] for one in each) for name in first[what]
            }
    if "n_objects" in first:
        entry["n_objects"] = sum(one["n_objects"] for one in each)
    return entry | {"slices": list(each)}


def found_in_words(path: Path, entry: dict[str, Any]) -> str:
    """What was found in one image, for people."""
    words = [f"{n} {name}" for name, n in entry.get("n_detections", {}).items() if n]
    words += [f"{n} {name} lines" for name, n in entry.get("n_lines", {}).items() if n]
    if "n_objects" in entry:
        words = [f"{entry['n_objects']} objects"]
    if not words and "n_detections" in entry:
        words = ["nothing found"]
    if not entry["complete"]:
        words.append("not complete")
    return f"{shown_name(path)}: {', '.join(words) or 'done'}"


def table(rows: list[list[str]]) -> str:
    """Return rows as text in columns; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
