"""`info`: what a checkpoint is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_topiary import words
from napari_topiary.cli.describing import (
    describe,
    quality_in_words,
    table,
)
from napari_topiary.cli.driving import Runner
from napari_topiary.cli.parsing import AddVerb
from napari_topiary.io.output_files import Files


def add(verb: AddVerb) -> None:
    """Add the verb to the command line."""
    parser = verb(
        description="Say what a checkpoint is: size, work, sparsity, layers, origin."
    )
    parser.add_argument("checkpoint", metavar="CKPT", type=Path)
    parser.set_defaults(run=run, files=files)


def files(options: argparse.Namespace) -> Files:
    """What is read; the description goes to the screen."""
    return Files(reads=(options.checkpoint,))


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Describe a checkpoint."""
    from napari_topiary.checkpoint import load_checkpoint

    about = describe(load_checkpoint(options.checkpoint))
    runner.say(_text(about))
    return about


def _text(about: dict[str, Any]) -> str:
    kept = about["parameters_nonzero"]
    nm, seen = about["pixel_size_nm"], about["working_pixel_size_nm"]
    rows = [
        ("network", f"{about['network']} {_sizes(about['sizes'])}"),
        ("task", f"{about['task']}: {', '.join(about['classes'])}"),
        ("weights", f"{kept:,} of {about['unpruned_parameters']:,}"),
        ("sparsity", f"{about['sparsity']:.1%} (CR {about['compression_ratio']:.3g})"),
        ("MACs per pixel", _macs(about)),
        ("values", _values(about)),
        ("file", words.file_size(about["file_bytes"])),
        ("pixel size", "unknown" if nm is None else f"{nm:g} nm, seen at {seen:.3g}"),
        ("thresholds", _thresholds(about["thresholds"])),
        ("quality", quality_in_words(about["metrics"]) or "not measured"),
        ("pruned", "; ".join(map(_pruning, about["pruning"])) or "no"),
        ("made", _made(about["provenance"])),
    ]  # fmt: skip
    lines = [f"{name:<15} {value}" for name, value in rows]
    layers = [["layer", "kind", "shape", "weights", "kept"]]
    for layer in about["layers"]:
        kept = layer["parameters_nonzero"] / max(1, layer["unpruned_parameters"])
        shape = "x".join(map(str, layer["shape"]))
        layers.append(
            [
                layer["name"],
                layer["kind"],
                shape,
                f"{layer['parameters']:,}",
                f"{kept:.0%}",
            ]
        )
    return "\n".join(lines) + "\n\n" + table(layers)


def _sizes(sizes: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in sizes.items() if v not in (None, False))


def _macs(about: dict[str, Any]) -> str:
    """What a pixel costs; one that is classified by its patch may cost all of that."""
    counted = words.count(about["macs_per_pixel"])
    if about["patch"] is None:
        return counted
    return f"{counted} {'in a whole image' if about['dense'] else 'for its patch'}"


def _values(about: dict[str, Any]) -> str:
    """Memory of everything that the layers make of one image."""
    side = about["patch"]
    of = "an image of 32" if side is None else f"a patch of {side}"
    return (
        f"{words.file_size(about['activation_bytes'])} for {of} × {side or 32} pixels"
    )


def _thresholds(thresholds: dict[str, float]) -> str:
    found = ", ".join(f"{name} {value:.2f}" for name, value in thresholds.items())
    return found or "0.5"


def _pruning(entry: dict[str, Any]) -> str:
    share, how = entry.get("share", 0.0), (entry.get("criterion"), entry.get("scope"))
    return f"{share:.1%} gone as {entry.get('kind')} ({how[0]}, {how[1]})"


def _made(provenance: dict[str, Any]) -> str:
    parts = [
        str(provenance.get("created", ""))[:19].replace("T", " "),
        f"{provenance['steps']} steps" if "steps" in provenance else "",
        f"{provenance['seconds']:g} s" if "seconds" in provenance else "",
        f"on {provenance['device']}" if "device" in provenance else "",
        f"seed {provenance['seed']}" if "seed" in provenance else "",
    ]
    return ", ".join(part for part in parts if part) or "unknown"
