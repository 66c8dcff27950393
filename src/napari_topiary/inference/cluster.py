"""A network that runs on several workers at once: tiles are tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.errors import TopiaryError, is_out_of_memory
from napari_topiary.inference.engine import Engine, Tile
from napari_topiary.inference.workers import K, Workers, workers_problem

MOST_ENGINES = 2
"""Networks that a worker keeps ready."""


@dataclass(frozen=True)
class Work:
    """What every worker has to know: the network, and how it is run."""

    checkpoint: Checkpoint  #: Its network is loaded once
    #: `device`, `backend`: where and by what it is computed
    device: str
    backend: str
    threads: int = 0  #: Of the processor, for each worker; 0 = as many as there are


class Cluster:
    """An engine whose tiles are computed by several workers.

    Parameters
    ----------
    checkpoint
        Whose network it is; every worker loads it once.
    config
        Where the workers are, and how they compute.
    """

    def __init__(self, checkpoint: Checkpoint, config: PredictConfig) -> None:
        self.network = checkpoint.build()
        self.n_maps = len(checkpoint.task.classes) + self.network.regressions
        self.device = torch.device("cpu")
        self.backend, self.precision = config.backend, "float32"
        threads = 0 if config.scheduler else torch.get_num_threads() // config.workers
        work = Work(checkpoint, config.device, config.backend, threads)
        self.workers: Workers[Any] = Workers(
            work, scheduler=config.scheduler, processes=config.workers
        )

    note = ""

    @property
    def at_once(self) -> int:
        """Parts of a large image that are worth being under way together."""
        return max(1, self.workers.count)

    def answers(
        self, next_tile: Callable[[], tuple[K, Tile] | None]
    ) -> Iterator[tuple[K, NDArray[np.float32] | None] | None]:
        """Hand on what the network says about tiles, as the answers come.

        Yields
        ------
        tuple or None
            Which tile, and its maps, None where memory was not enough; None alone
            while no answer is there.
        """
        for found in self.workers.spread(_answer, next_tile):
            if found is None:
                yield None
                continue
            key, (maps, self.backend, self.precision) = found
            yield key, maps


@contextmanager
def engine_for(
    checkpoint: Checkpoint, config: PredictConfig
) -> Iterator[Engine | Cluster]:
    """Run a checkpoint's network as was asked for: here, or on several workers.

    Parameters
    ----------
    checkpoint
        Its network does not change any more.
    config
        Device, back end, scheduler and number of workers.

    Raises
    ------
    TopiaryError
        With a sentence if it cannot be run so.
    """
    sentence = workers_problem(config.scheduler, config.workers)
    if sentence is not None:
        raise TopiaryError(sentence)
    if not config.scheduler and config.workers == 1:
        yield Engine.of(checkpoint, config.device, backend=config.backend)
        return
    cluster = Cluster(checkpoint, config)
    try:
        yield cluster
    finally:
        cluster.workers.close()


_engines: dict[tuple[str, str, str], Engine] = {}
_one_at_a_time = threading.Lock()
"""A worker of several threads is given several tiles; one already uses all cores."""


def _answer(
    work: Work, image: NDArray[np.float32], rows: slice, columns: slice
) -> tuple[NDArray[np.float32] | None, str, str]:
    """Run the network over a tile; runs in a worker."""
    with _one_at_a_time:
        engine = _engine(work)
        try:
            maps = engine(image, rows, columns)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None, engine.backend, engine.precision
    return maps, engine.backend, engine.precision


def _engine(work: Work) -> Engine:
    """The engine of a worker, made when it is first needed."""
    key = (work.checkpoint.hash, work.device, work.backend)
    if key not in _engines:
        while len(_engines) >= MOST_ENGINES:
            del _engines[next(iter(_engines))]
        if work.threads:
            torch.set_num_threads(work.threads)
        _engines[key] = Engine.of(work.checkpoint, work.device, backend=work.backend)
    return _engines[key]
