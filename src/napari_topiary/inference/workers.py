"""Work that is done by several processes, of this computer or of a cluster.

Tasks go out with all that they need, and their results come back: workers need neither
the images nor a disk in common. What one of them was doing when it was lost is done
again by another.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, TypeVar

from napari_topiary.errors import TopiaryError
from napari_topiary.words import plural

K = TypeVar("K")
Task = tuple[K, tuple[Any, ...]]
"""What tells it from the others, and what its function is called with."""
WAIT_S = 0.02
"""So long is waited for an answer before the caller may do something else."""
COUNT_EVERY_S = 1.0
AHEAD = 2
"""Tasks for each worker that are given out before an answer is there."""
MOST_LOST = 3
"""Times that workers may be lost without one answer in between."""


class Workers(Generic[K]):
    """Several processes that tasks are given to.

    Parameters
    ----------
    shared
        What every task needs; each worker gets it once. Has to be picklable.
    scheduler
        Address of a dask scheduler, "tcp://node1:8786"; empty = this computer.
    processes
        How many, on this computer.

    Raises
    ------
    TopiaryError
        With a sentence if dask is not installed or nobody answers.
    """

    def __init__(
        self, shared: object, *, scheduler: str = "", processes: int = 1
    ) -> None:
        self._shared, self._scheduler, self._processes = shared, scheduler, processes
        self._client: Any = _client(scheduler) if scheduler else None
        self._executor: Executor
        self._counted, self._count = -float("inf"), processes
        self._lost = 0
        self._start()

    def _start(self) -> None:
        if self._client is None:
            self._executor = ProcessPoolExecutor(
                self._processes,
                multiprocessing.get_context("spawn"),
                _begin,
                (self._shared,),
            )
            return
        self._executor = self._client.get_executor(pure=False)
        # A result and not scattered data: what a lost worker had is made again.
        self._held = self._client.submit(_itself, self._shared, pure=False)

    @property
    def count(self) -> int:
        """How many workers there are now; those of a cluster come and go."""
        now = time.monotonic()
        if self._client is not None and now - self._counted >= COUNT_EVERY_S:
            self._counted, self._count = now, len(self._client.nthreads())
        return self._count

    @property
    def words(self) -> str:
        """How many there are, for the progress: "on 4 workers"."""
        number = self.count
        if not number:
            return "waiting for workers"
        return f"on {plural(number, 'worker')}"

    def spread(
        self, function: Callable[..., Any], next_task: Callable[[], Task[K] | None]
    ) -> Iterator[tuple[K, Any] | None]:
        """Have tasks done, several at a time, and hand on each answer as it comes.

        Parameters
        ----------
        function
            Of a module that workers have too; called with what is shared, then with
            what is in the task. What it raises is raised here.
        next_task
            Asked for another task whenever there is room for one; None = none now.

        Yields
        ------
        tuple or None
            What told the task from others, and the answer; None while none is there.
        """
        under_way: dict[Future[Any], Task[K]] = {}
        again: list[Task[K]] = []
        try:
            while True:
                while len(under_way) < AHEAD * max(1, self.count):
                    task = again.pop() if again else next_task()
                    if task is None:
                        break
                    future = self._submit(function, task[1])
                    if future is None:
                        again.append(task)
                        continue
                    under_way[future] = task
                if not under_way:
                    return
                done, _ = wait(under_way, WAIT_S, FIRST_COMPLETED)
                if not done:
                    yield None
                for future in done:
                    task = under_way.pop(future)
                    try:
                        answer = future.result()
                    except BrokenProcessPool:
                        self._renew()
                        again.append(task)
                        continue
                    except CancelledError:
                        raise TopiaryError(self._gone) from None
                    except Exception as error:  # dask has errors of its own
                        self._raise(error)
                    self._lost = 0
                    yield task[0], answer
        finally:
            for future in under_way:
                future.cancel()

    def close(self) -> None:
        """Let the workers go; what they are doing is not waited for."""
        if self._client is None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        else:
            self._client.close()

    def _submit(
        self, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> Future[Any] | None:
        """Give a task out; None if the workers had to be replaced first."""
        if self._client is None:
            try:
                return self._executor.submit(_with_shared, function, arguments)
            except BrokenProcessPool:
                self._renew()
                return None
        with warnings.catch_warnings():
            # That a task holds its pixels is meant so: dask would rather share them.
            warnings.simplefilter("ignore")
            try:
                return self._executor.submit(function, self._held, *arguments)
            except RuntimeError as error:
                raise TopiaryError(self._gone) from error

    def _renew(self) -> None:
        """Replace processes of which one was lost: the others end with it."""
        broken = getattr(self._executor, "_broken", True)
        if not broken:
            return  # another of its tasks has said so before
        self._lost += 1
        if self._lost > MOST_LOST:
            raise TopiaryError(LOST)
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._start()

    def _raise(self, error: Exception) -> None:
        if type(error).__name__ == "KilledWorker":
            raise TopiaryError(LOST) from error
        if isinstance(error, ModuleNotFoundError):
            raise TopiaryError(
                f"The workers of {self._scheduler} cannot load {error.name}: install "
                "napari-topiary there too, in the same version as here."
            ) from error
        raise error

    @property
    def _gone(self) -> str:
        return (
            f"The scheduler at {self._scheduler} is gone: start it again, then give "
            "the same command."
        )


LOST = (
    "Workers were lost again and again, perhaps because their memory is not enough: "
    "take fewer of them or smaller tiles, or give them more memory."
)


def workers_problem(scheduler: str, processes: int) -> str | None:
    """Return what is wrong about where work is to be done, as a sentence."""
    if scheduler and processes > 1:
        return (
            "Work goes to the workers of a scheduler or to processes of this computer: "
            "give one of both."
        )
    return None


def _client(address: str) -> Any:
    """Connect to a dask scheduler."""
    try:
        from distributed import Client
    except ImportError:
        raise TopiaryError(
            "dask.distributed is not installed here: pip install "
            "'napari-topiary[cluster]'. Processes of this computer need nothing."
        ) from None
    try:
        return Client(address, timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        raise TopiaryError(
            f"No dask scheduler answers at {address}: start one with `dask scheduler` "
            "and give the address that it prints, for instance tcp://node1:8786."
        ) from error


def _itself(thing: object) -> object:
    return thing


_known: list[Any] = []
"""What is shared, in a process of the local pool."""


def _begin(shared: object) -> None:
    """Prepare a process of the local pool."""
    # Ctrl-C is for whoever waits for the results.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _known[:] = [shared]


def _with_shared(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(_known[0], *arguments)
