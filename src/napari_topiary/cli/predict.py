"""`predict`: images in, probability, labels and detections out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.cli.describing import found_in_words
from napari_topiary.cli.driving import Runner
from napari_topiary.cli.file_predictor import FilePredictor, export_formats
from napari_topiary.cli.parsing import (
    AddVerb,
    add_fields,
    add_predicting,
    predict_config,
)
from napari_topiary.config import PredictConfig
from napari_topiary.errors import TopiaryError, place_of, sentence_for
from napari_topiary.io.image_files import (
    SUMMARY,
    image_files,
    passed_over,
    result_stem,
    shown_name,
)
from napari_topiary.io.large_images import is_large
from napari_topiary.io.output_files import Files, OutputFile, check_folder_target
from napari_topiary.io.own_files import written_by_topiary
from napari_topiary.io.pixel_size import pixel_size_problem

if TYPE_CHECKING:
    from napari_topiary.inference.results import ResultFormat


def add(verb: AddVerb) -> None:
    """Add the verb to the command line."""
    parser = verb(
        description="Run a checkpoint over images and write, by the stem of each: "
        "STEM_probability and STEM_labels, and for detection STEM_detections.csv and "
        "STEM_lines.csv; summary.csv counts what is in each. Stacks are predicted "
        "slice by slice, and their results are stacks too; in tables axis-0 is then "
        "the slice. Images of more than 32 megapixels are predicted part by part into "
        "OME-Zarr; after Ctrl-C the same command goes on where it stopped. Images "
        "that cannot be predicted are named and left out. Ctrl-C "
        "keeps what is done."
    )
    parser.add_argument("checkpoint", metavar="CKPT", type=Path)
    parser.add_argument(
        "images", metavar="IMAGE", type=Path, nargs="+", help="image files or folders"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True)
    parser.add_argument(
        "--format",
        choices=("zarr", "tif"),
        help="of probability and labels (default: tif, of large images zarr)",
    )
    parser.add_argument(
        "--probability",
        choices=("float16", "uint8"),
        default="float16",
        help="how probabilities of large images are stored; uint8 (255ths) take half "
        "the space (default: float16)",
    )
    add_predicting(parser)
    add_fields(parser, PredictConfig, ("scheduler", "workers"))
    parser.add_argument(
        "--pixel-size",
        metavar="NM",
        type=float,
        help="nm per pixel of the images, where the files do not say or are wrong",
    )
    parser.add_argument(
        "--convert",
        action="store_true",
        help="make colour images grey, or grey ones colour, as the checkpoint needs",
    )
    _add_results(parser)
    parser.set_defaults(run=run, files=files)


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out images whose results are there and complete",
    )
    parser.add_argument(
        "--cut-banner",
        action="store_true",
        help="cut off the information banner of microscopes: results are of what is "
        "left (otherwise they are empty there)",
    )
    parser.add_argument(
        "--link",
        action="store_true",
        help="give objects of a stack that overlap from slice to slice one number",
    )
    parser.add_argument(
        "--export",
        metavar="FORMATS",
        default="",
        help="write what is found for other programs too, with commas between: geojson "
        "(QuPath), roi (ImageJ), star (RELION), box (EMAN; whole pixels), cbox "
        "(crYOLO), csv (area, diameter, length, mean intensity of each object, in px "
        "and nm), png (a picture: what was found, drawn on the image)",
    )


def files(options: argparse.Namespace) -> Files:
    """What is read and, by the stem of each image, written."""
    check_folder_target(options.out)
    paths = image_files(options.images)
    writes = tuple(
        OutputFile(options.out / f"{result_stem(path)}_{name}")
        for path in paths
        for name in (
            f"probability.{_format(path, options)}",
            f"labels.{_format(path, options)}",
            "detections.csv",
            "lines.csv",
            # On the way to TIFF, large images have results in zarr.
            *(
                ("probability.zarr", "labels.zarr")
                if _by_way_of_zarr(path, options)
                else ()
            ),
        )
    )
    return Files(
        (*writes, OutputFile(options.out / SUMMARY), *_exports(options, paths)),
        reads=(options.checkpoint, *paths),
        folder=options.out,
    )


def _format(path: Path, options: argparse.Namespace) -> ResultFormat:
    """What the maps of an image are written as: large ones as zarr, if not told."""
    given: ResultFormat | None = options.format
    return given or ("zarr" if is_large(path) else "tif")


def _by_way_of_zarr(path: Path, options: argparse.Namespace) -> bool:
    return _format(path, options) == "tif" and is_large(path)


def _exports(options: argparse.Namespace, paths: Sequence[Path]) -> list[OutputFile]:
    """Files that lie where something is going to be exported to."""
    kinds = export_formats(options)
    if not kinds:
        return []
    from napari_topiary.inference.result_exports import export_endings, export_kinds

    endings = export_endings([kind for kind in kinds if kind in export_kinds()])
    found = list[OutputFile]()
    for path in paths:
        stem = result_stem(path)
        there = {
            file
            for ending in endings
            for slices in ("", "_z*")
            for file in options.out.glob(f"{escape(stem)}{slices}{ending}")
        }
        labels = options.out / f"{stem}_labels.{_format(path, options)}"
        if labels.exists() and written_by_topiary(labels):
            # Boxes are numbers alone and cannot be told: they go with the labels.
            there = {file for file in there if file.suffix != ".box"}
        found += map(OutputFile, sorted(there))
    return found


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Predict every image and write the results."""
    config = predict_config(options)
    problem = config.problem() or _problem(options)
    if problem is not None:
        raise TopiaryError(problem)
    paths = image_files(options.images)

    from napari_topiary.checkpoint import load_checkpoint
    from napari_topiary.inference.cluster import engine_for
    from napari_topiary.inference.devices import device_label, pick_device
    from napari_topiary.inference.result_exports import export_problem, write_summary

    if not config.scheduler:
        pick_device(options.device)
    checkpoint = load_checkpoint(options.checkpoint)
    if options.link and checkpoint.task.kind == "segment":
        raise TopiaryError(
            "This network gives every pixel a class and finds no single objects: there "
            "is nothing to link, leave out --link."
        )
    problem = export_problem(export_formats(options), checkpoint.task)
    if problem is not None:
        raise TopiaryError(problem)
    for sentence in passed_over(options.images):
        runner.note(sentence)
    begun = time.perf_counter()
    with engine_for(checkpoint, config) as engine:
        predictor = FilePredictor(checkpoint, config, options, runner, engine)
        images, failed, skipped = _through(paths, predictor)
    if failed and not images and not skipped:
        first = failed[0]
        others = f" Nor can {len(failed) - 1} others." if len(failed) > 1 else ""
        name, reason = Path(first["image"]).name, first["reason"]
        said = reason if reason.startswith(f"{name} ") else f"{name}: {reason}"
        raise TopiaryError(f"{said}{others}")
    summary = write_summary(options.out, predictor.rows)
    problems = dict.fromkeys(said for one in images for said in one["problems"])
    return {
        "checkpoint": str(options.checkpoint),
        "images": images,
        "summary": str(summary),
        "n_images": len(images),
        "failed": failed,
        "problems": list(problems),
        "skipped": skipped,
        "seconds": time.perf_counter() - begun,
        "device": device_label(engine.device),
        "backend": engine.backend,
        "precision": engine.precision,
    }


