"""A generator worker that is asked to stop, and is driven in small batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.qt.threading import GeneratorWorker
from qtpy.compat import isalive

from napari_topiary.types import Job, Progress, Stop

if TYPE_CHECKING:
    from napari_topiary._napari.jobs.runner import JobRunner

FLUSH_S = 0.04
"""Progress goes to the window at most this often, so that it is never flooded."""


@dataclass(frozen=True)
class Failure:
    """What went wrong in the worker, carried home as an ordinary result."""

    error: Exception


class Mailbox:
    """Messages for a running job, from any thread; Stop overtakes all others.

    A worker's own `send` has room for one value: a Stop sent just before a preview
    request would be lost. Here the latest message of each type waits for its turn.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[object, object] = {}

    def put(self, message: object) -> None:
        """Leave a message for the job."""
        with self._lock:
            self._waiting[Stop if message is Stop else type(message)] = message

    def take(self) -> object | None:
        """Next message for the job, or None."""
        with self._lock:
            if Stop in self._waiting:
                return self._waiting.pop(Stop)
            for kind in self._waiting:
                return self._waiting.pop(kind)
            return None


class PoliteWorker(GeneratorWorker):
    """A worker whose first `quit` sends Stop; a second one drops the generator.

    napari quits all workers when its window closes; a dropped generator would lose
    what the job has so far.
    """

    mailbox: Mailbox
    runner: JobRunner
    _was_asked = False

    def run(self) -> None:
        """Work; say nothing where nobody is left to hear (Python is ending)."""
        try:
            super().run()
        except RuntimeError:
            if isalive(self.signals):
                raise

    def send(self, value: object) -> None:
        """Leave a message for the job."""
        self.mailbox.put(value)

    def quit(self) -> None:
        """Ask the job to end; insist when asked again."""
        if self._was_asked:
            super().quit()
        self._was_asked = True
        self.mailbox.put(Stop)


def drive(
    make_job: Callable[[], Job[Any]], mailbox: Mailbox, ended: threading.Event
) -> Generator[list[Progress], None, object]:
    """Drive a job in the worker thread, handing progress on in small batches.

    Parameters
    ----------
    make_job
        Makes the job.
    mailbox
        Messages for it.
    ended
        Set when the job has ended, however it did.

    Returns
    -------
    object
        What the job returned, or a `Failure`.
    """
    batch: list[Progress] = []
    flushed = 0.0
    message: object = None  # a generator takes nothing before its first yield
    try:
        job = make_job()
        while True:
            try:
                batch.append(job.send(message))
            except StopIteration as end:
                if batch:
                    yield batch
                return end.value
            message = mailbox.take()
            now = time.perf_counter()
            if now - flushed >= FLUSH_S:
                flushed = now
                yield batch
                batch = []
    except Exception as error:
        return Failure(error)
    finally:
        ended.set()
