"""`import`: somebody else's images and annotations into a dataset folder."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from napari_topiary.annotations import annotation_kinds
from napari_topiary.cli.driving import Runner
from napari_topiary.cli.parsing import AddVerb, add_fields, given
from napari_topiary.errors import TopiaryError
from napari_topiary.forms import number_problem
from napari_topiary.io.importing.meaning import ImportConfig
from napari_topiary.io.importing.reviewing import (
    ImportReview,
    import_reviewed,
    review_folder,
)
from napari_topiary.io.importing.virus_files import POSITIONS
from napari_topiary.io.importing.virus_folder import import_virus_folder
from napari_topiary.io.output_files import Files, targets_in
from napari_topiary.io.plain_files import DESCRIPTION

SETTINGS = ("task", "pixel_size_nm", "only", "number_pieces", "invert_masks")
COORDINATES = ("units", "flip_y", "swap_axes", "binned")
"""Fields of the form as the help lists them."""
SHOWN = 60
"""Rows of the table in a terminal; --json has all of them."""


def add(verb: AddVerb) -> None:
    """Add the verb to the command line."""
    parser = verb(
        description="Pair the images of a folder with annotations (label images, CSV, "
        "STAR, BOX, CBOX, Topaz, cryoSPARC, QuPath GeoJSON, ImageJ ROIs, ImageScope "
        "XML, COCO), show the table, and with --yes write the data set. Ambiguous "
        "pairs are shown and never used. The public virus images (Context Virus, "
        "branch RAW) are known by their position files and taken over without asking."
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--out", metavar="DATASET", type=Path, required=True)
    parser.add_argument(
        "--yes", action="store_true", help="write the data set without asking"
    )
    parser.add_argument(
        "--classes",
        metavar="NAMES",
        default="",
        help="names of the painted numbers 1, 2, ..., with commas between them; the "
        "first is also that of marks without a class",
    )
    parser.add_argument(
        "--radius",
        metavar="CLASS=NM",
        action="append",
        default=[],
        help="radius of a class in nm, or in pixels (CLASS=12px), or of all (40); may "
        "be repeated",
    )
    add_fields(parser, ImportConfig, SETTINGS)
    group = parser.add_argument_group("coordinates of tables")
    add_fields(group, ImportConfig, COORDINATES)
    parser.add_argument(
        "--channel",
        metavar="N",
        type=int,
        default=1,
        help="public virus images: which channel of those that have several",
    )
    parser.set_defaults(run=run, files=files)


def files(options: argparse.Namespace) -> Files:
    """What is read, and a data set that may be there already."""
    if not options.yes and not _asks() and not _is_virus_folder(options.folder):
        return Files(reads=(options.folder,))  # nothing is going to be written
    folders = ("images", *annotation_kinds)
    patterns = tuple(f"{folder}/*" for folder in folders)
    return Files(
        targets_in(options.out, patterns, names=(DESCRIPTION,)),
        reads=(options.folder,),
        folder=options.out,
    )


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Show the table, and take everything over if that is wanted."""
    problem = number_problem("Channel", options.channel, low=1, high=1000, whole=True)
    if problem is not None:
        raise TopiaryError(problem)
    if _is_virus_folder(options.folder):
        return _virus_folder(options, runner)
    radius_nm, radius_px = _radii(options.radius)
    config = ImportConfig(
        **given(options, ImportConfig)
        | {
            "classes": tuple(
                n.strip() for n in options.classes.split(",") if n.strip()
            ),
            "radius_nm": radius_nm,
            "radius_px": radius_px,
        }
    )
    review = runner(review_folder(options.folder, config, without=options.out))
    result = _as_json(review)
    _show(review, runner)
    if not review.used:
        raise TopiaryError(review.problem)
    for note in (*review.notes, *_notes(review)):
        runner.note(note)
    if not options.yes and not (_asks() and not review.problem and _answer(options)):
        runner.note(review.problem)
        runner.say("Nothing is written yet: --yes writes the data set.")
        return {**result, "dataset": None}
    if runner.interrupted:
        return {**result, "dataset": None}
    dataset = runner(import_reviewed(review, options.out))
    parts = {part: len(names) for part, names in dataset.parts.items()}
    runner.say(f"{options.out}: {len(dataset.samples)} images written.")
    problems = [
        f"{row.pair.image.name} with {row.pair.annotation.name}: left out, "
        f"{row.pair.reason}"
        for row in review.left_out
    ]
    return {
        **result,
        "dataset": str(options.out),
        "n_images": len(dataset.samples),
        "parts": parts,
        "problems": problems,
    }