def _through(
    paths: Sequence[Path], predictor: FilePredictor
) -> tuple[list[dict[str, Any]], list[dict[str, str]], list[str]]:
    """Predict file after file; return what was found, what failed and was left out."""
    from napari_topiary.inference.leftovers import remove_leftovers
    from napari_topiary.inference.results import is_written

    options, runner = predictor.options, predictor.runner
    images: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    skipped: list[str] = []
    for path in paths:
        if options.skip_existing and is_written(
            options.out,
            result_stem(path),
            task=predictor.checkpoint.task,
            format=_format(path, options),
        ):
            skipped.append(str(path))
            continue
        try:
            images.append(predictor.file(path))
        except Exception as error:  # whatever it is, the other images are predicted
            reason = sentence_for(error, "Predicting it", details=place_of(error))
            reason = reason.removeprefix(f"{path.name}: ")
            failed.append({"image": str(path), "reason": reason})
            if len(paths) > 1:
                runner.note(f"{shown_name(path)}: left out. {reason}")
            continue
        runner.say(found_in_words(path, images[-1]))
        if runner.interrupted:
            break
        made = [images[-1], *images[-1].get("slices", ())]
        stay = remove_leftovers(
            options.out,
            result_stem(path),
            written=[Path(one) for entry in made for one in entry["files"].values()],
            task=predictor.checkpoint.task,
        )
        runner.note(stay)
    return images, failed, skipped


def _problem(options: argparse.Namespace) -> str | None:
    size = options.pixel_size
    return None if size is None else pixel_size_problem(size) or None
