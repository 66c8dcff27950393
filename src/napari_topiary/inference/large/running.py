"""Images of any size, predicted from file to file."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.data.working_grid import window_to_working
from napari_topiary.errors import NotWritten
from napari_topiary.inference.cluster import Cluster
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.large.finding import MapsSoFar, StoredMaps
from napari_topiary.inference.large.measuring import (
    measured_input,
)
from napari_topiary.inference.large.writing import (
    LargePrediction,
    ResultFiles,
    read_large,
)
from napari_topiary.inference.network_input import LargeInput
from napari_topiary.inference.predict import answer_problems
from napari_topiary.inference.suitability import middle_part
from napari_topiary.inference.tiles import (
    USUAL_TILE,
    TileBox,
    infer,
    round_up,
    stopped_early,
)
from napari_topiary.io.large_images import LargeImage
from napari_topiary.io.ome_zarr import PACKING
from napari_topiary.networks.base import Network
from napari_topiary.types import Job, Progress, Stop, Window, relay, run, seconds_left

SIDE = 1024
"""Side of the blocks that are worked on, in pixels of the finer grid."""
SMALLEST_SIDE = 128
READING = 0.25
"""Share of the work that comes after the network, as a guess."""


def predict_large(
    image: LargeImage,
    checkpoint: Checkpoint,
    config: PredictConfig,
    *,
    scale: float | None,
    engine: Engine | Cluster,
    into: ResultFiles,
    convert: bool = False,
    cut_banner: bool = False,
    first: Window | None = None,
) -> Job[LargePrediction]:
    """Run a network over an image that is read and whose results are written in parts.

    Parameters
    ----------
    image
        Of a file.
    checkpoint, config, scale
        As for `predict`.
    engine
        Runs the checkpoint's network.
    into
        Where results go.
    convert
        Make colours grey, or grey colour, as the network needs it.
    cut_banner
        Cut a microscope's information banner off.
    first
        Part of the image where the network looks first, and then around it.

    Yields
    ------
    Progress
        Its report is `MapsSoFar` whenever more of the image was predicted.
    """
    large, notes = yield from measured_input(
        image,
        checkpoint,
        config,
        scale=scale,
        engine=engine,
        convert=convert,
        cut_banner=cut_banner,
    )
    problems = _problems(large, engine)
    try:
        blocks = _resume(large, checkpoint, config, scale, engine, into.work)
        place = first and window_to_working(first, large.shape, large.grid)
        stopped, more = yield from _run(blocks, into.work, place)
        reading = read_large(
            blocks.kept,
            checkpoint,
            config.detect,
            pixels=large.pixels,
            scale=scale,
            into=into,
            problems=problems,
        )
        found = yield from relay(
            reading, told=lambda p: _after(p, 1 - READING, "Reading the result")
        )
        if not stopped and found.complete and not into.keep:
            shutil.rmtree(into.work, ignore_errors=True)
    except OSError as error:
        raise NotWritten(
            f"The results of {into.stem} could not be written in {into.folder} "
            f"({error.strerror or error}): make room on the disk, or choose another "
            "folder; what is done is kept."
        ) from error
    notes = (*notes, *more, *found.notes, *filter(None, (engine.note,)))
    return replace(found, notes=notes, problems=problems, so_far=blocks.so_far)


def _side(large: LargeInput, network: Network, tile: int) -> int:
    """Side of the blocks on the working grid, on the network's stride."""
    side = SIDE / max(1.0, large.measured.factor / 2)
    # Whoever asks for small tiles may have little memory.
    side = min(max(side, SMALLEST_SIDE), max(4 * tile, SMALLEST_SIDE))
    return round_up(int(side), 4 * network.stride)


def _problems(large: LargeInput, engine: Engine | Cluster) -> tuple[str, ...]:
    """What is wrong with an answer about the middle, in sentences."""
    if large.is_blank:
        return ()
    part = middle_part(large)
    tried = run(infer(engine, np.ascontiguousarray(part)))
    return answer_problems(tried, part, engine.network)


