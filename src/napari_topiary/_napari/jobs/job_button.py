"""A button that starts one kind of job, and becomes the one that stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QPushButton

from napari_topiary._napari.jobs.runner import JobRunner
from napari_topiary.types import Job

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
    """Runs a job as the workbench's one job.

    Signals
    -------
    begun()
        The job has started.
    progressed(Progress), result(object), problem(str)
        Of the job.
    ended()
        It is over, however it went.
    """

    begun = Signal()
    progressed = Signal(object)
    result = Signal(object)
    problem = Signal(str)
    ended = Signal()

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