def _as_json(review: ImportReview) -> dict[str, Any]:
    meaning = review.meaning
    about: dict[str, Any] = {}
    if meaning is not None:
        about = {
            "task": meaning.task.kind,
            "classes": list(meaning.task.classes),
            "radius_nm": dict(meaning.task.radius_nm),
            "radius_px": dict(meaning.task.radius_px),
        }
    return {
        "pairs": review.table(),
        "unused": [
            {
                "file": one.path.relative_to(review.folder).as_posix(),
                "reason": one.reason,
            }
            for one in review.unused
        ],
        "missing": review.problem,
        **about,
    }


def _show(review: ImportReview, runner: Runner) -> None:
    """Write the table for people."""
    head = ("image", "annotation", "marks", "confidence", "reason")
    rows = [
        (row["image"], row["annotation"], str(row["count"]), row["confidence"],
         row["reason"])
        for row in review.table()
    ]  # fmt: skip
    shown = [head, *rows[:SHOWN]]
    widths = [max(len(row[i]) for row in shown) for i in range(4)]
    for row in shown:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        runner.say("  ".join([*cells, row[4]]).rstrip())
    if len(rows) > SHOWN:
        runner.say(f"... and {len(rows) - SHOWN} more")
    for one in review.unused[:SHOWN]:
        runner.say(f"not used: {one.path.relative_to(review.folder)} ({one.reason})")
    meaning = review.meaning
    if meaning is not None:
        runner.say(
            f"{len(review.used)} of {len(rows)} pairs for a data set of the kind "
            f"{meaning.task.kind}, classes {', '.join(meaning.task.classes)}."
        )


def _notes(review: ImportReview) -> list[str]:
    """What is to be said about pairs, each sentence once."""
    said = Counter(note for row in review.used for note in row.notes)
    first = {n: row.name for row in reversed(review.used) for n in row.notes}
    every = [
        f"{first[note]}{f' and {count - 1} more' if count > 1 else ''}: {note}"
        for note, count in said.items()
    ]
    more = len(every) - SHOWN
    return [*every[:SHOWN], *([f"... and {more} more notes"] if more > 0 else [])]


def _asks() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _answer(options: argparse.Namespace) -> bool:
    try:
        answer = input(f"Write the data set {options.out}? [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


def _is_virus_folder(folder: Path) -> bool:
    """Whether it holds the public virus images, known by their position files."""
    return folder.is_dir() and next(folder.rglob(f"*{POSITIONS}"), None) is not None


def _virus_folder(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    radii, others = _radii(options.radius)
    if others or "" in radii:
        raise TopiaryError(
            "Radii of the public virus images are given in nm for a class: --radius "
            "CLASS=NM, for instance Orf=100."
        )
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


def _radii(given: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Radii in nm and in pixels, by class; an empty name is every class."""
    in_nm, in_px = dict[str, float](), dict[str, float]()
    for text in given:
        name, equals, value = text.rpartition("=")
        value = value.strip().lower()
        in_pixels = value.endswith("px")
        try:
            radius = float(value.removesuffix("px").removesuffix("nm"))
        except ValueError:
            radius = 0.0
        if bool(equals) != bool(name.strip()) or not 0 < radius < float("inf"):
            raise TopiaryError(
                f"--radius {text} is not understood: write CLASS=NM, for instance "
                "Orf=100, or CLASS=12px for pixels."
            )
        (in_px if in_pixels else in_nm)[name.strip()] = radius
    return in_nm, in_px
