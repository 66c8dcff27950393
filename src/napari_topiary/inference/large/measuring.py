"""What a network is shown of a large image, and its answer about one part of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.data.working_grid import window_to_working
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.cluster import Cluster
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.network_input import (
    LargeInput,
    NetworkInput,
    Pixels,
    as_channels,
    as_large_input,
)
from napari_topiary.inference.predict import (
    answer_problems,
    infer_window,
    prediction_of,
)
from napari_topiary.inference.suitability import saying_likeness
from napari_topiary.inference.tiles import TileBox, round_up
from napari_topiary.io.image_area import is_grey, rows_without_banner
from napari_topiary.io.large_images import LargeImage
from napari_topiary.types import Image, Job, Prediction, Progress, Stop, Window


def predict_window(
    image: LargeImage,
    checkpoint: Checkpoint,
    config: PredictConfig,
    *,
    scale: float | None,
    window: Window,
    engine: Engine | Cluster,
    convert: bool = False,
) -> Job[Prediction]:
    """Run a network over a part of a large image, as over all of it.

    Parameters
    ----------
    image, checkpoint, config, scale, engine, convert
        As for `predict_large`.
    window
        The part, in pixels of the image; the prediction has its `corner`.
    """
    large, notes = yield from measured_input(
        image, checkpoint, config, scale=scale, engine=engine, convert=convert
    )
    part = window_to_working(window, large.shape, large.grid)
    network = engine.network
    stride, halo = network.stride, round_up(network.halo, network.stride)
    top, bottom, left, right = part
    around = TileBox(
        top // stride * stride, bottom, left // stride * stride, right
    ).grown(halo, *large.grid)
    ratio = np.array(large.shape) / np.array(large.grid)
    shape = tuple(
        round(n * one)
        for n, one in zip((bottom - top, right - left), ratio, strict=True)
    )
    box = around.top, around.bottom, around.left, around.right
    pixels, area = large.cut(box) if not large.is_blank else large.nothing(box)
    seen = NetworkInput(
        image=pixels, area=area, shape=shape, factor=large.measured.factor, notes=notes
    )
    inside = top - box[0], bottom - box[0], left - box[2], right - box[2]
    result = yield from infer_window(seen, inside, engine, tile=config.tile)
    shown = None if large.is_blank else seen.at(inside)
    return prediction_of(
        result,
        shape,
        checkpoint=checkpoint,
        config=config,
        engine=engine,
        scale=scale,
        notes=notes,
        problems=answer_problems(result, shown, network),
        corner=(float(top * ratio[0]), float(left * ratio[1])),
    )


def measure_all(image: LargeImage) -> Job[None]:
    """Measure a large image, if nobody has done so yet."""
    while not image.thin.complete:
        share = image.thin.read_more()
        message = yield Progress(0, 0, f"Looking through the image: {share:.0%}")
        if message is Stop:
            raise TopiaryError("Stopped before the image was looked through.")


def measured_input(
    image: LargeImage,
    checkpoint: Checkpoint,
    config: PredictConfig,
    *,
    scale: float | None,
    engine: Engine | Cluster,
    convert: bool = False,
    cut_banner: bool = False,
) -> Job[tuple[LargeInput, tuple[str, ...]]]:
    """Measure an image, and say what there is to say about it.

    Parameters
    ----------
    image, checkpoint, config, scale, engine, convert, cut_banner
        As for `predict_large`.

    Yields
    ------
    Progress
        Until somebody has gone through the image.
    """
    problem = config.problem()
    if problem is not None:
        raise TopiaryError(problem)
    yield from measure_all(image)
    thin, step = image.thinned()
    notes = image.notes
    rows = rows_without_banner(thin)
    if rows is not None:
        first, last = rows[0] * step, min(rows[1] * step, image.shape[1])
        notes = (*notes, banner_note(first, last, is_cut=cut_banner))
        if cut_banner:
            image, thin = replace(image, rows=(first, last)), thin[:, slice(*rows)]
    if is_grey(thin):
        image, thin = replace(image, channel=0), thin[:1]
    pixels: Pixels = image
    if convert and len(thin) != checkpoint.in_channels:
        pixels = _Converted(image, checkpoint.in_channels)
        thin = as_channels(thin, checkpoint.in_channels)
    large = as_large_input(
        pixels, thin, step, checkpoint, scale=scale, invert=config.invert
    )
    said = yield from saying_likeness(large, checkpoint, engine)
    return large, (*notes, *large.measured.notes, *said)


@dataclass(frozen=True, eq=False)
class _Converted:
    """An image made grey, or colour, as it is read."""

    image: LargeImage
    channels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(c, y, x)`."""
        return (self.channels, *self.image.shape[1:])

    def read(self, window: Window) -> Image:
        """Read a part."""
        return as_channels(self.image.read(window), self.channels)


def banner_note(first: int, last: int, *, is_cut: bool) -> str:
    """Say that there is an information banner, and what was done about it."""
    if is_cut:
        return f"An information banner was cut off: rows {first} to {last} are left."
    return "There is an information banner: --cut-banner cuts it off."
