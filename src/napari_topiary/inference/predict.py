"""An image and a checkpoint -> probability, labels and detections."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.data.working_grid import Shape, window_to_working
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.cluster import Cluster, engine_for
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.network_input import (
    Measured,
    NetworkInput,
    as_network_input,
)
from napari_topiary.inference.suitability import (
    NO_NUMBERS,
    dead_problem,
    saying_likeness,
)
from napari_topiary.inference.tiles import InferResult, infer, round_up
from napari_topiary.io.excerpts import Excerpt
from napari_topiary.io.memory import give_back
from napari_topiary.networks.base import Network
from napari_topiary.postprocessing.interpret import interpret
from napari_topiary.types import Job, Prediction, Window

DEFAULTS = PredictConfig()
LARGE_PIXELS = 4_000_000
"""What is kept in reserve after an image of so many pixels is worth giving back."""


def predict(
    image: NDArray[Any],
    checkpoint: Checkpoint,
    config: PredictConfig = DEFAULTS,
    *,
    scale: float | None = None,
    network: Network | Engine | Cluster | None = None,
    window: Window | None = None,
    excerpt: Excerpt | None = None,
    measured: Measured | None = None,
) -> Job[Prediction]:
    """Run a network over an image and read its answer.

    Parameters
    ----------
    image
        `(c, y, x)` or, if grey, `(y, x)`; any numeric dtype.
    checkpoint
        What to run.
    config
        Tile size, device and how the answer is read.
    scale
        nm per pixel of the image, None if unknown.
    network
        The checkpoint's network, or better an engine of it, if there is one already:
        what the engine has found out about the network holds for other images too.
        None = as `config` says, here or on several workers.
    window
        Only this part of the image, with the same result as if all were predicted;
        None = all of it.
    excerpt
        Where the parts of a cut-out come from: they look as the whole image does.
    measured
        What `measured_input` has found for a network that sees images alike.

    Yields
    ------
    Progress
        After every tile, with the time that is left; before, where the contrast is not
        what was learned, with a sentence as the report. `Stop` may be sent in; the rest
        of the image is then empty and `done` says where the network has run.

    Returns
    -------
    Prediction
        With the probability on the working grid, everything else on the image's.

    Raises
    ------
    TopiaryError
        With a sentence if the image does not suit the network.
    """
    sentence = config.problem()
    if sentence is not None:
        raise TopiaryError(sentence)
    with _engine_of(network, checkpoint, config) as engine:
        seen = as_network_input(
            image,
            checkpoint,
            scale=scale,
            invert=config.invert,
            excerpt=excerpt,
            measured=measured,
        )
        notes = yield from saying_likeness(seen, checkpoint, engine)
        notes = (*seen.notes, *notes)
        asking = _answer(seen, engine, config, window, len(checkpoint.task.classes))
        result, problems = yield from asking
        shape = seen.shape
        del seen, asking  # as large as the result
        if window is None and shape[0] * shape[1] > LARGE_PIXELS:
            give_back()
        return prediction_of(
            result,
            shape,
            checkpoint=checkpoint,
            config=config,
            engine=engine,
            scale=scale,
            notes=notes,
            problems=problems,
        )


def _engine_of(
    network: Network | Engine | Cluster | None,
    checkpoint: Checkpoint,
    config: PredictConfig,
) -> AbstractContextManager[Engine | Cluster]:
    """What runs a network: what there is, or one that is closed afterwards."""
    if network is None:
        return engine_for(checkpoint, config)
    if isinstance(network, Network):
        network = Engine(network, config.device, backend=config.backend)
    return nullcontext(network)


def _answer(
    seen: NetworkInput,
    engine: Engine | Cluster,
    config: PredictConfig,
    window: Window | None,
    classes: int,
) -> Job[tuple[InferResult, tuple[str, ...]]]:
    """What a network says about an image or a window of it, and what is wrong there."""
    network = engine.network
    if seen.is_blank:
        result = _only_where_known(_nothing(seen, network, classes), seen.area)
        return result, answer_problems(result, None, network)
    if window is None:
        result = yield from infer(engine, seen.image, tile=config.tile)
        result = _only_where_known(result, seen.area)
        return result, answer_problems(result, seen.image, network)
    part = window_to_working(window, seen.shape, seen.grid)
    result = yield from infer_window(seen, part, engine, tile=config.tile)
    problems = answer_problems(result, seen.at(part), network)
    return _on_whole_grid(result, part, seen.grid), problems


def answer_problems(
    result: InferResult, shown: NDArray[np.float32] | None, network: Network
) -> tuple[str, ...]:
    """Say what is wrong with an answer; what is no number in it becomes 0, in place.

    Parameters
    ----------
    result
        What the network has said.
    shown
        `(c, y, x)` of the same size, normalised: what it was shown; None = nothing
        that could be seen.
    network
        That has said it.

    Returns
    -------
    tuple
        Sentences; empty where the network lives, or where too little is known to tell.
    """
    if not np.isfinite(result.probability.sum()):
        np.nan_to_num(result.probability, copy=False, posinf=0, neginf=0)
        return (NO_NUMBERS,)
    if shown is None or not result.done.all():
        return ()
    dead = dead_problem(result.probability, shown, network.halo)
    return (dead,) if dead else ()


def prediction_of(
    result: InferResult,
    shape: Shape,
    *,
    checkpoint: Checkpoint,
    config: PredictConfig,
    engine: Engine | Cluster,
    scale: float | None,
    notes: tuple[str, ...],
    problems: tuple[str, ...],
    corner: tuple[float, float] | None = None,
) -> Prediction:
    """Read what a network has said about an image, or about a part of a large one.

    Parameters
    ----------
    result
        On the working grid.
    shape
        `(y, x)` in pixels of the image.
    checkpoint, config, engine, scale
        As for `predict`.
    notes, problems
        Sentences for the user.
    corner
        y, x of the part in the image, in its pixels; None = it is all of it.
    """
    labels, detections = interpret(
        result.probability,
        shape,
        checkpoint=checkpoint,
        config=config.detect,
        regression=result.regression,
    )
    return Prediction(
        probability=result.probability,
        shape=shape,
        task=checkpoint.task,
        scale=scale,
        labels=labels,
        detections=detections,
        checkpoint=checkpoint.name or checkpoint.hash[:12],
        notes=(*notes, *result.notes, *filter(None, (engine.note,))),
        done=None if corner is None and result.done.all() else result.done,
        regression=result.regression,
        backend=engine.backend,
        corner=corner,
        problems=problems,
    )


def infer_window(
    seen: NetworkInput, window: Window, engine: Engine | Cluster, *, tile: int | None
) -> Job[InferResult]:
    """Run a network over a part of an image, with the same result as over all of it.

    Parameters
    ----------
    seen
        The whole image as the network sees it.
    window
        In *working* pixels.
    engine
        Runs the network, with as much around the window as it looks at.
    tile
        As for `infer`.

    Yields
    ------
    Progress
        After every tile. `Stop` may be sent in.

    Returns
    -------
    InferResult
        Of the window alone; background where the file carries no image.
    """
    top, bottom, left, right = window
    stride = engine.network.stride
    halo = round_up(engine.network.halo, stride)
    first = [max(0, at // stride * stride - halo) for at in (top, left)]
    result = yield from infer(
        engine,
        seen.image[:, first[0] : bottom + halo, first[1] : right + halo],
        tile=tile,
    )
    inside = np.s_[
        top - first[0] : bottom - first[0], left - first[1] : right - first[1]
    ]
    regression = result.regression
    part = replace(
        result,
        probability=result.probability[:, *inside],
        done=result.done[inside],
        regression=None if regression is None else regression[:, *inside],
    )
    return _only_where_known(part, seen.area[top:bottom, left:right])


def _on_whole_grid(result: InferResult, window: Window, grid: Shape) -> InferResult:
    """What is known of a window, on the grid of all of the image; 0 elsewhere."""
    top, bottom, left, right = window
    place = np.s_[top:bottom, left:right]
    done = np.zeros(grid, dtype=bool)
    done[place] = result.done

    def placed(maps: NDArray[np.float32]) -> NDArray[np.float32]:
        whole = np.zeros((len(maps), *grid), np.float32)
        whole[:, *place] = maps * result.done
        return whole

    regression = result.regression
    return replace(
        result,
        probability=placed(result.probability),
        done=done,
        regression=None if regression is None else placed(regression),
    )


def _nothing(seen: NetworkInput, network: Network, classes: int) -> InferResult:
    """Answer about an image on which nothing is to be seen."""
    grid = seen.image.shape[1:]
    return InferResult(
        np.zeros((classes, *grid), np.float32),
        np.ones(grid, dtype=bool),
        regression=np.zeros((network.regressions, *grid), np.float32)
        if network.regressions
        else None,
    )


def _only_where_known(result: InferResult, area: NDArray[np.bool_]) -> InferResult:
    """Say background where the file carries no image; the maps are changed in place."""
    if area.all():
        return result
    empty = ~area & result.done
    result.probability[:, empty] = 0
    result.probability[0, empty] = 1
    if result.regression is not None:
        result.regression[:, empty] = 0
    return result
