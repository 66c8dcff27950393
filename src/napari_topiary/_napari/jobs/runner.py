"""Run a `Job` in napari's generator thread worker; Stop is *sent* into it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QEventLoop, QObject, Qt, Signal
from qtpy.QtWidgets import QPushButton

from napari_topiary.errors import sentence_for
from napari_topiary.types import Job, Progress, Stop

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
    """Drive a job in the worker thread, handing progress on in small batches."""
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


logger = logging.getLogger(__name__)


class JobRunner(QObject):
    """Runs one job at a time for a workbench."""

    started = Signal(str)  #: The title of the job that has begun
    progressed = Signal(object)  #: The latest progress
    #: The job has ended: result, error or stop were handed over before
    finished = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.busy_sentence = ""
        self._worker: PoliteWorker | None = None
        self._ended = threading.Event()
        self._told = True  # that the last job is over
        self._unheard = 0  # workers whose end is still to be heard of
        self._handlers: dict[str, Callable[[Any], object] | None] = {}

    @property
    def running(self) -> bool:
        """Whether a job is under way; when its result is handed over, it is not."""
        return self._worker is not None

    def start(
        self,
        make_job: Callable[[], Job[Any]],
        *,
        title: str,
        on_progress: Callable[[Progress], object] | None = None,
        on_result: Callable[[Any], object] | None = None,
        on_error: Callable[[str], object] | None = None,
    ) -> bool:
        """Start a job; False (see `busy_sentence`) while another one runs."""
        self._tell()  # started by who is being handed the result of the one before
        if self.running:
            self.busy_sentence = (
                f"{self.title} is still running: wait for it or press Stop first."
            )
            return False
        mailbox, ended = Mailbox(), threading.Event()

        def job() -> Generator[list[Progress], None, object]:
            return (yield from drive(make_job, mailbox, ended))

        # napari shows this name when its window is closed in mid-job.
        job.__qualname__ = title
        worker = create_worker(job, _worker_class=PoliteWorker, _start_thread=False)
        worker.mailbox = mailbox
        worker.runner = self  # running work keeps its runner alive
        self.title, self._ended, self._told = title, ended, False
        self._handlers = {
            "progress": on_progress,
            "result": on_result,
            "error": on_error,
        }
        self._worker = worker
        worker.yielded.connect(self._on_yielded)
        worker.returned.connect(self._on_returned)
        worker.finished.connect(self._on_finished)
        worker.warned.connect(self._on_warned)
        self.started.emit(title)
        worker.start()
        return True

    def send(self, message: object) -> None:
        """Send something into the running job (`Stop`, a `PreviewRequest`)."""
        if self._worker is not None:
            self._worker.send(message)

    def stop(self) -> None:
        """Ask the running job to end and keep what it has."""
        self.send(Stop)

    def close(self, timeout_s: float = 3.0, *, deliver: bool = True) -> bool:
        """Stop the running job and wait for it, for a bounded time."""
        worker = self._worker
        if worker is None:
            return True
        if not deliver:
            self._handlers = {}
        self.stop()
        until = time.monotonic() + (timeout_s if worker.is_running or deliver else 0)
        while self._worker is worker and time.monotonic() < until:
            if self._ended.wait(0.02) and not deliver:
                break
            if deliver:
                QCoreApplication.processEvents(
                    QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents
                )
        if self._worker is worker:
            self._abandon(worker)
        return self._ended.is_set()

    def _abandon(self, worker: PoliteWorker) -> None:
        """Hear no more of a worker, and let it end at its next progress."""
        worker.yielded.disconnect(self._on_yielded)
        worker.returned.disconnect(self._on_returned)
        worker.finished.disconnect(self._on_finished)
        GeneratorWorker.quit(worker)
        self._worker, self._handlers, self._told = None, {}, True

    def _call(
        self, which: str, value: object, handlers: dict[str, Any] | None = None
    ) -> None:
        handlers = self._handlers if handlers is None else handlers
        handler = handlers.get(which)
        owner = getattr(handler, "__self__", None)
        if handler is None or (isinstance(owner, QObject) and not isalive(owner)):
            return
        try:
            handler(value)
        except Exception as error:
            # What is shown may be too large, or a library may fail on it: also said in
            # a sentence, in the same place.
            if which == "error":
                raise
            sentence = sentence_for(error, f"Showing it ({self.title})")
            self._call("error", sentence, handlers)

    def _on_yielded(self, batch: list[Progress]) -> None:
        for progress in batch[:-1]:
            if progress.report is not None:
                self._call("progress", progress)
        self._call("progress", batch[-1])
        self.progressed.emit(batch[-1])

    def _on_returned(self, result: object) -> None:
        # Free at once: whoever sees the result may ask for the next job, and a button
        # that is pressed now is not refused.
        self._worker = None
        self._unheard += 1
        try:
            if isinstance(result, Failure):
                self._call("error", sentence_for(result.error, self.title))
            else:
                self._call("result", result)
        finally:
            if self._worker is None:  # else the next job has begun, and it was told
                self._tell()

    def _on_warned(self, what: tuple[Any, ...]) -> None:
        # Libraries warn programmers; the user gets sentences of ours.
        logger.info("%s: %s", self.title, what[0])

    def _on_finished(self) -> None:
        if self._unheard:  # its result was handed over before
            self._unheard -= 1
            return
        self._worker = None
        self._tell()

    def _tell(self) -> None:
        """Say once that the job is over."""
        if not self._told:
            self._told, self._handlers = True, {}
            self.finished.emit()


def in_background(
    work: Callable[[], Any],
    *,
    title: str,
    on_result: Callable[[Any], object] | None = None,
    on_error: Callable[[str], object] | None = None,
    owner: QObject | None = None,
) -> JobRunner:
    """Do something short (read, save, look up) off the main thread, beside any job.

    What came of it is for its `owner`: whose window is closed, is told nothing.
    """

    def job() -> Job[Any]:
        yield Progress(0, 0, title)
        return work()

    runner = JobRunner()

    def told(result: Any) -> None:
        if on_result is not None and (owner is None or isalive(owner)):
            on_result(result)

    runner.start(job, title=title, on_result=told, on_error=on_error)
    return runner


STOPPING = "Stopping…"


@dataclass(frozen=True)
class ButtonWords:
    """What is written on a job's button."""

    start: str
    title: str
    tip: str
    stop: str = "Stop"
    stop_tip: str = "End it, and use what is known so far."


