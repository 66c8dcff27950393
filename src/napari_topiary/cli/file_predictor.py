"""Files that are predicted one after the other: images, stacks, and what is large."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.cli.describing import found_in_image, found_in_large, found_in_stack
from napari_topiary.cli.driving import Runner
from napari_topiary.config import PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.image_area import image_area, rows_without_banner
from napari_topiary.io.image_files import result_stem, shown_name
from napari_topiary.io.images import LoadedImage, read_slices
from napari_topiary.io.large_images import LargeImage, open_large
from napari_topiary.words import listed

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.inference.cluster import Cluster
    from napari_topiary.inference.engine import Engine
    from napari_topiary.inference.measures import Counted
    from napari_topiary.types import Prediction

ONLY_MIDDLES = (
    "of an image of this size the middles of areas are exported to {}, not their "
    "outlines, which are in the labels."
)


def export_formats(options: argparse.Namespace) -> tuple[str, ...]:
    """What results are exported as, beside maps and tables."""
    words = options.export.lower().split(",")
    return tuple(word.strip() for word in words if word.strip())


class FilePredictor:
    """Predicts files, images and stacks alike, and writes the results.

    Parameters
    ----------
    checkpoint, config
        What looks, and how.
    options
        What was asked for.
    runner
        Runs the predictions and tells what there is to say.
    engine
        Runs the checkpoint's network.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: PredictConfig,
        options: argparse.Namespace,
        runner: Runner,
        engine: Engine | Cluster,
    ) -> None:
        from napari_topiary.postprocessing.interpret import PostProcessing

        self.checkpoint, self.config = checkpoint, config
        self.options, self.runner = options, runner
        self.rows: list[dict[str, Any]] = []
        self.engine = engine
        how = PostProcessing.of(checkpoint, config.detect)
        self.thresholds = how.thresholds
        self.form: dict[str, Any] = {
            "format": options.format or "tif",
            "filaments": bool(how.line_classes),
            "overwrite": True,  # what is there was asked about before
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
            from napari_topiary.inference.large.measuring import banner_note

            said = banner_note(*rows, is_cut=self.options.cut_banner)
            slices[0] = replace(slices[0], notes=(*slices[0].notes, said))
        if len(slices) == 1:
            prediction = self._image(path, slices[0])
            files = write_prediction(out, stem, prediction=prediction, **self.form)
            files |= self._export(path, stem, slices[0], prediction)
            self._count(shown_name(path), prediction)
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
        from napari_topiary.inference.large.running import predict_large
        from napari_topiary.inference.large.writing import ResultFiles
        from napari_topiary.inference.overlay import overlay_of
        from napari_topiary.inference.result_exports import write_exports
        from napari_topiary.inference.results import large_as_tiff, write_tables

        out, stem = self.options.out, result_stem(path)
        kinds, as_tiff = export_formats(self.options), self.options.format == "tif"
        outlined = [kind for kind in kinds if kind in ("geojson", "roi")]
        job = predict_large(
            image,
            self.checkpoint,
            self.config,
            scale=self.options.pixel_size or image.scale,
            engine=self.engine,
            into=ResultFiles(
                folder=out,
                stem=stem,
                measure=bool(kinds),
                stored="float16" if as_tiff else self.options.probability,
            ),
            convert=self.options.convert,
            cut_banner=self.options.cut_banner,
        )
        prediction = self.runner(job, about=shown_name(path))
        found = prediction.found
        exported: dict[str, Path] = {}
        if kinds:
            exported = write_exports(
                out,
                stem,
                prediction=found,
                kinds=kinds,
                image_name=shown_name(path),
                overlay=partial(overlay_of, prediction, image),
            )
        files = dict(prediction.files)
        if as_tiff:
            files = large_as_tiff(files)
        files |= write_tables(out, stem, found=found, filaments=self.form["filaments"])
        files |= exported
        if outlined and self.checkpoint.task.kind != "detect":
            self.runner.note(
                f"{shown_name(path)}: {ONLY_MIDDLES.format(', '.join(outlined))}"
            )
        self._count(shown_name(path), found)
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
        prediction = self.runner(job, about=shown_name(path))
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
            self._count(f"{shown_name(path)} {name}", prediction)
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
        from napari_topiary.inference.overlay import overlay_of
        from napari_topiary.inference.result_exports import write_exports

        return write_exports(
            self.options.out,
            stem,
            prediction=prediction,
            kinds=export_formats(self.options),
            image_name=shown_name(path),
            image=loaded.data,
            overlay=partial(overlay_of, prediction, loaded.data),
        )

    def _tell(self, path: Path, each: Sequence[Mapping[str, Any]]) -> None:
        """Say what there is to say, and of which slices if not of all of them."""
        said: dict[str, list[str]] = {}
        for index, entry in enumerate(each):
            for note in entry["notes"]:
                said.setdefault(note, []).append(str(index))
        for note, where in said.items():
            some = f", slice {listed(where)}" if len(where) < len(each) else ""
            if some and f"{shown_name(path)}: {note}" in self.runner.notes:
                # Told before the network ran, when only one slice was known.
                note = f"{' '.join(note.split()[:6])} ..., as said above."
            self.runner.note(f"{shown_name(path)}{some}: {note}")


def suited(
    loaded: LoadedImage, checkpoint: Checkpoint, options: argparse.Namespace
) -> LoadedImage:
    """Bring an image to the channels of the checkpoint, or refuse it."""
    from napari_topiary.inference.network_input import as_channels, channels_problem

    data, scale = loaded.data, options.pixel_size or loaded.scale
    wanted = checkpoint.in_channels
    if options.convert:
        data = as_channels(data, wanted)
    elif {data.shape[0], wanted} == {1, 3} and image_area(data).any():
        sentence = channels_problem(data, wanted)
        raise TopiaryError(f"{sentence} Or give --convert.")
    return LoadedImage(data, scale, loaded.notes)
