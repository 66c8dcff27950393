"""`predict`: images in, probability, labels and detections out."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.cli.driving import Runner
from napari_topiary.cli.reading import add_reading, reading_config
from napari_topiary.config import PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.image_area import image_area
from napari_topiary.io.images import LoadedImage, read_image, readable_suffixes
from napari_topiary.io.targets import (
    Files,
    Target,
    check_folder_target,
    written_by_topiary,
)

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.types import Prediction

DEFAULTS = PredictConfig()
BACKENDS = ("torch",)
RESULTS = ("_probability", "_labels")


def add(verbs: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "predict",
        parents=parents,
        allow_abbrev=False,
        help="run a checkpoint over images",
        description="Run a checkpoint over images and write, by the stem of each: "
        "STEM_probability and STEM_labels, and for detection STEM_detections.csv and "
        "STEM_lines.csv. Images that cannot be predicted are named and left out. "
        "Ctrl-C keeps what is done.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", type=Path)
    parser.add_argument(
        "images", metavar="IMAGE", type=Path, nargs="+", help="image files or folders"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True)
    parser.add_argument("--format", choices=("zarr", "tif"), default="tif")
    parser.add_argument(
        "--tile", metavar="N", type=int, default=DEFAULTS.tile, help="in pixels"
    )
    parser.add_argument("--backend", default="torch", help="torch (default)")
    parser.add_argument(
        "--threshold", type=float, help="lowest probability (default: the best known)"
    )
    parser.add_argument(
        "--spacing",
        type=float,
        default=DEFAULTS.detect.spacing,
        help="smallest distance of two particles, in radii (default: 1)",
    )
    add_reading(parser)
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
    parser.add_argument(
        "--invert",
        action="store_true",
        help="look at the negative, where images have the opposite contrast of those "
        "that were learned from",
    )
    parser.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out images whose results are there and complete",
    )
    parser.set_defaults(run=run, files=files)


def files(options: argparse.Namespace) -> Files:
    """What is read and, by the stem of each image, written."""
    check_folder_target(options.out)
    paths = image_files(options.images)
    names = (f"probability.{options.format}", f"labels.{options.format}")
    writes = tuple(
        Target(options.out / f"{path.stem}_{name}")
        for path in paths
        for name in (*names, "detections.csv", "lines.csv")
    )
    return Files(writes, reads=(options.checkpoint, *paths))


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Predict every image and write the results."""
    config = PredictConfig(
        tile=options.tile,
        device=options.device,
        invert=options.invert,
        detect=reading_config(
            options, threshold=options.threshold, spacing=options.spacing
        ),
    )
    problem = config.problem() or _problem(options)
    if problem is not None:
        raise TopiaryError(problem)
    paths = image_files(options.images)

    from napari_topiary.checkpoint import load_checkpoint
    from napari_topiary.devices import device_label, pick_device
    from napari_topiary.prediction import (
        is_written,
        predict,
        reading_of,
        write_prediction,
    )

    pick_device(options.device)
    checkpoint = load_checkpoint(options.checkpoint)
    network, begun = checkpoint.build(), time.perf_counter()
    filaments = bool(reading_of(checkpoint).line_classes)
    images: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    skipped: list[str] = []
    for path in paths:
        if options.skip_existing and is_written(
            options.out, path.stem, task=checkpoint.task, format=options.format
        ):
            skipped.append(str(path))
            continue

        def warn(sentence: object, name: str = path.name) -> None:
            runner.note(f"{name}: {sentence}")

        try:
            loaded = suited(path, checkpoint, options)
            job = predict(
                loaded.data, checkpoint, config, scale=loaded.scale, network=network
            )
            prediction = runner(job, warn)
        except TopiaryError as error:
            reason = str(error).removeprefix(f"{path.name}: ")
            failed.append({"image": str(path), "reason": reason})
            if len(paths) > 1:
                warn(f"left out. {reason}")
            continue
        for note in (*loaded.notes, *prediction.notes):
            warn(note)
        files = write_prediction(
            options.out,
            path.stem,
            prediction=prediction,
            format=options.format,
            filaments=filaments,
        )
        images.append(_entry(path, prediction, files))
        runner.say(_line(path, images[-1]))
        if runner.interrupted:
            break
    if failed and not images and not skipped:
        first = failed[0]
        others = f" Nor can {len(failed) - 1} others." if len(failed) > 1 else ""
        raise TopiaryError(f"{Path(first['image']).name}: {first['reason']}{others}")
    return {
        "checkpoint": str(options.checkpoint),
        "images": images,
        "n_images": len(images),
        "failed": failed,
        "skipped": skipped,
        "seconds": time.perf_counter() - begun,
        "device": device_label(options.device),
    }


