"""Work in the background of which only the latest request matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

from napari_topiary._napari.jobs.runner import JobRunner
from napari_topiary.types import Job, Progress


@dataclass(frozen=True)
class _Request:
    make_job: Callable[[], Job[Any]]
    title: str
    on_result: Callable[[Any], object]
    on_error: Callable[[str], object] | None
    on_progress: Callable[[Progress], object] | None


def later(owner: QObject, interval: int, do: Callable[[], object]) -> QTimer:
    """Make a timer that does something once, so many ms after its last start."""
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(interval)
    timer.timeout.connect(do)
    return timer


class Latest(QObject):
    """A lane of its own beside the workbench's one job: a new request replaces the old.

    A request that waits is dropped for a newer one; one that is being worked on gets
    Stop, and nothing more of it is handed over.
    """

    def __init__(self, *, finish_current: bool = False) -> None:
        super().__init__()
        self._finish_current = finish_current
        self._runner = JobRunner()
        self._runner.finished.connect(self._start_waiting)
        self._waiting: _Request | None = None
        self._number = 0
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        return self._runner.running or self._waiting is not None

    def ask(
        self,
        make_job: Callable[[], Job[Any]],
        *,
        title: str,
        on_result: Callable[[Any], object],
        on_error: Callable[[str], object] | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> None:
        """Do this as soon as possible, instead of everything asked for before."""
        if self._closed:
            return
        if not self._finish_current:
            self._number += 1
        self._runner.stop()
        self._waiting = _Request(make_job, title, on_result, on_error, on_progress)
        if not self._runner.running:
            self._start_waiting()

    def drop(self) -> None:
        """Forget what waits, and hear no more of what runs."""
        self._number += 1
        self._waiting = None
        self._runner.stop()

    def close(self) -> None:
        """End for good, without waiting."""
        self._closed = True
        self.drop()
        self._runner.close(0.0, deliver=False)

    def _start_waiting(self) -> None:
        request, self._waiting = self._waiting, None
        if request is None or self._closed:
            return
        number = self._number

        def if_current(handler: Callable[[Any], object] | None) -> Any:
            owner = getattr(handler, "__self__", None)

            def hand_over(value: object) -> None:
                gone = isinstance(owner, QObject) and not isalive(owner)
                if handler is not None and number == self._number and not gone:
                    handler(value)

            return hand_over

        self._runner.start(
            request.make_job,
            title=request.title,
            on_result=if_current(request.on_result),
            on_error=if_current(request.on_error),
            on_progress=if_current(request.on_progress),
        )


def at_end_of(widget: QObject, *closings: Callable[[], object]) -> None:
    """Call these when a widget is destroyed; they must not need it any more."""

    def close_all(*_: object) -> None:
        for close in closings:
            close()

    widget.destroyed.connect(close_all)