class JobButton(QPushButton):
    """Runs a job as the workbench's one job."""

    begun = Signal()  #: The job has started
    #: `progressed(Progress)`, `result(object)`, `problem(str)`: of the job
    progressed = Signal(object)
    result = Signal(object)
    problem = Signal(str)
    ended = Signal()  #: It is over, however it went

    def __init__(
        self,
        runner: JobRunner,
        ask: Callable[[], Callable[[], Job[Any]] | None],
        said: ButtonWords,
    ) -> None:
        super().__init__(said.start)
        self.runner, self._ask, self.said = runner, ask, said
        self.running = False
        self.setToolTip(said.tip)
        self.setAutoDefault(False)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.clicked.connect(lambda _checked=False: self.toggle())

    def toggle(self) -> None:
        """Start the job, or stop it and use what is known."""
        if self.running:
            self.setText(STOPPING)
            self.setEnabled(False)
            self.runner.stop()
            return
        make_job = self._ask()
        if make_job is None:
            return
        begun = self.runner.start(
            make_job,
            title=self.said.title,
            on_progress=self.progressed.emit,
            on_result=self.result.emit,
            on_error=self.problem.emit,
        )
        if not begun:
            self.problem.emit(self.runner.busy_sentence)
            return
        self.running = True
        self.runner.finished.connect(self._on_end)
        self.show_state(possible=True)
        self.begun.emit()

    def show_state(self, *, possible: bool) -> None:
        """Say what a press does now."""
        if self.running and self.text() == STOPPING:
            return
        self.setText(self.said.stop if self.running else self.said.start)
        busy = self.runner.running and not self.running
        self.setToolTip(
            self.said.stop_tip
            if self.running
            else f"{self.runner.title} is still running." if busy
            else self.said.tip
        )  # fmt: skip
        self.setEnabled(self.running or (possible and not busy))

    def _on_end(self) -> None:
        self.runner.finished.disconnect(self._on_end)
        self.running = False
        self.setText(self.said.start)
        self.show_state(possible=True)
        self.ended.emit()
