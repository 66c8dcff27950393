"""`import`: somebody else's images and annotations into a dataset folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_topiary.cli.driving import Runner
from napari_topiary.errors import TopiaryError
from napari_topiary.io.targets import Files, targets_in


def add(verbs: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "import",
        parents=parents,
        allow_abbrev=False,
        help="turn the public set of virus images into a dataset folder",
        description="Turn a folder of the public virus images (Context Virus, branch "
        "RAW) into a dataset folder: particle positions become points and "
        "centerlines, tags the pixel size, folders the classes and the split.",
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--out", metavar="DATASET", type=Path, required=True)
    parser.add_argument(
        "--radius",
        metavar="CLASS=NM",
        action="append",
        default=[],
        help="radius of a class in nm; may be repeated (default: the virus' usual "
        "size, a general value)",
    )
    parser.add_argument(
        "--channel",
        metavar="N",
        type=int,
        default=1,
        help="which channel of images that have several (default: 1, the first)",
    )
    parser.set_defaults(run=run, files=files)


def files(options: argparse.Namespace) -> Files:
    """What is read, and a data set that may be there already."""
    patterns = ("dataset.json", "images/*", "labels/*", "points/*", "centerlines/*")
    return Files(targets_in(options.out, patterns), reads=(options.folder,))


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Take everything over and report."""
    from napari_topiary.io.virus_folder import import_virus_folder

    radii = dict(_radius(text) for text in options.radius)
    dataset = runner(
        import_virus_folder(
            options.folder, options.out, radius_nm=radii, channel=options.channel
        )
    )
    parts = {part: len(names) for part, names in dataset.parts.items()}
    counts = ", ".join(f"{part} {count}" for part, count in parts.items())
    runner.say(
        f"{options.out}: {len(dataset.samples)} images ({counts}) of "
        f"{len(dataset.task.classes) - 1} classes. Radii are the viruses' usual ones "
        "unless given: check them against your images."
    )
    return {
        "dataset": str(options.out),
        "n_images": len(dataset.samples),
        "parts": parts,
        "classes": list(dataset.task.classes),
        "radius_nm": dict(dataset.task.radius_nm),
    }


def _radius(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        radius = float(value)
    except ValueError:
        radius = 0.0
    if not (equals and name.strip() and 0 < radius < float("inf")):
        raise TopiaryError(
            f"--radius {text} is not understood: write CLASS=NM, for instance Orf=100."
        )
    return name.strip(), radius