def image_files(given: list[Path]) -> list[Path]:
    """Return the image files that are meant, those in folders included.

    Parameters
    ----------
    given
        Files, folders of images, or zarr arrays.
    """
    suffixes = readable_suffixes()
    found: list[Path] = []
    for path in given:
        if path.is_dir() and path.suffix.lower() not in suffixes:
            inside = sorted(
                file
                for file in path.iterdir()
                if file.suffix.lower() in suffixes
                and not file.name.startswith(".")
                and not _is_result(file)
            )
            if not inside:
                raise TopiaryError(
                    f"The folder {path} holds no image that can be read "
                    f"({', '.join(suffixes)})."
                )
            found += inside
        elif not path.exists():
            raise TopiaryError(f"There is no image {path}: check the name.")
        else:
            found.append(path)
    found = list(dict.fromkeys(found))
    stems = Counter(path.stem for path in found)
    twin, count = stems.most_common(1)[0]
    if count > 1:
        raise TopiaryError(
            f"{count} images are called {twin!r}, so their results would have the "
            "same names: predict them one by one into different folders."
        )
    return found


def _is_result(path: Path) -> bool:
    """Whether a file was written by an earlier prediction into the same folder."""
    return path.stem.endswith(RESULTS) and written_by_topiary(path)


def suited(
    path: Path, checkpoint: Checkpoint, options: argparse.Namespace
) -> LoadedImage:
    """Read an image and bring it to the channels of the checkpoint, or refuse it."""
    from napari_topiary.prediction import as_channels, channels_problem

    loaded = read_image(path)
    data, scale = loaded.data, options.pixel_size or loaded.scale
    wanted = checkpoint.in_channels
    if options.convert:
        data = as_channels(data, wanted)
    elif {data.shape[0], wanted} == {1, 3} and image_area(data).any():
        sentence = channels_problem(data, wanted)
        raise TopiaryError(f"{sentence} Or give --convert.")
    return LoadedImage(data, scale, loaded.notes)


def _problem(options: argparse.Namespace) -> str | None:
    if options.backend not in BACKENDS:
        return (
            f"There is no backend called {options.backend!r}: the only one so far is "
            f"{BACKENDS[0]}."
        )
    size = options.pixel_size
    if size is not None and not 0 < size < float("inf"):
        return f"A pixel size of {size:g} nm is not possible: give more than 0."
    return None


def _entry(
    path: Path, prediction: Prediction, files: dict[str, Path]
) -> dict[str, Any]:
    """What was found in one image, ready for JSON."""
    found, classes = prediction.detections, prediction.task.classes
    entry: dict[str, Any] = {
        "image": str(path),
        "shape": list(prediction.shape),
        "pixel_size_nm": prediction.scale,
        "complete": prediction.done is None,
        "files": {what: str(file) for what, file in files.items()},
        "notes": list(prediction.notes),
    }
    if prediction.task.kind == "detect":
        entry["n_detections"] = {
            name: int((found.class_index == index).sum())
            for index, name in enumerate(classes)
            if index
        }
        entry["n_lines"] = {
            name: int((found.line_class == index).sum())
            for index, name in enumerate(classes)
            if index
        }
    elif prediction.task.kind == "instances":
        entry["n_objects"] = int(prediction.labels.max(initial=0))
    return entry


def _line(path: Path, entry: dict[str, Any]) -> str:
    """What was found in one image, for people."""
    words = [f"{n} {name}" for name, n in entry.get("n_detections", {}).items() if n]
    words += [f"{n} {name} lines" for name, n in entry.get("n_lines", {}).items() if n]
    if "n_objects" in entry:
        words = [f"{entry['n_objects']} objects"]
    if not words and "n_detections" in entry:
        words = ["nothing found"]
    if not entry["complete"]:
        words.append("not complete")
    return f"{path.name}: {', '.join(words) or 'done'}"
