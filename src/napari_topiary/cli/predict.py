"""`predict`: images in, probability, labels and detections out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.cli.describing import (
    found_in_image,
    found_in_large,
    found_in_stack,
    found_in_words,
)
from napari_topiary.cli.driving import Runner
from napari_topiary.cli.forms import add_predicting, predict_config
from napari_topiary.cli.parsing import AddVerb
from napari_topiary.config import PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.image_area import image_area, rows_without_banner
from napari_topiary.io.image_files import SUMMARY, image_files, result_stem
from napari_topiary.io.images import LoadedImage, read_slices
from napari_topiary.io.large_images import LargeImage, is_large, open_large
from napari_topiary.io.pixel_size import pixel_size_problem
from napari_topiary.io.split import listed
from napari_topiary.io.targets import (
    Files,
    OutputFile,
    check_folder_target,
    written_by_topiary,
)

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.inference.measures import Counted
    from napari_topiary.inference.results import ResultFormat
    from napari_topiary.types import Prediction

ONLY_MIDDLES = (
    "of an image of this size the middles of areas are exported to {}, not their "
    "outlines, which are in the labels."
)


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
        "keeps what is done.",
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
        "(QuPath), roi (ImageJ), star (RELION), box (EMAN), cbox (crYOLO), csv (area, "
        "diameter, length, mean intensity of each object, in px and nm)",
    )
    parser.set_defaults(run=run, files=files)


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
    )


def _format(path: Path, options: argparse.Namespace) -> ResultFormat:
    """What the maps of an image are written as: large ones as zarr, if not told."""
    given: ResultFormat | None = options.format
    return given or ("zarr" if is_large(path) else "tif")


def _by_way_of_zarr(path: Path, options: argparse.Namespace) -> bool:
    return _format(path, options) == "tif" and is_large(path)


def _kinds(options: argparse.Namespace) -> tuple[str, ...]:
    """What results are exported as."""
    return tuple(name.strip() for name in options.export.split(",") if name.strip())


def _exports(options: argparse.Namespace, paths: Sequence[Path]) -> list[OutputFile]:
    """Files that lie where something is going to be exported to."""
    kinds = _kinds(options)
    if not kinds:
        return []
    from napari_topiary.inference.exporting import export_endings, export_kinds

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
    from napari_topiary.inference.devices import device_label, pick_device
    from napari_topiary.inference.exporting import export_problem, write_summary
    from napari_topiary.inference.results import is_written

    pick_device(options.device)
    checkpoint = load_checkpoint(options.checkpoint)
    if options.link and checkpoint.task.kind == "segment":
        raise TopiaryError(
            "This network gives every pixel a class and finds no single objects: there "
            "is nothing to link, leave out --link."
        )
    problem = export_problem(_kinds(options), checkpoint.task)
    if problem is not None:
        raise TopiaryError(problem)
    begun = time.perf_counter()
    predictor = _Predictor(checkpoint, config, options, runner)
    images: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    skipped: list[str] = []
    for path in paths:
        if options.skip_existing and is_written(
            options.out,
            result_stem(path),
            task=checkpoint.task,
            format=_format(path, options),
        ):
            skipped.append(str(path))
            continue
        try:
            images.append(predictor.file(path))
        except TopiaryError as error:
            reason = str(error).removeprefix(f"{path.name}: ")
            failed.append({"image": str(path), "reason": reason})
            if len(paths) > 1:
                runner.note(f"{path.name}: left out. {reason}")
            continue
        runner.say(found_in_words(path, images[-1]))
        if runner.interrupted:
            break
    if failed and not images and not skipped:
        first = failed[0]
        others = f" Nor can {len(failed) - 1} others." if len(failed) > 1 else ""
        raise TopiaryError(f"{Path(first['image']).name}: {first['reason']}{others}")
    summary = write_summary(options.out, predictor.rows)
    return {
        "checkpoint": str(options.checkpoint),
        "images": images,
        "summary": str(summary),
        "n_images": len(images),
        "failed": failed,
        "skipped": skipped,
        "seconds": time.perf_counter() - begun,
        "device": device_label(predictor.engine.device),
        "backend": predictor.engine.backend,
        "precision": predictor.engine.precision,
    }


class _Predictor:
    """Predicts files, images and stacks alike, and writes the results.

    Parameters
    ----------
    checkpoint, config
        What looks, and how.
    options
        What was asked for.
    runner
        Runs the predictions and tells what there is to say.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: PredictConfig,
        options: argparse.Namespace,
        runner: Runner,
    ) -> None:
        from napari_topiary.inference.engine import Engine
        from napari_topiary.postprocessing.interpret import PostProcessing

        self.checkpoint, self.config = checkpoint, config
        self.options, self.runner = options, runner
        self.rows: list[dict[str, Any]] = []
        self.engine = Engine(checkpoint.build(), config.device, backend=config.backend)
        how = PostProcessing.of(checkpoint, config.detect)
        self.thresholds = how.thresholds
        self.form: dict[str, Any] = {
            "format": options.format or "tif",
            "filaments": bool(how.line_classes),
        }

    def file(self, path: Path) -> dict[str, Any]:
        """Predict all that is in a file; return what was found, ready for JSON."""
        from napari_topiary.inference.results import (
            write_prediction,
            write_stack_prediction,
        )
        from napari_topiary.postprocessing import Numbering

        out, stem = self.options.out, result_stem(path)
        large = open_large(path)
        if large is not None and len(large) == 1:
            return self._large(path, large[0])
        slices = list(read_slices(path))
        rows = rows_without_banner(slices[0].data)
        if rows is not None and self.options.cut_banner:
            slices = [replace(one, data=one.data[:, slice(*rows)]) for one in slices]
        if rows is not None:
            from napari_topiary.inference.large.running import banner_note

            said = banner_note(*rows, is_cut=self.options.cut_banner)
            slices[0] = replace(slices[0], notes=(*slices[0].notes, said))
        if len(slices) == 1:
            prediction = self._image(path, slices[0])
            files = write_prediction(out, stem, prediction=prediction, **self.form)
            files |= self._export(path, stem, slices[0], prediction)
            self._count(path.name, prediction)
            entry = found_in_image(prediction)
            self._tell(path, [entry])
        else:
            each: list[dict[str, Any]] = []
            numbering = Numbering(linked=self.options.link)
            files = write_stack_prediction(
                out,
                stem,
                predictions=self._slices(path, slices, each),
                count=len(slices),
                numbering=numbering,
                **self.form,
            )
            entry = found_in_stack(each, len(slices))
            if self.options.link:
                entry["n_objects"] = numbering.count
            self._tell(path, each)
        names = {what: str(file) for what, file in files.items()}
        return {"image": str(path), **entry, "files": names}

    def _large(self, path: Path, image: LargeImage) -> dict[str, Any]:
        """Predict an image that is too large to be read whole."""
        from napari_topiary.inference.exporting import write_exports
        from napari_topiary.inference.large import predict_large
        from napari_topiary.inference.results import large_as_tiff, write_tables

        out, stem = self.options.out, result_stem(path)
        kinds, as_tiff = _kinds(self.options), self.options.format == "tif"
        outlined = [kind for kind in kinds if kind in ("geojson", "roi")]
        job = predict_large(
            image,
            self.checkpoint,
            self.config,
            scale=self.options.pixel_size or image.scale,
            folder=out,
            stem=stem,
            engine=self.engine,
            convert=self.options.convert,
            cut_banner=self.options.cut_banner,
            measure=bool(kinds),
            stored="float16" if as_tiff else self.options.probability,
        )
        prediction = self.runner(
            job, lambda said: self.runner.note(f"{path.name}: {said}")
        )
        found = prediction.found
        files = dict(prediction.files)
        if as_tiff:
            files = large_as_tiff(files)
        files |= write_tables(out, stem, found=found, filaments=self.form["filaments"])
        if kinds:
            files |= write_exports(
                out, stem, prediction=found, kinds=kinds, image_name=path.name
            )
        if outlined and self.checkpoint.task.kind != "detect":
            self.runner.note(f"{path.name}: {ONLY_MIDDLES.format(', '.join(outlined))}")
        self._count(path.name, found)
        entry = found_in_large(prediction)
        self._tell(path, [entry])
        names = {what: str(file) for what, file in files.items()}
        return {"image": str(path), **entry, "files": names}

    def _image(self, path: Path, loaded: LoadedImage) -> Prediction:
        from napari_topiary.inference.predict import predict

        image = suited(loaded, self.checkpoint, self.options)
        job = predict(
            image.data,
            self.checkpoint,
            self.config,
            scale=image.scale,
            network=self.engine,
        )
        prediction = self.runner(
            job, lambda said: self.runner.note(f"{path.name}: {said}")
        )
        return replace(prediction, notes=(*loaded.notes, *prediction.notes))

    def _slices(
        self, path: Path, slices: Sequence[LoadedImage], each: list[dict[str, Any]]
    ) -> Iterator[Prediction]:
        """Predict a stack; what was found in each slice is added to `each`."""
        digits, stem = len(str(len(slices) - 1)), result_stem(path)
        for index, loaded in enumerate(slices):
            prediction = self._image(path, loaded)
            name = f"z{index:0{digits}d}"
            files = self._export(path, f"{stem}_{name}", loaded, prediction)
            self._count(f"{path.name} {name}", prediction)
            each.append(
                found_in_image(prediction)
                | {"files": {k: str(v) for k, v in files.items()}}
            )
            yield prediction
            if self.runner.interrupted:
                return

    def _count(self, name: str, prediction: Prediction | Counted) -> None:
        """Remember what is in one image, for the summary."""
        from napari_topiary.inference.measures import summary_rows

        self.rows += summary_rows(name, prediction, thresholds=self.thresholds)

    def _export(
        self, path: Path, stem: str, loaded: LoadedImage, prediction: Prediction
    ) -> dict[str, Path]:
        """Write what was found in one image for other programs."""
        from napari_topiary.inference.exporting import write_exports

        return write_exports(
            self.options.out,
            stem,
            prediction=prediction,
            kinds=_kinds(self.options),
            image_name=path.name,
            image=loaded.data,
        )

    def _tell(self, path: Path, each: Sequence[Mapping[str, Any]]) -> None:
        """Say what there is to say, and of which slices if not of all of them."""
        said: dict[str, list[str]] = {}
        for index, entry in enumerate(each):
            for note in entry["notes"]:
                said.setdefault(note, []).append(str(index))
        for note, where in said.items():
            some = f", slice {listed(where)}" if len(where) < len(each) else ""
            self.runner.note(f"{path.name}{some}: {note}")


def suited(
    loaded: LoadedImage, checkpoint: Checkpoint, options: argparse.Namespace
) -> LoadedImage:
    """Bring an image to the channels of the checkpoint, or refuse it."""
    from napari_topiary.inference.suitability import as_channels, channels_problem

    data, scale = loaded.data, options.pixel_size or loaded.scale
    wanted = checkpoint.in_channels
    if options.convert:
        data = as_channels(data, wanted)
    elif {data.shape[0], wanted} == {1, 3} and image_area(data).any():
        sentence = channels_problem(data, wanted)
        raise TopiaryError(f"{sentence} Or give --convert.")
    return LoadedImage(data, scale, loaded.notes)


def _problem(options: argparse.Namespace) -> str | None:
    size = options.pixel_size
    return None if size is None else pixel_size_problem(size) or None
