"""`export`: a network for other programs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_topiary import words
from napari_topiary.cli.driving import Runner
from napari_topiary.cli.parsing import AddVerb
from napari_topiary.io.output_files import Files, OutputFile


def add(verb: AddVerb) -> None:
    """Add the verb to the command line."""
    parser = verb(
        description="Write the network of a checkpoint for other programs. It takes "
        "images that are normalised and scaled as in training, and answers with "
        "probabilities; the file says how. It is compared with the original before it "
        "is written. The checkpoint is not changed."
    )
    parser.add_argument("checkpoint", metavar="CKPT", type=Path)
    parser.add_argument(
        "--format",
        metavar="onnx|bioimageio",
        required=True,
        help="onnx: one .onnx file for every program that runs such networks (needs "
        "the package onnx); bioimageio: a .zip for programs that open models "
        "of bioimage.io, such as ilastik, deepImageJ and QuPath",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, required=True)
    parser.add_argument(
        "--author", default="", help="who made the network (bioimageio)"
    )
    parser.add_argument(
        "--license",
        metavar="NAME",
        default="",
        help="by which licence others may use it, such as CC-BY-4.0 (bioimageio; if "
        "not given, none is stated)",
    )
    parser.set_defaults(run=run, files=files)


def files(options: argparse.Namespace) -> Files:
    """What is read and written."""
    return Files((OutputFile(options.out),), reads=(options.checkpoint,))


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Write the file, and report how it compares with the original."""
    from napari_topiary.checkpoint import load_checkpoint
    from napari_topiary.export import export_network, export_target
    from napari_topiary.inference.devices import pick_device

    pick_device(options.device)
    export_target(options.out, options.format)
    made = runner(
        export_network(
            load_checkpoint(options.checkpoint),
            options.out,
            options.format,
            author=options.author,
            licence=options.license,
            overwrite=options.overwrite,
        )
    )
    result: dict[str, Any] = {
        "checkpoint": str(options.checkpoint),
        "format": options.format,
        "out": None,
    }
    if made is None:
        runner.note("Stopped: nothing was written.")
        return result
    for note in made.notes:
        runner.note(note)
    off, size = made.largest_difference, len(made.content)
    compared = "not run here" if off is None else f"differs from torch by {off:.1g}"
    runner.say(f"{options.out} ({words.file_size(size)}): {compared}.")
    return result | {
        "out": str(options.out),
        "file_bytes": size,
        "maps": made.model.maps,
        "working_pixel_size_nm": made.model.pixel_size_nm,
        "stride": made.model.stride,
        "halo": made.model.network.halo,
        "checks": [asdict(one) for one in made.checks],
        "largest_difference": off,
    }