def _resume(
    large: LargeInput,
    checkpoint: Checkpoint,
    config: PredictConfig,
    scale: float | None,
    engine: Engine | Cluster,
    work: Path,
) -> _Blocks:
    """Open what an earlier run has left of the same work, or begin."""
    network, grid = engine.network, large.grid
    tile = config.tile or USUAL_TILE
    side = _side(large, network, tile)
    same = {
        "checkpoint": checkpoint.hash,
        "shape": list(large.shape),
        "grid": list(grid),
        "side": side,
        "invert": config.invert,
        "pixel_size_nm": scale,
        "image": hashlib.sha256(large.measured.area.tobytes()).hexdigest(),
        "measured": repr(large.measured.fitted),
    }
    about = work / "about.json"
    try:
        left = json.loads(about.read_text(encoding="utf-8")) == same
    except (OSError, ValueError):
        left = False
    if not left:
        maps = len(checkpoint.task.classes) - 1 + network.regressions
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        zarr.create_array(
            str(work / "maps.zarr"),
            shape=(maps, *grid),
            dtype=np.float32,
            chunks=(maps, *(min(side // 4, n) for n in grid)),
            compressors=PACKING,
        )
        about.write_text(json.dumps(same), encoding="utf-8")
    kept = StoredMaps(
        zarr.open_array(str(work / "maps.zarr"), mode="r+"), side, _done(work)
    )
    return _Blocks(
        large=large, kept=kept, engine=engine, tile=tile, so_far=MapsSoFar(kept)
    )


def _done(work: Path) -> set[tuple[int, int]]:
    """Blocks that are kept."""
    done = set[tuple[int, int]]()
    if (work / "done.txt").is_file():
        for line in (work / "done.txt").read_text(encoding="utf-8").splitlines():
            numbers = line.split()
            if numbers[2:] == ["done"]:  # a line that was cut short is no block
                done.add((int(numbers[0]), int(numbers[1])))
    return done


def _run(
    runner: _Blocks, work: Path, first: Window | None
) -> Job[tuple[bool, tuple[str, ...]]]:
    """Run the network over every block that is not done; say whether it was stopped."""
    kept, engine = runner.kept, runner.engine
    keys = [key for key in kept.blocks() if key not in kept.done]
    if first is not None:
        keys.sort(key=lambda key: _apart(kept.box(key), first))
    waiting = deque(keys)
    begun, total, notes = time.perf_counter(), len(waiting), list[str]()
    under_way: dict[tuple[int, int], Job[bool]] = {}
    shares: dict[tuple[int, int], float] = {}
    finished, stopped = 0, False
    if kept.done:
        yield Progress(0, 0, "Predicting", report=runner.so_far)
    with (work / "done.txt").open("a", encoding="utf-8") as file:
        while under_way or (waiting and not stopped):
            while waiting and len(under_way) < engine.at_once and not stopped:
                key = waiting.popleft()
                under_way[key], shares[key] = runner.run(key, notes), 0.0
            for key, job in list(under_way.items()):
                try:
                    inner = job.send(Stop if stopped and shares[key] else None)
                except StopIteration as end:
                    del under_way[key], shares[key]
                    if end.value:
                        file.write(f"\n{key[0]} {key[1]} done")
                        file.flush()
                        kept.done.add(key)
                    finished += 1
                    share = (finished + sum(shares.values())) / max(1, total)
                    report = Progress(
                        share * (1 - READING), 1, "Predicting", report=runner.so_far
                    )
                    message = yield report
                    stopped = stopped or message is Stop
                    continue
                shares[key] = max(inner.fraction, 1e-9)  # it has begun, and hears Stop
                share = (finished + sum(shares.values())) / max(1, total)
                left = seconds_left(begun, share, 1) if share > 0.01 else None
                message = yield Progress(share * (1 - READING), 1, inner.message, left)
                stopped = stopped or message is Stop
    if kept.complete or not stopped:
        return False, tuple(dict.fromkeys(notes))
    share = len(kept.done) / len(list(kept.blocks()))
    notes.append(f"{stopped_early(share)} The same command goes on from there.")
    return True, tuple(dict.fromkeys(notes))


def _apart(one: Window, other: Window) -> float:
    """How far the middles of two windows lie apart, along the axis where it is more."""
    return max(
        abs(one[at] + one[at + 1] - other[at] - other[at + 1]) / 2 for at in (0, 2)
    )


@dataclass(kw_only=True)
class _Blocks:
    """Runs a network over one block at a time."""

    large: LargeInput
    kept: StoredMaps
    engine: Engine | Cluster
    tile: int
    so_far: MapsSoFar

    def __post_init__(self) -> None:
        self._plain: dict[Any, NDArray[np.float32]] = {}

    def run(self, key: tuple[int, int], notes: list[str]) -> Job[bool]:
        """Predict a block and keep the answer; False where it was stopped."""
        height, width = self.large.grid
        network = self.engine.network
        stride, halo = network.stride, round_up(network.halo, network.stride)
        top, bottom, left, right = self.kept.box(key)
        window = TileBox(top, bottom, left, right).grown(halo, height, width)
        if self.large.is_blank:
            return True
        image, area = self.large.cut(
            (window.top, window.bottom, window.left, window.right)
        )
        place = np.s_[
            top - window.top : bottom - window.top,
            left - window.left : right - window.left,
        ]
        if not area[place].any():
            return True
        part = TileBox(
            top - window.top,
            round_up(bottom - window.top, stride),
            left - window.left,
            round_up(right - window.left, stride),
        )
        # Where all is of one colour the answer is always the same.
        first = image[:, :1, :1]
        plain = (first.tobytes(), image.shape, part) if (image == first).all() else None
        maps = self._plain.get(plain) if plain is not None else None
        if maps is None:
            result = yield from infer(self.engine, image, tile=self.tile, part=part)
            if not result.done[place].all():
                return False
            notes += result.notes
            found = [result.probability[1:]]
            if result.regression is not None:
                found.append(result.regression)
            maps = np.nan_to_num(np.concatenate(found)[:, *place], posinf=0, neginf=0)
            if plain is not None:
                self._plain[plain] = maps
        maps = np.where(area[place], maps, np.float32(0))
        if maps.any():
            self.kept.maps[:, top:bottom, left:right] = maps
            self.so_far.add(maps, (top, left))
        return True


def _after(inner: Progress, first: float, message: str) -> Progress:
    """Progress of what comes after a share of the work."""
    return Progress(first + inner.fraction * (1 - first), 1, message, inner.eta_s)
